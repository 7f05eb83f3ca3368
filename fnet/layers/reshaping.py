"""Layers without parameters that reshape and rescale their input."""

import math
from dataclasses import dataclass

import jax

from ..core.checks import is_integer
from ..core.dtypes import floating
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import set_number


def flatten(x: jax.Array) -> jax.Array:
    """Flatten each sample to a vector, from `(batch, a, b, ...)` to `(batch, a b ...)`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.flatten(jnp.ones((5, 28, 28))).shape
        (5, 784)
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@dataclass(frozen=True, repr=False)
class reshape(Layer):
    """Reshape each sample, in row-major order.

    Args:
        shape: the new shape, excluding the batch axis; one entry may be -1, which is inferred.

    Raises:
        ValueError: `shape` is not a tuple of integers; (from `init`) the sizes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> net = fnet.reshape((28, 28, 1))
        >>> fnet.apply(net, {}, jnp.ones((5, 784))).shape
        (5, 28, 28, 1)
    """

    shape: Shape

    def __init__(self, shape: Shape, *rest: int) -> None:  # `rest`: as in NumPy's x.reshape(2, 3)
        fits = isinstance(shape, (tuple, list)) and all(is_integer(n, -1) for n in shape)
        if rest or not fits:
            came = ", ".join(map(repr, (shape, *rest)))
            example = f"({came})" if rest else "(28, 28, 1)"
            raise ValueError(
                f"`shape` of reshape must be a tuple of integers, one of which may be -1, got "
                f"{came}. Leave the batch axis out: reshape({example})."
            )
        object.__setattr__(self, "shape", tuple(map(int, shape)))

    def out_shape(self, in_shape: Shape) -> Shape:
        size, known = math.prod(in_shape), math.prod(n for n in self.shape if n != -1)
        rest = size // known if known else 0
        out_shape = tuple(rest if n == -1 else n for n in self.shape)
        if math.prod(out_shape) != size or self.shape.count(-1) > 1:
            raise LayerValueError(
                f"expected samples that fit into {self.shape}, got shape {in_shape} with {size} "
                f"entries. Pass a shape of the same size, with at most one -1."
            )
        return out_shape

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        return {}, {}, self.out_shape(in_shape)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return x.reshape(x.shape[0], *self.out_shape(x.shape[1:])), state


@dataclass(frozen=True, repr=False)
class rescale(Layer):
    """Rescale the input; integers become floats.

    .. math:: y = a x + b

    with `scale` :math:`a` and `offset` :math:`b`. It lets a model accept images as bytes, so that
    only one batch at a time is held as floats.

    Args:
        scale, offset: numbers, such as `rescale(1 / 255)` for [0, 1] or
            `rescale(1 / 127.5, offset=-1)` for [-1, 1].

    Raises:
        TypeError: `scale` or `offset` is not a number.
        ValueError: `scale` or `offset` is not finite.

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
            set_number(self, name, fix="To scale by an array, pass a function x -> y.")

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return floating(x) * self.scale + self.offset, state
