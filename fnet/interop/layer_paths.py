"""The layers of a model in order, with their arrays."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..core.trees import Tree, by_path
from ..layers.base import Layer, Shape, Shapes, abstract, init_layer, result_shape
from ..layers.combinators import Combinator, sequential
from ..layers.wrappers import remat
from ..models.model import check_shape, output_shape


class Leaf(NamedTuple):
    """An array of fnet: its tree, "params" or "state", its shape and its dtype."""

    tree: str
    shape: Shape
    dtype: np.dtype[Any]


class Place(NamedTuple):
    """A layer other than a combinator, and its place in the model."""

    names: tuple[str, ...]  # of the combinators around it and its own; empty if it is the model
    positions: tuple[int, ...]  # of the combinators and its own
    straight: bool  # whether all combinators are sequential
    layer: Layer
    in_shape: Shapes
    leaves: dict[str, Leaf]  # by name: "kernel", "query/bias"
    order: Shape | None = None  # of the flattened image, if the library's order differs

    @property
    def path(self) -> str:
        return "/".join(self.names) or self.layer.name


def places(net: Layer, in_shape: Shapes) -> list[Place]:
    """Every layer of a model except combinators, in order; nothing is computed."""
    in_shape = check_shape(in_shape)
    output_shape(net, in_shape)  # refuses layers that do not fit together
    return list(within(net, Place((), (), True, net, in_shape, {})))


def within(layer: Layer, at: Place) -> Iterator[Place]:
    layer = layer.layer if isinstance(layer, remat) else layer
    if not isinstance(layer, Combinator):
        yield at._replace(layer=layer, leaves=leaves(layer, at.in_shape))
        return
    straight = at.straight and isinstance(layer, sequential)
    found: list[Place] = []

    def call(index: int, shape: Shapes) -> Shapes:
        name, inner = named[index]
        place = Place((*at.names, name), (*at.positions, index), straight, inner, shape, {})
        if index not in called:  # a layer that a graph calls again is the same layer
            found.extend(within(inner, place))
        called.add(index)
        params, state = abstract_trees(inner, shape)
        return result_shape(inner, params, state, abstract(shape, 1))

    called: set[int] = set()
    named = list(layer.named())
    calls = [lambda shape, index=i: call(index, shape) for i in range(len(named))]
    layer.connect_shapes(calls, at.in_shape)
    yield from found


def abstract_trees(layer: Layer, in_shape: Shapes) -> tuple[Tree, Tree]:
    return jax.eval_shape(lambda: init_layer(layer, jax.random.key(0), in_shape)[:2])


def leaves(layer: Layer, in_shape: Shapes) -> dict[str, Leaf]:
    params, state = abstract_trees(layer, in_shape)
    return {
        name: Leaf(tree, leaf.shape, leaf.dtype)
        for tree, value in (("params", params), ("state", state))
        for name, leaf in by_path(value).items()
    }


def named_by(holding: list[Place], names: Mapping[str, str]) -> list[str]:
    """The names that the user gives, one for each layer with arrays."""
    paths = [place.path for place in holding]
    if not isinstance(names, Mapping) or not all(isinstance(n, str) for n in names.values()):
        raise TypeError(
            f"`names` must be a dict from layers to their names in the file, got {names!r}. "
            f"Write a string for each of {paths}."
        )
    missing, unknown = set(paths) - set(names), set(names) - set(paths)
    twice = len(set(names.values())) < len(names)
    if missing or unknown or twice:
        raise ValueError(
            f"`names` must give each of the layers {paths} a different name, got {dict(names)}. "
            f"Write names={{{paths[0]!r}: ...}} with exactly these layers."
            if paths
            else f"`names` must be empty for a model without arrays, got {dict(names)}. Remove it."
        )
    return [names[path] for path in paths]


def check_straight(holding: list[Place], library: str) -> None:
    """Refuse layers that the library does not name by order."""
    for place in holding:
        if not place.straight:
            raise ValueError(
                f"{place.path}: expected layers in `sequential` only, where the order gives "
                f"the names in {library}, got one in another combinator. Pass `names`: "
                f"names={{{place.path!r}: ...}}, with every layer that has parameters."
            )
