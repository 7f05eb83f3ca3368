"""Sliding windows over the spatial axes of channels-last sequences, images and volumes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jax import lax

from ..core.checks import is_integer
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


def set_size(layer: Layer, name: str) -> None:
    """Validate a tuple of one size per spatial axis; lists become tuples.

    An integer is refused: images without an axis of channels would silently count as sequences.
    """
    value = getattr(layer, name)
    if not isinstance(value, (tuple, list)) or not 1 <= len(value) <= 3 or not all_counts(value):
        raise ValueError(
            f"`{name}` of {layer.name} must be a tuple of integers of at least 1, one for each "
            f"spatial axis, got {value!r}. Write (3,) for sequences, (3, 3) for images, (3, 3, 3) "
            f"for volumes."
        )
    object.__setattr__(layer, name, tuple(map(int, value)))


def set_steps(layer: Layer, size_name: str, *names: str) -> None:
    """Validate sizes that may be one integer for all the axes of the size `size_name`."""
    size = getattr(layer, size_name)
    for name in names:
        value = getattr(layer, name)
        many = isinstance(value, (tuple, list))
        if not all_counts(value if many else (value,)) or many and len(value) != len(size):
            raise ValueError(
                f"`{name}` of {layer.name} must be an integer of at least 1, or a tuple of one for "
                f"each axis of `{size_name}`={size}, got {value!r}. Write {name}=2 or "
                f"{name}={(2,) * len(size)}."
            )
        object.__setattr__(layer, name, tuple(map(int, value)) if many else int(value))


def all_counts(values: Sequence[Any]) -> bool:
    return all(is_integer(n, 1) for n in values)


def check_padding(layer: Layer, padding: Any, *more: str) -> None:
    if padding not in ("valid", "same", *more):
        known = " or ".join(map(repr, ("valid", "same", *more)))
        raise ValueError(
            f"`padding` of {layer.name} must be {known}, got {padding!r}. 'valid' adds "
            f"no padding, 'same' pads with zeros so that strides=1 keeps the shape."
        )


def per_axis(value: Size, axes: int) -> Shape:
    return (value,) * axes if isinstance(value, int) else value


def check_axes(name: str, value: Sequence[Any], in_shape: Shape) -> None:
    """Raise unless samples have one spatial axis per entry of `value`, and one of channels."""
    if len(value) != len(in_shape) - 1:
        raise LayerValueError(
            f"expected samples of {len(value) + 1} axes, {len(value)} spatial and one of channels, "
            f"as `{name}` is {value}, got shape {in_shape}. Add channels to images with "
            f"fnet.reshape((height, width, 1)), or give `{name}` one entry per spatial axis."
        )


def slide(
    in_shape: Shape, size: Shape, strides: Size, padding: str, dilation: Size = 1, name: str = ""
) -> Window:
    """Place a window on samples of this shape; errors call its size `name`."""
    check_axes(name, size, in_shape)
    spatial = in_shape[:-1]
    strides, dilation = per_axis(strides, len(size)), per_axis(dilation, len(size))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    if padding == "valid" and any(r > n for r, n in zip(reach, spatial, strict=True)):
        apart = f", {reach} with its dilation," if reach != size else ""
        raise LayerValueError(
            f"expected a `{name}` of at most {spatial}, the spatial axes of the input, got {size}"
            f"{apart} for padding='valid'. Make it smaller, or use padding='same'."
        )
    if padding == "causal":
        pads: Pads = tuple((r - 1, 0) for r in reach)
    else:
        zeros = lax.padtype_to_pads(spatial, reach, strides, padding.upper())
        pads = tuple((int(a), int(b)) for a, b in zeros)
    out_shape = tuple(
        (n + sum(pad) - r) // s + 1
        for n, pad, r, s in zip(spatial, pads, reach, strides, strict=True)
    )
    return Window(size, strides, dilation, pads, out_shape)
