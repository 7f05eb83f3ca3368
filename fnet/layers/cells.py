"""Recurrent layers with the cells of Keras: `simple_rnn`, `lstm` and `gru`."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import Shape
from .checks import check_names, set_count, set_functions
from .dense import REBUILD, check_arrays, dense
from .initializers import Initializer, glorot_uniform, orthogonal, zeros
from .recurrent import UNROLL, RecurrentLayer


@dataclass(frozen=True, repr=False)
class Units(RecurrentLayer):
    """A cell of `gates` blocks of units, each with columns of its own in the kernels."""

    gates: ClassVar[int]

    units: int
    _: KW_ONLY
    return_sequences: bool = False
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    recurrent_init: Initializer = orthogonal
    bias_init: Initializer = zeros
    unroll: int | bool = 1

    def __post_init__(self) -> None:
        set_count(self, "units", f"Pass the number of outputs, such as {self.name}(32).")
        set_count(self, "unroll", UNROLL)
        set_functions(self, "kernel_init", "recurrent_init", "bias_init")

    def check_samples(self, in_shape: Shape) -> None:
        if len(in_shape) != 2:
            raise LayerValueError(
                f"expected sequences (time, features), got samples of shape {in_shape}. Embed "
                f"ids with fnet.embedding; turn images into sequences with fnet.reshape."
            )

    @property
    def bias_shape(self) -> Shape:
        return (self.gates * self.units,)

    def init_cell(self, key: jax.Array, in_shape: Shape) -> Tree:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        width = self.gates * self.units
        params = {
            "kernel": self.kernel_init(kernel_key, (*in_shape, width)),
            "recurrent_kernel": self.recurrent_init(recurrent_key, (self.units, width)),
        }
        if self.use_bias:
            params["bias"] = self.init_bias(bias_key)
        return params

    def init_bias(self, key: jax.Array) -> jax.Array:
        return self.bias_init(key, self.bias_shape)

    def project(self, params: Tree, x: jax.Array) -> jax.Array:
        names = ("kernel", "recurrent_kernel", *(("bias",) if self.use_bias else ()))
        check_names("parameters", params, names, REBUILD)
        width = self.gates * self.units
        check_arrays(params, recurrent_kernel=(self.units, width), bias=self.bias_shape)
        own = {"kernel": params["kernel"]}
        if self.use_bias:
            own["bias"] = params["bias"].reshape(-1, width)[0]
        return dense(width, use_bias=self.use_bias).apply(own, {}, x, None, False)[0]

    def start(self, params: Tree, x: jax.Array) -> Any:
        return jnp.zeros((x.shape[0], self.units), x.dtype)


class simple_rnn(Units):
    r"""A simple recurrent layer, which feeds its output back.

    .. math:: h_t = \tanh(x_t W + h_{t-1} U + b)

    Maps sequences `(batch, time, features)` to the last :math:`h`, `(batch, units)`. The kernel
    :math:`W` has shape `(features, units)`, the recurrent kernel :math:`U` `(units, units)`, the
    bias :math:`b` `(units,)`; :math:`h` starts at 0. For sequences of different lengths pass
    `{"x": x, "mask": mask}`, see `recurrent`.

    Args:
        units: the number of outputs, at least 1.
        return_sequences: whether to return :math:`h` at all time steps, `(batch, time, units)`.
        use_bias: whether to add the bias.
        kernel_init, recurrent_init, bias_init: initializers, `initializer(key, shape) -> array`.
        unroll: the number of time steps per iteration of the loop; larger values take longer to
            compile and may run faster.

    Raises:
        ValueError: `units` or `unroll` is below 1; (from `init`) samples do not have shape
            `(time, features)`, or the mask has another length.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.simple_rnn(4)
        >>> params = fnet.init(net, jax.random.key(0), (7, 3))
        >>> fnet.apply(net, params, jnp.ones((5, 7, 3))).shape
        (5, 4)

    Source: Elman 1990, Finding Structure in Time.
    """

    gates = 1

    def step(self, params: Tree, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(x + carry @ params["recurrent_kernel"])
        return h, h


class lstm(Units):
    r"""Long short-term memory, which keeps what it has seen in a memory :math:`c`.

    .. math::

        i, f, g, o &= x_t W + h_{t-1} U + b \\
        c_t &= \sigma(f) c_{t-1} + \sigma(i) \tanh(g) \\
        h_t &= \sigma(o) \tanh(c_t)

    Maps sequences `(batch, time, features)` to the last :math:`h`, `(batch, units)`. The kernel
    :math:`W` has shape `(features, 4 units)`, the recurrent kernel :math:`U` `(units, 4 units)`,
    the bias :math:`b` `(4 units,)`, in the order of the formula; :math:`h` and :math:`c` start
    at 0, the bias of :math:`f` at 1. For sequences of different lengths pass
    `{"x": x, "mask": mask}`, see `recurrent`.

    Args:
        units: the number of outputs, at least 1.
        return_sequences: whether to return :math:`h` at all time steps, `(batch, time, units)`.
        use_bias: whether to add the bias.
        kernel_init, recurrent_init: initializers, `initializer(key, shape) -> array`.
        bias_init: the initializer of the bias, without that of :math:`f`.
        unroll: the number of time steps per iteration of the loop; larger values take longer to
            compile and may run faster.

    Raises:
        ValueError: `units` or `unroll` is below 1; (from `init`) samples do not have shape
            `(time, features)`, or the mask has another length.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.embedding(100, 8), fnet.lstm(16), fnet.dense(1))
        >>> params = fnet.init(net, jax.random.key(0), (7,))
        >>> fnet.apply(net, params, jnp.zeros((5, 7), int)).shape
        (5, 1)

    Source: Hochreiter and Schmidhuber 1997, Long Short-Term Memory; f and its bias: Gers et al.
    2000, Learning to Forget, section 3, and Jozefowicz et al. 2015, section 2.2.
    """

    gates = 4

    def init_bias(self, key: jax.Array) -> jax.Array:
        i, _, *g_and_o = jnp.split(super().init_bias(key), 4)
        return jnp.concatenate([i, jnp.ones_like(i), *g_and_o])

    def start(self, params: Tree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = c = super().start(params, x)
        return h, c

    def step(self, params: Tree, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        h, c = carry
        i, f, g, o = jnp.split(x + h @ params["recurrent_kernel"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h


class gru(Units):
    r"""A gated recurrent unit, which mixes its last output with a new one.

    .. math::

        z_x, r_x, n_x &= x_t W + b_0 \\
        z_h, r_h, n_h &= h_{t-1} U + b_1 \\
        z, r &= \sigma(z_x + z_h), \sigma(r_x + r_h) \\
        h_t &= z h_{t-1} + (1 - z) \tanh(n_x + r n_h)

    Maps sequences `(batch, time, features)` to the last :math:`h`, `(batch, units)`. The kernel
    :math:`W` has shape `(features, 3 units)`, the recurrent kernel :math:`U` `(units, 3 units)`,
    the bias :math:`b` `(2, 3 units)`; :math:`h` starts at 0. It is the variant of Keras
    (`reset_after=True`), PyTorch and cuDNN, which resets after the product with the recurrent
    kernel. For sequences of different lengths pass `{"x": x, "mask": mask}`, see `recurrent`.

    Args:
        units: the number of outputs, at least 1.
        return_sequences: whether to return :math:`h` at all time steps, `(batch, time, units)`.
        use_bias: whether to add the bias.
        kernel_init, recurrent_init, bias_init: initializers, `initializer(key, shape) -> array`.
        unroll: the number of time steps per iteration of the loop; larger values take longer to
            compile and may run faster.

    Raises:
        ValueError: `units` or `unroll` is below 1; (from `init`) samples do not have shape
            `(time, features)`, or the mask has another length.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.gru(4, return_sequences=True)
        >>> params = fnet.init(net, jax.random.key(0), (7, 3))
        >>> fnet.apply(net, params, jnp.ones((5, 7, 3))).shape
        (5, 7, 4)

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, section 2.3,
    equations 5 to 8; reset after the product: version 1 of arXiv:1406.1078.
    """

    gates = 3

    @property
    def bias_shape(self) -> Shape:
        return 2, 3 * self.units

    def step(self, params: Tree, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        inner = carry @ params["recurrent_kernel"]
        if self.use_bias:
            inner = inner + params["bias"][1:].astype(inner.dtype)
        (z_x, r_x, n_x), (z_h, r_h, n_h) = (jnp.split(a, 3, axis=-1) for a in (x, inner))
        z, r = sigmoid(z_x + z_h), sigmoid(r_x + r_h)
        h = z * carry + (1 - z) * jnp.tanh(n_x + r * n_h)
        return h, h
