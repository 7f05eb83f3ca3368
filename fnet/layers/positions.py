"""Positions in a sequence: added to its features, or as rotations of the heads of attention."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..core.dtypes import at_least_float32, floating
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_functions
from .dense import REBUILD
from .initializers import Initializer, symmetric_uniform


def check_sequences(shape: Shape) -> None:
    """Raise unless samples of this shape are sequences of vectors."""
    if len(shape) != 2:
        raise LayerValueError(
            f"expected sequences (time, features), got samples of shape {shape}. Embed "
            f"ids with fnet.embedding; turn images into sequences with fnet.reshape."
        )


def angles(time: int, size: int) -> np.ndarray:
    """t / 10000^(2 i / size) for each step t and each pair i of `size` features."""
    return np.arange(time)[:, None] * 10_000.0 ** (-np.arange(0, size, 2) / size)


def rotated(x: jax.Array) -> jax.Array:
    """Rotate each pair of features of `(batch, time, heads, size)` by the angle of its step."""
    wide, turns = at_least_float32(x), angles(x.shape[1], x.shape[-1])[None, :, None]
    cos, sin = jnp.asarray(np.cos(turns), wide.dtype), jnp.asarray(np.sin(turns), wide.dtype)
    even, odd = wide[..., ::2], wide[..., 1::2]
    pairs = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return pairs.reshape(x.shape).astype(x.dtype)


def sinusoidal_positions(x: jax.Array) -> jax.Array:
    r"""Add waves of the position, a sine and a cosine for each wavelength.

    .. math::

        y_{t, 2i} &= x_{t, 2i} + \sin(t / w_i) \\
        y_{t, 2i+1} &= x_{t, 2i+1} + \cos(t / w_i)

    The wavelengths :math:`w_i = 10000^{2i / d}` grow with the feature, of which there are
    :math:`d`. Sequences `(batch, time, features)` keep their shape and may have any length;
    integers become floats.

    Raises:
        ValueError: samples do not have shape `(time, features)`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.sinusoidal_positions(jnp.zeros((1, 2, 4))).round(1)
        Array([[[0. , 1. , 0. , 1. ],
                [0.8, 0.5, 0. , 1. ]]], dtype=float32)

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    check_sequences(x.shape[1:])
    turns = angles(*x.shape[1:])
    waves = np.stack([np.sin(turns), np.cos(turns)], axis=-1).reshape(len(turns), -1)
    x = floating(x)
    return x + jnp.asarray(waves[None, :, : x.shape[-1]], x.dtype)


@dataclass(frozen=True, repr=False)
class learned_positions(Layer):
    """Add a learned vector for each position.

    .. math:: y_t = x_t + e_t

    Sequences `(batch, time, features)` keep their shape; the embeddings :math:`e` have shape
    `(time, features)`. Sequences may be shorter than those that the parameters were made for.

    Args:
        embeddings_init: an initializer, `initializer(key, shape) -> array`; uniform on
            [-0.05, 0.05) by default, as in `embedding`.

    Raises:
        ValueError: samples do not have shape `(time, features)`; (from `apply`) they are longer
            than the embeddings or have other features.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.embedding(1000, 8), fnet.learned_positions())
        >>> params = fnet.init(net, jax.random.key(0), (20,))
        >>> params["learned_positions"]["embeddings"].shape
        (20, 8)
        >>> fnet.apply(net, params, jnp.zeros((5, 12), int)).shape
        (5, 12, 8)

    Source: Gehring et al. 2017, Convolutional Sequence to Sequence Learning, section 3.1.
    """

    _: KW_ONLY
    embeddings_init: Initializer = symmetric_uniform

    def __post_init__(self) -> None:
        set_functions(self, "embeddings_init")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        check_sequences(in_shape)
        return {"embeddings": self.embeddings_init(key, in_shape)}, {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_sequences(x.shape[1:])
        check_names("parameters", params, ("embeddings",), REBUILD)
        time, features = x.shape[1:]
        rows = params["embeddings"]
        if time > rows.shape[0] or rows.shape[1:] != (features,):
            raise LayerValueError(
                f"expected sequences of at most {rows.shape[0]} steps and {rows.shape[-1]} "
                f"features, as the embeddings have, got shape {x.shape}. Cut the sequences, or "
                f"build the parameters with in_shape={x.shape[1:]}."
            )
        x = floating(x, rows.dtype)
        return x + rows[None, :time].astype(x.dtype), state
