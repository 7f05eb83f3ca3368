"""The headline on the whole of MNIST, where it is at hand."""

import jax
from real_data import folder_of

import fnet
from fnet.datasets import _MNIST


def test_five_epochs_reach_the_headline():
    train, test = fnet.datasets.mnist(folder_of(_MNIST))
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(512),
        fnet.relu,
        fnet.dense(10),
        fnet.softmax,
    )
    loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
    state = fnet.train_state(net, "rmsprop", jax.random.key(0), (28, 28))
    state, _ = fnet.fit(
        fnet.supervised(net, loss), state, train, epochs=5, batch_size=128, progress=False
    )
    accuracies = [
        fnet.evaluate(
            fnet.supervised(net, loss, metrics),
            state,
            data,
        )["accuracy"]
        for data in (train, test)
    ]
    print("training and test accuracy", accuracies)
    assert accuracies[0] >= 0.985
    assert accuracies[1] >= 0.975
