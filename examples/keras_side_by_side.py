"""A Keras program in fnet, call for call; the comments hold the Keras code.

    python examples/keras_side_by_side.py

Writes keras_history.png and keras_predictions.png into the current folder.
"""

import jax
import numpy as np

import fnet


def main() -> None:
    # (train_images, train_labels), (test_images, test_labels) = mnist.load_data()
    (train_images, train_labels), (test_images, test_labels) = fnet.datasets.mnist_5k()

    # model = keras.Sequential([
    #     layers.Rescaling(1 / 255), layers.Flatten(),
    #     layers.Dense(512, activation="relu"),
    #     layers.Dense(10, activation="softmax"),
    # ])
    hidden = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(512), fnet.relu)
    net = fnet.sequential(*hidden.layers, fnet.dense(10), fnet.softmax)

    # model.summary()
    print(fnet.summary(net, (28, 28)))

    # model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy",
    #               metrics=["accuracy"])
    state = fnet.train_state(net, "rmsprop", jax.random.key(0), (28, 28))
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])

    # history = model.fit(train_images, train_labels,
    #                     epochs=5, batch_size=128, validation_split=0.2)
    data = train_images, train_labels
    state, history = fnet.fit(task, state, data, epochs=5, batch_size=128, validation_split=0.2)

    # plt.plot(history.history["loss"]); plt.plot(history.history["val_loss"]); ...
    fnet.plot_history(history).savefig("keras_history.png", dpi=110)

    # model.evaluate(test_images, test_labels)
    logs = fnet.evaluate(task, state, (test_images, test_labels))
    print(f"test accuracy {logs['accuracy']:.4f}, loss {logs['loss']:.4f}")

    # predictions = model.predict(test_images[:10])
    probabilities = np.asarray(fnet.predict(net, state, test_images[:10]))
    assert np.allclose(probabilities.sum(axis=1), 1)  # softmax gives a distribution

    # model.predict(test_images[:10]).argmax(axis=-1)
    classes = fnet.predict_classes(net, state, test_images[:10])
    print("predicted", classes)
    print("labels   ", test_labels[:10])
    fnet.plot_predictions(test_images[:10], test_labels[:10], probabilities).savefig(
        "keras_predictions.png", dpi=110
    )

    # model.fit(...) again continues training; so does a run from the state that fit returned.
    further, _ = fnet.fit(task, state, data, epochs=5, batch_size=128, validation_split=0.2)
    more = fnet.evaluate(task, further, (test_images, test_labels))
    print(f"test accuracy {more['accuracy']:.4f} after {int(further.step)} steps")
    assert int(state.step) < int(further.step)  # and the state before is still there

    # features = keras.Model(model.inputs, model.layers[2].output).predict(images)
    # The parameters are a dict, so those of the first layers are picked by name. What they learned
    # from ten classes serves another task of few samples: is the digit odd?
    learned = {"dense": further.params["dense"]}
    odd_train, odd_test = (labels[:, None] % 2 for labels in (train_labels[:200], test_labels))
    head = fnet.sequential(fnet.dense(1), fnet.sigmoid)
    odd = fnet.supervised(head, "binary_crossentropy", metrics=["binary_accuracy"])
    pixels = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten)
    for name, features, params in (("pixels", pixels, {}), ("learned features", hidden, learned)):
        x_train = fnet.predict(features, params, train_images[:200])
        x_test = fnet.predict(features, params, test_images)
        start = fnet.train_state(head, fnet.adam(0.003), jax.random.key(1), x_train.shape[1:])
        trained, _ = fnet.train(odd, start, (x_train, odd_train), epochs=50, batch_size=32)
        logs = fnet.evaluate(odd, trained, (x_test, odd_test))
        print(f"odd or even from {name}: test accuracy {logs['binary_accuracy']:.4f}")
    print("see keras_history.png and keras_predictions.png")


if __name__ == "__main__":
    main()
