"""A hypergradient: descent on the learning rate and the momentum of a run, through the run.

    python examples/hypergradient.py

Writes hypergradient.png into the current folder.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy


def main() -> None:
    fnet.cache_programs()
    (x, y), _ = fnet.datasets.mnist_5k()
    train, validation = (x[:1000], y[:1000]), (x[1000:2000], y[1000:2000])
    net = fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(32), fnet.tanh, fnet.dense(10), fnet.softmax
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy")
    state = fnet.train_state(net, fnet.momentum(), jax.random.key(0), (28, 28))

    def validation_loss(settings: dict[str, jax.Array]) -> jax.Array:
        """After two epochs; unbounded numbers become a rate above 0 and a beta in (0, 1)."""
        rate, beta = jnp.exp(settings["log_rate"]), jax.nn.sigmoid(settings["logit_beta"])
        start = replace(state, optimizer=fnet.momentum(rate, beta))
        _, history = fnet.train(task, start, train, epochs=2, batch_size=50, validation=validation)
        return history["val_loss"][-1]

    # The whole run is a function of its settings, so an optimizer can be pointed at it.
    slope = jax.jit(jax.value_and_grad(validation_loss))
    settings = {"log_rate": jnp.log(0.01), "logit_beta": jnp.log(9.0)}  # 0.01 and 0.9
    outer = fnet.adam(0.3)
    memory = outer.init(settings)
    path = []
    for number in range(40):
        loss, grads = slope(settings)
        rate, beta = np.exp(settings["log_rate"]), jax.nn.sigmoid(settings["logit_beta"])
        path.append((float(rate), float(beta), float(loss)))
        if number % 5 == 0 or number == 39:
            print(f"step {number:2}: learning rate {rate:.4f}, beta {beta:.3f}, loss {loss:.4f}")
        settings, memory = outer.update(grads, memory, settings)

    rates, betas, losses = zip(*path, strict=True)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    curve, plane = figure.subplots(1, 2)
    curve.plot(losses, "-", color=TRAINING)
    tidy(curve, "step on the settings", "validation loss of the run")
    plane.plot(rates, betas, ".-", color=TRAINING)
    plane.plot(rates[0], betas[0], "o", color=VALIDATION, label="start")
    plane.plot(rates[-1], betas[-1], "s", color=VALIDATION, label="end")
    plane.set_xscale("log")
    tidy(plane, "learning rate", "beta")
    plane.legend(frameon=False)
    figure.savefig("hypergradient.png", dpi=120)
    print(f"validation loss {losses[0]:.4f} at the start, {min(losses):.4f} at best")


if __name__ == "__main__":
    main()
