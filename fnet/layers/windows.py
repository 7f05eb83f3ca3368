"""Sliding windows over the spatial axes of channels-last sequences, images and volumes."""

from typing import NamedTuple

import numpy as np
from jax import lax

from ..core.errors import LayerValueError
from .base import Layer, Shape

Size = int | Shape  # one for all spatial axes, or one per axis
Pads = tuple[tuple[int, int], ...]  # padding before and after each axis


class Window(NamedTuple):
    """The geometry of a sliding window, with one entry per spatial axis."""

    size: Shape
    strides: Shape
    dilation: Shape
    pads: Pads
    out_shape: Shape  # without channels


def set_window(layer: Layer, *names: str) -> None:
    """Validate the sizes and the padding of a window; lists become tuples."""
    for name in names:
        value = getattr(layer, name)
        many = isinstance(value, (tuple, list))
        sizes = tuple(value) if many else (value,)
        if not sizes or not all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in sizes
        ):
            raise ValueError(
                f"`{name}` of {layer.name} must be an integer of at least 1, or a tuple of one for "
                f"each spatial axis, got {value!r}. Write {name}=3 or {name}=(3, 3)."
            )
        object.__setattr__(layer, name, tuple(map(int, sizes)) if many else int(value))
    padding = getattr(layer, "padding", None)
    if padding not in ("valid", "same"):
        raise ValueError(
            f"`padding` of {layer.name} must be 'valid' or 'same', got {padding!r}. 'valid' adds "
            f"no padding, 'same' pads with zeros so that strides=1 keeps the shape."
        )


def per_axis(name: str, value: Size, in_shape: Shape) -> Shape:
    if isinstance(value, int):
        return (value,) * (len(in_shape) - 1)
    if len(value) != len(in_shape) - 1:
        raise LayerValueError(
            f"expected samples of {len(value)} spatial axes and one of channels, as `{name}` is "
            f"{value}, got shape {in_shape}. Add channels to images with "
            f"fnet.reshape((height, width, 1))."
        )
    return value


def slide(
    in_shape: Shape, size: Size, strides: Size, padding: str, dilation: Size = 1, name: str = ""
) -> Window:
    """Place a window on samples of this shape; errors call its size `name`."""
    if not 2 <= len(in_shape) <= 4:
        raise LayerValueError(
            f"expected sequences (length, channels), images (height, width, channels) or volumes "
            f"(depth, height, width, channels), got samples of shape {in_shape}. Add the axes "
            f"first: fnet.reshape((28, 28, 1))."
        )
    spatial = in_shape[:-1]
    size = per_axis(name, size, in_shape)
    strides = per_axis("strides", strides, in_shape)
    dilation = per_axis("dilation", dilation, in_shape)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    if padding == "valid" and any(r > n for r, n in zip(reach, spatial, strict=True)):
        apart = f", {reach} with its dilation," if reach != size else ""
        raise LayerValueError(
            f"expected a `{name}` of at most {spatial}, the spatial axes of the input, got {size}"
            f"{apart} for padding='valid'. Make it smaller, or use padding='same'."
        )
    pads = tuple(
        (int(a), int(b)) for a, b in lax.padtype_to_pads(spatial, reach, strides, padding.upper())
    )
    out_shape = tuple(
        (n + sum(pad) - r) // s + 1
        for n, pad, r, s in zip(spatial, pads, reach, strides, strict=True)
    )
    return Window(size, strides, dilation, pads, out_shape)
