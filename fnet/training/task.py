"""What a run minimises and reports: a model, its loss and its metrics, joined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..core.checks import check_count
from ..core.trees import Tree
from ..core.values import Partial, name_of, resolve
from ..distributed.sharding import Devices
from ..layers.activations import sigmoid, softmax
from ..layers.base import Function, Layer, as_layer
from ..layers.combinators import sequential
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
from .series import STEP_METRICS

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (y_true, y_pred) -> (batch,)
Batch = tuple[jax.Array, ...]  # (x, y), or (x, y, weights)
Values = dict[str, jax.Array]

# A crossentropy of a softmax cancels to logits less their logsumexp. Done in two stages it rounds
# to log(0) and its gradient to 0 for a confident mistake, so the pair is taken in one.
OF_CLASSES = categorical_crossentropy, sparse_categorical_crossentropy, kl_divergence
EXACT = {
    softmax: OF_CLASSES,
    jax.nn.softmax: OF_CLASSES,
    sigmoid: (binary_crossentropy,),
    jax.nn.sigmoid: (binary_crossentropy,),
}


@dataclass(frozen=True)
class Objective:
    """A static value, so that one of it is one compiled program.

    `body` is the model up to the activation that its loss takes in, `activation` what turns the
    output of `body` into predictions. `record` names what is kept of every `every`-th step.
    `compute_dtype` is that of the forward and the backward pass in training, unless it is None;
    `devices` is where its arrays lie.
    """

    body: Layer
    activation: Callable[[jax.Array], jax.Array]
    loss: Loss
    metrics: tuple[Loss, ...]
    record: tuple[str, ...] = ()
    every: int = 1
    compute_dtype: Any = None
    devices: Devices = Devices()

    @property
    def names(self) -> list[str]:
        return ["loss", *map(name_of, self.metrics)]

    def values(self, output: jax.Array, y_true: jax.Array, *weights: jax.Array) -> Values:
        """Loss and metrics of each sample, `(batch,)` each, from the output of `body`.

        In at least float32, whatever the model computes in, since they are to be added up. Weights
        multiply the loss, whose mean is then the sum of w times loss over the number of samples,
        as Keras has it; metrics stay as they are.
        """
        values = {"loss": self.loss(y_true, output)}
        if self.metrics:
            y_pred = self.activation(output)
            values |= {name_of(metric): metric(y_true, y_pred) for metric in self.metrics}
        values = {name: value.astype(float) for name, value in values.items()}
        for weight in weights:
            values["loss"] = values["loss"] * weight
        return values

    def forward(
        self, params: Tree, model_state: Tree, x: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Tree]:
        """The output of `body` in training, and the new model state."""
        dtype = self.compute_dtype
        if dtype is None:
            return forward(self.body, params, model_state, x, key)
        body = map_layers(self.body, lambda layer: Rounded(layer, dtype))
        params, x = cast_floats((params, jnp.asarray(x)), dtype)
        output, model_state = forward(body, params, model_state, x, key)
        return cast_floats(output, float), model_state

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch) -> tuple[jax.Array, Values]:
        """The output of `body` at inference, with loss and metrics of each sample."""
        x, *targets = batch
        output = apply(self.body, params, x, model_state)
        return output, self.values(output, *targets)

    def check(
        self, params: Tree, model_state: Tree, data: tuple[Any, ...], batch_size: int
    ) -> jax.ShapeDtypeStruct:
        """Refuse what does not fit, before anything is compiled; gives what `body` puts out."""
        output = self.check_shapes(params, model_state, data, batch_size)
        self.check_labels(data[1], output)
        return output

    def check_shapes(
        self, params: Tree, model_state: Tree, data: tuple[Any, ...], batch_size: int
    ) -> jax.ShapeDtypeStruct:
        """Refuse parameters and shapes that do not fit; gives what `body` puts out."""
        like = [
            jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype))
            for a in data[:2]  # weights could make a value of each sample out of one of them all
        ]
        output, values = jax.eval_shape(self.evaluate, params, model_state, like)
        for name, value in values.items():
            if value.shape != (batch_size,):
                raise ValueError(
                    f"`{name}` must give one value a sample, shape ({batch_size},), got "
                    f"{value.shape}. Average over the other axes, not over the batch."
                )
        return output

    def check_labels(self, y: Any, output: jax.ShapeDtypeStruct) -> None:
        """Refuse integer labels that are no class of the output."""
        if any(map(takes_labels, (self.loss, *self.metrics))) and y.ndim == output.ndim - 1:
            check_labels("y", y, output.shape[-1])


def takes_labels(function: Loss) -> bool:
    plain = function.function if isinstance(function, Partial) else function
    return plain in (sparse_categorical_crossentropy, accuracy) or isinstance(plain, top_k_accuracy)


def objective(
    net: Layer,
    loss: Loss | str,
    metrics: Sequence[Loss | str] = (),
    record: Sequence[str] = (),
    every: int = 1,
    compute_dtype: Any = None,
) -> Objective:
    """Resolve names, and join the model's last activation with its loss where they make a pair."""
    net, function = as_layer(net, "net"), resolve("loss", loss, LOSSES)
    for argument, names in {"metrics": metrics, "record": record}.items():
        if isinstance(names, str):
            raise TypeError(f"`{argument}` must be a list, got {names!r}. Write [{names!r}].")
    functions = tuple(resolve("metrics", metric, METRICS) for metric in metrics)
    goal = Objective(
        net, identity, function, functions, tuple(record), check_count("every", every),
        check_compute_dtype(compute_dtype),
    )  # fmt: skip
    if len(set(goal.names)) < len(goal.names):
        raise ValueError(
            f"`metrics` must have names of their own, got {goal.names}. Rename or drop one."
        )
    for name in record:
        if name not in (*goal.names, *STEP_METRICS):
            raise ValueError(
                f"`record` must name series of this run, got {name!r}. "
                f"There are {', '.join(map(repr, (*goal.names, *STEP_METRICS)))}."
            )
    body, activation = split_activation(net)
    plain, keywords = without_keywords(function)
    if plain in EXACT.get(activation, ()) and not keywords.get("from_logits"):
        keywords |= {"from_logits": True}
        from_logits = Partial(plain, (), tuple(sorted(keywords.items())))
        return replace(goal, body=body, activation=activation, loss=from_logits)
    return goal


def without_keywords(function: Loss) -> tuple[Loss, dict[str, Any]]:
    """A loss, and the keywords that it was given beforehand."""
    if isinstance(function, Partial) and not function.arguments:
        return function.function, dict(function.keywords)
    return function, {}


def identity(x: jax.Array) -> jax.Array:
    return x


def split_activation(net: Layer) -> tuple[Layer, Any]:
    """The model without its last layer, and that layer's function, where it is a plain one."""
    if type(net) is sequential and net.layers:
        *layers, last = net.layers
        if isinstance(last, Function):
            return sequential(*layers), last.function
        last, activation = split_activation(last)
        return sequential(*layers, last), activation
    return net, None
