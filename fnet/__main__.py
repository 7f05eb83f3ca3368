"""`python -m fnet`: what an issue report needs. Nothing is downloaded, compiled or written."""

import os
import platform
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import jax

from . import __version__, datasets
from .core.user_cache import user_cache

DISTRIBUTION = "fnet-jax"
FOR_DEVELOPERS = {"test", "bench", "dev", "docs"}
VARIABLES = re.compile(
    "(JAX|XLA|FNET|TPU|LIBTPU)_.*|(CUDA|HIP)_VISIBLE_DEVICES|NPROC|XDG_CACHE_HOME|OMP_NUM_THREADS"
)


def fnet() -> Iterator[str]:
    yield f"{__version__}, {Path(__file__).parent}"


def python() -> Iterator[str]:
    yield f"{platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores"


def packages() -> Iterator[str]:
    names = "jax", "jaxlib", "numpy", "safetensors", "tqdm"
    yield ", ".join(f"{name} {version(name) or 'missing'}" for name in names)


def plugins() -> Iterator[str]:
    """What brings other devices to JAX."""
    names = {point.dist.name for point in metadata.entry_points(group="jax_plugins") if point.dist}
    found = [f"{name} {version(name)}" for name in sorted(names | {"libtpu"}) if version(name)]
    yield ", ".join(found) or "none"


def extras() -> Iterator[str]:
    """The packages that parts of fnet need, by the extra that installs them."""
    if version(DISTRIBUTION) is None:
        yield f"unknown, {DISTRIBUTION} is not installed"
        return
    needed: dict[str, list[str]] = {}
    for requirement in metadata.requires(DISTRIBUTION) or ():
        if found := re.fullmatch(r"([\w.-]+).*;.*extra == ['\"](\w+)['\"].*", requirement):
            needed.setdefault(found[2], []).append(found[1])
    for extra in sorted(needed.keys() - FOR_DEVELOPERS):
        names = [name for name in needed[extra] if name != "jax"]
        yield f"{extra}: " + ", ".join(f"{name} {version(name) or 'missing'}" for name in names)


def devices() -> Iterator[str]:
    kinds = [f"{device.device_kind} ({device.platform})" for device in jax.devices()]
    counted = (f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    yield (
        ", ".join(counted)
        + f", {jax.process_count()} process, 64 bits {jax.config.values['jax_enable_x64']}"
    )


def caches() -> Iterator[str]:
    told = jax.config.values["jax_compilation_cache_dir"]
    for name, folder in (("fnet", user_cache()), ("programs of JAX", told)):
        yield f"{name}: {held(Path(folder)) if folder else 'not kept'}"


def held(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{folder}, {len(sizes):,} files, {sum(sizes) / 1e6:,.1f} MB"


def data() -> Iterator[str]:
    for name, folders in datasets.found().items():
        yield f"{name}: {', '.join(map(str, folders)) or 'not here'}"
    yield "mnist_5k: in the package"


def variables() -> Iterator[str]:
    found = {name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)}
    yield from (f"{name}={found[name]}" for name in sorted(found)) if found else ["none"]


def version(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "fnet": fnet,
    "python": python,
    "packages": packages,
    "plug-ins": plugins,
    "devices": devices,
    "extras": extras,
    "caches": caches,
    "datasets": data,
    "variables": variables,
}


def report() -> Iterator[str]:
    """The lines of the report; a part that fails says so in its place."""
    for name, part in PARTS.items():
        try:
            lines = list(part())
        except Exception as error:  # a report of what is broken must not break
            lines = [f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")]
        for number, line in enumerate(lines):
            yield f"{'' if number else name:<12}{line}"


if __name__ == "__main__":
    print(*report(), sep="\n")
