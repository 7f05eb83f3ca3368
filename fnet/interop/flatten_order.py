"""The order of features after a flatten in torch, where the channels of images come first."""

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax

from ..core.values import Partial
from ..layers import activations
from ..layers.attention import attention
from ..layers.base import (
    BATCH,
    Function,
    Layer,
    Shape,
    Shapes,
    is_shape,
    map_shapes,
)
from ..layers.combinators import Combinator, parallel, sequential
from ..layers.convolution import conv
from ..layers.dense import dense
from ..layers.depthwise import depthwise_conv, separable_conv
from ..layers.embedding import embedding
from ..layers.graph import graph, zeros
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.pooling import Pooling
from ..layers.positions import learned_positions
from ..layers.prelu import prelu
from ..layers.recurrent import RecurrentLayer, bidirectional
from ..layers.reshaping import flatten, rescale, reshape
from ..layers.resizing import up_sample, zero_pad
from ..layers.stochastic import dropout, random_noise
from ..layers.transposed_convolution import conv_transpose
from ..layers.wrappers import remat
from ..models.model import output_shape

CHANNELS_FIRST = (
    *(conv, conv_transpose, depthwise_conv, separable_conv),
    *(Pooling, up_sample, zero_pad, batch_norm, group_norm, prelu),
)
RECURRENT = (RecurrentLayer, bidirectional)
CHANNELS_LAST = (dense, embedding, attention, learned_positions, layer_norm, rms_norm, *RECURRENT)
ELEMENTWISE = (dropout, rescale, random_noise)
ACTIVATIONS = frozenset(f for f in vars(activations).values() if callable(f))
Channels = Literal["first", "last", "either"]
FIX = "Put fnet.flatten directly before the dense layer, or convert these arrays yourself."


class Lies(NamedTuple):
    """The samples between two layers: their shape and their layout in torch."""

    shape: Shape
    channels: Channels
    order: Shape | None = None  # shape of the image that they flatten, in torch's order

    @property
    def matters(self) -> bool:
        """Whether the order of the entries changes if channels come first."""
        return math.prod(self.shape[:-1]) > 1 and self.shape[-1] > 1

    @property
    def image(self) -> bool:
        """Whether the order in torch differs from that here, or may differ."""
        return self.order is not None or self.channels != "last" and self.matters


Found = dict[tuple[str, ...], Shape | None]  # by the names of a dense layer
Trees = Any  # a Lies, or a tree with one for each array


def orders(net: Layer, in_shape: Shapes) -> Found:
    """For each dense layer after a flattened image, the shape of the image, channels last."""
    found: Found = {}
    follow(net, (), map_shapes(given, in_shape), found)
    return found


def given(shape: Shape) -> Lies:
    """What comes into the model lies as its shape says: images have channels."""
    return Lies(shape, "first" if len(shape) > 2 else "last")


def flat(lies: Trees) -> list[Lies]:
    return jax.tree.leaves(lies, is_leaf=lambda node: isinstance(node, Lies))


def follow(layer: Layer, names: tuple[str, ...], lies: Trees, found: Found) -> Trees:
    layer = layer.layer if isinstance(layer, remat) else layer
    if isinstance(layer, graph):
        return wired(layer, names, lies, found)
    if not isinstance(lies, Lies) and not isinstance(layer, sequential):
        return merged(layer, names, lies)
    if not isinstance(layer, Combinator):
        return step(layer, names, lies, found)
    each = list(layer.named())
    ends = []
    for branch in [[one] for one in each] if isinstance(layer, parallel) else [each]:
        end = lies
        for name, inner in branch:
            end = follow(inner, (*names, name), end, found)
        ends.append(end)
    if isinstance(layer, sequential):
        return ends[0]
    if lies.order or any(end.order for end in ends):
        raise refusal(layer, names, "features that were an image")
    channels = {end.channels for end in ends}
    met: Channels = "first" if "first" in channels else "either" if "either" in channels else "last"
    return Lies(output_shape(layer, lies.shape), met)


def wired(layer: graph, names: tuple[str, ...], lies: Trees, found: Found) -> Trees:
    """Follow the arrays that go from layer to layer; those that the function makes are new."""
    known: dict[int, tuple[Any, Lies]] = {}  # by identity; the array beside it stays alive

    def knowing(arrays: Any, lies: Trees) -> Any:
        for array, one in zip(jax.tree.leaves(arrays), flat(lies), strict=True):
            known[id(array)] = array, one
        return arrays

    def look_up(name: str, array: Any) -> Lies:
        if id(array) in known:
            return known[id(array)][1]
        lies = given(array.shape[1:])
        if not lies.image and any(one.image for _, one in known.values()):
            raise refusal(layer, (*names, name), "an array that the function makes of images")
        return lies

    def call(name: str, inner: Layer, x: Any) -> Any:
        its = jax.tree.map(partial(look_up, name), x)
        ends = follow(inner, (*names, name), its, found)
        return knowing(zeros(shapes(ends), len(jax.tree.leaves(x)[0])), ends)

    def run() -> None:
        x = knowing(zeros(shapes(lies), BATCH), lies)
        y = layer.connect([partial(call, *named) for named in layer.named()], x)
        if names:  # otherwise nothing follows
            ends.append(jax.tree.map(partial(look_up, "output"), y))

    ends: list[Trees] = []
    jax.eval_shape(run)
    return ends[0] if ends else None


def shapes(lies: Trees) -> Shapes:
    return jax.tree.map(lambda one: one.shape, lies, is_leaf=lambda node: isinstance(node, Lies))


def merged(layer: Layer, names: tuple[str, ...], lies: Trees) -> Trees:
    """The outputs of a layer of several arrays, or of one that returns several."""
    if any(one.image for one in flat(lies)):
        raise refusal(layer, names, "an image among several arrays")
    return map_shapes(lambda shape: Lies(shape, "last"), output_shape(layer, shapes(lies)))


def step(layer: Layer, names: tuple[str, ...], lies: Lies, found: Found) -> Trees:
    out = Lies(output_shape(layer, lies.shape), lies.channels, lies.order)
    if not is_shape(out.shape):
        return merged(layer, names, lies)
    if isinstance(layer, dense) and found.setdefault(names, lies.order) != lies.order:
        raise refusal(layer, names, "features of one order in one call and another in the next")
    if lies.order:
        if isinstance(layer, dense):
            return Lies(out.shape, "last")
        if out.shape == lies.shape and elementwise(layer):
            return out
        raise refusal(layer, names, f"features that were an image of {lies.order}")
    if isinstance(layer, CHANNELS_LAST):
        return out._replace(channels="last")
    if isinstance(layer, CHANNELS_FIRST):
        if lies.channels == "either":
            raise refusal(layer, names, f"a reshape to {lies.shape}")
        return out._replace(channels="first")
    if elementwise(layer):
        return out
    reshaping = isinstance(layer, reshape) or layer == Function(flatten)
    image = lies.channels == "first" and lies.matters
    if reshaping and image and len(out.shape) == 1:
        return Lies(out.shape, "last", lies.shape)
    if image and (reshaping and out.shape != lies.shape or out.shape[-1:] != lies.shape[-1:]):
        raise refusal(layer, names, f"an image of {lies.shape}")
    new = out.shape != lies.shape if reshaping else len(out.shape) != len(lies.shape)
    if new and out.matters and not image:
        return out._replace(channels="either")
    return out


def elementwise(layer: Layer) -> bool:
    """Whether the layer treats every entry alike, regardless of the order."""
    if not isinstance(layer, Function):
        return isinstance(layer, ELEMENTWISE)
    function = layer.function
    return (function.function if isinstance(function, Partial) else function) in ACTIVATIONS


def refusal(layer: Layer, names: tuple[str, ...], came: str) -> ValueError:
    return ValueError(
        f"{'/'.join(names) or layer.name}: expected a layer whose outputs have a known order in "
        f"torch, where channels come first, got {came} before it. {FIX}"
    )
