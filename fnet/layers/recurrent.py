"""Recurrent layers: a cell, and the loop that carries it over the time steps of sequences."""

import abc
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..core.errors import LayerTypeError, LayerValueError, inside
from ..core.platform import platform
from ..core.trees import Tree
from ..core.values import describe
from .base import BATCH, InitResult, Key, Layer, Output, Shape, abstract
from .checks import check_names, set_count
from .combinators import concatenate
from .dense import REBUILD

DIRECTIONS = "forward", "backward"
FIX = 'Pass x, or {"x": x, "mask": mask} with a mask of shape (batch, time).'
UNROLL = "Omit it to run one time step per iteration."


class Cell(abc.ABC):
    """Base class of cells: what a recurrent layer does in one time step. A cell has::

        init_cell(key, in_shape)    -> params       in_shape: that of one time step, (features,)
        start(params, x)            -> carry        before the first step
        step(params, carry, x)      -> carry, y     x: (batch, features), y: (batch, units)

    The carry is a tree of arrays with the batch in axis 0, which each step keeps in shape and
    dtype. `start` gets the input of one step too, which tells the size of the batch and the dtype.
    A cell may also have `project(params, x) -> x`, for what needs no carry, such as `x @ kernel`:
    `start` and `step` then get what it returns. It may get one time step or all at once, with an
    axis of time in front of the batch: let it work on the last axes.

    Write a cell as a frozen dataclass that holds only hyperparameters, so that it hashes, compares
    and pickles by value. `simple_rnn`, `lstm` and `gru` are cells too.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Leaky(fnet.Cell):
        ...     rate: float
        ...     def init_cell(self, key, in_shape):
        ...         return {}
        ...     def start(self, params, x):
        ...         return jnp.zeros_like(x)
        ...     def step(self, params, carry, x):
        ...         y = (1 - self.rate) * carry + self.rate * x
        ...         return y, y
        >>> net = fnet.recurrent(Leaky(0.5), return_sequences=True)
        >>> fnet.apply(net, {}, jnp.ones((1, 3, 1))).ravel()
        Array([0.5  , 0.75 , 0.875], dtype=float32)
    """

    @abc.abstractmethod
    def init_cell(self, key: jax.Array, in_shape: Shape) -> Tree:
        """Return the parameters, for inputs of one time step of this shape."""

    @abc.abstractmethod
    def start(self, params: Tree, x: Any) -> Tree:
        """Return the carry before the first step."""

    @abc.abstractmethod
    def step(self, params: Tree, carry: Tree, x: Any) -> tuple[Tree, jax.Array]:
        """Return the carry and the output after one step."""

    def project(self, params: Tree, x: jax.Array) -> Any:
        """Return what `start` and `step` get of `x`."""
        return x


class RecurrentLayer(Layer, Cell):
    """A layer that carries a cell, itself, over time."""

    return_sequences: bool
    unroll: int | bool

    @property
    def takes_trees(self) -> bool:
        return True

    def check_samples(self, in_shape: Shape) -> None:
        if not in_shape:
            raise LayerValueError(
                f"expected sequences (time, ...), got samples of shape {in_shape}. "
                f"Give each sample an axis of time: in_shape=(1,)."
            )

    def init(self, key: jax.Array, in_shape: Any) -> InitResult:
        shape, mask_shape = split(in_shape, self.check_samples)
        params = self.init_cell(key, shape[1:])
        mask = None if mask_shape is None else abstract(mask_shape, BATCH)
        y = jax.eval_shape(self.run, params, abstract(shape, BATCH), mask)
        return params, {}, y.shape[1:]

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        return self.run(params, *split_batch(x, self.check_samples)), state

    def run(
        self, params: Tree, x: jax.Array, mask: jax.Array | None, reverse: bool = False
    ) -> jax.Array:
        """Return the output of the last step, or of all, in a loop from either end.

        All steps are projected ahead of the loop, in one product, but not on a CPU: there a
        training step takes as long either way or, if the features are fewer than the units, 1.1 to
        1.6 times as long with that product.
        """
        x = jnp.swapaxes(x, 0, 1)
        kept = None if mask is None else jnp.swapaxes(mask.astype(bool), 0, 1)
        start = self.checked_start(params, self.project(params, x[0]))
        ahead = platform() != "cpu"

        def step(before: Any, inputs: Any) -> tuple[Any, Any]:
            (x, kept), (carry, _) = inputs, before
            after = self.step(params, carry, x if ahead else self.project(params, x))
            if kept is not None:
                after = jax.tree.map(partial(chosen, kept), after, before)
            return after, after[1] if self.return_sequences else None

        inputs = self.project(params, x) if ahead else x, kept
        (_, y), ys = lax.scan(step, start, inputs, reverse=reverse, unroll=self.unroll)
        return jnp.swapaxes(ys, 0, 1) if self.return_sequences else y

    def checked_start(self, params: Tree, x: Any) -> tuple[Tree, jax.Array]:
        """Return the carry and the output before the first step."""
        carry = self.start(params, x)
        after, y = jax.eval_shape(self.step, params, carry, x)
        had, has = jax.tree.map(form, carry), jax.tree.map(form, after)
        if had != has:
            raise LayerTypeError(
                f"expected a step that keeps the shapes and dtypes of its carry, got {has} from "
                f"{had}. Return from `start` what `step` returns."
            )
        return carry, jnp.zeros(y.shape, y.dtype)


def chosen(kept: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where `kept`, which has one entry for each sample, else `old`."""
    return jnp.where(kept.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def form(array: Any) -> str:
    return f"{array.dtype}{array.shape}"


def split(x: Any, check_samples: Callable[[Shape], None]) -> tuple[Any, Any]:
    """Split the shape of the samples into that of `x` and that of the mask, if there is one."""
    masked = isinstance(x, dict)
    if masked:
        check_names("the input", x, ("x", "mask"), FIX)
    shape, mask_shape = (x["x"], x["mask"]) if masked else (x, None)
    check_samples(shape)
    if masked and mask_shape != shape[:1]:
        raise LayerValueError(
            f"expected a mask with an entry for each of {shape[0]} time steps, got one of shape "
            f"{mask_shape} for samples of shape {shape}. {FIX}"
        )
    return shape, mask_shape


def split_batch(x: Any, check_samples: Callable[[Shape], None]) -> tuple[Any, Any]:
    """Split a batch into `x` and the mask, if there is one."""
    x = jax.tree.map(jnp.asarray, x)
    split(jax.tree.map(lambda a: a.shape[1:], x), check_samples)
    x, mask = (x["x"], x["mask"]) if isinstance(x, dict) else (x, None)
    if mask is not None and mask.shape[:1] != x.shape[:1]:
        raise LayerValueError(
            f"expected a mask for each of {x.shape[0]} samples, got one of shape {mask.shape}. "
            f"{FIX}"
        )
    return x, mask


@dataclass(frozen=True, repr=False)
class recurrent(RecurrentLayer):
    r"""Carry a cell over time, in one compiled loop.

    .. math:: c_t, y_t = \mathrm{step}(c_{t-1}, x_t)

    with the carry :math:`c`. Maps sequences `(batch, time, ...)` to the output of the last time
    step, `(batch, ...)`. For sequences of different lengths pass a dict `{"x": x, "mask": mask}`
    with a mask of shape `(batch, time)`, as to every recurrent layer: where it is 0 or False, a
    step keeps the carry and repeats the last output, which is 0 before the first. Its `in_shape` is
    `{"x": (time, ...), "mask": (time,)}`.

    Args:
        cell: the cell, see `Cell`.
        return_sequences: whether to return the outputs of all time steps, `(batch, time, ...)`.
        unroll: the number of time steps per iteration of the loop; larger values take longer to
            compile and may run faster.

    Raises:
        TypeError: `cell` is not a cell; (from `init`) a step changes the form of the carry.
        ValueError: `unroll` is below 1; (from `init`) the samples have no axis of time, or the
            mask has another length.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.recurrent(fnet.gru(4), return_sequences=True)  # equal to that of gru
        >>> params = fnet.init(net, jax.random.key(0), (7, 3))
        >>> fnet.apply(net, params, jnp.ones((5, 7, 3))).shape
        (5, 7, 4)

    Source: Elman 1990, Finding Structure in Time.
    """

    cell: Cell
    _: KW_ONLY
    return_sequences: bool = False
    unroll: int | bool = 1

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise TypeError(
                f"`cell` of recurrent must be a fnet.Cell, got {describe(self.cell)}. Derive a "
                f"frozen dataclass from fnet.Cell, or use fnet.lstm(units)."
            )
        set_count(self, "unroll", UNROLL)

    def init_cell(self, key: jax.Array, in_shape: Shape) -> Tree:
        return self.cell.init_cell(key, in_shape)

    def start(self, params: Tree, x: Any) -> Tree:
        return self.cell.start(params, x)

    def step(self, params: Tree, carry: Tree, x: Any) -> tuple[Tree, jax.Array]:
        return self.cell.step(params, carry, x)

    def project(self, params: Tree, x: jax.Array) -> Any:
        return self.cell.project(params, x)


@dataclass(frozen=True, repr=False)
class bidirectional(Layer):
    r"""Run a recurrent layer from both ends.

    .. math:: y = [\mathrm{forward}(x), \mathrm{backward}(x)]

    The two runs have parameters of their own, under `forward` and `backward`, and their outputs are
    concatenated along the last axis. With `return_sequences`, the outputs of the second stand at
    the time steps of their inputs, and, as in Keras, outputs are 0 where the mask is 0.

    Args:
        layer: a recurrent layer, such as `lstm(32)`.

    Raises:
        TypeError: `layer` is not a recurrent layer.
        ValueError: (from `init`) as the layer.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.bidirectional(fnet.lstm(4))
        >>> params = fnet.init(net, jax.random.key(0), (7, 3))
        >>> params["backward"]["kernel"].shape
        (3, 16)
        >>> fnet.apply(net, params, jnp.ones((5, 7, 3))).shape
        (5, 8)

    Source: Schuster and Paliwal 1997, Bidirectional Recurrent Neural Networks, section 3.
    """

    layer: RecurrentLayer

    def __post_init__(self) -> None:
        if not isinstance(self.layer, RecurrentLayer):
            raise TypeError(
                f"`layer` of bidirectional must be a recurrent layer, got {describe(self.layer)}. "
                f"Write bidirectional(lstm(32)), and other wrappers around it."
            )

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Any) -> InitResult:
        params = {}
        for name, own_key in zip(DIRECTIONS, jax.random.split(key), strict=True):
            params[name], _, shape = self.layer.init(own_key, in_shape)
        return params, {}, (*shape[:-1], 2 * shape[-1])

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        check_names("parameters", params, DIRECTIONS, REBUILD)
        x, mask = split_batch(x, self.layer.check_samples)
        ys = []
        for name in DIRECTIONS:
            with inside(name):
                ys.append(self.layer.run(params[name], x, mask, reverse=name == "backward"))
        y = concatenate(ys)
        if mask is not None and self.layer.return_sequences:
            y = jnp.where(mask.astype(bool).reshape(*mask.shape, *(1,) * (y.ndim - 2)), y, 0)
        return y, state
