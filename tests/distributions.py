"""Checks what `make dist` built: what is in it, how large it is, and that it runs.

    python tests/distributions.py dist

Wheel and source distribution are installed, each into an environment of its own, and the main job
runs from them on the bundled digits: outside of the checkout, without a network.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
NEEDED = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "README.md", "pyproject.toml"}
UNREACHABLE = "http://127.0.0.1:9"  # in place of the mirrors of MNIST


def check_wheel(file: Path) -> None:
    """The package and its metadata, nothing else, and no program that made data."""
    with zipfile.ZipFile(file) as wheel:
        names = set(wheel.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        page = wheel.read(metadata).decode()
    package = {name for name in names if ".dist-info/" not in name}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fnet").rglob("*.*")}
    assert package == {name for name in there if not name.endswith(".pyc")}, package ^ there
    data = {PurePosixPath(name).name for name in package if not name.endswith(".py")}
    assert data == {"mnist_5k.md", "mnist_5k.npz", "py.typed"}, data
    assert not any(re.match("make|test", PurePosixPath(name).name) for name in package)
    dead = re.findall(r"!\[|\]\((?!https?:|#)[^)]*\)|## .*pictures", page)
    assert not dead, f"the page on the index has pictures or links into the repository: {dead}"
    assert file.stat().st_size < 1_500_000, file.stat().st_size


def check_sdist(file: Path) -> None:
    """What is needed to build and to test, and no pictures."""
    with tarfile.open(file) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}
    tracked = git("ls-files", "fnet", "tests", "examples", "bench", *NEEDED)
    expected = {name for name in tracked if not name.endswith((".png", ".gif"))}
    assert expected <= names, expected - names
    assert not any(name.endswith((".png", ".gif")) for name in names)
    assert file.stat().st_size < 2_000_000, file.stat().st_size


def git(*arguments: str) -> list[str]:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def run_from(file: Path) -> None:
    """Install a distribution and run the main job from it."""
    with tempfile.TemporaryDirectory(prefix="fnet-dist-") as folder:
        inside = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        inside |= {"http_proxy": UNREACHABLE, "https_proxy": UNREACHABLE, "XDG_CACHE_HOME": folder}
        inside.pop("FNET_DATA_DIR", None)
        python = Path(folder, "environment", "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"fnet-jax[plot] @ {file.as_uri()}"],
            check=True,
        )
        program = shutil.copy(ROOT / "examples" / "mnist.py", folder)
        done = subprocess.run(
            [python, program], cwd=folder, env=inside, check=True, stdout=subprocess.PIPE, text=True
        )
        accuracy = re.search(r"test accuracy ([\d.]+)", done.stdout)
        assert accuracy and float(accuracy[1]) > 0.9, done.stdout
        assert Path(folder, "history.png").stat().st_size > 10_000
        print(f"{file.name}, {file.stat().st_size:,} bytes: {accuracy[0]} from an installation")


def main() -> None:
    (wheel,) = Path(sys.argv[1]).resolve().glob("*.whl")
    (sdist,) = Path(sys.argv[1]).resolve().glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    for file in wheel, sdist:
        run_from(file)


if __name__ == "__main__":
    main()
