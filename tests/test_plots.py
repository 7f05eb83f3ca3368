"""Pictures, read back from the figure and drawn for real."""

import io

import numpy as np
import pytest

import fnet

HISTORY = {
    "loss": np.array([0.5, 0.3, 0.2]),
    "accuracy": np.array([0.8, 0.9, 0.95]),
    "val_loss": np.array([0.6, 0.4, 0.4]),
    "val_accuracy": np.array([0.7, 0.8, 0.8]),
}
IMAGES = np.arange(7 * 9).reshape(7, 3, 3).astype(np.uint8)


def drawn(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def test_history_has_a_panel_a_value_and_a_curve_a_set():
    figure = fnet.plot_history(HISTORY)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    for axes, name in zip(figure.axes, ["loss", "accuracy"], strict=True):
        assert axes.get_xlabel() == "epoch"
        training, validation = axes.get_lines()
        assert [line.get_label() for line in (training, validation)] == ["training", "validation"]
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(training.get_ydata(), HISTORY[name])
        np.testing.assert_array_equal(validation.get_ydata(), HISTORY[f"val_{name}"])
    assert drawn(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 2, 5, 40])
def test_epochs_are_marked_by_integers(epochs):
    figure = fnet.plot_history({"loss": np.linspace(1, 0.1, epochs)})
    drawn(figure)
    ticks = figure.axes[0].get_xticks()
    assert np.array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_no_history(history):
    with pytest.raises(ValueError, match="`history` must hold at least one epoch, got none"):
        fnet.plot_history(history)


def test_predictions_name_the_class_its_probability_and_the_label():
    probabilities = np.full((7, 3), 0.1)
    probabilities[:, 1] = 0.8
    figure = fnet.plot_predictions(IMAGES, [1, 2, 1, 1, 1, 1, 1], probabilities, ["a", "b", "c"])
    right, wrong = figure.axes[:2]
    assert (right.get_title(), right.get_xlabel()) == ("b  (80.0%)", "label b")
    assert (wrong.get_title(), wrong.get_xlabel()) == ("✗ b  (80.0%)", "label c")
    frames = [axes.spines["left"].get_linewidth() for axes in (right, wrong)]
    assert frames[0] < frames[1]
    assert len(figure.axes) == 7
    assert drawn(figure).startswith(b"\x89PNG")


def test_predictions_in_colour():
    colour = np.zeros((1, 3, 3, 3), np.uint8)
    assert drawn(fnet.plot_predictions(colour, [0], np.eye(2)[:1])).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [0, 3])
def test_predictions_of_different_lengths(count):
    with pytest.raises(ValueError, match=rf"must have one length, .* got {count}, 2 and 2"):
        fnet.plot_predictions(IMAGES[:count], [0, 1], np.eye(2))


def test_a_sweep_has_a_line_a_combination_and_a_band_of_its_spread():
    grid = fnet.grid(seed=[0, 1], learning_rate=[1e-3, 1e-2, 1e-1], rho=[0.9, 0.99])
    last = np.arange(12.0)
    history = {"loss": np.ones((12, 2)), "val_loss": np.stack([np.zeros(12), last], axis=1)}
    (axes,) = fnet.plot_grid(grid, history).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "val loss")
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rho 0.9", "rho 0.99"]
    for number, line in enumerate(axes.lines):
        means = last.reshape(2, 3, 2).mean(axis=0)[:, number]
        np.testing.assert_allclose(line.get_ydata(), means)
        band = axes.collections[number].get_paths()[0].vertices[:, 1]
        spread = np.std([0, 6], ddof=1)
        np.testing.assert_allclose(band.min(), means[0] - spread)
        np.testing.assert_allclose(band.max(), means[-1] + spread)


def test_a_sweep_of_near_values_is_drawn_on_an_even_scale():
    figure = fnet.plot_grid(fnet.grid(rho=[0.8, 0.9]), {"loss": [[1.0], [2.0]]}, "loss")
    assert figure.axes[0].get_xscale() == "linear"
    assert figure.axes[0].get_legend() is None
