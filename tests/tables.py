"""Every layer there is, as (name, factory, in_shape): what each property of layers is tested on.

A factory builds its layer anew, so that two of them are equal by value or not at all.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

import fnet
from fnet.layers import activations, initializers


@dataclass(frozen=True)
class Leaky(fnet.Cell):
    """A cell of one's own: a tree as carry, a projection, and time steps of any shape."""

    rate: float

    def init_cell(self, key, in_shape):
        return {"scale": jnp.ones(in_shape)}

    def project(self, params, x):
        return x * params["scale"].reshape(
            (1,) * (x.ndim - params["scale"].ndim) + params["scale"].shape
        )

    def start(self, params, x):
        return {"mean": jnp.zeros_like(x)}

    def step(self, params, carry, x):
        y = (1 - self.rate) * carry["mean"] + self.rate * x
        return {"mean": y}, y


class Row(NamedTuple):
    name: str
    factory: Callable[[], Any]
    in_shape: Any
    ids: int = 0  # the input is integers below this number, where it is given


def own_init(key, in_shape):
    return {"scale": jnp.ones((1, *in_shape))}, in_shape


def own_apply(params, x):
    return x * params["scale"]


def doubled(x):
    return 2 * x


def stacked(outputs, axis):
    return jnp.stack(outputs, axis)


def everything():
    return fnet.sequential(
        fnet.rescale(0.5, offset=1),
        fnet.reshape((4, 2, -1)),
        fnet.dense(3),
        fnet.batch_norm(),
        fnet.relu,
        fnet.residual(fnet.dense(3), fnet.layer_norm(), fnet.batch_norm(momentum=0.9)),
        fnet.parallel(
            fnet.sequential(fnet.dense(2), partial(fnet.leaky_relu, negative_slope=0.2)),
            fnet.parallel(fnet.layer(own_init, own_apply), fnet.dropout(0.1), merge=sum),
            doubled,
        ),
        fnet.flatten,
        fnet.dropout(0.5),
        fnet.dense(4, use_bias=False),
        fnet.softmax,
    )


def deep():
    return fnet.residual(fnet.dense(4), fnet.batch_norm(), fnet.tanh, fnet.dropout(0.5))


def sequences():
    block = fnet.residual(fnet.layer_norm(), fnet.dense(4), fnet.gelu)
    return fnet.sequential(
        fnet.embedding(5, 4),
        fnet.scan_layers(fnet.remat(block), 2, unroll=2),
        fnet.global_avg_pool,
        fnet.dense(5),
    )


def shared_weights(layers, x):
    return layers.head(layers.tower(x[..., :2]) - layers.tower(x[..., 2:]))


def two_to_two(layers, x):
    both = layers.dense(jnp.concatenate([layers.left(x["left"]), x["right"]], -1))
    return layers.head(both), {"norm": layers.norm(layers.norm(both)), "both": both}


def skipping(layers, x):
    return x + layers.drop(layers.norm(layers.dense(layers.drop(layers.dense(x)))))


def looped(units):
    return fnet.graph(
        skipping, dense=fnet.dense(units), drop=fnet.dropout(0.5), norm=fnet.batch_norm()
    )


def deep_graphs():
    wired = fnet.graph(crossing, block=fnet.residual(looped(4)), again=fnet.remat(fnet.tanh))
    return fnet.sequential(fnet.scan_layers(fnet.remat(wired), 2), fnet.dense(3))


def crossing(layers, x):
    return layers.again(layers.block(x)) - layers.block(x)


ACTIVATIONS = [
    function
    for _, function in inspect.getmembers(activations, inspect.isfunction)
    if function.__module__ == activations.__name__
]

LAYERS = [
    Row("dense", lambda: fnet.dense(3), (5,)),
    Row("dense_without_bias", lambda: fnet.dense(3, use_bias=False), (5,)),
    Row("dense_of_one", lambda: fnet.dense(1), (1,)),
    Row("dense_on_sequences", lambda: fnet.dense(2), (4, 3)),
    Row("dense_on_images", lambda: fnet.dense(2, use_bias=False), (4, 2, 3)),
    Row(
        "dense_of_other_initializers",
        lambda: fnet.dense(
            2, kernel_init=initializers.he_normal, bias_init=partial(initializers.normal, stddev=1)
        ),
        (5,),
    ),
    *(Row(function.__name__, lambda function=function: function, (4,)) for function in ACTIVATIONS),
    Row("partial", lambda: fnet.sequential(partial(fnet.leaky_relu, negative_slope=0.2)), (4,)),
    Row("own_function", lambda: doubled, (2, 3)),
    Row("own_layer", lambda: fnet.layer(own_init, own_apply), (2, 3)),
    Row("flatten", lambda: fnet.flatten, (2, 3, 2)),
    Row("reshape", lambda: fnet.reshape((2, 3)), (3, 2)),
    Row("reshape_of_the_rest", lambda: fnet.reshape([3, -1, 1]), (6,)),
    Row("rescale", lambda: fnet.rescale(1 / 127.5, offset=-1), (2, 3)),
    Row("dropout", lambda: fnet.dropout(0.5), (2, 3)),
    Row("batch_norm", lambda: fnet.batch_norm(), (3,)),
    Row("batch_norm_on_images", lambda: fnet.batch_norm(momentum=0.9, epsilon=1e-5), (2, 2, 3)),
    Row("layer_norm", lambda: fnet.layer_norm(), (3,)),
    Row("layer_norm_on_sequences", lambda: fnet.layer_norm(epsilon=1e-5), (2, 3)),
    Row("group_norm", lambda: fnet.group_norm(2, epsilon=1e-5), (2, 4)),
    Row("rms_norm", lambda: fnet.rms_norm(), (2, 3)),
    Row("conv_on_sequences", lambda: fnet.conv(2, (3,), padding="same", dilation=2), (5, 3)),
    Row("conv_on_images", lambda: fnet.conv(4, (2, 3), 2, groups=2), (5, 4, 2)),
    Row(
        "conv_on_volumes", lambda: fnet.conv(2, (2, 2, 2), (1, 2, 1), use_bias=False), (2, 3, 3, 1)
    ),
    Row("conv_transpose", lambda: fnet.conv_transpose(2, (3, 2), 2, "same"), (2, 3, 3)),
    Row("depthwise_conv", lambda: fnet.depthwise_conv((2, 2), depth_multiplier=2), (3, 3, 2)),
    Row("separable_conv", lambda: fnet.separable_conv(3, (2,), 2, "same"), (4, 2)),
    Row("up_sample", lambda: fnet.up_sample((1, 2), "linear"), (2, 2, 2)),
    Row("zero_pad", lambda: fnet.zero_pad((1, (0, 2))), (2, 2, 2)),
    Row("prelu", lambda: fnet.prelu([1]), (2, 3)),
    Row(
        "norms_of_fewer_parameters",
        lambda: fnet.sequential(
            fnet.batch_norm(use_scale=False),
            fnet.layer_norm(use_bias=False),
            fnet.group_norm(2, use_scale=False, use_bias=False),
            fnet.rms_norm(use_scale=False),
        ),
        (3, 4),
    ),
    Row("global_max_pool", lambda: fnet.global_max_pool, (2, 3, 2)),
    Row("max_pool", lambda: fnet.max_pool((2, 2)), (4, 5, 2)),
    Row("max_pool_on_sequences", lambda: fnet.max_pool((3,), 2, "same"), (6, 2)),
    Row("avg_pool", lambda: fnet.avg_pool((2, 3), 2, padding="same"), (3, 4, 2)),
    Row("global_avg_pool", lambda: fnet.global_avg_pool, (2, 3, 2)),
    Row("embedding", lambda: fnet.embedding(5, 3), (4,), ids=5),
    Row("attention", lambda: fnet.attention(2), (3, 4)),
    Row("attention_causal", lambda: fnet.attention(2, 3, causal=True, use_bias=False), (3, 4)),
    Row(
        "attention_of_all_options",
        lambda: fnet.attention(4, 2, key_value_heads=2, rotary=True, dropout=0.5),
        (3, 4),
    ),
    Row(
        "attention_to_a_memory",
        lambda: fnet.attention(2, 5),
        {"x": (3, 4), "memory": (2, 6), "mask": (2,)},
    ),
    Row("learned_positions", lambda: fnet.learned_positions(), (3, 4)),
    Row("sinusoidal_positions", lambda: fnet.sinusoidal_positions, (3, 5)),
    Row("simple_rnn", lambda: fnet.simple_rnn(2, use_bias=False), (2, 3)),
    Row("lstm", lambda: fnet.lstm(2, return_sequences=True, unroll=2), (2, 3)),
    Row("gru", lambda: fnet.gru(2), (2, 3)),
    Row("gru_masked", lambda: fnet.gru(3), {"x": (2, 3), "mask": (2,)}),
    Row("bidirectional", lambda: fnet.bidirectional(fnet.simple_rnn(2)), (2, 3)),
    Row("recurrent", lambda: fnet.recurrent(Leaky(0.5), return_sequences=True), (3, 2, 2)),
    Row("random_shift", lambda: fnet.random_shift(1), (3, 4, 2)),
    Row("random_noise", lambda: fnet.random_noise(0.5), (2, 3)),
    Row("scan_layers", lambda: fnet.scan_layers(deep(), 3), (4,)),
    Row("remat", lambda: fnet.remat(fnet.sequential(fnet.dense(3), fnet.tanh)), (4,)),
    Row("sequences", sequences, (4,), ids=5),
    Row("empty", lambda: fnet.sequential(), (3,)),
    Row("sequential", lambda: fnet.sequential(fnet.dense(3), fnet.tanh, fnet.dense(2)), (4,)),
    Row(
        "sequential_nested",
        lambda: fnet.sequential(
            fnet.dense(3), fnet.sequential(fnet.relu, fnet.sequential(fnet.dense(2)))
        ),
        (4,),
    ),
    Row("residual", lambda: fnet.residual(fnet.dense(4), fnet.relu, fnet.dense(3)), (2, 3)),
    Row("parallel", lambda: fnet.parallel(fnet.dense(2), fnet.relu, fnet.dense(3)), (4,)),
    Row("parallel_sum", lambda: fnet.parallel(fnet.dense(3), fnet.tanh, merge=sum), (3,)),
    Row(
        "parallel_stacked",
        lambda: fnet.parallel(fnet.dense(3), fnet.tanh, merge=partial(stacked, axis=1)),
        (3,),
    ),
    Row("all_activations", lambda: fnet.parallel(*ACTIVATIONS), (4,)),
    Row("everything", everything, (4, 4)),
    Row(
        "graph_of_shared_weights",
        lambda: fnet.graph(
            shared_weights,
            tower=fnet.sequential(fnet.dense(3), fnet.tanh),
            head=fnet.dense(1),
        ),
        (4,),
    ),
    Row(
        "graph_of_trees",
        lambda: fnet.graph(
            two_to_two,
            left=fnet.dense(2),
            dense=fnet.dense(3),
            norm=fnet.batch_norm(),
            head=fnet.sequential(fnet.dropout(0.5), fnet.dense(1)),
        ),
        {"left": (3,), "right": (2,)},
    ),
    Row("graph_of_everything", deep_graphs, (4,)),
]
