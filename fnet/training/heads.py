"""What is asked of each output of a model: its loss, its metrics, its weight."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from ..core.trees import by_path
from ..core.values import Partial, describe, name_of, resolve
from ..data.batches import num_samples
from ..losses.losses import LOSSES, sparse_categorical_crossentropy
from ..losses.metrics import METRICS, accuracy, top_k_accuracy
from ..losses.reductions import weighted
from ..losses.statistics import Statistic
from .logits import EXACT, Logits
from .task import Values, as_float

Loss = Callable[[jax.Array, jax.Array], Any]  # (y_true, y_pred) -> (batch,), or a Statistic


def make_heads(loss: Any, metrics: Any, loss_weights: Any) -> "tuple[Head, ...]":
    """The heads of a tree of losses, with trees of metrics and weights of the same form."""
    functions = by_path(loss, "_")
    if not functions:  # None, or an empty tree
        resolve("loss", loss, LOSSES)
    form, names = jax.tree.structure(loss), list(functions)
    heads = zip(
        names,
        (resolve("loss", function, LOSSES) for function in functions.values()),
        map(check_metrics, like_loss("metrics", metrics, form, names, ())),
        map(check_loss_weight, like_loss("loss_weights", loss_weights, form, names, 1.0)),
        strict=True,
    )
    return tuple(Head(*head) for head in heads)


@dataclass(frozen=True)
class Head:
    """What is asked of one output of the model."""

    name: str  # its path in the tree of outputs, empty for a single one
    function: Loss
    metrics: tuple[Loss, ...]
    weight: float

    @property
    def functions(self) -> tuple[Loss, ...]:
        return self.function, *self.metrics

    def named(self, name: str) -> str:
        return f"{self.name}_{name}" if self.name else name

    def values(
        self, y_true: Any, y_pred: Any, logits: Logits | None, weights: jax.Array | None
    ) -> Values:
        """Loss and metrics, as floats to be summed; only the loss is weighted."""
        plain, keywords = without_keywords(self.function)
        loss, output = self.function, y_pred
        if logits and plain in EXACT[logits.activation] and not keywords.get("from_logits"):
            loss = partial(plain, **keywords | {"from_logits": True})
            output, y_pred = logits.array, logits.activation(logits.array)
        loss = partial(one_a_sample, "loss", loss)
        metrics = {name_of(metric): metric for metric in self.metrics}
        values = {name: one_a_sample(name, metrics[name], y_true, y_pred) for name in metrics}
        if weights is None:
            return {"loss": loss(y_true, output)} | values
        if weights.ndim == 1:
            return {"loss": loss(y_true, output) * weights} | values
        return {"loss": weighted(loss, y_true, output, weights)} | values


def one_a_sample(name: str, function: Loss, y_true: Any, y_pred: Any) -> Any:
    """The values of a loss or metric, as floats to be summed."""
    value, size = function(y_true, y_pred), num_samples(y_pred)
    if not isinstance(value, Statistic) and value.shape != (size,):
        raise ValueError(
            f"`{name}` must give one value a sample, shape ({size},), got {value.shape}. "
            f"Average over the other axes, not over the batch."
        )
    return jax.tree.map(as_float, value)


def like_loss(argument: str, tree: Any, form: Any, names: list[str], default: Any) -> list[Any]:
    """The part of a tree for each of the losses; a dict may leave some out."""
    if tree is None or isinstance(tree, tuple) and not tree:
        return [default] * len(names)
    if isinstance(tree, dict) and tree.keys() <= set(names):
        return [tree.get(name, default) for name in names]
    try:
        return form.flatten_up_to(tree)
    except (TypeError, ValueError):
        raise TypeError(
            f"`{argument}` must be a tree of the form of `loss`, with one for each of {names}, got "
            f"{describe(tree)}. Write {argument}={{{names[0]!r}: ...}}."
        ) from None


def check_metrics(metrics: Any) -> tuple[Loss, ...]:
    if not isinstance(metrics, (list, tuple)):
        shown = describe(metrics)
        raise TypeError(f"`metrics` must be a list, got {shown}. Write [{shown}].")
    return tuple(resolve("metrics", metric, METRICS) for metric in metrics)


def check_loss_weight(weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight >= 0:
        raise ValueError(
            f"`loss_weights` must be numbers of at least 0, got {describe(weight)}. 1 is the "
            f"weight of a plain loss."
        )
    return float(weight)


def takes_an_array(function: Loss) -> bool:
    plain, _ = without_keywords(function)
    return plain in (*LOSSES.values(), *METRICS.values()) or isinstance(plain, top_k_accuracy)


def takes_labels(function: Loss) -> bool:
    plain = function.function if isinstance(function, Partial) else function
    return plain in (sparse_categorical_crossentropy, accuracy) or isinstance(plain, top_k_accuracy)


def without_keywords(function: Loss) -> tuple[Loss, dict[str, Any]]:
    """A loss, and the keywords that it was given beforehand."""
    if isinstance(function, Partial) and not function.arguments:
        return function.function, dict(function.keywords)
    return function, {}
