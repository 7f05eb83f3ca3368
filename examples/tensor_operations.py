"""Tensor operations: naive loops beside NumPy and jitted JAX, their answers and their times.

    python examples/tensor_operations.py

Writes tensor_operations.png into the current folder.
"""

import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, tidy

# The operations as loops, an entry at a time.


def naive_relu(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = max(x[i, j], 0)
    return x


def naive_add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[i, j]
    return x


def naive_add_matrix_and_vector(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[j]
    return x


def naive_vector_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = x.dtype.type(0)
    for i in range(x.shape[0]):
        z += x[i] * y[i]
    return z


def naive_matrix_vector_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = np.zeros(x.shape[0], x.dtype)
    for i in range(x.shape[0]):
        z[i] = naive_vector_dot(x[i, :], y)
    return z


def naive_matrix_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = np.zeros((x.shape[0], y.shape[1]), x.dtype)
    for i in range(x.shape[0]):
        for j in range(y.shape[1]):
            z[i, j] = naive_vector_dot(x[i, :], y[:, j])
    return z


def finished(jitted: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """JAX returns before the numbers are there; a fair clock waits for them."""
    return jitted(*arrays).block_until_ready()


def microseconds(call: Callable[[], Any], runs: int) -> float:
    """The fastest of three rounds, so that what else the machine does counts least."""
    call()  # compiles
    return min(timeit.repeat(call, number=runs, repeat=3)) / runs * 1e6


def main() -> None:
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype("float32")

    x, y, row = draw(200, 100), draw(200, 100), draw(100)
    operations: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any, tuple[Any, ...]]] = {
        "relu": (naive_relu, lambda x: np.maximum(x, 0), jax.nn.relu, (x,)),
        "matrix + matrix": (naive_add, np.add, jnp.add, (x, y)),
        "matrix + vector": (naive_add_matrix_and_vector, np.add, jnp.add, (x, row)),
        "vector · vector": (naive_vector_dot, np.dot, jnp.dot, (row, draw(100))),
        "matrix · vector": (naive_matrix_vector_dot, np.dot, jnp.dot, (x, row)),
        "matrix · matrix": (naive_matrix_dot, np.dot, jnp.dot, (draw(60, 100), draw(100, 60))),
    }
    times = []
    for name, (naive, vectorized, of_jax, arrays) in operations.items():
        jitted, on_device = jax.jit(of_jax), [jnp.asarray(array) for array in arrays]
        answer = naive(*arrays)
        assert np.allclose(answer, vectorized(*arrays), atol=1e-4)
        assert np.allclose(answer, jitted(*on_device), atol=1e-4)
        times.append(
            (
                microseconds(partial(naive, *arrays), 1),
                microseconds(partial(vectorized, *arrays), 200),
                microseconds(partial(finished, jitted, *on_device), 200),
            )
        )
        print("{:16} naive {:9.1f} us, NumPy {:6.1f} us, JAX {:6.1f} us".format(name, *times[-1]))

    # relu(x W + b) is a dense layer, in whichever of the three it is written.
    kernel, bias = draw(100, 16), draw(16)
    by_loops = naive_relu(naive_add_matrix_and_vector(naive_matrix_dot(x[:20], kernel), bias))
    layer = fnet.sequential(fnet.dense(16), fnet.relu)
    params = {"dense": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}
    assert np.allclose(by_loops, np.maximum(x[:20] @ kernel + bias, 0), atol=1e-4)
    assert np.allclose(by_loops, fnet.apply(layer, params, jnp.asarray(x[:20])), atol=1e-4)

    # Broadcasting: missing axes are added in front, and axes of length 1 are repeated.
    x, y = draw(32, 10), draw(10)
    repeated = np.concatenate([y[None]] * 32, axis=0)
    assert np.array_equal(x + y, x + repeated)
    x, y = draw(64, 3, 32, 10), draw(32, 10)
    assert np.array_equal(np.maximum(x, y), jnp.maximum(x, y))
    print(f"the maximum of {x.shape} and {y.shape} is {jnp.maximum(x, y).shape}")

    # A dot product goes along the last axis of x and the first of y, here (a, b, c, d) with (d, e).
    z = jnp.dot(x, draw(10, 5))
    assert z.shape == (64, 3, 32, 5)
    print(f"the dot of {x.shape} and (10, 5) is {z.shape}")

    # A reshape keeps the order of the entries, a transpose swaps rows and columns.
    x = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    assert np.array_equal(x.reshape((6, 1)).ravel(), np.arange(6))
    assert np.array_equal(x.reshape((2, 3)), [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(x.T, [[0, 2, 4], [1, 3, 5]])
    assert np.transpose(np.zeros((300, 20))).shape == (20, 300)
    # On arrays as small as these, JAX mostly spends the few microseconds that any call takes.
    print("naive loops, NumPy and jitted JAX agree in every operation")

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    axes = figure.subplots()
    names = ["naive loops", "NumPy", "jitted JAX"]
    for number, (label, column) in enumerate(zip(names, zip(*times, strict=True), strict=True)):
        places = np.arange(len(operations)) + 0.27 * (number - 1)
        bars = axes.bar(places, column, 0.25, color=COLORS[number], label=label)
        axes.bar_label(bars, fmt=lambda t: f"{t:,.0f}" if t >= 10 else f"{t:.1f}", fontsize=8)
    axes.set_xticks(range(len(operations)), list(operations))
    axes.set_yscale("log")
    axes.set_ylim(0.2, 2e5)
    tidy(axes, "", "time of a call (microseconds)")
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig("tensor_operations.png", dpi=110)
    print("see tensor_operations.png")


if __name__ == "__main__":
    main()
