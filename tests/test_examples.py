"""The examples as a user runs them: the README, and each program in a process of its own."""

import doctest
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def offline(tmp_path):
    """Without MNIST and without a way to it: nothing listens on the port of the proxy."""
    hidden = {"FNET_DATA_DIR": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    dead = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return os.environ | hidden | dead


def run(program: str, *arguments: str, cwd, env) -> str:
    command = [sys.executable, str(ROOT / "examples" / program), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=env, check=True, text=True, capture_output=True
    ).stdout


def test_mnist_on_the_bundled_digits(tmp_path, offline):
    shown = run("mnist.py", cwd=tmp_path, env=offline)
    assert "MNIST is neither on this machine nor to be downloaded: using the bundled" in shown
    assert "epoch 20/20: " in shown
    assert float(re.search(r"test accuracy (\S+),", shown)[1]) > 0.93
    assert picture(tmp_path / "history.png")
    assert picture(tmp_path / "predictions.png")


def test_mnist_takes_its_flags(tmp_path, offline):
    arguments = "--epochs 2 --batch-size 500 --optimizer adam --seed 3 --validation-split 0.25"
    shown = run("mnist.py", *arguments.split(), cwd=tmp_path, env=offline)
    assert len(re.findall(r"epoch \d/2: .* val_loss", shown)) == 2


def test_from_scratch(tmp_path, offline):
    shown = run("from_scratch.py", cwd=tmp_path, env=offline)
    assert float(re.search(r"by hand and jax.grad differ by (\S+)", shown)[1]) < 1e-5
    losses = [float(loss) for loss in re.findall(r"epoch \d+/10: loss of .* (\S+)", shown)]
    assert len(losses) == 10
    assert losses[-1] < losses[0]


def picture(path: pathlib.Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_ensemble(tmp_path, offline):
    shown = run("ensemble.py", cwd=tmp_path, env=offline)
    alone = float(re.search(r"one model: (\S+) of the test set", shown)[1])
    together = dict(re.findall(r"average of +(\d+): (\S+)", shown))
    assert list(together) == ["1", "2", "4", "8", "16"]
    assert float(together["16"]) > alone > 0.93
    assert picture(tmp_path / "ensemble.png")
    assert picture(tmp_path / "disagreement.png")


def test_convnet_on_the_bundled_digits(tmp_path, offline):
    shown = run("convnet.py", "--epochs", "6", cwd=tmp_path, env=offline)
    assert float(re.search(r"test accuracy (\S+),", shown)[1]) > 0.95
    assert picture(tmp_path / "filters.png")


def test_char_transformer(tmp_path, offline):
    shown = run("char_transformer.py", "--epochs", "1", cwd=tmp_path, env=offline)
    assert len(shown.split("--- after")) == 3
    assert float(re.search(r"(\S+) bits a letter at the end", shown)[1]) < 4.5
    assert picture(tmp_path / "transformer.png")


def test_sweep(tmp_path, offline):
    shown = run("sweep.py", cwd=tmp_path, env=offline)
    assert re.findall(r"(\w+): 27 runs", shown) == ["sgd", "momentum", "rmsprop", "adam"]
    accuracies = [float(line.split()[-3]) for line in shown.splitlines() if line.count("±") == 4]
    assert len(accuracies) == 4 * 9
    assert max(accuracies) > 0.9 > 0.3 > min(accuracies)
    assert picture(tmp_path / "sweep.png")


def test_hypergradient(tmp_path, offline):
    shown = run("hypergradient.py", cwd=tmp_path, env=offline)
    start, best = re.search(r"loss (\S+) at the start, (\S+) at best", shown).groups()
    assert float(best) < 0.6 * float(start)
    assert picture(tmp_path / "hypergradient.png")


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert attempted > 0
    assert not failed
