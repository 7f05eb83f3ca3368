"""FLOPs of a function, counted from its jaxpr: those of products and convolutions.

The compiler's own count knows no loops (it takes each body once) and does not exist on a GPU, and
the peaks that makers of accelerators state are those of products.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_flops(function: Callable[..., Any], *arguments: Any) -> dict[str, int]:
    """FLOPs of the matrix products and convolutions in a function, by the dtype of their operands.

    A product of (m, k) and (k, n) has 2 m k n; one inside a loop counts as often as the loop runs,
    and in a branch the branch that has most. What `remat` computes again is counted again, and what
    is not used not at all. A loop whose length depends on data counts once, and a kernel written by
    hand not at all.

    Args:
        function: what to count; it is traced and not run.
        *arguments: trees of arrays, or of their shapes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fnet.core.flops import count_flops
        >>> x = jax.ShapeDtypeStruct((128, 784), "float32")
        >>> w = jax.ShapeDtypeStruct((784, 10), "float32")
        >>> count_flops(jnp.matmul, x, w)
        {'float32': 2007040}
    """
    return dict(flops_of(jax.make_jaxpr(function)(*arguments).jaxpr))


def flops_of(jaxpr: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for equation in used(jaxpr):
        name, params = equation.primitive.name, equation.params
        if name in RULES:
            dtype = max((v.aval.dtype for v in equation.invars[:2]), key=lambda d: d.itemsize)
            total[str(dtype)] += RULES[name](equation)
            continue
        inner = [flops_of(one) for value in params.values() for one in jaxprs_in(value)]
        if name == "cond":
            inner = [max(inner, key=lambda count: count.total())]
        times = params["length"] if name == "scan" else 1
        for count in inner:
            total.update({dtype: times * flops for dtype, flops in count.items()})
    return total


def used(jaxpr: Any) -> list[Any]:
    """The equations whose results are used, last first: a compiler drops the others."""
    needed, kept = {id(variable) for variable in jaxpr.outvars}, []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not needed.isdisjoint(map(id, equation.outvars)):
            kept.append(equation)
            needed.update(map(id, equation.invars))
    return kept


def product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def convolution(equation: Any) -> int:
    kernel, params = equation.invars[1].aval, equation.params
    outputs = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
    inserted = math.prod(params["lhs_dilation"])  # zeros between the entries of a strided gradient
    return 2 * equation.outvars[0].aval.size * kernel.size // (outputs * inserted)


RULES: dict[str, Callable[[Any], int]] = {
    "dot_general": product,
    "conv_general_dilated": convolution,
}


def jaxprs_in(value: Any) -> Iterator[Any]:
    """The jaxprs in a parameter of an equation, which may be open, closed or several."""
    for one in value if isinstance(value, (tuple, list)) else (value,):
        one = getattr(one, "jaxpr", one)
        if hasattr(one, "eqns"):
            yield one
