"""Supervised learning: a model, its losses and its metrics as one task."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp

from ..core.checks import check_data, check_weights
from ..core.trees import Tree, by_path
from ..core.values import describe, name_of
from ..data.batches import num_samples
from ..layers.base import Layer, as_layer
from ..layers.combinators import sequential
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.wrappers import map_layers
from ..losses.labels import check_labels
from ..models.model import apply, forward
from .heads import Head, make_heads, takes_an_array, takes_labels, without_keywords
from .logits import LogitsFinder
from .precision import Rounded, cast_floats, check_compute_dtype
from .signature import Signature, abstract_of, signature_of
from .task import Batch, Task, Values

NORMALIZATIONS = batch_norm, group_norm, layer_norm, rms_norm


def supervised(
    net: Layer,
    loss: Any,
    metrics: Any = (),
    *,
    loss_weights: Any = None,
    compute_dtype: Any = None,
) -> Task:
    """The task of predicting `y` from `x` with a model: minimise `loss(y, net(x))`.

    It is Keras's `compile` as a value. A batch is `(x, y)`, or `(x, y, weights)` with a weight for
    each sample, `(batch,)`, or for each step of each sample, `(batch, time)`: the loss is then the
    sum of weight times loss over their number, as in Keras; metrics are not weighted. A
    crossentropy behind a last softmax or sigmoid is computed from the logits, exactly.

    For a model with several outputs, such as a `graph` that returns a dict, `loss` and `metrics`
    are trees of the same form, and so is `y`. The loss is then the weighted sum of theirs, and the
    values of an output are named after it: `digit_loss`, `digit_accuracy`.

    Args:
        net: the model.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name; a tree of them for several outputs.
        metrics: a list of functions like `loss`, or of names; a tree of lists for several outputs,
            of which those without metrics may be left out.
        loss_weights: a tree like `loss` of the weight of each output's loss; 1 each by default.
        compute_dtype: the dtype of the forward and the backward pass in training, such as
            `"bfloat16"`; parameters, loss and update keep theirs, and so does evaluation. Losses
            are not scaled, which float16 may need. By default the dtype of the parameters.

    Returns:
        A task for `train`, `fit`, `train_many`, `train_step` and `evaluate`. It hashes, compares
        and pickles by value: a task built anew compiles nothing anew.

    Raises:
        ValueError: unknown name, two metrics of the same name, or weights that are not numbers.
        TypeError: `net` is not a layer, `metrics` is not a list, `metrics` or `loss_weights` is of
            another form than `loss`, or `compute_dtype` is not a floating dtype.

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
    heads, dtype = make_heads(loss, metrics, loss_weights), check_compute_dtype(compute_dtype)
    task = Supervised(as_layer(net, "net"), jax.tree.structure(loss), heads, dtype)
    if len(set(task.names)) < len(task.names):
        raise ValueError(
            f"`metrics` must have names of their own, got {[*task.names]}. Rename or drop one."
        )
    return task


@dataclass(frozen=True, repr=False)
class Supervised(Task):
    """See `supervised`."""

    net: Layer
    form: Any  # the structure of the tree of outputs
    heads: tuple[Head, ...]
    compute_dtype: Any = None

    def __repr__(self) -> str:
        loss = self.form.unflatten(name_of(head.function) for head in self.heads)
        return f"supervised({self.net!r}, {loss!r})"

    @property
    def independent(self) -> bool:  # type: ignore[override]
        # An ignored class is left out of the number of labels in the batch.
        functions = (without_keywords(head.function) for head in self.heads)
        return not any("ignore_class" in keywords for _, keywords in functions)

    @property
    def names(self) -> tuple[str, ...]:
        losses = [head.named("loss") for head in self.heads if head.name]
        metrics = (head.named(name_of(metric)) for head in self.heads for metric in head.metrics)
        return "loss", *losses, *metrics

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        x, *targets = batch
        net, dtype = self.net, self.compute_dtype
        if dtype is not None:
            params, x = cast_floats(params, dtype), jax.tree.map(jnp.asarray, x)
            if not isinstance(first_layer(net), NORMALIZATIONS):  # they take what dtype does not
                x = cast_floats(x, dtype)
            net = map_layers(net, lambda layer: Rounded(layer, dtype))
        finder = LogitsFinder(net)
        outputs, model_state = forward(finder.net, params, model_state, x, key)
        return self.values(outputs, finder, *targets), model_state

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Values:
        x, *targets = batch
        finder = LogitsFinder(self.net)
        return self.values(apply(finder.net, params, x, model_state), finder, *targets)

    def values(
        self, outputs: Tree, finder: LogitsFinder, y_true: Tree, weights: Tree = None
    ) -> Values:
        terms: list[jax.Array] = []
        losses: Values = {}
        metrics: Values = {}
        for head, y_pred, y, weight in zip(
            self.heads,
            self.parts("the output of `net`", outputs),
            self.parts("`y`", y_true),
            self.weights(weights),
            strict=True,
        ):
            logits = finder.logits(y_pred)
            if self.compute_dtype is not None:
                y_pred, logits = cast_floats(y_pred, float), logits and logits.cast(float)
            values = head.values(y, y_pred, logits, weight)
            loss = values.pop("loss")
            terms.append(loss if head.weight == 1 else head.weight * loss)
            losses |= {head.named("loss"): loss}
            metrics |= {head.named(name): value for name, value in values.items()}
        return {"loss": reduce(jnp.add, terms)} | (losses if self.heads[0].name else {}) | metrics

    def parts(self, what: str, tree: Tree) -> list[Any]:
        """The parts of a tree of outputs, or of labels, for the heads.

        A single loss of your own gets a tree as a whole.
        """
        if not self.heads[0].name and not any(map(takes_an_array, self.heads[0].functions)):
            return [tree]
        try:
            parts = self.form.flatten_up_to(tree)
            if all(map(jax.tree_util.all_leaves, ([part] for part in parts))):
                return parts
        except (TypeError, ValueError):
            pass
        names = [head.name for head in self.heads if head.name]
        form = f"a tree with the leaves {names}, as `loss` is" if names else "an array"
        raise TypeError(
            f"{what} must be {form}, got {describe_tree(tree)}. Give `loss` and `y` the form of "
            f"the model's outputs."
        )

    def weights(self, weights: Tree) -> list[Any]:
        """The weights of the samples for each head: one array for all, or a tree like `loss`."""
        if weights is None or hasattr(weights, "shape"):
            return [weights] * len(self.heads)
        return self.parts("`weights`", weights)

    def check_data(self, argument: str, data: Any) -> Batch:
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise TypeError(
                f"{argument} must be a pair of arrays (x, y), or (x, y, weights), got "
                f"{describe(data)}. Pass the samples and their labels as one tuple; each may be a "
                f"tree of arrays."
            )
        x, y, *weights = check_data(argument, tuple(data))
        what, samples = f"`weights` of {argument}", num_samples(x)
        return x, y, *(jax.tree.map(lambda w: check_weights(what, w, samples), w) for w in weights)

    def check_values(self, argument: str, params: Tree, model_state: Tree, batch: Batch) -> None:
        if not any(takes_labels(function) for head in self.heads for function in head.functions):
            return
        x, y, *_ = batch
        one = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype), x
        )
        outputs = output_shapes(self.net, *signature_of((params, model_state, one)))
        for head, labels, output in zip(
            self.heads,
            self.parts("`y`", y),
            self.parts("the output of `net`", outputs),
            strict=True,
        ):
            if any(map(takes_labels, head.functions)):
                if labels.ndim == output.ndim - 1:
                    _, keywords = without_keywords(head.function)
                    ignored = keywords.get("ignore_class")
                    check_labels(head.named("y"), labels, output.shape[-1], ignored)

    def map_layers(self, wrap: Callable[[Layer], Layer]) -> "Supervised":
        return replace(self, net=map_layers(self.net, wrap))


@lru_cache(maxsize=256)
def output_shapes(net: Layer, shapes: Signature, structure: Any) -> Tree:
    params, model_state, x = abstract_of(shapes, structure)
    return jax.eval_shape(lambda p, s, x: apply(net, p, x, s), params, model_state, x)


def first_layer(net: Layer) -> Layer | None:
    while type(net) is sequential:
        if not net.layers:
            return None
        net = net.layers[0]
    return net


def describe_tree(tree: Tree) -> str:
    leaves = jax.tree.map(describe, tree)
    return leaves if isinstance(leaves, str) else f"leaves {sorted(by_path(tree))}"
