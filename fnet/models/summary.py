"""Tables of a model's layers."""

import copy
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax

from ..layers.base import Layer, Shapes, abstract, as_layer, init_layer, plain, shapes_of
from ..layers.combinators import Combinator
from ..layers.recurrent import RecurrentLayer
from ..layers.wrappers import remat, scan_layers
from .model import check_shape, count_params, root


class Row(NamedTuple):
    """One layer: name, output shape, number of parameters, their bytes, FLOPs per sample."""

    name: str
    out_shape: Shapes
    params: int
    size: int
    flops: int


def summary(net: Layer, in_shape: Shapes) -> str:
    """Summarise a model in a table: output shapes, parameters, bytes and FLOPs per sample.

    The model is not run. FLOPs are XLA's count for the unoptimised forward pass of one sample:
    `2 * features * units + units` for a dense layer, none for a reshape, one per element for most
    functions. Every iteration of a loop counts; the layer inside a `scan_layers` has one row, with
    the numbers of a single layer. A layer has a row for each call in a `graph`, the later ones with
    no parameters of their own.

    Args:
        net: a layer, or a plain function `x -> y`.
        in_shape: the shape of one sample, as for `init`.

    Returns:
        The table as text, one line per layer, with layers inside combinators indented.

    Raises:
        TypeError, ValueError: as `init`.

    Example:
        >>> import fnet
        >>> net = fnet.sequential(fnet.flatten, fnet.dense(512), fnet.relu, fnet.dense(10))
        >>> print(fnet.summary(net, (28, 28)))
        layer     output shape   parameters       bytes   FLOPs a sample
        flatten   (784,)                  0           0                0
        dense     (512,)            401,920   1,607,680          803,328
        relu      (512,)                  0           0              512
        dense_1   (10,)               5,130      20,520           10,250
        total     (10,)             407,050   1,628,200          814,090
    """
    net = as_layer(net, "net")
    in_shape = check_shape(in_shape)
    with root(net):
        whole, *layers = rows(net.name, net, in_shape, depth=-1)
    header = ("layer", "output shape", "parameters", "bytes", "FLOPs a sample")
    cells: list[tuple[str, ...]] = [header]
    for row in [*(layers or [whole]), whole._replace(name="total")]:
        cells.append((row.name, str(plain(row.out_shape)), *(f"{n:,}" for n in row[2:])))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "   ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def rows(name: str, layer: Layer, in_shape: Shapes, depth: int) -> Iterator[Row]:
    """Yield the row of the layer, then the rows of the layers in it."""
    layer = layer.layer if isinstance(layer, remat) else layer
    params, state = jax.eval_shape(lambda: init_layer(layer, jax.random.key(0), in_shape)[:2])
    x, straight = abstract(in_shape, 1), unrolled(layer)
    program = jax.jit(lambda params, state, x: straight.apply(params, state, x, None, False)[0])
    lowered = program.lower(params, state, x)
    cost = lowered.cost_analysis() or {}
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    yield Row(
        "  " * max(depth, 0) + name,
        shapes_of(lowered.out_info),
        count_params(params),
        size,
        int(cost.get("flops", 0)),
    )
    if isinstance(layer, Combinator):
        inner: list[Row] = []
        called: set[str] = set()

        def call(name: str, layer: Layer, shape: Shapes) -> Shapes:
            own, *rest = rows(name, layer, shape, depth + 1)
            if name in called:  # the weights stand in the row of the first call
                own = own._replace(name=f"{own.name} (shared)")
                own, *rest = (row._replace(params=0, size=0) for row in (own, *rest))
            called.add(name)
            inner.extend([own, *rest])
            return own.out_shape

        layer.connect_shapes([partial(call, *named) for named in layer.named()], in_shape)
        yield from inner
    elif isinstance(layer, scan_layers):
        yield from rows(layer.layer.name, layer.layer, in_shape, depth + 1)


def unrolled(value: Any) -> Any:
    """Unroll the loops of a layer, since XLA counts the body of a loop only once."""
    if isinstance(value, tuple):
        parts = tuple(map(unrolled, value))
        return type(value)(*parts) if hasattr(value, "_fields") else parts  # a named tuple
    if not isinstance(value, Layer):
        return value
    twin = copy.copy(value)
    for field in fields(value):
        object.__setattr__(twin, field.name, unrolled(getattr(value, field.name)))
    if isinstance(twin, (scan_layers, RecurrentLayer)):
        object.__setattr__(twin, "unroll", True)
    return twin
