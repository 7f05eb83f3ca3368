"""Supervised learning: a model, its loss and its metrics as one task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from ..core.values import Partial, name_of, resolve
from ..layers.activations import sigmoid, softmax
from ..layers.base import Function, Layer, as_layer
from ..layers.combinators import sequential
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.wrappers import map_layers
from ..losses.labels import check_labels
from ..losses.losses import (
    LOSSES,
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from ..losses.metrics import METRICS, accuracy, top_k_accuracy
from ..models.model import apply, forward
from .precision import Rounded, cast_floats, check_compute_dtype
from .shapes import Shapes, shapes_of, zeros_like
from .task import Batch, Task, Values

NORMALIZATIONS = batch_norm, group_norm, layer_norm, rms_norm
Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (y_true, y_pred) -> (batch,)

# A crossentropy of a softmax cancels to logits less their logsumexp. Done in two stages it rounds
# to log(0) and its gradient to 0 for a confident mistake, so the pair is computed in one.
OF_CLASSES = categorical_crossentropy, sparse_categorical_crossentropy, kl_divergence
EXACT = {
    softmax: OF_CLASSES,
    jax.nn.softmax: OF_CLASSES,
    sigmoid: (binary_crossentropy,),
    jax.nn.sigmoid: (binary_crossentropy,),
}


def supervised(
    net: Layer,
    loss: Loss | str,
    metrics: Sequence[Loss | str] = (),
    *,
    compute_dtype: Any = None,
) -> Task:
    """The task of predicting `y` from `x` with a model: minimise the mean of loss(y, net(x)).

    It is Keras's `compile` as a value. A batch is `(x, y)`, or `(x, y, weights)` with a weight for
    each sample: the loss is then the sum of weight times loss over the number of samples, as in
    Keras; metrics are not weighted. A crossentropy behind a last softmax or sigmoid is computed
    from the logits, exactly.

    Args:
        net: the model.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name.
        metrics: functions like `loss`, or their names.
        compute_dtype: the dtype of the forward and the backward pass in training, such as
            `"bfloat16"`; parameters, loss and update keep theirs, and so does evaluation. Losses
            are not scaled, which float16 may need. By default the dtype of the parameters.

    Returns:
        A task for `train`, `fit`, `train_many`, `train_step` and `evaluate`. It hashes, compares
        and pickles by value: a task built anew compiles nothing anew.

    Raises:
        ValueError: unknown name, or two metrics of the same name.
        TypeError: `net` is not a layer, `metrics` is not a list, or `compute_dtype` is not a
            floating dtype.

    Example:
        >>> import jax, fnet
        >>> net = fnet.sequential(fnet.dense(10), fnet.softmax)
        >>> task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (64,))
        >>> data = jax.random.normal(jax.random.key(1), (32, 64)), jax.numpy.arange(32) % 10
        >>> state, history = fnet.train(task, state, data, epochs=2, batch_size=8)
        >>> sorted(fnet.evaluate(task, state, data))
        ['accuracy', 'loss']
    """
    net, function = as_layer(net, "net"), resolve("loss", loss, LOSSES)
    if isinstance(metrics, str):
        raise TypeError(f"`metrics` must be a list, got {metrics!r}. Write [{metrics!r}].")
    functions = tuple(resolve("metrics", metric, METRICS) for metric in metrics)
    task = Supervised(net, identity, function, functions, check_compute_dtype(compute_dtype))
    if len(set(task.names)) < len(task.names):
        raise ValueError(
            f"`metrics` must have names of their own, got {[*task.names]}. Rename or drop one."
        )
    logits_net, activation = split_activation(net)
    plain, keywords = without_keywords(function)
    if plain in EXACT.get(activation, ()) and not keywords.get("from_logits"):
        keywords |= {"from_logits": True}
        from_logits = Partial(plain, (), tuple(sorted(keywords.items())))
        return replace(task, logits_net=logits_net, activation=activation, function=from_logits)
    return task


@dataclass(frozen=True)
class Supervised(Task):
    """See `supervised`.

    `logits_net` is the model without the last activation where the loss takes that in, and
    `activation` what turns its output into predictions.
    """

    logits_net: Layer
    activation: Callable[[jax.Array], jax.Array]
    function: Loss
    metrics: tuple[Loss, ...] = ()
    compute_dtype: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        return "loss", *map(name_of, self.metrics)

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        x, *targets = batch
        dtype = self.compute_dtype
        if dtype is None:
            output, model_state = forward(self.logits_net, params, model_state, x, key)
            return self.values(output, *targets), model_state
        net = self.logits_net
        params, x = cast_floats(params, dtype), jnp.asarray(x)
        if not isinstance(first_layer(net), NORMALIZATIONS):  # which take what does not fit dtype
            x = cast_floats(x, dtype)
        net = map_layers(net, lambda layer: Rounded(layer, dtype))
        output, model_state = forward(net, params, model_state, x, key)
        return self.values(cast_floats(output, float), *targets), model_state

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch) -> Values:
        x, *targets = batch
        return self.values(apply(self.logits_net, params, x, model_state), *targets)

    def values(self, output: jax.Array, y_true: jax.Array, *weights: jax.Array) -> Values:
        """Loss and metrics, from the output of `logits_net`; in at least float32, to be summed."""
        values = {"loss": self.function(y_true, output)}
        if self.metrics:
            y_pred = self.activation(output)
            values |= {name_of(metric): metric(y_true, y_pred) for metric in self.metrics}
        values = {name: value.astype(float) for name, value in values.items()}
        for weight in weights:
            if values["loss"].shape == weight.shape:  # another shape is refused after this
                values["loss"] = values["loss"] * weight
        return values

    def check_values(self, argument: str, params: Tree, model_state: Tree, batch: Batch) -> None:
        x, y, *_ = batch
        if any(map(takes_labels, (self.function, *self.metrics))):
            one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
            output = output_shape(self.logits_net, *shapes_of((params, model_state, one)))
            if y.ndim == len(output) - 1:
                check_labels("y", y, output[-1])

    def map_layers(self, wrap: Callable[[Layer], Layer]) -> "Supervised":
        return replace(self, logits_net=map_layers(self.logits_net, wrap))


@lru_cache(maxsize=256)
def output_shape(net: Layer, shapes: Shapes, structure: Any) -> tuple[int, ...]:
    params, model_state, x = zeros_like(shapes, structure)
    output = jax.eval_shape(lambda p, s, x: apply(net, p, x, s), params, model_state, x)
    return output.shape


def takes_labels(function: Loss) -> bool:
    plain = function.function if isinstance(function, Partial) else function
    return plain in (sparse_categorical_crossentropy, accuracy) or isinstance(plain, top_k_accuracy)


def without_keywords(function: Loss) -> tuple[Loss, dict[str, Any]]:
    """A loss, and the keywords that it was given beforehand."""
    if isinstance(function, Partial) and not function.arguments:
        return function.function, dict(function.keywords)
    return function, {}


def identity(x: jax.Array) -> jax.Array:
    return x


def first_layer(net: Layer) -> Layer | None:
    while type(net) is sequential:
        if not net.layers:
            return None
        net = net.layers[0]
    return net


def split_activation(net: Layer) -> tuple[Layer, Any]:
    """The model without its last layer, and that layer's function, where it is a plain one."""
    if type(net) is sequential and net.layers:
        *layers, last = net.layers
        if isinstance(last, Function):
            return sequential(*layers), last.function
        last, activation = split_activation(last)
        return sequential(*layers, last), activation
    return net, None
