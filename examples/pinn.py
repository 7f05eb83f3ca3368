"""A network that solves Burgers' equation u_t + u u_x = nu u_xx, from nothing but the equation.

    python examples/pinn.py

Writes pinn.png into the current folder.

Source: Raissi, Perdikaris and Karniadakis 2019, Physics-informed neural networks, section 3.1.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, VALIDATION, tidy

VISCOSITY = 0.01 / np.pi
POINTS = 512
STEPS, EPOCHS = 400, 20
NET = fnet.sequential(*[fnet.dense(32), fnet.tanh] * 4, fnet.dense(1))


def solution(params: Any, t: jax.Array, x: jax.Array) -> jax.Array:
    """-sin(pi x) at t = 0 and 0 at x = -1 and 1 whatever the network says (Lagaris et al. 1998)."""
    y = fnet.apply(NET, params, jnp.stack([t, x], axis=1))[:, 0]
    return -jnp.sin(jnp.pi * x) + t * (1 - x**2) * y


def residual(params: Any, batch: None, key: jax.Array) -> jax.Array:
    """By how much the equation fails at random points, squared."""
    t, x = jax.random.uniform(key, (2, POINTS), minval=jnp.array([[0.0], [-1.0]]))
    one = jnp.ones(POINTS)

    def in_space(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(partial(solution, params, t), (x,), (one,))

    (u, u_x), (_, u_xx) = jax.jvp(in_space, (x,), (one,))
    _, u_t = jax.jvp(lambda t: solution(params, t, x), (t,), (one,))
    return (u_t + u * u_x - VISCOSITY * u_xx) ** 2


def relative(means: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jnp.sqrt(means[0] / means[1])


def error(
    params: Any, batch: tuple[jax.Array, ...], key: jax.Array
) -> dict[str, jax.Array | fnet.Statistic]:
    """The distance to a known solution, which training never sees."""
    t, x, u = batch
    squared = (solution(params, t, x) - u) ** 2
    return {"loss": squared, "error": fnet.Statistic((squared, u**2), relative)}


def reference(modes: int = 1024, steps: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t, x and u on a grid, by Fourier modes and Runge-Kutta steps in which diffusion is exact."""
    x = np.linspace(-1, 1, modes, endpoint=False)
    k, h = np.pi * np.arange(modes // 2 + 1), 1 / steps
    decay = np.exp(-VISCOSITY * k**2 * h / 2)  # in half a step

    def slope(v: np.ndarray) -> np.ndarray:
        return -0.5j * k * np.fft.rfft(np.fft.irfft(v) ** 2)

    v = [np.fft.rfft(-np.sin(np.pi * x))]
    for _ in range(steps):
        a = slope(v[-1])
        b = slope(decay * (v[-1] + h / 2 * a))
        c = slope(decay * v[-1] + h / 2 * b)
        d = slope(decay * (decay * v[-1] + h * c))
        v.append(decay * (decay * (v[-1] + h / 6 * a) + h / 3 * (b + c)) + h / 6 * d)
    return np.linspace(0, 1, 101), x, np.fft.irfft(v[:: steps // 100])


def main() -> None:
    fnet.cache_programs()
    t, x, u = reference()
    grid = np.meshgrid(t, x, indexing="ij")
    points = tuple(jnp.asarray(array.ravel(), jnp.float32) for array in (*grid, u))

    # The task draws its own points and the run is one program: no loop, no data, no transfer; the
    # distance to the reference is measured inside of it after each epoch.
    task = fnet.task(residual, evaluate=error)
    optimizer = fnet.muon(fnet.warmup_cosine(0.01, STEPS, EPOCHS * STEPS))
    state = fnet.train_state(NET, optimizer, jax.random.key(0), (2,))
    state, history = fnet.train(task, state, None, steps=STEPS, epochs=EPOCHS, validation=points)

    errors = np.asarray(history["val_error"])
    for epoch in (1, 5, 10, 15, 20):
        print(f"after {STEPS * epoch:4} steps: relative L2 error {errors[epoch - 1]:.5f}")
    ours = np.asarray(solution(state.params, *points[:2])).reshape(u.shape)

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    plane, cuts, curve = figure.subplots(1, 3)
    image = plane.imshow(ours.T, cmap="RdBu", origin="lower", aspect="auto", extent=(0, 1, -1, 1))
    figure.colorbar(image, ax=plane, label="u")
    plane.set(xlabel="t", ylabel="x", title="the network")
    for row, color in zip((25, 50, 75), COLORS, strict=False):
        cuts.plot(x, u[row], color="0.75", linewidth=5, label="reference" if row == 25 else None)
        cuts.plot(x, ours[row], color=color, label=f"t = {t[row]:.2f}")
    tidy(cuts, "x", "u")
    cuts.legend(frameon=False, loc="lower left", fontsize=8)
    curve.semilogy(STEPS * np.arange(1, EPOCHS + 1), errors, ".-", color=VALIDATION)
    tidy(curve, "step", "relative L2 error")
    figure.savefig("pinn.png", dpi=120)
    print("see pinn.png")


if __name__ == "__main__":
    main()
