"""What `test_devices.py` runs in a process of its own, which has eight virtual devices."""

import dataclasses
import re
from functools import partial

import chex
import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from problems import LOSS, bits, images, task

import fnet
from fnet.distributed import sharding
from fnet.distributed.sharding import Devices, devices_of
from fnet.training.epochs import run as run_epochs
from fnet.training.program import make_program
from fnet.training.step import step
from fnet.training.train import check_fit
from fnet.training.train_many import run_many

jax.config.update("jax_num_cpu_devices", 8)  # before anything asks for a device

WIDE = 512
# A bias in front of batch norm has a gradient of rounding errors alone, of which adam makes steps
# of full length: it would differ from device to device.
NET = fnet.sequential(
    fnet.rescale(1 / 255),
    fnet.flatten,
    fnet.dense(WIDE, use_bias=False),
    fnet.batch_norm(),
    fnet.relu,
    fnet.dropout(0.2),
    fnet.dense(3),
    fnet.softmax,
)
DATA, VALIDATION = images(75), images(20, seed=1)  # 5 steps an epoch, the last one of 11
RUN = {"epochs": 10, "batch_size": 16}
# One of a single device changes no bit: test_devices.py.
MESHES = {(1,): ("data",), (4,): ("data",), (8,): ("data",), (4, 2): ("data", "model")}


def mesh_of(*shape: int) -> jax.sharding.Mesh:
    names = MESHES[shape]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))


def begun(optimizer="adam") -> fnet.TrainState:
    return fnet.train_state(NET, optimizer, jax.random.key(0), (4, 4))


def close(ours, theirs):
    """Of two runs, whose keys and counts are equal."""
    ours, theirs = jax.device_get((bits(ours), bits(theirs)))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-5)


def spec(leaf) -> PartitionSpec:
    return leaf.sharding.spec


@pytest.fixture(scope="module")
def alone():
    """The run without a mesh."""
    return fnet.train(task(NET, metrics=()), begun(), DATA, **RUN)


def test_there_are_eight_devices():
    assert jax.device_count() == 8


@pytest.mark.parametrize("shape", [shape for shape in MESHES if shape != (1,)])
def test_fifty_steps_are_those_of_one_device(shape, alone, compilations):
    """With dropout, batch norm, adam, and a last batch that no number of devices divides."""
    ours = fnet.train(task(NET, metrics=()), begun(), DATA, mesh=mesh_of(*shape), **RUN)
    assert ours[0].step == 50
    assert ours[0].params["dense"]["kernel"].devices() == set(mesh_of(*shape).devices.flat)
    close(ours, alone)
    compilations.clear()
    rebuilt = jax.sharding.Mesh(mesh_of(*shape).devices, MESHES[shape])
    fnet.train(task(NET, metrics=()), begun(), DATA, mesh=rebuilt, **RUN)
    assert not compilations


def test_wide_parameters_are_cut_and_the_rest_of_the_state_follows():
    state, _ = fnet.train(task(NET, metrics=()), begun(), DATA, mesh=mesh_of(4, 2), **RUN)
    columns, rows = PartitionSpec(None, "model"), PartitionSpec("model")
    for tree in (state.params, state.opt_state.mean, state.opt_state.mean_square):
        assert spec(tree["dense"]["kernel"]) == columns
        assert spec(tree["batch_norm"]["scale"]) == rows
        assert spec(tree["dense_1"]["kernel"]) == rows
        assert tree["dense_1"]["bias"].is_fully_replicated
    assert {spec(leaf) for leaf in jax.tree.leaves(state.model_state)} == {rows}
    assert state.params["dense"]["kernel"].addressable_shards[0].data.shape == (16, WIDE // 2)


def by_input(params, mesh):
    """The other axis of one kernel."""
    layout = fnet.shardings(NET, params, mesh)
    return layout | {"dense": {"kernel": NamedSharding(mesh, PartitionSpec("model"))}}


def test_shardings_of_ones_own(alone):
    mesh = mesh_of(4, 2)
    state, history = fnet.train(
        task(NET, metrics=()), begun(), DATA, mesh=mesh, shardings=by_input, **RUN
    )
    assert state.opt_state.mean["dense"]["kernel"].addressable_shards[0].data.shape == (8, WIDE)
    close((state, history), alone)


DEEP = fnet.sequential(
    fnet.rescale(1 / 255),
    fnet.flatten,
    fnet.dense(WIDE, use_bias=False),
    fnet.batch_norm(),
    fnet.relu,
    fnet.scan_layers(fnet.remat(fnet.residual(fnet.dense(WIDE), fnet.relu)), 3),
    fnet.dense(3),
    fnet.softmax,
)
SHORT = RUN | {"epochs": 2}


def deep():
    optimizer = fnet.adam(epsilon=1e-3)  # gradients of rounding errors alone make no full steps
    return fnet.train_state(DEEP, optimizer, jax.random.key(0), (4, 4))


@pytest.fixture(scope="module")
def deep_alone():
    return fnet.train(task(DEEP, metrics=()), deep(), DATA, **SHORT)


@pytest.mark.parametrize("shape", [(8,), (4, 2)])
def test_fully_sharded_is_one_device(shape, deep_alone):
    mesh = mesh_of(*shape)
    ours = fnet.train(task(DEEP, metrics=()), deep(), DATA, mesh=mesh, shardings=fnet.fsdp, **SHORT)
    close(ours, deep_alone)
    state, cut = ours[0], 3 * WIDE * WIDE // 8
    for tree in (state.params, state.opt_state.mean, state.opt_state.mean_square):
        (shard, *_) = tree["scan_layers"]["dense"]["kernel"].addressable_shards
        assert shard.data.size == cut
    logs = fnet.evaluate(task(DEEP, metrics=()), state, VALIDATION, mesh=mesh, shardings=fnet.fsdp)
    assert logs == pytest.approx(fnet.evaluate(task(DEEP, metrics=()), state, VALIDATION), rel=1e-5)


def test_fully_sharded_gathers_a_layer_at_a_time():
    devices = devices_of(deep().params, mesh_of(8), fnet.fsdp)
    program = make_program(task(DEEP, metrics=()), (), 1, devices)
    batch = devices.shard_batch(tuple(array[:16] for array in DATA))
    lowered = jax.jit(partial(step, program)).lower(devices.shard_state(deep()), batch)
    compiled = lowered.compile()
    gathered = re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(", compiled.as_text())
    assert f"{WIDE},{WIDE}" in {shape.removeprefix("1,") for shape in gathered}
    assert f"3,{WIDE},{WIDE}" not in gathered
    assert not any(shape.startswith("16,") for shape in gathered)  # samples stay where they are
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves((deep().params, deep().opt_state)))
    assert compiled.memory_analysis().argument_size_in_bytes < whole / 4


def test_a_fully_sharded_run_goes_on_in_other_layouts(tmp_path, deep_alone):
    for folder in (fnet.Checkpoints(tmp_path / "a"), fnet.OrbaxCheckpoints(tmp_path / "b")):
        for epochs, where in (
            (1, {"mesh": mesh_of(8), "shardings": fnet.fsdp}),
            (2, {"mesh": mesh_of(4, 2)}),
        ):
            ours = fnet.fit(
                task(DEEP, metrics=()), deep(), DATA, callbacks=[folder], resume="auto",
                progress=False, **where, **SHORT | {"epochs": epochs},
            )  # fmt: skip
        close(ours, deep_alone)


def test_large_data_lies_in_parts_and_changes_no_bit(monkeypatch):
    data, run = tuple(array[:72] for array in DATA), RUN | {"epochs": 1, "mesh": mesh_of(4)}
    options = {"validation": VALIDATION, "progress": False}
    whole = fnet.fit(task(NET, metrics=()), begun(), data, **run, **options)
    half = sum(array.nbytes for array in data) // 2
    monkeypatch.setattr(sharding, "memory_limit", lambda mesh: 2 * half)
    devices = devices_of(begun().params, mesh_of(4), None)
    for leaf, given in zip(devices.spread(data), data, strict=True):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(18, *given.shape[1:])}
    assert devices.spread(DATA)[0].is_fully_replicated  # 75 rows
    parts = fnet.fit(task(NET, metrics=()), begun(), data, **run, **options)
    chex.assert_trees_all_equal(bits(parts), bits(whole))
    text = run_compiled(devices, devices.spread(data))
    assert not re.search(r"u8\[72,\S* all-gather", text)
    predicted = fnet.predict(NET, parts[0], data[0], 16, mesh=mesh_of(4))
    monkeypatch.undo()
    np.testing.assert_array_equal(
        predicted, fnet.predict(NET, parts[0], data[0], 16, mesh=mesh_of(4))
    )


def run_compiled(devices, data):
    """The text of the program of `train`."""
    values = check_fit(task(NET, metrics=()), begun(), "`data`", data, 16)
    program = make_program(task(NET, metrics=()), (), 1, devices).with_values(values)
    state = devices.shard_state(begun())
    return run_epochs.lower(program, state, data, None, 1, 16, True, None).compile().as_text()


def test_shardings_that_do_not_divide():
    mesh = mesh_of(4, 2)
    cut = NamedSharding(mesh, PartitionSpec("model"))
    layout = fnet.shardings(NET, begun().params, mesh)
    uneven = layout | {"dense_1": {"kernel": cut, "bias": cut}}
    words = r"must cut each parameter into even parts, got .*'model'.* for 'dense_1/bias' of shape"
    with pytest.raises(ValueError, match=words):
        fnet.train(task(NET, metrics=()), begun(), DATA, mesh=mesh, shardings=uneven, **RUN)
    with pytest.raises(TypeError, match="must hold a NamedSharding of `mesh`.* 'batch_norm/bias'"):
        other = fnet.shardings(NET, begun().params, mesh_of(8))
        fnet.train(task(NET, metrics=()), begun(), DATA, mesh=mesh, shardings=other, **RUN)


def test_a_run_saved_on_four_devices_goes_on_on_others(tmp_path, alone):
    folder = fnet.Checkpoints(tmp_path)
    for shape, epochs in {(4,): 2, (1,): 4, (8,): 10}.items():
        mesh = mesh_of(*shape)
        state, history = fnet.fit(
            task(NET, metrics=()), begun(), DATA, callbacks=[folder], resume="auto", mesh=mesh,
            progress=False, **RUN | {"epochs": epochs},
        )  # fmt: skip
        assert state.params["dense"]["kernel"].devices() == set(mesh.devices.flat)
    close((state, history), alone)
    close(folder.latest(begun()), state)  # in the form of a state on one device


def test_batches_of_the_host_and_validation():
    """An epoch of them, in the order in which the arrays are taken, its parameters cut."""
    batches = list(fnet.batches(DATA, RUN["batch_size"], key=begun().key))
    options = {"validation": VALIDATION, "progress": False}
    state, history = fnet.fit(
        task(NET, metrics=()), begun(), batches, mesh=mesh_of(4, 2), **options
    )
    assert spec(state.opt_state.mean["dense"]["kernel"]) == PartitionSpec(None, "model")
    close((state, history), fnet.fit(task(NET, metrics=()), begun(), batches, **options))


def test_rows_from_the_disk(tmp_path, alone):
    np.save(tmp_path / "x.npy", DATA[0])
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    close(
        fnet.fit(
            task(NET, metrics=()), begun(), (x, DATA[1]), mesh=mesh_of(4), progress=False, **RUN
        ),
        alone,
    )


def test_evaluate_and_predict(alone):
    state, _ = alone
    x, _ = VALIDATION
    expected = (
        fnet.evaluate(task(NET, metrics=()), state, VALIDATION),
        fnet.predict(NET, state, x),
    )
    mesh = mesh_of(4, 2)
    for given in (VALIDATION, jax.device_put(VALIDATION, jax.devices()[3])):
        found = fnet.evaluate(task(NET, metrics=()), state, given, mesh=mesh, batch_size=16)
        assert found == pytest.approx(expected[0], rel=1e-5)
    output = fnet.predict(NET, state, x, 16, mesh=mesh)
    assert output.is_fully_replicated and output.devices() == set(mesh.devices.flat)
    np.testing.assert_allclose(output, expected[1], rtol=1e-5, atol=1e-6)
    classes = fnet.predict_classes(NET, state, x, mesh=mesh)
    np.testing.assert_array_equal(classes, expected[1].argmax(-1))


def test_the_batch_itself_is_split():
    """What a layer sees in the compiled program: a constraint does not change any number."""
    mesh, seen = mesh_of(8), []

    def watch(x):
        jax.debug.inspect_array_sharding(
            x, callback=lambda sharding: seen.append((len(x), sharding))
        )
        return x

    net = fnet.sequential(watch, *NET.layers)
    state = fnet.train_state(net, "sgd", jax.random.key(0), (4, 4))
    seen.clear()
    fnet.train(fnet.supervised(net, LOSS), state, DATA, epochs=1, batch_size=16, mesh=mesh)
    parts = {size: sharding.shard_shape((size, 4, 4))[0] for size, sharding in seen}
    assert parts == {16: 2, 11: 11}


def test_members_are_dealt_out():
    keys = jax.random.split(jax.random.key(0), 8)
    states = jax.vmap(lambda key: fnet.train_state(NET, "momentum", key, (4, 4)))(keys)
    data, run = tuple(array[:40] for array in DATA), RUN | {"epochs": 1}
    expected = fnet.train_many(task(NET, metrics=()), states, data, form="vmap", **run)
    many = fnet.train_many(task(NET, metrics=()), states, data, mesh=mesh_of(4, 2), **run)
    shards = many[0].params["dense"]["kernel"].addressable_shards
    assert {shard.data.shape for shard in shards} == {(2, 16, WIDE)}
    close(many, expected)
    program = make_program(task(NET, metrics=()), (), 1, Devices())
    program = program.with_values(check_fit(program.task, begun("momentum"), "`data`", data, 16))
    there, spread = many[0], devices_of(begun().params, mesh_of(4, 2), None).replicate(data)
    compiled = run_many.lower(program, there, spread, None, 1, 16, True, None, "vmap").compile()
    lines = compiled.as_text().splitlines()
    sent = [line for line in lines if re.search(r" (all|collective|reduce-scatter)\S*\(", line)]
    assert all("epoch_order" in line for line in sent)  # once an epoch, none in a step
    six = jax.tree.map(lambda leaf: leaf[:6], states)
    with pytest.raises(ValueError, match="'data' divides, got 6 members and 4 parts"):
        fnet.train_many(task(NET, metrics=()), six, data, mesh=mesh_of(4), **run)
    with pytest.raises(ValueError, match="`form` must be 'vmap' on a mesh.*, got 'map'"):
        fnet.train_many(task(NET, metrics=()), states, data, mesh=mesh_of(4), form="map", **run)


def test_another_learning_rate_on_a_mesh_compiles_nothing(compilations):
    for rate in (1e-3, 1e-2):
        state = dataclasses.replace(begun(), optimizer=fnet.adam(rate))
        fnet.train(task(NET, metrics=()), state, DATA, mesh=mesh_of(4), **RUN)
        if rate == 1e-3:
            compilations.clear()
    assert not compilations


def test_a_plan_on_a_mesh_names_the_axes_of_what_is_sent():
    shape = {"data": 4, "model": 2}
    plan = fnet.plan(task(NET, metrics=()), begun(), DATA, batch_size=16, mesh_shape=shape)
    assert (plan.device_count, plan.mesh_shape, plan.divided) == (8, shape, True)
    # In two: both kernels, the second by rows, and scale and offset of the norm.
    cut = 16 * WIDE + 2 * WIDE + WIDE * 3
    assert plan.memory.params == 4 * (plan.parameters - cut // 2)
    sums = {one.axes: one for one in plan.exchanges if one.kind == "all-reduce"}
    assert ("data",) in sums  # gradients
    assert sum(one.sent for one in sums.values()) >= 2 * 3 / 4 * plan.memory.params
    shown = repr(plan)
    assert "8 devices, data 4 x model 2" in shown
    assert "each device computes all of the last batch, which 4 parts do not divide" in shown


def test_a_plan_of_a_layout_that_is_a_function_of_the_mesh():
    def copies(params, mesh):
        return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), params)

    plan = fnet.plan(
        task(NET, metrics=()), begun(), DATA, batch_size=18, mesh_shape={"data": 8},
        shardings=copies,
    )  # fmt: skip
    assert plan.memory.params == 4 * plan.parameters
    assert not plan.divided
    assert plan.flops == plan.flops_a_device  # each computes all of it
    assert "each device computes all of a batch, which 8 parts do not divide" in repr(plan)
