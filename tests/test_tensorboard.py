"""Runs written for TensorBoard, and read by TensorBoard itself."""

import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from test_tracking import RECORDED, fit, table

import fnet

SCALARS = {"epoch", "loss", "val_loss", "step/loss", "step/grad_norm"}


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0})
    events.Reload()
    return events


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    events = read(folder)
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    writer = fnet.TensorBoardWriter(folder / "tensorboard")
    log = fnet.log_to(writer, hyperparameters={"seed": 0, "note": "b"}, histograms_every=2)
    fit(log, fnet.log_to(fnet.CSVWriter(folder / "log.csv")))
    return folder


def test_tensorboard_reads_the_scalars_of_epochs_and_steps(whole):
    found = scalars(whole / "tensorboard")
    assert found.keys() == SCALARS
    tables = {"": table(whole / "log.csv"), "step/": table(whole / "log.steps.csv")}
    for prefix, columns in tables.items():
        steps = columns.pop("step")
        for name, values in columns.items():
            expected = np.transpose([steps, np.float32(values)])
            np.testing.assert_array_equal(found[prefix + name], expected)


def test_tensorboard_reads_the_histograms_of_parameters(whole):
    (event,) = read(whole / "tensorboard").Histograms("w")
    assert (event.step, event.histogram_value.num) == (8, 1)
    assert 1 < event.histogram_value.min == event.histogram_value.max < 3


def test_tensorboard_reads_the_hyperparameters(whole):
    name = metadata.SESSION_START_INFO_TAG
    content = read(whole / "tensorboard").SummaryMetadata(name).plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    assert values["learning_rate"].number_value == 0.1
    assert values["optimizer"].string_value == "clipped(adam)"
    assert (values["seed"].number_value, values["note"].string_value) == (0, "b")


@pytest.mark.parametrize("last", [0, 4, 8])
def test_a_run_killed_between_the_log_and_the_checkpoint_is_read_as_the_whole_one(
    last, whole, tmp_path
):
    def run(**options):
        log = fnet.log_to(fnet.TensorBoardWriter(tmp_path / "events"), histograms_every=1)
        fit(fnet.Checkpoints(tmp_path / "run"), log, **options)

    run(epochs=2)
    for path in (tmp_path / "run").glob("step-*"):
        if int(path.stem.removeprefix("step-")) > last:
            path.unlink()
    run(resume="auto")
    assert scalars(tmp_path / "events") == scalars(whole / "tensorboard")
    assert [event.step for event in read(tmp_path / "events").Histograms("w")] == [4, 8, 12]
    assert len(list((tmp_path / "events").iterdir())) == 2


def test_a_run_in_parts_goes_on_in_the_same_folder(whole, tmp_path):
    log = fnet.log_to(fnet.TensorBoardWriter(tmp_path))
    state, _ = fit(log, epochs=1)
    fit(log, state=state, epochs=2)
    found = scalars(tmp_path)
    assert [step for step, _ in found["loss"]] == [4, 8, 12]
    assert [step for step, _ in found["step/loss"]] == RECORDED


def test_a_folder_of_another_run_is_refused(whole, compilations):
    compilations.clear()
    with pytest.raises(
        ValueError, match="`directory` of TensorBoardWriter must be that of this ru"
    ):
        fit(fnet.log_to(fnet.TensorBoardWriter(whole / "tensorboard")))
    with pytest.raises(OSError, match="`writer` must be able to write, got .*log.csv"):
        fit(fnet.log_to(fnet.TensorBoardWriter(whole / "log.csv" / "events")))
    assert not any("step" in name for name in compilations)


def test_tensorboardx_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'Install it: pip install "fnet-jax\[track\]"'):
        fnet.TensorBoardWriter("folder")
