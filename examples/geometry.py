"""The geometry of layers: moves of a figure, chains of them, and a paper ball uncrumpled.

    python examples/geometry.py

Writes transforms.png, paper_ball.png and paper_ball.gif into the current folder.
"""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

DEPTH, STEPS, EFFORT = 6, 1200, 0.2
FIGURE = np.array(  # the outline of a letter F, a point a row
    [[0, 0], [0.4, 0], [0.4, 0.8], [0.8, 0.8], [0.8, 1.2], [0.4, 1.2], [0.4, 1.6], [1, 1.6], [1, 2]]
    + [[0, 2], [0, 0]],
    "float32",
)


def transforms() -> None:
    """What adding, multiplying and relu do to a figure in the plane."""
    a, b = np.array([0.5, 1.0]), np.array([1.0, 0.25])
    angle = np.radians(40)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scaling = np.diag([1.0, 0.5])
    linear = np.array([[1.0, 0.3], [0.8, 0.9]])
    assert np.allclose(rotation @ rotation.T, np.eye(2))  # lengths and angles stay
    moves = {
        "translation: x + a": FIGURE + a,
        "rotation by 40°: x R": FIGURE @ rotation,
        "scaling: x S": FIGURE @ scaling,
        "linear: x W": FIGURE @ linear,
        "affine: x W + b": FIGURE @ linear + b,
        "two in a row: (x R + a) W": (FIGURE @ rotation + a) @ linear,
        "dense with relu: max(x W - b, 0)": np.maximum(FIGURE @ linear - b, 0),
    }

    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    arrow: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.014}
    for tail, tip, color, name, place in (
        ((0, 0), a, TRAINING, "a", (-0.35, 0.6)),
        (a, b, VALIDATION, "b", (0.7, 1.4)),
        ((0, 0), a + b, "black", "a + b", (1.1, 0.4)),
    ):
        panels[0].quiver(*tail, *tip, color=color, **arrow)
        panels[0].text(*place, name, color=color)
    panels[0].set_title("addition of vectors", fontsize=10)
    for axes, (title, moved) in zip(panels[1:], moves.items(), strict=True):
        axes.plot(*FIGURE.T, "--", color="0.6", linewidth=1)
        axes.fill(*moved.T, color=TRAINING, alpha=0.25)
        axes.plot(*moved.T, "-", color=TRAINING)
        axes.set_title(title, fontsize=10)
    for axes in panels:
        tidy(axes, "first coordinate", "second coordinate")
        axes.set(aspect="equal", xlim=(-1.6, 4.1), ylim=(-0.4, 3.3))
        axes.label_outer()
    figure.savefig("transforms.png", dpi=110)


def collapse() -> None:
    """Three affine layers are one affine layer; with relu between them they are not."""
    key = jax.random.key(0)
    chain = fnet.sequential(fnet.dense(16), fnet.dense(16), fnet.dense(2))
    bent = fnet.sequential(fnet.dense(16), fnet.relu, fnet.dense(16), fnet.relu, fnet.dense(2))
    params = fnet.init(chain, key, (2,))
    params = jax.tree.map(lambda p: p + 0.1, params)  # so that no bias is zero

    kernel, bias = jnp.eye(2), jnp.zeros(2)
    for layer in ("dense", "dense_1", "dense_2"):
        kernel = kernel @ params[layer]["kernel"]
        bias = bias @ params[layer]["kernel"] + params[layer]["bias"]
    x = jax.random.normal(key, (1000, 2))
    one = fnet.apply(fnet.dense(2), {"kernel": kernel, "bias": bias}, x)
    difference = float(abs(fnet.apply(chain, params, x) - one).max())
    print(f"three affine layers and the one they collapse into differ by {difference:.0e}")
    assert difference < 1e-4

    # An affine map keeps midpoints where they are in the middle; a bent one does not.
    def bend(net: Any) -> float:
        middle = fnet.apply(net, params, (x[:500] + x[500:]) / 2)
        return float(abs(middle - fnet.apply(net, params, x).reshape(2, 500, 2).mean(axis=0)).max())

    print(f"midpoints move by {bend(chain):.0e} without relu, by {bend(bent):.2f} with it")
    assert bend(chain) < 1e-4 < 0.1 < bend(bent)


def spirals(samples: int) -> tuple[jax.Array, jax.Array]:
    """Two sheets of paper crumpled into each other: points (2 samples, 2), labels 0 and 1."""
    turn = jnp.sqrt(jnp.linspace(0.01, 1, samples))[:, None] * 2.5 * jnp.pi
    sheet = turn / turn.max() * jnp.concatenate([jnp.cos(turn), jnp.sin(turn)], axis=1)
    labels = jnp.repeat(jnp.array([[0.0], [1.0]]), samples, axis=0)
    return jnp.concatenate([sheet, -sheet]), labels


def draw(axes: Axes, points: Any, grid: Any, labels: Any) -> None:
    """The sheets, and the lines of the plane that they lie in; as large in every picture."""
    points, grid, labels = map(np.asarray, (points, grid, labels))
    centre, size = points.mean(axis=0), abs(points - points.mean(axis=0)).max()
    points, grid = (points - centre) / size, (grid - centre) / size
    for lines in (grid, grid.swapaxes(0, 1)):
        axes.plot(lines[..., 0], lines[..., 1], color="0.85", linewidth=0.6, zorder=0)
    for label, (color, marker) in enumerate(((TRAINING, "o"), (VALIDATION, "s"))):
        axes.plot(*points[labels[:, 0] == label].T, marker, color=color, markersize=2)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), xticks=[], yticks=[], aspect="equal")


def paper_ball() -> None:
    """Each layer moves the plane a little, x + f(x), until one line tells the sheets apart."""
    x, y = spirals(150)
    side = jnp.linspace(-1.1, 1.1, 19)
    plane = jnp.stack(jnp.meshgrid(side, side, indexing="ij"), axis=-1)
    move = fnet.residual(fnet.dense(32), fnet.tanh, fnet.dense(2))
    line = fnet.dense(1)
    keys = jax.random.split(jax.random.key(0), DEPTH + 1)
    moves = [fnet.init(move, key, (2,)) for key in keys[:DEPTH]]
    params = {"moves": moves, "line": fnet.init(line, keys[DEPTH], (2,))}
    params = jax.tree.map(lambda p: p / 2, params)  # so that the first moves are small

    def stages(params: Any, points: jax.Array) -> list[jax.Array]:
        """Where the points are before the first layer, and after each."""
        found = [points]
        for own in params["moves"]:
            found.append(fnet.apply(move, own, found[-1]))
        return found

    def loss(params: Any) -> jax.Array:
        """Telling the sheets apart, and the effort of moving and stretching the plane for it."""
        logits = fnet.apply(line, params["line"], stages(params, x)[-1])
        effort = jnp.zeros(())
        for before, after in pairwise(stages(params, plane)):
            effort += jnp.square(after - before).mean()
            for axis in (0, 1):
                stretch = jnp.diff(after - before, axis=axis) / (side[1] - side[0])
                effort += jnp.square(stretch).mean()
        return fnet.binary_crossentropy(y, logits, from_logits=True).mean() + EFFORT * effort

    optimizer = fnet.adam(fnet.cosine(0.01, STEPS))

    @jax.jit
    def train(params: Any) -> Any:
        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            params, memory = carry
            return optimizer.update(jax.grad(loss)(params), memory, params)

        return jax.lax.fori_loop(0, STEPS, step, (params, optimizer.init(params)))[0]

    params = train(params)
    points, planes = stages(params, x), stages(params, plane)
    right = (fnet.apply(line, params["line"], points[-1]) > 0) == y
    print(f"after {DEPTH} layers a straight line tells the sheets apart: {right.mean():.1%} right")

    pictures = list(zip(points, planes, strict=True))
    strip = Figure(figsize=(2 * (DEPTH + 1), 2.4), layout="constrained")
    for number, (axes, picture) in enumerate(
        zip(strip.subplots(1, DEPTH + 1), pictures, strict=True)
    ):
        draw(axes, *picture, y)
        axes.set_title(f"after layer {number}" if number else "the paper ball", fontsize=10)
    strip.savefig("paper_ball.png", dpi=100)

    film = Figure(figsize=(3.2, 3.4))
    axes = film.add_axes((0.04, 0.04, 0.92, 0.86))
    writer = PillowWriter(fps=10)
    with writer.saving(film, "paper_ball.gif", dpi=75):
        for number, ((x0, grid0), (x1, grid1)) in enumerate(pairwise(pictures)):
            for part in np.linspace(0, 1, 6, endpoint=False):
                axes.clear()
                draw(axes, x0 + part * (x1 - x0), grid0 + part * (grid1 - grid0), y)
                axes.set_title(f"layer {number + 1} of {DEPTH}", fontsize=10)
                writer.grab_frame()
        for _ in range(10):  # a second to look at the end
            axes.clear()
            draw(axes, *pictures[-1], y)
            axes.set_title("uncrumpled", fontsize=10)
            writer.grab_frame()


def main() -> None:
    transforms()
    collapse()
    paper_ball()
    print("see transforms.png, paper_ball.png and paper_ball.gif")


if __name__ == "__main__":
    main()
