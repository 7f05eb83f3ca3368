"""Gradients: what a derivative is, what it costs, and the analytic zero it leads to.

    python examples/gradients.py

Writes gradients.png into the current folder.
"""

import timeit
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy


def three_examples() -> None:
    """The derivative by a scalar, by a list of variables, and by the weights of a dense layer."""
    # A step of x changes the function by slope times the step.
    slope = jax.grad(lambda x: 2 * x + 3)(0.0)
    assert slope == 2

    # Of anything that is a tree of arrays, here a list; each has a gradient of its own shape.
    variables = [jnp.zeros(()), jnp.zeros((2, 2))]
    slopes = jax.grad(lambda both: (2 * both[0] + 3 * both[1]).sum())(variables)
    assert slopes[0] == 2 * 4 and (slopes[1] == 3).all()

    # Of a matmul plus bias: each weight is multiplied by an input, each bias by 1 a sample.
    x = jax.random.uniform(jax.random.key(0), (2, 2))
    weights = {"kernel": jax.random.uniform(jax.random.key(1), (2, 2)), "bias": jnp.zeros(2)}
    slopes = jax.grad(lambda w: (x @ w["kernel"] + w["bias"][None]).sum())(weights)
    assert jnp.allclose(slopes["kernel"], x.T @ jnp.ones((2, 2)))
    assert (slopes["bias"] == 2).all()

    # The chain rule: the derivative of f(g(x)) is f'(g(x)) g'(x).
    whole = jax.grad(lambda x: jnp.sin(x**2))(1.5)
    assert jnp.isclose(whole, jnp.cos(1.5**2) * 2 * 1.5)
    print("by a scalar, by a list, by a kernel and a bias, and through a chain: as by hand")


def seconds(gradient: Callable[[jax.Array], jax.Array], weights: jax.Array, runs: int) -> float:
    """Of a call; the fastest of three rounds, so that what else the machine does counts least."""
    rounds = timeit.repeat(lambda: gradient(weights).block_until_ready(), number=runs, repeat=3)
    return min(rounds) / runs


def one_weight_at_a_time() -> list[tuple[int, float, float]]:
    """Weights, and seconds for the whole gradient by finite differences and in reverse mode."""
    (images, labels), _ = fnet.datasets.mnist_5k()
    x, y = jnp.asarray(images[:64, ::4, ::4]), jnp.asarray(labels[:64])
    costs = []
    for hidden in (1, 4, 16, 48, 96):
        net = fnet.sequential(
            fnet.rescale(1 / 255), fnet.flatten, fnet.dense(hidden), fnet.tanh, fnet.dense(10)
        )
        weights, tree = ravel_pytree(fnet.init(net, jax.random.key(0), (7, 7)))

        def loss(weights: jax.Array, net: Any = net, tree: Any = tree) -> jax.Array:
            logits = fnet.apply(net, tree(weights), x)
            return fnet.sparse_categorical_crossentropy(y, logits, from_logits=True).mean()

        @jax.jit
        def differences(weights: jax.Array, loss: Any = loss) -> jax.Array:
            """Move one weight up and down, look at the loss, go on to the next."""

            def slope(i: jax.Array) -> jax.Array:
                up, down = weights.at[i].add(0.01), weights.at[i].add(-0.01)
                return (loss(up) - loss(down)) / 0.02

            return jax.lax.map(slope, jnp.arange(len(weights)))

        reverse = jax.jit(jax.grad(loss))
        exact = reverse(weights)
        error = abs(differences(weights) - exact).max() / abs(exact).max()
        assert error < 0.01
        slow, fast = seconds(differences, weights, 1), seconds(reverse, weights, 200)
        costs.append((len(weights), slow, fast))
        print(
            f"{len(weights):6,} weights: {slow * 1e3:8.2f} ms by finite differences, "
            f"{fast * 1e3:.2f} ms in reverse mode; they differ by {error:.0e}"
        )
    return costs


def analytic_zero() -> np.ndarray:
    """The distance of descent, step by step, to where the gradient of least squares is zero."""
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 5)).astype("float32")
    y = x @ random.standard_normal((5, 1)) + 0.5 + 0.1 * random.standard_normal((200, 1))
    data = jnp.asarray(x), jnp.asarray(y, "float32")

    # The gradient 2 A^T (A w - y) / n is zero where A^T A w = A^T y; A has a column for the bias.
    a = np.hstack([x, np.ones((200, 1))])
    best = np.linalg.solve(a.T @ a, a.T @ y).ravel()

    net = fnet.dense(1)
    state = fnet.train_state(net, fnet.sgd(0.1), jax.random.key(0), (5,))
    slope = jax.grad(lambda w: fnet.mean_squared_error(data[1], fnet.apply(net, w, data[0])).mean())
    at_best = slope({"kernel": jnp.float32(best[:5, None]), "bias": jnp.float32(best[5:])})
    assert max(abs(leaf).max() for leaf in jax.tree.leaves(at_best)) < 1e-5

    step = jax.jit(fnet.train_step(fnet.supervised(net, "mean_squared_error")))
    distances = []
    for _ in range(80):
        weights = np.concatenate([state.params["kernel"].ravel(), state.params["bias"]])
        distances.append(np.linalg.norm(weights - best))
        state, _ = step(state, data)
    print(f"descent ends {distances[-1]:.0e} from the analytic zero")
    assert distances[-1] < 1e-4
    # Why nobody does this to a network: it is linear in no layer but the last, and even if it were,
    weights_of_mnist = 784 * 512 + 512 + 512 * 10 + 10
    print(
        f"for the {weights_of_mnist:,} weights of 784-512-10 the matrix alone would take "
        f"{4 * weights_of_mnist**2 / 1e9:,.0f} GB, and solving it {weights_of_mnist**3 / 3:.0e} "
        f"multiplications"
    )
    return np.array(distances)


def main() -> None:
    three_examples()
    costs = np.array(one_weight_at_a_time())
    distances = analytic_zero()

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    curve, cost, descent = figure.subplots(1, 3)

    def f(x: Any) -> Any:
        return x**3 - 2 * x + 2

    x = np.linspace(-1.8, 1.8, 200)
    curve.plot(x, f(x), "-", color=TRAINING, label="f(x) = x³ - 2x + 2")
    for number, point in enumerate((-1.3, 0.0, 1.2)):
        near = np.array([point - 0.5, point + 0.5])
        tangent = f(point) + jax.grad(f)(point) * (near - point)
        label = None if number else "slope, jax.grad(f)(x)"
        curve.plot(near, tangent, "--", color=VALIDATION, label=label)
        curve.plot(point, f(point), "o", color=VALIDATION)
    tidy(curve, "x", "f(x)")
    curve.set_ylim(-0.5, 5.8)
    curve.legend(frameon=False)

    cost.loglog(costs[:, 0], costs[:, 1] * 1e3, "s--", color=VALIDATION, label="finite differences")
    cost.loglog(costs[:, 0], costs[:, 2] * 1e3, "o-", color=TRAINING, label="reverse mode")
    tidy(cost, "weights", "time of a gradient (milliseconds)")
    cost.legend(frameon=False)

    descent.semilogy(distances, "-", color=TRAINING)
    tidy(descent, "step of gradient descent", "distance to the analytic zero")
    figure.savefig("gradients.png", dpi=110)
    print("see gradients.png")


if __name__ == "__main__":
    main()
