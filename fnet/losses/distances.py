"""Losses that compare two arrays of one shape, entry by entry or as vectors."""

import jax
import jax.numpy as jnp
from jax import lax

from .labels import matched
from .probabilities import EPSILON
from .reductions import per_sample


def mean_squared_error(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Mean squared error.

    .. math:: \frac{1}{d} \sum_j (\hat y_j - y_j)^2

    over the :math:`d` entries of a sample.

    Args:
        y_true, y_pred: arrays of the same shape, `(batch, ...)`.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.mean_squared_error(jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 2.0]]))
        Array([0.5], dtype=float32)

    Source: Gauss 1809, Theoria motus, section 179.
    """
    return per_sample(jnp.square(y_pred - matched(y_true, y_pred)))


def mean_absolute_error(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Mean absolute error.

    .. math:: \frac{1}{d} \sum_j |\hat y_j - y_j|

    over the :math:`d` entries of a sample.

    Args:
        y_true, y_pred: arrays of the same shape, `(batch, ...)`.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.mean_absolute_error(jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 2.0]]))
        Array([0.5], dtype=float32)

    Source: Boscovich 1757; see Stigler 1986, The History of Statistics, chapter 1.
    """
    return per_sample(jnp.abs(y_pred - matched(y_true, y_pred)))


def huber(y_true: jax.Array, y_pred: jax.Array, delta: float = 1.0) -> jax.Array:
    r"""Huber loss, the squared error for small errors and the absolute one for large ones.

    .. math:: \frac{1}{d} \sum_j c_j (|e_j| - c_j / 2), \quad c_j = \min(|e_j|, \delta)

    with the errors :math:`e = \hat y - y`: each costs :math:`e^2 / 2` up to :math:`\delta` and
    :math:`\delta |e| - \delta^2 / 2` beyond.

    Args:
        y_true, y_pred: arrays of the same shape, `(batch, ...)`.
        delta: the error beyond which the loss is linear.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.huber(jnp.zeros((2, 1)), jnp.array([[0.5], [3.0]]))
        Array([0.125, 2.5  ], dtype=float32)

    Source: Huber 1964, Robust Estimation of a Location Parameter.
    """
    error = jnp.abs(y_pred - matched(y_true, y_pred))
    inner = jnp.minimum(error, delta)
    return per_sample(inner * (error - inner / 2))


def cosine_similarity(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""The negative cosine of the angle between vectors.

    .. math:: -\frac{\sum_j y_j \hat y_j}{\|y\| \, \|\hat y\|}

    It is -1 for vectors of one direction and 1 for opposite ones, as the loss of Keras.

    Args:
        y_true, y_pred: arrays of the same shape, `(batch, ..., entries)`; norms below 1e-7 count as
            1e-7.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.cosine_similarity(jnp.array([[3.0, 4.0]]), jnp.array([[4.0, 3.0]])).round(4)
        Array([-0.96], dtype=float32)

    Source: Salton, Wong and Yang 1975, A Vector Space Model for Automatic Indexing, section 1.
    """
    y, p = unit(matched(y_true, y_pred)), unit(y_pred)
    return per_sample(-jnp.sum(y * p, axis=-1, keepdims=True))


def unit(x: jax.Array) -> jax.Array:
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(square, EPSILON**2))


def hinge(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Hinge loss, which is 0 for scores beyond the margin.

    .. math:: \frac{1}{d} \sum_j \max(1 - y_j \hat y_j, 0)

    with scores :math:`\hat y` and labels :math:`y` of -1 or 1.

    Args:
        y_true: labels -1 or 1, or 0 or 1 (0 stands for -1, as in Keras), `(batch, ...)`.
        y_pred: scores of the same shape.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.hinge(jnp.array([[1, -1]]), jnp.array([[0.5, 0.0]]))
        Array([0.75], dtype=float32)

    Source: Cortes and Vapnik 1995, Support-Vector Networks, section 3.
    """
    y = matched(y_true, y_pred)
    return per_sample(jnp.maximum(1 - jnp.where(y == 0, -1, y) * y_pred, 0))


def poisson(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Poisson loss, the negative log likelihood of counts.

    .. math:: \frac{1}{d} \sum_j (\hat y_j - y_j \log(\hat y_j + 10^{-7}))

    The term :math:`\log y_j!` is left out, as in Keras.

    Args:
        y_true: counts, or means of counts, `(batch, ...)`.
        y_pred: predicted means of the same shape, at least 0.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.poisson(jnp.array([[2]]), jnp.array([[1.0]])).round(4)
        Array([1.], dtype=float32)

    Source: Nelder and Wedderburn 1972, Generalized Linear Models, section 3.
    """
    return per_sample(y_pred - matched(y_true, y_pred) * jnp.log(y_pred + EPSILON))


def log_cosh(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Logarithm of the hyperbolic cosine of the error.

    .. math:: \frac{1}{d} \sum_j \log \cosh(\hat y_j - y_j)

    A small error :math:`e` costs about :math:`e^2 / 2`, a large one :math:`|e| - \log 2`.

    Args:
        y_true, y_pred: arrays of the same shape, `(batch, ...)`.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> costs = fnet.log_cosh(jnp.zeros((2, 1)), jnp.array([[1.0], [10.0]]))
        >>> [round(cost, 4) for cost in costs.tolist()]
        [0.4338, 9.3069]

    Source: Green 1990, Bayesian Reconstructions from Emission Tomography Data, section III.
    """
    e = y_pred - matched(y_true, y_pred)
    near = jnp.abs(e) < 1
    # cosh(e) - 1 = 2 sinh(e / 2)^2 keeps the digits of small errors, and overflows for large ones.
    small = jnp.log1p(2 * jnp.sinh(jnp.where(near, e, 0) / 2) ** 2)
    size = jnp.abs(jnp.where(near, 1, e))
    return per_sample(jnp.where(near, small, size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(2)))
