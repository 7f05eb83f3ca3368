"""The layers most models are made of: dense, reshaping, rescaling, dropout."""

import math
from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .contract import (
    Built,
    Key,
    Layer,
    Output,
    Shape,
    Tree,
    check_names,
    set_count,
    set_functions,
    set_number,
)
from .dtypes import floating
from .errors import LayerValueError
from .initializers import Initializer, glorot_uniform, zeros

NARROW = 24  # columns
REBUILD = "Use the parameters that fnet.init made for this model and this input shape."


def along_last(vector: jax.Array, x: jax.Array) -> jax.Array:
    """`vector` with the rank and dtype of `x`, so that no promotion is implicit."""
    return vector.reshape((1,) * (x.ndim - vector.ndim) + vector.shape).astype(x.dtype)


def features(in_shape: Shape) -> int:
    if not in_shape:
        raise LayerValueError(
            "expected an input with a feature axis, got in_shape=() for each sample. "
            "Give a single feature an axis of its own: in_shape=(1,)."
        )
    return in_shape[-1]


def check_arrays(params: Tree, **shapes: Shape) -> None:
    """Refuse parameters of other shapes than these."""
    for name, shape in shapes.items():
        if name in params and params[name].shape != shape:
            raise LayerValueError(
                f"expected a {name} of shape {shape}, got {params[name].shape}. {REBUILD}"
            )


def training_key(key: Key) -> jax.Array:
    """The key, which a layer that is random in training cannot do without."""
    if key is None:
        raise LayerValueError(
            "expected a random key in training, got key=None. "
            "Pass one: fnet.forward(net, params, state, x, jax.random.key(0))."
        )
    return key


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`, with a gradient of narrow kernels that is as fast as it can be.

    x^T dy with few columns is slow on a CPU, and (dy^T x)^T is not: 0.04 ms instead of 0.13 for a
    kernel of (512, 10) and 128 samples, which is 9 % of a step of 784-512-10. The barrier keeps XLA
    from turning the one into the other.
    """
    narrow = kernel.shape[1] <= NARROW and x.dtype == kernel.dtype
    if not narrow or jax.default_backend() != "cpu":
        return x @ kernel
    transposed = lax.optimization_barrier(kernel.T)
    return lax.dot_general(x, transposed, (((x.ndim - 1,), (1,)), ((), ())))


@dataclass(frozen=True, repr=False)
class dense(Layer):
    """A dense layer, y = x kernel + bias, on the last axis of `x`.

    Takes `(batch, ..., features)` and gives `(batch, ..., units)`: vectors, sequences, images and
    video alike. The kernel is `(features, units)`, the bias `(units,)`; an integer `x` is taken in
    the kernel's dtype.

    Args:
        units: the number of outputs, at least 1.
        use_bias: whether to add the bias.
        kernel_init, bias_init: `initializer(key, shape) -> array`, see `fnet.initializers`.

    Raises:
        ValueError: `units` below 1; later, features that do not match the kernel.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(2)
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> fnet.apply(net, params, jnp.ones((5, 3))).shape
        (5, 2)

    Source: Rosenblatt 1958, The Perceptron.
    """

    units: int
    _: KW_ONLY
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "units", "Pass the number of outputs, such as dense(512).")
        set_functions(self, "kernel_init", "bias_init")

    def init(self, key: jax.Array, in_shape: Shape) -> Built:
        kernel_key, bias_key = jax.random.split(key)
        params = {"kernel": self.kernel_init(kernel_key, (features(in_shape), self.units))}
        if self.use_bias:
            params["bias"] = self.bias_init(bias_key, (self.units,))
        return params, {}, (*in_shape[:-1], self.units)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        names = ("kernel", "bias") if self.use_bias else ("kernel",)
        check_names("parameters", params, names, REBUILD)
        kernel = params["kernel"]
        if jnp.shape(x)[-1:] != kernel.shape[:1]:
            raise LayerValueError(
                f"expected input with {kernel.shape[0]} features in the last axis, got shape "
                f"{x.shape}. Build the parameters with in_shape={x.shape[1:] or x.shape}, "
                f"or flatten the input first."
            )
        check_arrays(params, kernel=(x.shape[-1], self.units), bias=(self.units,))
        y = product(floating(x, kernel.dtype), kernel)
        return (y + along_last(params["bias"], y) if self.use_bias else y), state


def flatten(x: jax.Array) -> jax.Array:
    """Every sample as one vector: `(batch, a, b, ...)` to `(batch, a b ...)`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.flatten(jnp.ones((5, 28, 28))).shape
        (5, 784)
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@dataclass(frozen=True, repr=False)
class reshape(Layer):
    """Every sample in another shape of the same size, row by row.

    Args:
        shape: the new shape without the batch axis; one entry may be -1.

    Raises:
        ValueError: a `shape` that is none; later, an input that has not as many entries.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> net = fnet.reshape((28, 28, 1))
        >>> fnet.apply(net, {}, jnp.ones((5, 784))).shape
        (5, 28, 28, 1)
    """

    shape: Shape

    def __post_init__(self) -> None:
        shape = self.shape
        if not isinstance(shape, (tuple, list)) or not all(
            isinstance(n, (int, np.integer)) and (n >= 0 or n == -1) for n in shape
        ):
            raise ValueError(
                f"`shape` of reshape must be a tuple of integers, one of which may be -1, got "
                f"{shape!r}. Leave the batch axis out: reshape((28, 28, 1))."
            )
        object.__setattr__(self, "shape", tuple(map(int, shape)))

    def out_shape(self, in_shape: Shape) -> Shape:
        size, known = math.prod(in_shape), math.prod(n for n in self.shape if n != -1)
        rest = size // known if known else 0
        out_shape = tuple(rest if n == -1 else n for n in self.shape)
        if math.prod(out_shape) != size or self.shape.count(-1) > 1:
            raise LayerValueError(
                f"expected samples that fit into {self.shape}, got shape {in_shape} with {size} "
                f"entries. Give a shape of as many, with one -1 at most."
            )
        return out_shape

    def init(self, key: jax.Array, in_shape: Shape) -> Built:
        return {}, {}, self.out_shape(in_shape)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return x.reshape(x.shape[0], *self.out_shape(x.shape[1:])), state


@dataclass(frozen=True, repr=False)
class rescale(Layer):
    """A fixed linear map, y = scale x + offset; integers become floats.

    It lets a model take images as bytes: they stay bytes in memory, a batch at a time is rescaled.

    Args:
        scale, offset: numbers, such as `rescale(1 / 255)` for [0, 1] or
            `rescale(1 / 127.5, offset=-1)` for [-1, 1].

    Raises:
        ValueError, TypeError: a scale or offset that is no finite number.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> net = fnet.rescale(1 / 255)
        >>> fnet.apply(net, {}, jnp.array([[0, 255]], jnp.uint8))
        Array([[0., 1.]], dtype=float32)
    """

    scale: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            set_number(self, name, fix="For an array of them write a function x -> y.")

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return floating(x) * self.scale + self.offset, state


@dataclass(frozen=True, repr=False)
class dropout(Layer):
    """Drops a fraction of the entries in training, y = x mask / (1 - rate); else the identity.

    Args:
        rate: the fraction dropped, in [0, 1).

    Raises:
        ValueError: `rate` outside [0, 1); later, training without a key.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dropout(0.5)
        >>> fnet.apply(net, {}, jnp.ones((1, 4)))
        Array([[1., 1., 1., 1.]], dtype=float32)
        >>> y, _ = fnet.forward(net, {}, {}, jnp.ones((1, 4)), jax.random.key(0))
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]

    Source: Srivastava et al. 2014, Dropout, section 10 (the scaling in training).
    """

    rate: float

    def __post_init__(self) -> None:
        set_number(self, "rate", 0, 1, "It is the fraction dropped: dropout(0.2) keeps 4 of 5.")

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        if not training or self.rate == 0:
            return x, state
        keep = 1 - self.rate
        kept = jax.random.bernoulli(training_key(key), keep, x.shape)
        return jnp.where(kept, x / keep, 0), state
