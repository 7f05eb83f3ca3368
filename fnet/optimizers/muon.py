"""Muon, an optimizer that treats matrices differently from other parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree, root
from .adam import adam
from .base import PerLeafOptimizer
from .hyperparameters import Number, number, number_or_schedule, pytree, static


class MuonState(NamedTuple):
    step: jax.Array  # ()
    velocity: Tree  # like params; for leaves other than matrices, Adam's mean
    mean_square: Tree  # like params; stays 0 for matrices


@pytree
class muon(PerLeafOptimizer):
    r"""Muon, which makes the updates of matrices near-orthogonal.

    .. math::

        B &\leftarrow \beta B + G \\
        P &\leftarrow P - \eta s O, \quad s = \sqrt{\max(1, \mathrm{columns} / \mathrm{rows})}

    with learning rate :math:`\eta`. Five Newton-Schulz steps compute :math:`O` from :math:`B`, or
    from :math:`G + \beta B` with Nesterov momentum: :math:`O` keeps the singular vectors and has
    singular values of about 1 (0.7 to 1.2). The steps run in float32 (bfloat16 in the source).
    :math:`s` scales the updates of widening `(in, out)` kernels so that their outputs change as
    much as those of other kernels.

    Adam updates leaves whose rank is not 2, at the learning rate `adam_share * learning_rate`.
    Every leaf of rank 2 counts as a matrix, including embedding tables and the last kernel, which
    the source leaves to Adam. Defaults: learning rate 0.02, `beta2` 0.95 (0.001 and 0.999 in
    Keras).

    Args:
        learning_rate: a number or a schedule.
        beta: decay rate of the velocity :math:`B`, in [0, 1).
        adam_share: Adam's learning rate, as a share of `learning_rate`.
        beta1, beta2, epsilon: Adam's, as for `adam`.
        nesterov: whether to use Nesterov momentum.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.muon(0.1)
        >>> params, grads = jnp.zeros((2, 2)), jnp.array([[5.0, 0.0], [0.0, -2.0]])
        >>> optimizer.update(grads, optimizer.init(params), params)[0].round(1)
        Array([[-0.1,  0. ],
               [ 0. ,  0.1]], dtype=float32)

    Source: Jordan 2024, Muon: An optimizer for hidden layers in neural networks, algorithm 2, with
    the defaults and the factor :math:`s` of its public implementation.
    """

    State = MuonState
    learning_rate: Number = number_or_schedule(default=0.02)
    beta: Number = number(default=0.95, below=1)
    adam_share: Number = 0.015
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.95, below=1)
    epsilon: Number = 1e-10
    nesterov: bool = static(default=True)

    @property
    def elementwise(self) -> bool:
        return False  # it orthogonalizes matrices

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, b: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        if p.ndim != 2:
            rate = self.adam_share * self.learning_rate
            return adam(rate, self.beta1, self.beta2, self.epsilon).update_leaf(t, g, p, b, v)
        b = self.beta * b + g
        o = orthogonalized(g + self.beta * b if self.nesterov else b)
        rows, columns = p.shape
        return p - self.learning_rate * max(1, columns / rows) ** 0.5 * o, b, v


def orthogonalized(g: jax.Array, steps: int = 5) -> jax.Array:
    """Newton-Schulz: an odd polynomial moves singular values in (0, 1] to about 1."""
    a, b, c = 3.4445, -4.7750, 2.0315  # from the source: steepest slope at 0 while staying near 1
    x = g / (root(jnp.sum(g**2)) + 1e-7)
    x = x.T if g.shape[0] > g.shape[1] else x
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x
