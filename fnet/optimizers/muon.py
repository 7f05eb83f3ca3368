"""Muon, an optimizer that knows which of the parameters are matrices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree, root
from .base import PerLeafOptimizer
from .hyperparameters import Number, number, number_or_schedule, pytree, static
from .rules import adam


class MuonState(NamedTuple):
    step: jax.Array  # ()
    velocity: Tree  # like params; of leaves that are no matrix the mean of Adam
    mean_square: Tree  # like params; stays 0 for matrices


@pytree
class muon(PerLeafOptimizer):
    """Muon, for matrices: B = beta B + G; P = P - lr s O, O an orthogonal matrix close to B.

    O is what five Newton-Schulz steps make of B, or of G + beta B with Nesterov's look-ahead: the
    singular vectors of B with singular values of about 1 (0.7 to 1.2). They are taken in float32
    rather than in the bfloat16 of the source. s = sqrt(max(1, columns / rows)) lets a kernel that
    widens, `(in, out)`, change its output as much as any other. Leaves of another rank than 2 are
    updated by Adam at the learning rate `adam_share` lr. Every leaf of rank 2 counts as a matrix,
    so the table of an embedding and the last kernel as well, which the source leaves to Adam.

    Args:
        learning_rate: a number or a schedule.
        beta: how much of the velocity B stays, in [0, 1).
        adam_share: Adam's learning rate, as a share of `learning_rate`.
        beta1, beta2, epsilon: of Adam, as for `adam`.
        nesterov: whether to look ahead along the velocity.

    Raises:
        ValueError: a hyperparameter out of its range.
        TypeError: later, trees that do not belong together.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.muon(0.1)
        >>> params, grads = jnp.zeros((2, 2)), jnp.array([[5.0, 0.0], [0.0, -2.0]])
        >>> optimizer.update(grads, optimizer.init(params), params)[0].round(1)
        Array([[-0.1,  0. ],
               [ 0. ,  0.1]], dtype=float32)

    Source: Jordan 2024, Muon: An optimizer for hidden layers in neural networks, algorithm 2, with
    the defaults and the factor s of its public implementation.
    """

    State = MuonState
    learning_rate: Number = number_or_schedule(default=0.02)
    beta: Number = number(default=0.95, below=1)
    adam_share: Number = 0.015
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.95, below=1)
    epsilon: Number = 1e-10
    nesterov: bool = static(default=True)

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
    """Newton-Schulz: an odd polynomial of the singular values, which takes (0, 1] to about 1."""
    a, b, c = 3.4445, -4.7750, 2.0315  # of the source: the steepest slope at 0 that stays near 1
    x = g / (root(jnp.sum(g**2)) + 1e-7)
    x = x.T if g.shape[0] > g.shape[1] else x
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x
