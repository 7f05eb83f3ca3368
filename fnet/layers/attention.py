"""Multi-head self-attention."""

from dataclasses import KW_ONLY, dataclass

import jax

from ..core.errors import LayerValueError, inside
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape, check_names, set_count, set_functions
from .dense import REBUILD, dense
from .initializers import Initializer, glorot_uniform, zeros


@dataclass(frozen=True, repr=False)
class attention(Layer):
    """Multi-head self-attention; each head computes softmax(q k^T / sqrt(key_dim)) v.

    Three dense layers project `x` to q, k and v, split into `num_heads` heads of `key_dim` features
    each. A fourth dense layer projects the concatenated heads back, so `(batch, time, features)`
    keeps its shape. The parameters of these layers are stored under `query`, `key`, `value` and
    `output`. The first three kernels have shape `(features, num_heads key_dim)`, the last
    `(num_heads key_dim, features)`. The softmax is computed in float32; the dtype of `x` is
    preserved.

    Args:
        num_heads: the number of heads.
        key_dim: the number of features per head; features / num_heads by default.
        causal: whether each time step attends only to itself and earlier steps.
        use_bias: whether the dense layers add a bias.
        kernel_init, bias_init: the initializers of the dense layers.

    Raises:
        ValueError: `num_heads` or `key_dim` is below 1; (from `init`) samples do not have shape
            `(time, features)`, or `key_dim` is None and `num_heads` does not divide the features.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> block = fnet.residual(fnet.layer_norm(), fnet.attention(4, causal=True))
        >>> params = fnet.init(block, jax.random.key(0), (10, 32))
        >>> fnet.apply(block, params, jnp.ones((5, 10, 32))).shape
        (5, 10, 32)

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.2.
    """

    num_heads: int
    key_dim: int | None = None
    _: KW_ONLY
    causal: bool = False
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "num_heads", "One head is attention(1).")
        if self.key_dim is not None:
            set_count(self, "key_dim", "Leave it out for features / num_heads.")
        set_functions(self, "kernel_init", "bias_init")

    def head_size(self, in_shape: Shape) -> int:
        if len(in_shape) != 2:
            raise LayerValueError(
                f"expected sequences (time, features), got samples of shape {in_shape}. Embed "
                f"ids with fnet.embedding; turn images into sequences with fnet.reshape."
            )
        features = in_shape[-1]
        if self.key_dim is None and features % self.num_heads:
            raise LayerValueError(
                f"expected features in the last axis that `num_heads`={self.num_heads} divides, "
                f"got samples of shape {in_shape}. Change one of them, or pass `key_dim`."
            )
        return self.key_dim or features // self.num_heads

    def projections(self, in_shape: Shape) -> dict[str, tuple[dense, Shape]]:
        """Return the four dense layers by name, each with its input shape."""
        time, features = in_shape
        width = self.num_heads * self.head_size(in_shape)

        def to(units: int) -> dense:
            return dense(
                units,
                use_bias=self.use_bias,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init,
            )

        first = dict.fromkeys(("query", "key", "value"), (to(width), in_shape))
        return first | {"output": (to(features), (time, width))}

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        self.head_size(in_shape)
        params = {}
        for i, (name, (layer, shape)) in enumerate(self.projections(in_shape).items()):
            params[name], _, _ = layer.init(jax.random.fold_in(key, i), shape)
        return params, {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        size = self.head_size(x.shape[1:])
        layers = self.projections(x.shape[1:])
        check_names("parameters", params, tuple(layers), REBUILD)

        def project(name: str, x: jax.Array) -> jax.Array:
            with inside(name):
                return layers[name][0].apply(params[name], {}, x, None, training)[0]

        batch, time = x.shape[:2]
        heads = [
            project(name, x).reshape(batch, time, self.num_heads, size)
            for name in ("query", "key", "value")
        ]
        with jax.numpy_dtype_promotion("standard"):  # the call casts to float32 and back implicitly
            y = jax.nn.dot_product_attention(*heads, is_causal=self.causal)
        return project("output", y.reshape(batch, time, self.num_heads * size)), state
