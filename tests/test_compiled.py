"""Compiled programs in figures, from texts as the compilers for TPU, GPU and CPU print them."""

import jax
import jax.numpy as jnp

import fnet
from fnet.planning.compiled import read, read_text
from fnet.planning.program_text import parse, step_loop

# An epoch of a TPU: two loops around the steps, each step with a loop of 28 turns for a recurrent
# layer, one that walks until it is done, a collective in a fusion, and a callback.
TPU = """HloModule jit_run, is_scheduled=true, num_partitions=4

%turn (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
  %cell = f32[8]{0:T(128)} fusion(%h), kind=kLoop, metadata={op_name="jit(run)/while/fnet_step/jvp(while)/tanh"}, backend_config={"estimated_cycles":"100"}
  %i = s32[]{:T(128)} add(%j, %one), metadata={op_name="jit(run)/while/fnet_step/jvp(while)/add"}
}
%few (carry: (s32[], f32[8])) -> pred[] {
  %bound = s32[]{:T(128)} constant(28)
  %carry = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%carry), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %bound), direction=LT
}
%walk (carry: (u32[128], pred[128])) -> (u32[128], pred[128]) {
  %round = (u32[128]{0}, pred[128]{0}) fusion(%rows), kind=kLoop, backend_config={"estimated_cycles":"7"}
}
%outside (carry: (u32[128], pred[128])) -> pred[] {
  %all = pred[128]{0} reduce(%done, %true), dimensions={0}, to_apply=%and
  ROOT %not = pred[] not(%all)
}
%sum (x: f32[8]) -> f32[8] {
  ROOT %exchange = f32[8]{0} all-reduce(%x), replica_groups=[1,4]<=[4], to_apply=%plus
}
%keep (x: f32[8]) -> f32[8] {
  ROOT %same = f32[8]{0} copy(%x)
}
%step (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
  %found = (u32[128]{0}, pred[128]{0}) while(%start), condition=%outside, body=%walk, metadata={op_name="jit(run)/while/while"}
  %rnn = (s32[], f32[8]{0}) while(%zeros), condition=%few, body=%turn, metadata={op_name="jit(run)/while/fnet_step/jvp(while)"}
  %grads = f32[8]{0} fusion(%rnn.1), kind=kCustom, calls=%sum, metadata={op_name="jit(run)/while/fnet_step/add_any"}, backend_config={"estimated_cycles":"30"}
  %print = (f32[]{:T(128)}, u32[], token[]) send(%loss, %token), channel_id=1, is_host_transfer=true
  %cond = (f32[8]{0}) conditional(%due, %a, %b), branch_computations={%sum, %keep}
  %new = f32[8]{0:T(128)} copy(%grads)
}
%fifth (carry: (s32[], f32[8])) -> pred[] {
  %bound.1 = s32[]{:T(128)} constant(5)
  %carry.1 = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  ROOT %less.1 = pred[]{:T(512)} compare(%i.2, %bound.1), direction=LT
}
%epoch (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
  %hoisted = f32[8]{0} fusion(%c), kind=kLoop, metadata={op_name="jit(run)/while/fnet_step/mul"}
  %steps = (s32[], f32[8]{0}) while(%first), condition=%fifth, body=%step, metadata={op_name="jit(run)/while/while"}
}
ENTRY %main (params: f32[8]) -> f32[8] {
  %epochs = (s32[], f32[8]{0}) while(%params), condition=%fifth, body=%epoch, metadata={op_name="jit(run)/while"}
}
"""  # noqa: E501


def test_a_step_of_a_tpu_is_found_and_counted():
    assert step_loop(*parse(TPU))[0] == "step"
    assert read_text(TPU) == {
        "kernels": 28 + 2 + 1 + 1 + 1 + 2,  # cells, the walk, gradients, send, copy, branches
        "cycles": 28 * 100 + 7 + 30,
        "loops": 1,
        "branches": 1,
        "host_transfers": 1,
        "counted": True,
        "loops_anywhere": 1,
    }


GPU = """HloModule jit_run, is_scheduled=true, num_partitions=8

%body (carry: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %gather = f32[128]{0} fusion(%rows, %data), kind=kLoop
  %start = (f32[8,16]{1,0}, f32[64,16]{1,0}) all-gather-start(%cut), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
  %done = f32[64,16]{1,0} all-gather-done(%start)
  %part = f32[4]{0} reduce-scatter(%whole), replica_groups=[4,2]<=[8], dimensions={0}, to_apply=%plus
  %moved = f32[2]{0} collective-permute(%part), source_target_pairs={{0,1},{1,0}}
  %gemm = (f32[8,16]{1,0}, s8[64]{0}) custom-call(%done, %x), custom_call_target="__cublas$gemm", metadata={op_name="jit(f)/while/body/fnet_step/dot"}
  %call = f32[] custom-call(%loss), custom_call_target="xla_ffi_python_gpu_callback"
}
%cond (carry: (s32[], f32[8,16])) -> pred[] {
  ROOT %less = pred[] fusion(%i), kind=kLoop
}
ENTRY %main (params: f32[8,16]) -> f32[8,16] {
  %loop = (s32[], f32[8,16]{1,0}) while(%t), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"468"}}
}
"""  # noqa: E501


def test_a_step_of_a_gpu_is_found_and_counted():
    figures = read_text(GPU)
    assert figures["kernels"] == 6
    assert figures["cycles"] is None
    assert figures["loops"] == figures["loops_anywhere"] == 0
    assert figures["host_transfers"] == 1
    unknown = read_text(GPU.replace('{"known_trip_count":{"n":"468"}}', "{}"))
    assert (unknown["loops"], unknown["loops_anywhere"]) == (0, 1)
    assert figures["counted"] and not unknown["counted"]


def test_the_step_of_train_is_found():
    net = fnet.sequential(fnet.dense(3), fnet.relu, fnet.dense(1))
    task = fnet.supervised(net, "mean_squared_error")
    state = fnet.train_state(net, "sgd", jax.random.key(0), (2,))
    data = jnp.zeros((11, 2)), jnp.zeros((11, 1))
    options = {"epochs": 2, "batch_size": 2}
    compiled = jax.jit(lambda s, d: fnet.train(task, s, d, **options)).lower(state, data).compile()
    computations, entry = parse(compiled.as_text())
    body = computations[step_loop(computations, entry)[0]]
    assert any(one.in_step and one.shape.startswith("f32[2,3]") for one in body)  # the whole batch
    figures = read(compiled)
    assert figures.kernels > 0
    assert figures.host_waits("tpu") == 0
    assert figures.peak >= figures.arguments
