"""Shapes of samples: a tuple of integers, or a tree with such a tuple for each array.

A model of one array has the shape `(28, 28)`; a model of a dict of arrays has a dict of shapes,
`{"image": (28, 28), "age": ()}`. Users write a `jax.ShapeDtypeStruct` where the dtype matters, and
layers see a `TypedShape` there: to them, every leaf is a tuple.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..core.checks import is_integer
from ..core.trees import Tree

Shape = tuple[int, ...]
Shapes = Any  # a Shape, or a tree with a Shape for each array
BATCH = 2  # samples of abstract inputs; not 1: a squeeze would remove the batch axis


class TypedShape(tuple[int, ...]):
    """A shape whose array is of another dtype than float, such as ids; it equals the plain one."""

    dtype: np.dtype[Any]

    def __new__(cls, shape: Shape, dtype: DTypeLike) -> "TypedShape":
        self = super().__new__(cls, shape)
        self.dtype = jnp.dtype(dtype)
        return self


def is_shape(value: Any) -> bool:
    """Whether this is the shape of one array, a leaf in a tree of shapes; `()` is one too."""
    return isinstance(value, tuple) and all(map(is_integer, value))


def map_shapes(function: Callable[..., Any], in_shape: Shapes, *rest: Shapes) -> Any:
    """Apply `function` to each shape of a tree, as `jax.tree.map` does to each array."""
    return jax.tree.map(function, in_shape, *rest, is_leaf=is_shape)


def flat_shapes(in_shape: Shapes) -> tuple[list[Any], Any]:
    """The shapes of a tree as a list, and its structure, as `jax.tree.flatten` gives them."""
    return jax.tree.flatten(in_shape, is_leaf=is_shape)


def plain(in_shape: Shapes) -> Shapes:
    """The same shapes without dtypes."""
    return map_shapes(tuple, in_shape)


def typed(in_shape: Shapes) -> bool:
    """Whether any of the shapes has a dtype."""
    return any(isinstance(shape, TypedShape) for shape in flat_shapes(in_shape)[0])


def abstract(in_shape: Shapes, *leading: Any) -> Tree:
    """Return abstract arrays of these shapes behind the leading axes, for `jax.eval_shape`."""
    return map_shapes(
        lambda shape: jax.ShapeDtypeStruct(
            (*leading, *shape), getattr(shape, "dtype", jnp.result_type(float))
        ),
        in_shape,
    )


def shapes_of(batch: Tree) -> Shapes:
    """Return the shapes of the samples of a batch, real or abstract: all axes but the first."""

    def one(array: Any) -> Shape:
        shape = tuple(array.shape[1:])
        return shape if array.dtype == jnp.result_type(float) else TypedShape(shape, array.dtype)

    return jax.tree.map(one, batch)


def as_shape(leaf: Any) -> Shape:
    """The shape as a tuple of Python's integers, with its dtype if that is given and not float."""
    shape = tuple(map(int, leaf.shape if isinstance(leaf, jax.ShapeDtypeStruct) else leaf))
    dtype = getattr(leaf, "dtype", jnp.result_type(float))
    return shape if dtype == jnp.result_type(float) else TypedShape(shape, dtype)


def to_static(in_shape: Shapes) -> tuple[tuple[Any, ...], Any]:
    """The shapes as a value that hashes and compares with its dtypes, for `static_argnums`."""
    leaves, structure = jax.tree.flatten(abstract(in_shape))
    return tuple(leaves), structure


def from_static(static: tuple[tuple[Any, ...], Any]) -> Shapes:
    """The shapes that `to_static` took."""
    leaves, structure = static
    return jax.tree.unflatten(structure, map(as_shape, leaves))
