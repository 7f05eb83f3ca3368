"""Activations: functions from `jax.nn` that serve directly as layers.

They accept any shape and preserve floating dtypes; all but `glu` preserve the shape. Each is a
plain module-level function, so a model that contains it hashes, compares and pickles by value. Set
a parameter with `functools.partial(fnet.leaky_relu, negative_slope=0.2)`.
"""

import jax
import jax.numpy as jnp

from ..core.dtypes import floating
from ..core.errors import LayerValueError


def relu(x: jax.Array) -> jax.Array:
    r"""Rectified linear unit, with derivative 0 at 0.

    .. math:: y = \max(x, 0)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.relu(jnp.array([-1.0, 0.0, 2.0]))
        Array([0., 0., 2.], dtype=float32)

    Source: Nair and Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines.
    """
    return jax.nn.relu(x)


def relu6(x: jax.Array) -> jax.Array:
    r"""Rectified linear unit, capped at six.

    .. math:: y = \min(\max(x, 0), 6)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.relu6(jnp.array([-1.0, 2.0, 8.0]))
        Array([0., 2., 6.], dtype=float32)

    Source: Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10.
    """
    return jax.nn.relu6(floating(x))


def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    r"""Leaky rectified linear unit, with a small slope below 0.

    .. math:: y = \max(x, 0) + \alpha \min(x, 0)

    with `negative_slope` :math:`\alpha`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.leaky_relu(jnp.array([-100.0, 2.0]))
        Array([-1.,  2.], dtype=float32)

    Source: Maas, Hannun and Ng 2013, Rectifier Nonlinearities Improve Acoustic Models.
    """
    return jax.nn.leaky_relu(floating(x), negative_slope)


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    r"""Exponential linear unit.

    .. math:: y = \max(x, 0) + \alpha (e^{\min(x, 0)} - 1)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.elu(jnp.array([-100.0, 2.0]))
        Array([-1.,  2.], dtype=float32)

    Source: Clevert, Unterthiner and Hochreiter 2016, Exponential Linear Units.
    """
    return jax.nn.elu(floating(x), alpha)


def celu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    r"""Continuously differentiable exponential linear unit.

    .. math:: y = \max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.celu(jnp.array([-100.0, 2.0]), alpha=2.0)
        Array([-2.,  2.], dtype=float32)

    Source: Barron 2017, Continuously Differentiable Exponential Linear Units.
    """
    return jax.nn.celu(floating(x), alpha)


def selu(x: jax.Array) -> jax.Array:
    r"""Scaled exponential linear unit.

    .. math:: y = \lambda (\max(x, 0) + \alpha (e^{\min(x, 0)} - 1))

    with :math:`\lambda = 1.0507` and :math:`\alpha = 1.6733`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.selu(jnp.array([0.0, 1.0])).round(4)
        Array([0.    , 1.0507], dtype=float32)

    Source: Klambauer et al. 2017, Self-Normalizing Neural Networks, equation 2.
    """
    return jax.nn.selu(floating(x))


def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    r"""Gaussian error linear unit, exact or with the tanh approximation.

    .. math:: y = x \Phi(x) \approx \frac{x}{2} (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))

    where :math:`\Phi` is the distribution function of the standard normal distribution.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.gelu(jnp.array([-10.0, 0.0, 10.0]))
        Array([-0.,  0., 10.], dtype=float32)

    Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2.
    """
    return jax.nn.gelu(floating(x), approximate)


def silu(x: jax.Array) -> jax.Array:
    r"""Sigmoid linear unit, also called swish.

    .. math:: y = x \sigma(x) = \frac{x}{1 + e^{-x}}

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.silu(jnp.array([0.0, 100.0]))
        Array([  0., 100.], dtype=float32)

    Source: Elfwing, Uchibe and Doya 2018, Sigmoid-Weighted Linear Units.
    """
    return jax.nn.silu(floating(x))


def mish(x: jax.Array) -> jax.Array:
    r"""Mish, a smooth rectifier that is not monotonic.

    .. math:: y = x \tanh(\log(1 + e^x))

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.mish(jnp.array([0.0, 100.0]))
        Array([  0., 100.], dtype=float32)

    Source: Misra 2020, Mish: A Self Regularized Non-Monotonic Activation Function.
    """
    return jax.nn.mish(floating(x))


def softplus(x: jax.Array) -> jax.Array:
    r"""Smooth rectifier.

    .. math:: y = \log(1 + e^x)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.softplus(jnp.array([0.0, 100.0])).round(4)
        Array([  0.6931, 100.    ], dtype=float32)

    Source: Dugas et al. 2001, Incorporating Second-Order Functional Knowledge.
    """
    return jax.nn.softplus(floating(x))


def squareplus(x: jax.Array, b: float = 4.0) -> jax.Array:
    r"""Smooth rectifier without exponentials.

    .. math:: y = \frac{x + \sqrt{x^2 + b}}{2}

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.squareplus(jnp.array([0.0]))
        Array([1.], dtype=float32)

    Source: Barron 2021, Squareplus: A Softplus-Like Algebraic Rectifier.
    """
    return jax.nn.squareplus(floating(x), b)


def soft_sign(x: jax.Array) -> jax.Array:
    r"""Soft sign.

    .. math:: y = \frac{x}{1 + |x|}

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.soft_sign(jnp.array([-1.0, 0.0, 3.0]))
        Array([-0.5 ,  0.  ,  0.75], dtype=float32)

    Source: Glorot and Bengio 2010, Understanding the Difficulty of Training Deep Networks.
    """
    return jax.nn.soft_sign(floating(x))


def tanh(x: jax.Array) -> jax.Array:
    r"""Hyperbolic tangent.

    .. math:: y = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.tanh(jnp.array([-100.0, 0.0]))
        Array([-1.,  0.], dtype=float32)

    Source: LeCun et al. 1998, Efficient BackProp.
    """
    return jnp.tanh(floating(x))


def hard_tanh(x: jax.Array) -> jax.Array:
    r"""Piecewise linear approximation of tanh.

    .. math:: y = \min(\max(x, -1), 1)

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.hard_tanh(jnp.array([-3.0, 0.5]))
        Array([-1. ,  0.5], dtype=float32)

    Source: Collobert 2004, Large Scale Machine Learning.
    """
    return jax.nn.hard_tanh(floating(x))


def sigmoid(x: jax.Array) -> jax.Array:
    r"""Logistic sigmoid.

    .. math:: y = \frac{1}{1 + e^{-x}}

    Training and evaluation with `binary_crossentropy` use the logits, so the loss never saturates.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.sigmoid(jnp.array([0.0, 100.0]))
        Array([0.5, 1. ], dtype=float32)

    Source: Rumelhart, Hinton and Williams 1986, equation 2.
    """
    return jax.nn.sigmoid(floating(x))


def hard_sigmoid(x: jax.Array) -> jax.Array:
    r"""Piecewise linear approximation of the sigmoid.

    .. math:: y = \min(\max(x + 3, 0), 6) / 6

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.hard_sigmoid(jnp.array([-3.0, 0.0, 3.0]))
        Array([0. , 0.5, 1. ], dtype=float32)

    Source: Howard et al. 2019, Searching for MobileNetV3, section 5.2.
    """
    return jax.nn.hard_sigmoid(floating(x))


def log_sigmoid(x: jax.Array) -> jax.Array:
    r"""Logarithm of the sigmoid, accurate even where the sigmoid underflows.

    .. math:: y = -\log(1 + e^{-x})

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.log_sigmoid(jnp.array([-1000.0]))
        Array([-1000.], dtype=float32)

    Source: Rumelhart, Hinton and Williams 1986, equation 2.
    """
    return jax.nn.log_sigmoid(floating(x))


def hard_silu(x: jax.Array) -> jax.Array:
    r"""Sigmoid linear unit with the hard sigmoid.

    .. math:: y = x \min(\max(x + 3, 0), 6) / 6

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.hard_silu(jnp.array([-4.0, 4.0]))
        Array([-0.,  4.], dtype=float32)

    Source: Howard et al. 2019, Searching for MobileNetV3, section 5.2.
    """
    return jax.nn.hard_silu(floating(x))


def glu(x: jax.Array) -> jax.Array:
    r"""Gated linear unit, of the two halves of the last axis.

    .. math:: y = a \sigma(b)

    where :math:`a` is the first half, :math:`b` the second and :math:`\sigma` the sigmoid.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.glu(jnp.array([[2.0, 0.0]]))
        Array([[1.]], dtype=float32)

    Source: Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks, equation 1.
    """
    x = floating(x)
    if not x.ndim or x.shape[-1] % 2:
        raise LayerValueError(
            f"expected an even number of features in the last axis, got shape {x.shape}. "
            f"Double the units of the layer before."
        )
    return jax.nn.glu(x)


def softmax(x: jax.Array) -> jax.Array:
    r"""Softmax over the last axis.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Training and evaluation with a crossentropy use the logits, so the loss never saturates.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.softmax(jnp.array([[0.0, 0.0], [1e4, -1e4]]))
        Array([[0.5, 0.5],
               [1. , 0. ]], dtype=float32)

    Source: Bridle 1990, Probabilistic Interpretation of Feedforward Network Outputs.
    """
    return jax.nn.softmax(floating(x))


def log_softmax(x: jax.Array) -> jax.Array:
    r"""Logarithm of the softmax over the last axis.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.log_softmax(jnp.array([[1e4, -1e4]]))
        Array([[     0., -20000.]], dtype=float32)

    Source: Bridle 1990, Probabilistic Interpretation of Feedforward Network Outputs.
    """
    return jax.nn.log_softmax(floating(x))
