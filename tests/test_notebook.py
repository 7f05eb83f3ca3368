"""What a run shows in a notebook, with stand-ins for the kernel, its display and its widgets."""

import sys
import types

import numpy as np
import pytest
from test_tracking import fit

import fnet
from fnet.core.notebook import notebook
from fnet.fitting import progress


@pytest.fixture
def shown(monkeypatch):
    """What a kernel would show: pictures in the order in which they came, by their place."""
    pictures = []

    class Image:
        def __init__(self, data):
            self.data = data

    class Handle:
        def __init__(self):
            self.place = len(pictures)
            pictures.append([])

        def update(self, picture):
            pictures[self.place].append(picture.data)

    def display(picture, display_id):
        handle = Handle()
        handle.update(picture)
        return handle

    class Formatter(dict):
        for_type = dict.__setitem__

    formatters = types.SimpleNamespace(formatters={"image/png": Formatter()})
    kernel = types.SimpleNamespace(kernel=object(), display_formatter=formatters)
    ipython = types.ModuleType("IPython")
    ipython.version_info = (9, 0)
    ipython.get_ipython = lambda: kernel
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.Image, ipython.display.display = Image, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return pictures


def test_there_is_no_notebook_here():
    assert notebook() is None


def test_a_notebook_shows_a_figure(shown):
    figure = fnet.plot_history({"loss": [2.0, 1.0]})
    formatters = sys.modules["IPython"].get_ipython().display_formatter.formatters
    assert formatters["image/png"][type(figure)](figure).startswith(b"\x89PNG")


def test_a_live_plot_is_one_picture_that_is_renewed(shown, monkeypatch):
    drawn = []
    plot = fnet.plot_history

    def drawing(history):
        drawn.append({name: len(values) for name, values in history.items()})
        assert history["record"]["step"].tolist() == list(range(0, 4 * drawn[-1]["loss"], 2))
        return plot(history)

    module = sys.modules["fnet.tracking.live_plot"]
    monkeypatch.setattr(module, "plot_history", drawing)
    monkeypatch.setattr(module, "SECONDS", 0)
    live = fnet.live_plot()
    fit(live, epochs=2)
    assert [sizes["val_loss"] for sizes in drawn] == [1, 2, 2]
    monkeypatch.setattr(module, "SECONDS", 1000)
    fit(live, epochs=2)
    assert [len(pictures) for pictures in shown] == [3, 2]
    assert all(picture.startswith(b"\x89PNG") for picture in shown[0])


def test_a_live_plot_of_a_resumed_run_has_all_epochs(shown, tmp_path, monkeypatch):
    run = fnet.Checkpoints(tmp_path)
    fit(run, epochs=1)
    live = fnet.live_plot()
    _, history = fit(run, live, resume="auto")
    np.testing.assert_array_equal(live.history["loss"], history["loss"])
    np.testing.assert_array_equal(live.history["record"]["loss"], history["record"]["loss"])


def test_a_live_plot_elsewhere_shows_nothing(capfd):
    fit(fnet.live_plot(), epochs=1)
    assert capfd.readouterr() == ("", "")


def test_one_widget_shows_the_epoch_in_progress_and_each_has_a_line(shown, monkeypatch, capsys):
    bars = []

    class Bar:
        def __init__(self, desc, total, bar_format, leave):
            assert not leave
            self.n, self.total, self.seen = 0, total, [desc]
            bars.append(self)

        def reset(self, total):
            self.n = 0

        def set_description_str(self, text, refresh):
            self.seen.append(text)

        def set_postfix_str(self, text, refresh):
            self.seen.append(text)

        def update(self, steps):
            self.n += steps

        def refresh(self):
            assert self.n == self.total

        def close(self):
            self.seen.append("closed")

    monkeypatch.setitem(sys.modules, "tqdm.notebook", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(progress, "REFRESH_SECONDS", -1)
    monkeypatch.setattr(progress, "has_widgets", lambda: True)
    _, history = fit(epochs=2, progress=True)
    (bar,) = bars
    titles = [text for text in bar.seen if not text.startswith("loss")]
    assert titles == ["epoch 1/2", "epoch 2/2", "closed"]
    lines = capsys.readouterr().out.splitlines()
    for line, loss in zip(lines, history["loss"], strict=True):
        assert f"s, loss {loss:.4f}, val_loss" in line


def test_without_widgets_there_are_lines(shown, capsys):
    fit(epochs=1, progress=True)
    assert capsys.readouterr().out.startswith("epoch 1/1: ")
