"""Normalization over the batch, with running statistics, or within each sample."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
from jax import lax

from ..core.dtypes import at_least_float32, floating
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_number
from .dense import REBUILD, along_last, features


def normalize(
    x: jax.Array, mean: jax.Array, variance: jax.Array, epsilon: float, params: Tree
) -> jax.Array:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, with the parameters there are."""
    y = (x - mean) * lax.rsqrt(variance + epsilon)
    y = y * along_last(params["scale"], x) if "scale" in params else y
    return y + along_last(params["bias"], x) if "bias" in params else y


def check_vectors(what: str, tree: Tree, names: tuple[str, ...], fix: str, x: jax.Array) -> None:
    """Raise unless `tree` holds one number per feature of `x` under each name."""
    check_names(what, tree, names, fix)
    for name in names:
        if x.shape[-1:] != tree[name].shape:
            raise LayerValueError(
                f"expected input with {tree[name].size} features in the last axis, as `{name}` "
                f"has, got shape {x.shape}. Build the parameters with in_shape={x.shape[1:]}."
            )


def vectors(use_scale: bool, use_bias: bool) -> tuple[str, ...]:
    """The names of the parameters."""
    return ("scale",) * use_scale + ("bias",) * use_bias


def scale_and_bias(in_shape: Shape, names: tuple[str, ...]) -> Tree:
    size = features(in_shape)
    return {name: jnp.ones(size) if name == "scale" else jnp.zeros(size) for name in names}


def moments(x: jax.Array, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the biased variance over `axes`, which keep length 1."""
    mean = x.mean(axes, keepdims=True)
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)


@dataclass(frozen=True, repr=False)
class batch_norm(Layer):
    r"""Batch normalization, by the mean and the variance of the batch.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with the scale :math:`\gamma` and the bias :math:`\beta`. In training, the mean :math:`\mu` and
    the variance :math:`\sigma^2` are those of the batch, over all axes but the last. They also
    update the running statistics,

    .. math:: r \leftarrow m r + (1 - m) s

    for each running statistic :math:`r`, that of the batch :math:`s` and `momentum` :math:`m`, with
    the biased variance, as in Keras. Inference uses the running statistics. They are the model's
    state: create it with `fnet.init_state` and pass it to `fnet.apply` as `state`.

    Args:
        momentum: the decay of the running statistics, in [0, 1); larger values change slower.
        epsilon: a number added to the variance for stability, at least 0.
        use_scale, use_bias: whether to multiply by the scale and to add the bias.

    Raises:
        ValueError: `momentum` is outside [0, 1) or `epsilon` is negative; (from `apply`) the
            features do not match the parameters.
        TypeError: (from `apply`) the running statistics are missing.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.batch_norm()
        >>> params, state = fnet.init(net, jax.random.key(0), (1,)), fnet.init_state(net, (1,))
        >>> y, state = fnet.forward(net, params, state, jnp.array([[1.0], [3.0]]))
        >>> y.round(2)
        Array([[-1.],
               [ 1.]], dtype=float32)
        >>> state
        {'mean': Array([0.02], dtype=float32), 'variance': Array([1.], dtype=float32)}

    Source: Ioffe and Szegedy 2015, Batch Normalization, algorithm 1.
    """

    _: KW_ONLY
    momentum: float = 0.99
    epsilon: float = 1e-3
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        set_number(self, "momentum", 0, 1, "0.99 remembers about the last hundred batches.")
        set_number(self, "epsilon", 0, fix="The default of 1e-3 suits most data.")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        params = scale_and_bias(in_shape, vectors(self.use_scale, self.use_bias))
        state = {"mean": jnp.zeros(in_shape[-1:]), "variance": jnp.ones(in_shape[-1:])}
        return params, state, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_vectors("parameters", params, vectors(self.use_scale, self.use_bias), REBUILD, x)
        fix = "Make them with fnet.init_state(net, in_shape) and pass them as `state`."
        check_vectors("running statistics", state, ("mean", "variance"), fix, x)
        dtype, x = floating(x, float).dtype, at_least_float32(x)
        if not training:
            mean, variance = along_last(state["mean"], x), along_last(state["variance"], x)
            return normalize(x, mean, variance, self.epsilon, params).astype(dtype), state
        if x.ndim < 2:
            raise LayerValueError(
                f"expected a batch in training, (batch, ..., features), got shape {x.shape}. "
                f"The statistics need a batch: do not vmap over samples."
            )
        mean, variance = moments(x, range(x.ndim - 1))
        state = {
            "mean": self.moved(state["mean"], mean),
            "variance": self.moved(state["variance"], variance),
        }
        return normalize(x, mean, variance, self.epsilon, params).astype(dtype), state

    def moved(self, running: jax.Array, batch: jax.Array) -> jax.Array:
        batch = batch.reshape(running.shape).astype(running.dtype)
        return self.momentum * running + (1 - self.momentum) * batch


@dataclass(frozen=True, repr=False)
class layer_norm(Layer):
    r"""Layer normalization, by the mean and the variance of each vector.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with the scale :math:`\gamma` and the bias :math:`\beta`. The mean :math:`\mu` and the variance
    :math:`\sigma^2` are taken over the last axis, so training and inference agree.

    Args:
        epsilon: a number added to the variance for stability, at least 0.
        use_scale, use_bias: whether to multiply by the scale and to add the bias.

    Raises:
        ValueError: `epsilon` is negative; (from `apply`) the features do not match the parameters.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.layer_norm()
        >>> params = fnet.init(net, jax.random.key(0), (2,))
        >>> fnet.apply(net, params, jnp.array([[1.0, 3.0]])).round(2)
        Array([[-1.,  1.]], dtype=float32)

    Source: Ba, Kiros and Hinton 2016, Layer Normalization, equation 4.
    """

    _: KW_ONLY
    epsilon: float = 1e-3
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        set_number(self, "epsilon", 0, fix="The default of 1e-3 suits most data.")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        return scale_and_bias(in_shape, vectors(self.use_scale, self.use_bias)), {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_vectors("parameters", params, vectors(self.use_scale, self.use_bias), REBUILD, x)
        dtype, x = floating(x, float).dtype, at_least_float32(x)
        return normalize(x, *moments(x, (-1,)), self.epsilon, params).astype(dtype), state


@dataclass(frozen=True, repr=False)
class group_norm(Layer):
    r"""Group normalization, by the mean and the variance of groups of channels.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with the scale :math:`\gamma` and the bias :math:`\beta`, both of shape `(channels,)`. The
    channels of an input `(batch, ..., channels)` are split into groups. The mean :math:`\mu` and
    the variance :math:`\sigma^2` are taken within each sample, over the channels of a group and all
    spatial axes, so training and inference agree. One group normalizes a whole sample; as many
    groups as channels give instance normalization.

    Args:
        groups: the number of groups.
        epsilon: a number added to the variance for stability, at least 0.
        use_scale, use_bias: whether to multiply by the scale and to add the bias.

    Raises:
        ValueError: `groups` is below 1 or `epsilon` is negative; (from `init`) `groups` does not
            divide the channels; (from `apply`) the channels do not match the parameters.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.group_norm(2)
        >>> params = fnet.init(net, jax.random.key(0), (4,))
        >>> fnet.apply(net, params, jnp.array([[1.0, 3.0, 10.0, 30.0]])).round(2)
        Array([[-1.,  1., -1.,  1.]], dtype=float32)

    Source: Wu and He 2018, Group Normalization, equations 1, 2 and 7.
    """

    groups: int = 32
    _: KW_ONLY
    epsilon: float = 1e-3
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        set_count(self, "groups", "One group normalizes a whole sample.")
        set_number(self, "epsilon", 0, fix="The default of 1e-3 suits most data.")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        if features(in_shape) % self.groups:
            raise LayerValueError(
                f"expected channels in the last axis that `groups`={self.groups} divides, got "
                f"samples of shape {in_shape}. Change `groups`, or the layer before."
            )
        return scale_and_bias(in_shape, vectors(self.use_scale, self.use_bias)), {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_vectors("parameters", params, vectors(self.use_scale, self.use_bias), REBUILD, x)
        shape, dtype = x.shape, floating(x, float).dtype
        grouped = self.groups, shape[-1] // self.groups
        x = at_least_float32(x).reshape(*shape[:-1], *grouped)
        params = {name: vector.reshape(grouped) for name, vector in params.items()}
        axes = (*range(1, x.ndim - 2), x.ndim - 1)  # all but the batch and the groups
        y = normalize(x, *moments(x, axes), self.epsilon, params)
        return y.reshape(shape).astype(dtype), state


@dataclass(frozen=True, repr=False)
class rms_norm(Layer):
    r"""Root mean square normalization, on the last axis.

    .. math:: y_i = \frac{\gamma_i x_i}{\sqrt{\frac{1}{d} \sum_j x_j^2 + \epsilon}}

    with the scale :math:`\gamma` and :math:`d` features.

    Args:
        epsilon: a number added to the mean square for stability, at least 0.
        use_scale: whether to multiply by the scale.

    Raises:
        ValueError: `epsilon` is negative; (from `apply`) the features do not match the parameters.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.rms_norm()
        >>> params = fnet.init(net, jax.random.key(0), (4,))
        >>> fnet.apply(net, params, jnp.array([[3.0, 3.0, 3.0, -3.0]])).round(2)
        Array([[ 1.,  1.,  1., -1.]], dtype=float32)

    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization, equation 4 (there
    without epsilon).
    """

    _: KW_ONLY
    epsilon: float = 1e-6
    use_scale: bool = True

    def __post_init__(self) -> None:
        set_number(self, "epsilon", 0, fix="The default of 1e-6 suits most data.")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        return scale_and_bias(in_shape, vectors(self.use_scale, False)), {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_vectors("parameters", params, vectors(self.use_scale, False), REBUILD, x)
        dtype, x = floating(x, float).dtype, at_least_float32(x)
        mean_square = jnp.square(x).mean(-1, keepdims=True)
        y = x * lax.rsqrt(mean_square + self.epsilon)
        y = y * along_last(params["scale"], x) if self.use_scale else y
        return y.astype(dtype), state
