"""The examples as a user runs them: the README, and each program, most of them in this process."""

import dataclasses
import doctest
import pathlib
import re
import runpy
import subprocess
import sys

import jax
import pytest

import fnet

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Without MNIST and without a way to it: nothing listens on the port of the proxy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNET_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")


@pytest.fixture
def run(offline, monkeypatch, capsys):
    """Runs a program and gives what it prints: here, where JAX and small programs are there.

    `constants` of the program have other values, such as fewer seeds, where those show the same.
    """

    def shown(program: str, *arguments: str, **constants: int) -> str:
        path = str(ROOT / "examples" / program)
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            names = runpy.run_path(path)["main"].__globals__
            assert constants.keys() <= names.keys()
            names.update(constants)
            names["main"]()
        return capsys.readouterr().out

    return shown


def test_mnist_on_the_bundled_digits(tmp_path, offline):
    """In a process of its own, so that nothing of the tests helps it."""
    command = [sys.executable, str(ROOT / "examples" / "mnist.py")]
    shown = subprocess.run(command, check=True, text=True, capture_output=True).stdout
    assert "MNIST is neither on this machine nor to be downloaded: using the bundled" in shown
    assert "epoch 20/20: " in shown
    assert float(re.search(r"test accuracy (\S+),", shown)[1]) > 0.93
    assert picture(tmp_path / "history.png")
    assert picture(tmp_path / "predictions.png")


def test_mnist_takes_its_flags(tmp_path, run):
    arguments = "--epochs 2 --batch-size 500 --optimizer adam --seed 3 --validation-split 0.25"
    shown = run("mnist.py", *arguments.split())
    assert len(re.findall(r"epoch \d/2: .* val_loss", shown)) == 2


@pytest.mark.soak
def test_from_scratch(tmp_path, run):
    shown = run("from_scratch.py", EPOCHS=6)
    assert float(re.search(r"by hand and jax.grad differ by (\S+)", shown)[1]) < 1e-5
    losses = [float(loss) for loss in re.findall(r"epoch \d+/60: loss of .* (\S+)", shown)]
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]
    assert float(re.search(r"test accuracy (\S+)", shown)[1]) > 0.5


def picture(path: pathlib.Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.soak
def test_ensemble(tmp_path, run):
    shown = run("ensemble.py")
    alone = float(re.search(r"one model: (\S+) of the test set", shown)[1])
    together = dict(re.findall(r"average of +(\d+): (\S+)", shown))
    assert list(together) == ["1", "2", "4", "8", "16"]
    assert float(together["16"]) > alone > 0.93
    assert picture(tmp_path / "ensemble.png")
    assert picture(tmp_path / "disagreement.png")


@pytest.mark.soak
def test_convnet_on_the_bundled_digits(tmp_path, run):
    shown = run("convnet.py", "--epochs", "6")
    assert float(re.search(r"test accuracy (\S+),", shown)[1]) > 0.95
    assert picture(tmp_path / "filters.png")


@pytest.mark.soak
def test_char_transformer(tmp_path, run):
    shown = run("char_transformer.py", "--epochs", "1")
    assert len(shown.split("--- after")) == 3
    assert float(re.search(r"(\S+) bits a letter at the end", shown)[1]) < 4.5
    assert picture(tmp_path / "transformer.png")


@pytest.mark.soak
def test_names(tmp_path, run):
    shown = run("names.py")
    counted = [float(bits) for bits in re.findall(r"counts of .*: (\S+) bits", shown)]
    bits = float(re.search(r"LSTM: (\S+) bits a letter", shown)[1])
    assert len(counted) == 4
    assert bits < min(counted)
    assert len(re.search(r"it writes (.+)", shown)[1].split(", ")) == 40
    assert picture(tmp_path / "names.png")


@pytest.mark.soak
def test_sweep(tmp_path, run):
    shown = run("sweep.py")
    assert re.findall(r"(\w+): 27 runs", shown) == ["sgd", "momentum", "rmsprop", "adam"]
    accuracies = [float(line.split()[-3]) for line in shown.splitlines() if line.count("±") == 4]
    assert len(accuracies) == 4 * 9
    assert max(accuracies) > 0.9 > 0.3 > min(accuracies)
    assert picture(tmp_path / "sweep.png")


@pytest.mark.soak
def test_replay(tmp_path, run):
    shown = run("replay.py")
    there, again = re.search(r"had a loss of (\S+), (\S+) again", shown).groups()
    assert there == again
    found, wrong = re.search(r"row (\d+) gives .* mislabelled was row (\d+)", shown).groups()
    assert found == wrong
    assert picture(tmp_path / "replay.png")


@pytest.mark.soak
def test_hypergradient(tmp_path, run):
    shown = run("hypergradient.py")
    start, best = re.search(r"loss (\S+) at the start, (\S+) at best", shown).groups()
    assert float(best) < 0.6 * float(start)
    assert picture(tmp_path / "hypergradient.png")


@pytest.mark.soak
def test_influence(tmp_path, run):
    shown = run("influence.py")
    assert int(re.search(r"the most harmful tenth holds (\d+)% of the flipped", shown)[1]) >= 80
    accuracies = re.findall(r"labels .+: test accuracy (\S+)", shown)
    assert len(accuracies) == 3
    assert float(accuracies[1]) > float(accuracies[0])
    assert picture(tmp_path / "influence.png")


def test_tensors(tmp_path, run):
    shown = run("tensors.py")
    ranks = dict(re.findall(r"^(.+?) +rank (\d), shape", shown, re.MULTILINE))
    assert [ranks[name] for name in ("a scalar", "a vector", "a matrix", "three matrices")] == [
        *"0123"
    ]
    assert ranks["video: + frame"] == "5"
    assert "to (8, 390, 4) by a kernel of (3, 4)" in shown
    assert picture(tmp_path / "tensors.png")


def test_tensor_operations(tmp_path, run):
    shown = run("tensor_operations.py")
    times = re.findall(r"naive +(\S+) us, NumPy +(\S+) us, JAX +(\S+) us", shown)
    assert len(times) == 6
    assert "naive loops, NumPy and jitted JAX agree in every operation" in shown
    assert picture(tmp_path / "tensor_operations.png")


@pytest.mark.soak
def test_geometry(tmp_path, run):
    shown = run("geometry.py")
    assert float(re.search(r"the one they collapse into differ by (\S+)", shown)[1]) < 1e-4
    assert float(re.search(r"tells the sheets apart: (\S+)% right", shown)[1]) > 98
    assert picture(tmp_path / "transforms.png")
    assert picture(tmp_path / "paper_ball.png")
    assert (tmp_path / "paper_ball.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.soak
def test_gradients(tmp_path, run):
    shown = run("gradients.py")
    costs = re.findall(r"weights: +(\S+) ms by finite differences, (\S+) ms in reverse", shown)
    assert len(costs) == 5
    assert float(re.search(r"descent ends (\S+) from the analytic zero", shown)[1]) < 1e-4
    assert picture(tmp_path / "gradients.png")


@pytest.mark.soak
def test_optimizers(tmp_path, run):
    shown = run("optimizers.py")
    without, with_momentum = (float(end) for end in re.findall(r"the ball ends at (\S+),", shown))
    assert with_momentum < 0 < without
    accuracies = dict(re.findall(r"^(\w+) +ravine: .* test accuracy (\S+)", shown, re.MULTILINE))
    assert list(accuracies) == ["SGD", "momentum", "Nesterov", "Adagrad", "RMSProp", "Adam"]
    assert min(map(float, accuracies.values())) > 0.85
    small, right, large = map(float, re.findall(r"loss (\S+) in the last epoch", shown))
    assert right < 0.5 * min(small, large)
    assert "batch size 1: 20000 steps" in shown
    assert all(picture(tmp_path / name) for name in ("ball.png", "race.png", "steps.png"))


@pytest.mark.soak
def test_regression(tmp_path, run):
    shown = run("regression.py", SEEDS=3, STEPS=700)
    perceptron = float(re.search(r"the perceptron: mean squared error (\S+)", shown)[1])
    errors = dict(re.findall(r"(\d+) hidden units: mean squared error (\S+)", shown))
    assert float(errors["64"]) < 0.1 * float(errors["4"]) < perceptron
    assert picture(tmp_path / "regression.png")


@pytest.mark.soak
def test_regularization(tmp_path, run):
    shown = run("regularization.py")
    lowest, last = map(
        float, re.search(r"validation (\S+) to (\S+)$", shown, re.MULTILINE).groups()
    )
    assert last > 1.05 * lowest
    pairs = dict(re.findall(r"^([a-z ]+): .* loss (\S+ [a-z ]+, \S+) ", shown, re.MULTILINE))
    assert list(pairs) == ["dropout", "batch norm", "skip connections", "ensemble"]
    for pair in pairs.values():
        before, after = map(float, re.findall(r"[\d.]+", pair))
        assert after < before
    assert picture(tmp_path / "regularization.png")


@pytest.mark.soak
def test_flax_in_fnet(tmp_path, run):
    shown = run("flax_in_fnet.py", SEEDS=4)
    found = re.findall(r"accuracy (\S+) ± .* seeds, (\S+) of their average, loss (\S+)", shown)
    (plain, _, plain_loss), (regularized, together, loss) = (map(float, row) for row in found)
    assert together > regularized > plain > 0.9
    assert loss < 0.95 * plain_loss
    assert picture(tmp_path / "flax_in_fnet.png")


@pytest.mark.soak
def test_pinn(tmp_path, run):
    shown = run("pinn.py", STEPS=200)
    errors = [float(error) for error in re.findall(r"relative L2 error (\S+)", shown)]
    assert len(errors) == 5
    assert errors[-1] < 0.02 < 0.1 < errors[0]
    assert picture(tmp_path / "pinn.png")


@pytest.mark.soak
def test_agent(tmp_path, run):
    shown = run("agent.py", SEEDS=3)
    rows = re.findall(r"mean return +(\S+), +(\S+) to +(\S+) over 3 seeds", shown)
    means = [float(mean) for mean, *_ in rows]
    assert means[0] < 60
    assert means[-1] > 450
    assert picture(tmp_path / "agent.png")


@pytest.mark.soak
def test_maml(tmp_path, run):
    shown = run("maml.py", STEPS=4000)
    errors = re.findall(r"^(.*MAML), +(\d+) gradient steps: .* (\S+)$", shown, re.MULTILINE)
    after = {(name, steps): float(error) for name, steps, error in errors}
    assert len(after) == 2 * 4
    assert after["MAML", "10"] < after["MAML", "1"] < 0.8 < after["without MAML", "10"]
    assert picture(tmp_path / "maml.png")


@pytest.mark.soak
def test_two_heads(tmp_path, run):
    shown = run("two_heads.py", SEEDS=1)
    learned, known = (
        dict(re.findall(rf"heads {kind}: (\w+?)_\w+ (\S+) ±", shown))
        for kind in ("with weights", "of arithmetic")
    )
    assert list(learned) == list(known) == ["sum", "even", "larger"]
    assert float(known["sum"]) > 0.85 > float(learned["sum"]) > 0.7
    assert float(re.search(r"reads (\S+) of single test digits", shown)[1]) > 0.92
    assert picture(tmp_path / "two_heads.png")


@pytest.mark.soak
def test_contrastive(tmp_path, run):
    shown = run("contrastive.py", DRAWS=4)
    rows = re.findall(r"^(.+), (\d+) labels: accuracy (\S+) ±", shown, re.MULTILINE)
    found = {(name, int(labels)): float(accuracy) for name, labels, accuracy in rows}
    assert len(found) == 3 * 4
    for labels in (10, 30, 100, 300):
        others = found["raw pixels", labels], found["an untrained encoder", labels]
        assert found["SimCLR", labels] > max(others) + 0.05
    assert found["SimCLR", 100] > 0.85
    assert picture(tmp_path / "contrastive.png")


@pytest.mark.soak
def test_transfer(tmp_path, run):
    shown = run("transfer.py", SEEDS=3)
    rows = re.findall(r"^(.+): (\S+) parameters train, test accuracy (\S+) ±", shown, re.MULTILINE)
    sizes = {name: int(count.replace(",", "")) for name, count, _ in rows}
    found = {name: float(accuracy) for name, _, accuracy in rows}
    assert sizes["head and adapters"] < 0.05 * sizes["all"]
    assert found["head and adapters"] > max(found["head alone"], found["all, from scratch"])
    assert found["head and adapters"] > found["all"] - 0.03
    assert picture(tmp_path / "transfer.png")


@pytest.mark.soak
def test_vae(tmp_path, run):
    elbos = re.findall(r"ELBO (\S+) nats an image, (\S+) held out", run("vae.py", EPOCHS=30))
    first, _, last = ([float(nats) for nats in pair] for pair in elbos)
    assert first[1] < -180 < -160 < last[1] < last[0]
    assert picture(tmp_path / "vae.png")


@pytest.mark.soak
def test_diffusion(tmp_path, run):
    shown = run("diffusion.py", SEEDS=2)
    last, averaged = map(float, re.findall(r"parameters: (\S+) ±", shown))
    data = float(re.search(r"the training data themselves: (\S+)", shown)[1])
    assert data / 2 < averaged < min(2 * data, last)
    assert picture(tmp_path / "diffusion.png")


@pytest.mark.soak
def test_gan(tmp_path, run):
    games = re.findall(
        r"seed \d: (\d) of 8 heaps found, (\S+)% of the points",
        run("gan.py", SEEDS=2, FRAMES=20, STEPS=150),
    )
    assert [found for found, _ in games] == 2 * ["8"]
    assert min(float(share) for _, share in games) > 90
    assert picture(tmp_path / "gan.png")
    assert (tmp_path / "gan.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.soak
def test_keras_side_by_side(tmp_path, run):
    shown = run("keras_side_by_side.py")
    assert "total     (10,)             407,050" in shown
    assert len(re.findall(r"epoch \d/5: .* val_accuracy", shown)) == 2 * 5
    assert float(re.search(r"test accuracy (\S+) after 250 steps", shown)[1]) > 0.9
    pixels, features = map(float, re.findall(r"odd or even from .*accuracy (\S+)", shown))
    assert features > pixels
    assert picture(tmp_path / "keras_history.png")
    assert picture(tmp_path / "keras_predictions.png")


def test_plan(run):
    shown = run("plan.py")
    assert shown.startswith("407,050 parameters, rmsprop, on ")
    assert "60,000 samples an epoch in 469 steps of 128, the last of 96" in shown


def test_the_gallery_is_up_to_date():
    index = runpy.run_path(str(ROOT / "examples" / "gallery" / "index.py"))
    stale = "run python examples/gallery/index.py"
    assert (ROOT / "examples" / "gallery" / "README.md").read_text() == index["page"](), stale
    pictures = {name for _, names in index["programs"]().values() for name in names}
    there = {path.name for path in (ROOT / "examples" / "gallery").glob("*.*")}
    assert there - {"README.md", "index.py"} in (pictures, set())  # a source distribution has none


def test_the_page_of_the_examples_quotes_their_lines():
    page = (ROOT / "examples" / "README.md").read_text()
    quotes = re.findall(r"\((\w+\.py)\) \| `(.+)` \|$", page, re.MULTILINE)
    assert len(quotes) > 80
    for program, words in quotes:
        lines = (ROOT / "examples" / program).read_text().splitlines()
        assert any(words in line for line in lines), f"{program} has no line with {words!r}"


def test_the_page_of_the_examples_names_each_of_them():
    page = (ROOT / "examples" / "README.md").read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f"[{path.name}]({path.name})" in page


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert attempted > 0
    assert not failed


@pytest.mark.parametrize("library", ["keras", "flax", "equinox", "torch"])
def test_the_calls_for_users_of_other_libraries_run(library, tmp_path, monkeypatch):
    """The side of fnet; the page itself runs a program in both, and compares the two."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "coming_from" / f"{library}.md").read_text()
    table = page.split("## Call by call")[1].split("\n## ")[0]
    calls = re.findall(r"^\| .+ \| `([^`]+)` \|$", table, re.MULTILINE)
    assert len(calls) > 25
    (x, y), _ = fnet.datasets.mnist_5k()
    net = fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(4), fnet.relu, fnet.dense(10), fnet.softmax
    )
    names = {"fnet": fnet, "jax": jax, "dataclasses": dataclasses, "net": net}
    names |= {"x": x[:64], "y": y[:64], "x_test": x[64:96], "y_test": y[64:96]}
    names |= {"key": jax.random.key(0), "loss": "sparse_categorical_crossentropy"}
    names["task"] = fnet.supervised(net, names["loss"], metrics=["accuracy"])
    names["state"] = fnet.train_state(net, "rmsprop", names["key"], (28, 28))
    names["params"] = names["state"].params
    names["weights"] = jax.numpy.ones(64)
    names["mesh"] = jax.make_mesh((jax.device_count(),), ("data",))
    for call in calls:
        exec(call, names)


def test_the_defaults_that_users_of_keras_are_told():
    assert fnet.adam().epsilon == fnet.adamw().epsilon == 1e-8
    assert fnet.adamw().weight_decay == 1e-4
    assert (fnet.lion().learning_rate, fnet.lion().weight_decay) == (1e-4, 0)
    assert (fnet.adamax().epsilon, fnet.lamb().epsilon) == (1e-8, 1e-6)
    muon = fnet.muon()
    assert (muon.learning_rate, muon.beta2, muon.adam_share) == (0.02, 0.95, 0.015)
    assert fnet.averaged("adam").decay == 0.999
    draws = fnet.initializers.normal(jax.random.key(0), (10_000,))
    assert abs(float(draws.std()) - 0.01) < 1e-3
    draws = fnet.initializers.uniform(jax.random.key(0), (10_000,))
    assert 0 <= draws.min() < draws.max() < 0.01
    assert fnet.piecewise((5,), (1.0, 2.0))(5) == 2
    assert fnet.leaky_relu(jax.numpy.float32(-1)) == jax.numpy.float32(-0.01)
    assert fnet.gelu(jax.numpy.float32(1)) == jax.nn.gelu(jax.numpy.float32(1), approximate=True)
