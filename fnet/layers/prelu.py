"""The parametric rectifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ..core.checks import is_integer
from ..core.dtypes import floating
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_functions
from .dense import REBUILD, along_last, check_arrays
from .initializers import Initializer, zeros


@dataclass(frozen=True, repr=False)
class prelu(Layer):
    r"""The parametric rectifier, with a learned slope below 0.

    .. math:: y = \max(x, 0) + \alpha \min(x, 0)

    As in Keras, there is an alpha for each entry of a sample unless axes share it. Shape and a
    floating dtype are preserved; integers become floats.

    Args:
        shared_axes: the axes along which alpha is shared, counted from 1 since 0 is the batch:
            `(1, 2)` gives images an alpha per channel, as in the paper.
        alpha_init: an initializer, `initializer(key, shape) -> array`; zeros by default, where the
            layer is a `relu` at first.

    Raises:
        ValueError: `shared_axes` is no tuple of integers of at least 1; (from `init`) samples have
            no such axis; (from `apply`) alpha has another shape.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.prelu((1, 2))
        >>> params = fnet.init(net, jax.random.key(0), (8, 8, 3))
        >>> params["alpha"].shape
        (1, 1, 3)
        >>> fnet.apply(fnet.prelu(), {"alpha": jnp.array([0.5, 0.1])}, jnp.array([[-2.0, 3.0]]))
        Array([[-1.,  3.]], dtype=float32)

    Source: He et al. 2015, Delving Deep into Rectifiers, equation 1 (there alpha starts at 0.25).
    """

    shared_axes: Sequence[int] = ()
    alpha_init: Initializer = zeros

    def __post_init__(self) -> None:
        axes = self.shared_axes
        if not isinstance(axes, (tuple, list)) or not all(is_integer(n, 1) for n in axes):
            raise ValueError(
                f"`shared_axes` of prelu must be a tuple of integers of at least 1, got {axes!r}. "
                f"Axis 0 is the batch: (1, 2) shares alpha over the height and width of images."
            )
        object.__setattr__(self, "shared_axes", tuple(sorted({int(n) for n in axes})))
        set_functions(self, "alpha_init")

    def alpha_shape(self, in_shape: Shape) -> Shape:
        if any(axis > len(in_shape) for axis in self.shared_axes):
            raise LayerValueError(
                f"expected samples with the axes {self.shared_axes}, counted from 1, as "
                f"`shared_axes` says, got shape {in_shape}. Leave out what is no axis."
            )
        return tuple(1 if i in self.shared_axes else n for i, n in enumerate(in_shape, 1))

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        return {"alpha": self.alpha_init(key, self.alpha_shape(in_shape))}, {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_names("parameters", params, ("alpha",), REBUILD)
        check_arrays(params, alpha=self.alpha_shape(x.shape[1:]))
        x = floating(x, params["alpha"].dtype)
        return jnp.where(x > 0, x, along_last(params["alpha"], x) * x), state
