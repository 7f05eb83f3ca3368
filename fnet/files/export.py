"""A model and its parameters as one program in bytes, which needs neither fnet nor Python to run.

The bytes are, in this order:

    magic number   eight bytes, the last of which is the version of this form
    length         of the program, a 64-bit big-endian integer
    SHA-256        of all the other bytes, 32 bytes
    program        what jax.export serialises
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jax.typing import DTypeLike

from ..core.trees import Tree
from ..core.values import describe
from ..layers.base import Layer, Shape, as_layer
from ..models.model import apply, check_shape
from .tensor_file import CorruptFileError

MAGIC = b"fnetexp\x01"
HEADER = struct.Struct(">8sQ32s")
PLATFORMS = ("cpu", "cuda", "tpu")
AGAIN = "Export the model again, or take another copy."


def export(
    net: Layer,
    params: Tree,
    in_shape: Shape,
    *,
    state: Tree | None = None,
    dtype: DTypeLike = "float32",
) -> bytes:
    """The inference pass y = apply(net, params, x, state) as bytes, the parameters in it.

    One program for CPUs, CUDA and TPUs at once, and for any number of samples. Nothing of it is
    computed here: it is compiled where `load_exported` calls it.

    Args:
        net: a layer, or a plain function `x -> y`.
        params: what `init` gave for this model.
        in_shape: the shape of one sample, without the batch axis.
        state: what `init_state` or `forward` gave, for a model with running statistics.
        dtype: that of the input, such as 'uint8' for images.

    Returns:
        Bytes, about as many as the parameters have: what `load_exported` takes.

    Raises:
        ValueError: features that do not match the parameters, with the layer's name.
        TypeError: the parameters of another model, running statistics left out, a `dtype` that
            JAX has not.
        ImportError: flatbuffers is missing, which `pip install "fnet[export]"` brings.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(2), fnet.softmax)
        >>> data = fnet.export(net, fnet.init(net, jax.random.key(0), (3,)), (3,))
        >>> program = fnet.load_exported(data)
        >>> program
        Program(in_shape=(3,), dtype='float32', platforms=('cpu', 'cuda', 'tpu'))
        >>> program(jnp.zeros((5, 3)))[0]
        Array([0.5, 0.5], dtype=float32)

    Source: https://docs.jax.dev/en/latest/export/export.html, which says for how long later
    versions of JAX can read it.
    """
    net, in_shape, dtype = as_layer(net, "net"), check_shape(in_shape), check_dtype(dtype)
    program = jax.jit(lambda x: apply(net, params, x, state))
    x = jax.ShapeDtypeStruct((*jax_export.symbolic_shape("batch"), *in_shape), dtype)
    payload = bytes(jax_export.export(program, platforms=PLATFORMS)(x).serialize())
    return HEADER.pack(MAGIC, len(payload), digest(payload)) + payload


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A loaded model, y = program(x) for `x` of shape `(batch, *in_shape)`; jit it as it is.

    Attributes:
        in_shape: the shape of one sample, without the batch axis.
        dtype: that of `x`.
        platforms: where it can run.
    """

    exported: jax_export.Exported

    @property
    def in_shape(self) -> Shape:
        return tuple(self.exported.in_avals[0].shape[1:])

    @property
    def dtype(self) -> str:
        return str(self.exported.in_avals[0].dtype)

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(self.exported.platforms)

    @cached_property
    def compiled(self) -> Callable[[jax.Array], jax.Array]:
        return jax.jit(self.exported.call)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        if x.shape[1:] != self.in_shape or not x.shape or x.shape[0] == 0:
            raise ValueError(
                f"`x` must be samples of shape {self.in_shape}, one at least, got shape {x.shape}. "
                f"Give them the shape the model was exported for, behind the batch axis."
            )
        if x.dtype != self.dtype:
            raise TypeError(
                f"`x` must have the dtype the model was exported for, {self.dtype}, got {x.dtype}. "
                f"Convert it: x.astype({self.dtype!r})."
            )
        return self.compiled(x)

    def __repr__(self) -> str:
        return (
            f"Program(in_shape={self.in_shape}, dtype={self.dtype!r}, platforms={self.platforms})"
        )


def load_exported(data: bytes) -> Program:
    """The function that `export` wrote; no byte of it is read before its checksum holds.

    The checksum catches damage, not malice: a program is code, take it from those you trust.

    Args:
        data: what `export` gave.

    Returns:
        A function `x -> y` of `(batch, *in_shape)`, with any number of samples, which can be called
        and jitted. It refuses another shape with a ValueError, another dtype with a TypeError.

    Raises:
        CorruptFileError: bytes that are damaged, cut off or something else.
        TypeError: `data` is not bytes.
        ImportError: as `export`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> program = fnet.load_exported(fnet.export(fnet.relu, {}, ()))
        >>> program(jnp.array([-1.0, 2.0]))
        Array([0., 2.], dtype=float32)
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"`data` must be the bytes that fnet.export gave, got {describe(data)}. "
            f"Read them from a file with pathlib.Path(path).read_bytes()."
        )
    return Program(jax_export.deserialize(bytearray(checked(bytes(data)))))


def checked(data: bytes) -> bytes:
    """The program within its frame."""
    if len(data) < HEADER.size or not data.startswith(MAGIC[:-1]):
        raise CorruptFileError(
            f"`data` must start with the {HEADER.size} bytes of the head of an exported model, got "
            f"{len(data)} bytes that start with {data[:8].hex(' ')!r}. {AGAIN}"
        )
    magic, length, came = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise CorruptFileError(
            f"`data` must be of version {MAGIC[-1]}, got version {magic[-1]}. "
            f"Load it with the version of fnet that wrote it, or export the model again."
        )
    payload = data[HEADER.size :]
    if len(payload) != length:
        raise CorruptFileError(
            f"`data` must hold a program of {length} bytes, as its head says, got {len(payload)}. "
            f"{AGAIN}"
        )
    if came != digest(payload):
        raise CorruptFileError(
            f"`data` must have the SHA-256 {came.hex()}, as its head says, got "
            f"{digest(payload).hex()}. {AGAIN}"
        )
    return payload


def digest(payload: bytes) -> bytes:
    """SHA-256 of the magic number, the length and the program."""
    return hashlib.sha256(MAGIC + struct.pack(">Q", len(payload)) + payload).digest()


def check_dtype(dtype: DTypeLike) -> str:
    """The name of a dtype that JAX computes with as it is now: float64 only where it is enabled."""
    try:
        known = dtype is not None and jax.dtypes.canonicalize_dtype(dtype) == jnp.dtype(dtype)
    except TypeError:
        known = False
    if not known or not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool)):
        raise TypeError(
            f"`dtype` must be a dtype of numbers that JAX computes with, got {describe(dtype)}. "
            f"Use 'float32' for numbers, 'uint8' for bytes, 'int32' for ids."
        )
    return jnp.dtype(dtype).name
