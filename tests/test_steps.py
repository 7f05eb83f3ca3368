"""Law 7: nothing in a step waits for the host."""

import chex
import jax
import pytest
from own_tasks import OWN
from problems import bits

import fnet
from fnet.core.platform import Absent, made_for
from fnet.fitting import sources

WAITS = {"while", "pure_callback", "io_callback", "debug_callback", "infeed", "outfeed"}
CASES = OWN | {
    "supervised": OWN["sampling"]._replace(
        task=fnet.supervised(fnet.dense(1), "mean_squared_error", ["mean_absolute_error"]),
        params=fnet.init(fnet.dense(1), jax.random.key(0), (4,)),
        data=(OWN["sampling"].data, OWN["sampling"].data[:, :1]),
    )
}


def options(case):
    return {"epochs": 2, **case.options}


def train(case):
    return jax.make_jaxpr(lambda state: fnet.train(case.task, state, case.data, **options(case)))(
        case.start()
    )


def train_many(case):
    states = jax.vmap(case.start)(jax.random.split(jax.random.key(0), 3))
    run = {"form": "vmap", **options(case)}
    return jax.make_jaxpr(lambda states: fnet.train_many(case.task, states, case.data, **run))(
        states
    )


class Traced(Exception):
    pass


def fit(case, monkeypatch, block=1):
    segment_steps = sources.segment_steps

    def trace(*args):
        if args[-1] == block:
            raise Traced(segment_steps.trace(*args).jaxpr)
        return segment_steps(*args)

    monkeypatch.setattr(sources, "segment_steps", trace)
    with pytest.raises(Traced) as traced:
        fnet.fit(case.task, case.start(), case.data, progress=False, **options(case))
    return traced.value.args[0]


def inner(equation):
    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else [value]:
            if hasattr(getattr(part, "jaxpr", part), "eqns"):
                yield getattr(part, "jaxpr", part)


def every(program, into=lambda equation: True):
    for equation in program.eqns:
        yield equation
        if into(equation):
            for part in inner(equation):
                yield from every(part, into)


def is_loop(equation):
    return equation.primitive.name in ("scan", "while")


def is_step(body):
    """Whether a derivative is taken in the body of a loop, and not in a loop within it."""
    own = every(body, lambda equation: not is_loop(equation))
    return any("transpose" in str(equation.source_info.name_stack) for equation in own)


def steps(program):
    """The bodies of the loops over steps."""
    loops = [equation for equation in every(program.jaxpr) if is_loop(equation)]
    return [body for loop in loops for body in inner(loop) if is_step(body)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("run", [train, train_many, fit])
def test_law_7_nothing_in_a_step_waits_for_the_host(run, name, monkeypatch):
    more = (monkeypatch,) if run is fit else ()
    with made_for(Absent("gpu", None)):  # a CPU is the host
        bodies = steps(run(CASES[name], *more))
    assert bodies
    for body in bodies:
        assert not WAITS & {equation.primitive.name for equation in every(body)}


def test_law_7_would_see_the_order_in_a_step():
    """The check finds what it is for: the walk of the order, in a step of one's own."""
    step = jax.jit(fnet.train_step(CASES["supervised"].task))

    def one(state, index):
        rows = fnet.index_shuffle(state.key, index + jax.numpy.arange(4), 22)
        return step(state, jax.tree.map(lambda a: jax.numpy.asarray(a)[rows], data))

    data, state = CASES["supervised"].data, CASES["supervised"].start()
    program = jax.make_jaxpr(lambda state: jax.lax.scan(one, state, jax.numpy.arange(3)))(state)
    (body,) = steps(program)
    assert "while" in {equation.primitive.name for equation in every(body)}


@pytest.mark.bits
def test_law_3_holds_for_steps_in_blocks(monkeypatch):
    """11 steps an epoch, in calls of 1, 2, 4 and 4, then of 8 and 3: 4 and 8 are whole blocks."""
    case, blocks = CASES["supervised"], []
    segment_steps = sources.segment_steps

    def noted(*args):
        blocks.append(args[-1])
        return segment_steps(*args)

    monkeypatch.setattr(sources, "segment_steps", noted)
    run = {"epochs": 3, "batch_size": 2, "record": ["loss"], "record_every": 2}
    runs = []
    for block in (1, 4):
        monkeypatch.setitem(sources.BLOCK, "cpu", block)
        blocks.clear()
        runs.append(fnet.fit(case.task, case.start(), case.data, progress=False, **run))
        assert set(blocks) == {1, block}
    runs.append(fnet.train(case.task, case.start(), case.data, **run))
    for other in runs[1:]:
        chex.assert_trees_all_equal(bits(other), bits(runs[0]))


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_steps_as_for_accelerators_compute_the_same(platform, monkeypatch):
    """Rows that are gathered ahead, and two steps a turn, run here too."""
    case, run = CASES["three inputs"], {"epochs": 2, "batch_size": 4}
    expected = fnet.train(case.task, case.start(), case.data, **run)
    monkeypatch.setitem(sources.BLOCK, platform, 2)
    with made_for(Absent(platform, None)):
        runs = [
            fnet.train(case.task, case.start(), case.data, **run),
            fnet.fit(case.task, case.start(), case.data, progress=False, **run),
        ]
    for found in runs:
        chex.assert_trees_all_close(bits(found), bits(expected), rtol=1e-5, atol=1e-6)


def test_a_loop_over_blocks_has_a_known_length(monkeypatch):
    monkeypatch.setitem(sources.BLOCK, "cpu", 2)
    program = fit(CASES["supervised"], monkeypatch, block=2)
    (loop,) = (
        loop for loop in every(program.jaxpr) if is_loop(loop) and any(map(is_step, inner(loop)))
    )
    assert loop.primitive.name == "scan"
    assert loop.params["length"] == 2
