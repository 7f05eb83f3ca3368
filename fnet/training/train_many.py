"""Many runs in one program: ensembles and sweeps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from ..core.mesh import check_mesh
from ..core.platform import platform
from ..core.tracebacks import api_boundary
from ..core.values import describe
from ..distributed.sharding import Devices, spread_members
from ..models.model import count_params
from .epochs import in_order, run
from .history import History
from .program import Program
from .state import TrainState, check_state
from .step import Logs
from .task import Task
from .train import check_run

# Parameters of all members together that a CPU's caches hold. Measured on 784-n-10, batches of 128:
# below it 4 members and more take 0.65 to 0.95 of the time of single runs under vmap, above it 0.85
# to 1.3; under map they take 0.75 to 1 throughout.
CACHED = 500_000


@api_boundary
def train_many(
    task: Task,
    states: TrainState,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation: Any = None,
    shuffle: bool = True,
    record: Sequence[str] = (),
    record_every: int = 1,
    form: Literal["vmap", "map"] | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainState, History]:
    """Many runs of `train` over the same data in one program, in the form that is fastest here.

    `"vmap"` computes a step of all members at once, which fills a device that one of them leaves
    idle; `"map"` trains them one after the other, with the bits of single runs and the memory of
    one.

    Args:
        task: what each of them minimises.
        states: a TrainState whose leaves have the members in front, from `jax.vmap` over
            `train_state` or from `fnet.grid`.
        data, epochs, batch_size, steps, validation, shuffle, record, record_every: as for `train`.
        form: `"vmap"` or `"map"`; by default `"vmap"` on an accelerator, and on a CPU while the
            members have at most 500,000 parameters together; `"map"` otherwise.
        mesh: devices over whose axis "data" the members are dealt out, as many to each; their
            form is `"vmap"`. Each device holds a copy of the data.

    Returns:
        The states after the runs and their histories, the members in front in both.

    Raises:
        ValueError: states without members or of different numbers of them, an unknown form, a
            number of members that the mesh does not divide, or as `train`.
        TypeError: as `train`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> states = jax.vmap(lambda key: fnet.train_state(net, "adam", key, (1,)))(keys)
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> states, history = fnet.train_many(task, states, (x, 3 * x), epochs=3, batch_size=32)
        >>> history["loss"].shape
        (4, 3)
        >>> jax.vmap(lambda state: fnet.predict(net, state, x))(states).mean(axis=0).shape
        (100, 1)
    """
    states, member = check_states(states)
    chosen = check_form(form, mesh) if form is not None else fastest_form(states, mesh)
    devices = Devices(check_mesh(mesh) if mesh is not None else None, platform=platform())
    states = spread_members(states, devices)
    program, *arguments = check_run(
        task, member, data, validation, epochs, batch_size, steps, record, record_every, devices
    )
    data, validation, *counts = arguments
    data, validation = devices.replicate((data, validation))
    alone = replace(
        program, devices=Devices(platform=devices.platform)
    )  # a member has no mesh of its own
    states, history = run_many(alone, states, data, validation, *counts, shuffle, steps, chosen)
    return states, in_order(program, history)


def check_states(states: TrainState) -> tuple[TrainState, TrainState]:
    """The states, and what one of them looks like."""
    lengths = {
        jax.tree_util.keystr(path).lstrip("."): jnp.shape(leaf)[:1]
        for path, leaf in jax.tree_util.tree_leaves_with_path(check_state(states))
    }
    different = dict.fromkeys(lengths.values())
    if len(different) > 1 or () in different or (0,) in different:
        examples = {length: name for name, length in lengths.items()}
        shown = ", ".join(f"{length} in {name}" for length, name in examples.items())
        raise ValueError(
            f"`states` must have the members as the first axis of every leaf, as many in each, "
            f"got {shown}. Make them with jax.vmap over fnet.train_state, or with fnet.grid."
        )
    return states, jax.eval_shape(first_member, states)


def first_member(states: TrainState) -> TrainState:  # a name of its own: traced once
    return jax.tree.map(lambda leaf: lax.index_in_dim(leaf, 0, keepdims=False), states)


def vmapped(one: Callable[[TrainState], Any], states: TrainState) -> Any:
    return jax.vmap(one)(states)


FORMS: dict[str, Callable[..., Any]] = {"vmap": vmapped, "map": lax.map}


def check_form(form: str, mesh: Mesh | None) -> str:
    if form not in FORMS:
        raise ValueError(
            f"`form` must be one of {', '.join(map(repr, FORMS))}, got {describe(form)}. "
            f"Leave it out for the fastest."
        )
    if mesh is not None and form != "vmap":
        raise ValueError(
            f"`form` must be 'vmap' on a mesh, whose devices train at once, got {form!r}. "
            f"Leave it out."
        )
    return form


def fastest_form(states: TrainState, mesh: Mesh | None = None) -> str:
    cached = count_params(states.params) <= CACHED
    return "vmap" if cached or mesh is not None or platform() != "cpu" else "map"


@partial(jax.jit, static_argnames=("program", "epochs", "batch_size", "shuffle", "steps", "form"))
def run_many(
    program: Program,
    states: TrainState,
    data: Any,
    validation: Any,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    steps: int | None,
    form: str,
) -> tuple[TrainState, Logs]:
    def one(state: TrainState) -> tuple[TrainState, Logs]:
        return run(program, state, data, validation, epochs, batch_size, shuffle, steps)

    return FORMS[form](one, states)
