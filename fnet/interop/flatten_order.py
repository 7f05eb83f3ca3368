"""The order of features after a flatten in torch, where the channels of images come first."""

import math
from typing import Literal, NamedTuple

from ..core.values import Partial
from ..layers import activations
from ..layers.attention import attention
from ..layers.base import Function, Layer, Shape
from ..layers.combinators import Combinator, parallel, sequential
from ..layers.convolution import conv
from ..layers.dense import dense
from ..layers.embedding import embedding
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.pooling import Pooling
from ..layers.reshaping import flatten, rescale, reshape
from ..layers.stochastic import dropout, random_noise
from ..layers.wrappers import remat
from ..models.model import output_shape

CHANNELS_FIRST = (conv, Pooling, batch_norm, group_norm)
CHANNELS_LAST = (dense, embedding, attention, layer_norm, rms_norm)
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


def orders(net: Layer, in_shape: Shape) -> dict[tuple[str, ...], Shape]:
    """For each dense layer after a flattened image, the shape of the image, channels last."""
    found: dict[tuple[str, ...], Shape] = {}
    follow(net, (), Lies(in_shape, "first" if len(in_shape) > 2 else "last"), found)
    return found


def follow(
    layer: Layer, names: tuple[str, ...], lies: Lies, found: dict[tuple[str, ...], Shape]
) -> Lies:
    layer = layer.layer if isinstance(layer, remat) else layer
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


def step(
    layer: Layer, names: tuple[str, ...], lies: Lies, found: dict[tuple[str, ...], Shape]
) -> Lies:
    out = Lies(output_shape(layer, lies.shape), lies.channels, lies.order)
    if lies.order:
        if isinstance(layer, dense):
            found[names] = lies.order
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
