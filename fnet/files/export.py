"""A model and its parameters as one serialised program, which runs without fnet or Python.

The bytes are, in this order:

    magic number   eight bytes, the last of which is the version of this format
    length         of the program, a 64-bit big-endian integer
    SHA-256        of all the other bytes, 32 bytes
    program        the output of jax.export
"""

import hashlib
import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jax.typing import DTypeLike

from ..core.trees import Tree, by_path
from ..core.values import describe
from ..layers.base import Layer, Shapes, as_layer, map_shapes
from ..models.model import apply, check_shape
from .tensor_file import CorruptFileError

MAGIC = b"fnetexp\x01"
HEADER = struct.Struct(">8sQ32s")
PLATFORMS = ("cpu", "cuda", "tpu")
AGAIN = "Export the model again, or use another copy."


def export(
    net: Layer,
    params: Tree,
    in_shape: Shapes,
    *,
    state: Tree | None = None,
    dtype: DTypeLike = "float32",
) -> bytes:
    """Export the inference pass, `y = apply(net, params, x, state)`, as bytes with its parameters.

    The program runs on CPUs, CUDA and TPUs, and on any number of samples. It is compiled only when
    it is loaded and called.

    Args:
        net: a layer, or a plain function `x -> y`.
        params: the parameters, see `init`.
        in_shape: the shape of one sample, without the batch axis, or a tree of shapes.
        state: the running statistics, see `init_state`, if the model has any.
        dtype: the dtype of the input, such as 'uint8' for images; in a tree, of each array whose
            shape is not a `jax.ShapeDtypeStruct` with a dtype of its own.

    Returns:
        Bytes for `load_exported`, about as many as the parameters have.

    Raises:
        ValueError: the features do not match the parameters of a layer, which is named.
        TypeError: the parameters are of another model, `state` is missing, or JAX lacks `dtype`.
        ImportError: flatbuffers is not installed; `pip install "fnet-jax[export]"` installs it.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(2), fnet.softmax)
        >>> data = fnet.export(net, fnet.init(net, jax.random.key(0), (3,)), (3,))
        >>> program = fnet.load_exported(data)
        >>> program
        Program(in_shape=(3,), dtype='float32', platforms=('cpu', 'cuda', 'tpu'))
        >>> program(jnp.zeros((5, 3)))[0]
        Array([0.5, 0.5], dtype=float32)

    Source: https://docs.jax.dev/en/latest/export/export.html, which says how long later versions
    of JAX can read the program.
    """
    net, in_shape, dtype = as_layer(net, "net"), check_shape(in_shape), check_dtype(dtype)
    check_flatbuffers("export")
    program = jax.jit(lambda x: apply(net, params, x, state))
    batch = jax_export.symbolic_shape("batch")
    x = map_shapes(
        lambda shape: jax.ShapeDtypeStruct((*batch, *shape), getattr(shape, "dtype", dtype)),
        in_shape,
    )
    payload = bytes(jax_export.export(program, platforms=PLATFORMS)(x).serialize())
    return framed(payload, MAGIC)


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A loaded model, `y = program(x)` for `x` of shape `(batch, *in_shape)`; it works in jit.

    Attributes:
        in_shape: the shape of one sample, without the batch axis, or a tree of shapes.
        dtype: the dtype of `x`, or a tree of dtypes.
        platforms: where the program can run.
    """

    exported: jax_export.Exported

    @property
    def input(self) -> Any:
        """What `x` looks like, an abstract array or a tree of them."""
        (x,), _ = jax.tree.unflatten(self.exported.in_tree, self.exported.in_avals)
        return x

    @property
    def in_shape(self) -> Shapes:
        return jax.tree.map(lambda leaf: tuple(leaf.shape[1:]), self.input)

    @property
    def dtype(self) -> Any:
        return jax.tree.map(lambda leaf: str(leaf.dtype), self.input)

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(self.exported.platforms)

    @cached_property
    def compiled(self) -> Callable[[Any], Any]:
        return jax.jit(self.exported.call)

    def __call__(self, x: Any) -> Any:
        x = jax.device_put(x)  # jnp.asarray compiles a copy for each shape of a NumPy array
        shapes, dtypes = (
            jax.tree.map(lambda leaf: tuple(leaf.shape), x),
            jax.tree.map(lambda leaf: str(leaf.dtype), x),
        )
        if [*by_path(x)] != [*by_path(self.input)]:
            raise TypeError(
                f"`x` must be arrays in the tree the model was exported for, {self.in_shape}, got "
                f"shapes {shapes}. Pass the arrays that it takes."
            )
        pairs = list(zip(jax.tree.leaves(x), jax.tree.leaves(self.input), strict=True))
        sizes = {leaf.shape[:1] for leaf, _ in pairs}
        fits = all(leaf.shape[1:] == there.shape[1:] for leaf, there in pairs)
        if len(sizes) > 1 or {(), (0,)} & sizes or not fits:
            raise ValueError(
                f"`x` must be one sample or more of shape {self.in_shape}, got shape {shapes}. "
                f"Put the batch axis before the shape that the model was exported for."
            )
        if dtypes != self.dtype:
            raise TypeError(
                f"`x` must have the dtype the model was exported for, {self.dtype}, got {dtypes}. "
                f"Convert it: x.astype({jax.tree.leaves(self.dtype)[0]!r})."
            )
        return self.compiled(x)

    def __repr__(self) -> str:
        return (
            f"Program(in_shape={self.in_shape}, dtype={self.dtype!r}, platforms={self.platforms})"
        )


def load_exported(data: bytes) -> Program:
    """Load a program that `export` made, after its checksum is verified.

    The checksum detects damage, not malice: a program is code, so load it only from trusted
    sources.

    Args:
        data: the bytes that `export` returned.

    Returns:
        A function `x -> y` for `x` of shape `(batch, *in_shape)`, which works under jit. It raises
        ValueError for another shape and TypeError for another dtype.

    Raises:
        CorruptFileError: the bytes are damaged, incomplete or not a program.
        TypeError: `data` is not bytes.
        ImportError: as `export`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> program = fnet.load_exported(fnet.export(fnet.relu, {}, ()))
        >>> program(jnp.array([-1.0, 2.0]))
        Array([0., 2.], dtype=float32)
    """
    check_bytes(data, "export")
    check_flatbuffers("load_exported")
    return Program(jax_export.deserialize(bytearray(checked(bytes(data), MAGIC))))


def check_bytes(data: Any, caller: str) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"`data` must be bytes from fnet.{caller}, got {describe(data)}. "
            f"Read them from a file with pathlib.Path(path).read_bytes()."
        )


def check_flatbuffers(caller: str) -> None:
    """Refuse to go on without the package with which JAX writes and reads programs."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            f"`{caller}` must have the package flatbuffers, got none. "
            f'Install it: pip install "fnet-jax[export]".'
        )


def framed(payload: bytes, kind: bytes) -> bytes:
    """The program behind its header; `kind` is the magic number."""
    return HEADER.pack(kind, len(payload), digest(payload, kind)) + payload


def checked(data: bytes, kind: bytes) -> bytes:
    """The program, once its header and checksum are verified."""
    if len(data) < HEADER.size or not data.startswith(kind[:-1]):
        raise CorruptFileError(
            f"`data` must start with the {HEADER.size} bytes of the header of a program, got "
            f"{len(data)} bytes that start with {data[:8].hex(' ')!r}. {AGAIN}"
        )
    magic, length, came = HEADER.unpack_from(data)
    if magic != kind:
        raise CorruptFileError(
            f"`data` must be of version {kind[-1]}, got version {magic[-1]}. "
            f"Load it with the version of fnet that wrote it, or export the model again."
        )
    payload = data[HEADER.size :]
    if len(payload) != length:
        raise CorruptFileError(
            f"`data` must hold {length} bytes of program, as its header says, got {len(payload)}. "
            f"{AGAIN}"
        )
    if came != digest(payload, kind):
        raise CorruptFileError(
            f"`data` must have the SHA-256 {came.hex()}, as its header says, got "
            f"{digest(payload, kind).hex()}. {AGAIN}"
        )
    return payload


def digest(payload: bytes, kind: bytes) -> bytes:
    """SHA-256 of the magic number, the length and the program."""
    return hashlib.sha256(kind + struct.pack(">Q", len(payload)) + payload).digest()


def check_dtype(dtype: DTypeLike) -> str:
    """The name of a dtype that JAX supports as configured: float64 only if it is enabled."""
    try:
        known = dtype is not None and jax.dtypes.canonicalize_dtype(dtype) == jnp.dtype(dtype)
    except TypeError:
        known = False
    if not known or not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool)):
        raise TypeError(
            f"`dtype` must be a numeric dtype that JAX supports, got {describe(dtype)}. "
            f"Use 'float32' for numbers, 'uint8' for bytes, 'int32' for ids."
        )
    return jnp.dtype(dtype).name
