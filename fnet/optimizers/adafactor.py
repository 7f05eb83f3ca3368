"""Adafactor, which keeps a row and a column in place of the mean square of a matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree, root
from .base import PerLeafOptimizer
from .hyperparameters import Number, number_or_schedule, pytree


class AdafactorState(NamedTuple):
    step: jax.Array  # ()
    row: Tree  # (..., rows) for params (..., rows, columns); like params for vectors and numbers
    column: Tree  # (..., columns); (0,) for vectors and numbers


@pytree
class adafactor(PerLeafOptimizer):
    r"""Adafactor without momentum, which keeps the means of the mean square along two axes.

    .. math::

        r_i &\leftarrow b r_i + (1 - b) \, \mathrm{mean}_j(g_{ij}^2 + \epsilon_1) \\
        c_j &\leftarrow b c_j + (1 - b) \, \mathrm{mean}_i(g_{ij}^2 + \epsilon_1) \\
        u_{ij} &= g_{ij} / \sqrt{r_i c_j / \mathrm{mean}(r)} \\
        p &\leftarrow p - \eta \max(\epsilon_2, \mathrm{rms}(p)) \, u / \max(1, \mathrm{rms}(u) / h)

    at update :math:`t = 1, 2, \ldots` with :math:`b = 1 - t^{-k}`, `decay` :math:`k`, `threshold`
    :math:`h` and learning rate :math:`\eta`; :math:`\mathrm{rms}` is the root mean square.

    The last two axes of an array are its rows and columns; vectors and numbers keep the whole
    mean square. Formula and defaults are Keras's, whose rate is besides at most
    :math:`1 / \sqrt{t}`, which binds after a million steps: the source's
    :math:`\min(0.01, 1 / \sqrt{t})` is a function of the step. optax factors the two longest axes,
    and only those of at least 128 entries.

    Args:
        learning_rate: a number or a schedule, relative to the size of each array.
        decay: exponent of the decay of the mean square.
        threshold: updates with a larger root mean square are scaled down to it.
        epsilon1: added to the squared gradient.
        epsilon2: the least size of an array that the rate is relative to.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.adafactor(0.1)
        >>> params = jnp.full((3, 2), 2.0)
        >>> params, opt_state = optimizer.update(params, optimizer.init(params), params)
        >>> round(params[0, 0].item(), 4), opt_state.row.shape, opt_state.column.shape
        (1.8, (3,), (2,))

    Source: Shazeer and Stern 2018, Adafactor, algorithms 4 to 6.
    """

    State = AdafactorState
    learning_rate: Number = number_or_schedule(default=1e-3)
    decay: Number = 0.8
    threshold: Number = 1.0
    epsilon1: Number = 1e-30
    epsilon2: Number = 1e-3

    def init(self, params: Tree) -> AdafactorState:
        def row(p: jax.Array) -> jax.Array:
            return jnp.zeros(p.shape[:-1] if p.ndim > 1 else p.shape, p.dtype)

        def column(p: jax.Array) -> jax.Array:
            return jnp.zeros((*p.shape[:-2], p.shape[-1]) if p.ndim > 1 else (0,), p.dtype)

        step = jnp.zeros((), jnp.int32)
        return AdafactorState(step, jax.tree.map(row, params), jax.tree.map(column, params))

    def check_slots(self, params: Tree, **slots: Tree) -> None:
        for name, wanted in jax.eval_shape(self.init, params)._asdict().items():
            if name in slots:
                self.check_trees(wanted, **{name: slots[name]})

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, r: jax.Array, c: jax.Array
    ) -> tuple[jax.Array, ...]:
        b = 1 - t**-self.decay
        squared = g**2 + self.epsilon1
        # Divided by one root at a time: products of two squares of 1e-30 are 0 in float32.
        if g.ndim > 1:
            r = b * r + (1 - b) * squared.mean(-1)
            c = b * c + (1 - b) * squared.mean(-2)
            share = root(r.mean(-1, keepdims=True)) / root(r)
            u = g / root(c)[..., None, :] * share[..., None]
        else:
            r = b * r + (1 - b) * squared
            u = g / root(r)
        size = jnp.maximum(self.epsilon2, root(jnp.mean(p**2)))
        u = u / jnp.maximum(1, root(jnp.mean(u**2)) / self.threshold)
        return p - self.learning_rate * size * u, r, c
