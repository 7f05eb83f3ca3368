"""Tables of a model's layers."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax

from ..core.flops import flops_of
from ..core.tables import Table
from ..core.tracebacks import api_boundary
from ..core.trees import Tree
from ..layers.base import Layer, Shapes, abstract, as_layer, init_layer, plain, shapes_of
from ..layers.combinators import Combinator
from ..layers.wrappers import remat, scan_layers
from .model import check_shape, count_params, root


class Row(NamedTuple):
    """One layer: name, output shape, number of parameters, their bytes, FLOPs per sample."""

    name: str
    out_shape: Shapes
    params: int
    size: int
    flops: int


@api_boundary
def summary(net: Layer, in_shape: Shapes) -> Table:
    """Summarise a model in a table: output shapes, parameters, bytes and FLOPs per sample.

    The model is neither compiled nor run. FLOPs are those of the matrix products and convolutions
    in the forward pass of one sample, as in `plan`: `2 * features * units` for a dense layer, none
    for a bias or an activation. Every iteration of a loop counts; the layer inside a `scan_layers`
    has one row, with the numbers of a single layer. A layer has a row for each call in a `graph`,
    the later ones with no parameters of their own.

    Args:
        net: a layer, or a plain function `x -> y`.
        in_shape: the shape of one sample, as for `init`.

    Returns:
        The table as text, one line per layer, with layers inside combinators indented; a notebook
        shows it as a table.

    Raises:
        TypeError, ValueError: as `init`.

    Example:
        >>> import fnet
        >>> net = fnet.sequential(fnet.flatten, fnet.dense(512), fnet.relu, fnet.dense(10))
        >>> print(fnet.summary(net, (28, 28)))
        layer     output shape   parameters       bytes   FLOPs a sample
        flatten   (784,)                  0           0                0
        dense     (512,)            401,920   1,607,680          802,816
        relu      (512,)                  0           0                0
        dense_1   (10,)               5,130      20,520           10,240
        total     (10,)             407,050   1,628,200          813,056
    """
    net = as_layer(net, "net")
    in_shape = check_shape(in_shape)
    with root(net):
        params, state = jax.eval_shape(lambda: init_layer(net, jax.random.key(0), in_shape)[:2])
        whole, *layers = rows(net.name, net, params, state, in_shape, depth=-1)
    header = ("layer", "output shape", "parameters", "bytes", "FLOPs a sample")
    cells: list[tuple[str, ...]] = [header]
    for row in [*(layers or [whole]), whole._replace(name="total")]:
        cells.append((row.name, str(plain(row.out_shape)), *(f"{n:,}" for n in row[2:])))
    return Table.of(cells, right=3)


def rows(
    name: str, layer: Layer, params: Tree, state: Tree, in_shape: Shapes, depth: int
) -> Iterator[Row]:
    """Yield the row of the layer, then the rows of the layers in it; all arrays are shapes."""
    layer = layer.layer if isinstance(layer, remat) else layer
    program, y = jax.make_jaxpr(layer.apply, static_argnums=(3, 4), return_shape=True)(
        params, state, abstract(in_shape, 1), None, False
    )
    yield Row(
        "  " * max(depth, 0) + name,
        shapes_of(y[0]),
        count_params(params),
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params)),
        flops_of(program.jaxpr).total(),
    )
    if isinstance(layer, Combinator):
        inner: list[Row] = []
        called: set[str] = set()

        def call(name: str, layer: Layer, shape: Shapes) -> Shapes:
            arrays = params.get(name, {}), state.get(name, {})
            own, *rest = rows(name, layer, *arrays, shape, depth + 1)
            if name in called:  # the weights stand in the row of the first call
                own = own._replace(name=f"{own.name} (shared)")
                own, *rest = (row._replace(params=0, size=0) for row in (own, *rest))
            called.add(name)
            inner.extend([own, *rest])
            return own.out_shape

        layer.connect_shapes([partial(call, *named) for named in layer.named()], in_shape)
        yield from inner
    elif isinstance(layer, scan_layers):
        first = partial(jax.tree.map, lambda stacked: stacked[0])
        params, state = jax.eval_shape(first, (params, state))
        yield from rows(layer.layer.name, layer.layer, params, state, in_shape, depth + 1)
