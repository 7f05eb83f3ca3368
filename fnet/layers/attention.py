"""Multi-head attention, of a sequence to itself or to a second one."""

import math
from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import LayerTypeError, LayerValueError, inside
from ..core.trees import Tree
from . import stochastic
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_functions, set_number
from .dense import REBUILD, dense
from .initializers import Initializer, glorot_uniform, zeros
from .positions import check_sequences, rotated


@dataclass(frozen=True, repr=False)
class attention(Layer):
    r"""Multi-head attention: each head averages the values, by how well query and key agree.

    .. math:: \mathrm{softmax}(q k^\top / \sqrt{d}) v

    Three dense layers project `x` to :math:`q`, :math:`k` and :math:`v`, split into `num_heads`
    heads of `key_dim` :math:`d` features each. A fourth dense layer projects the concatenated heads
    back, so `(batch, time, features)` keeps its shape. The parameters of these layers are stored
    under `query`, `key`, `value` and `output`. The first kernel has shape
    `(features, num_heads key_dim)`, those of key and value `(features, key_value_heads key_dim)`,
    the last `(num_heads key_dim, features)`. The softmax is computed in float32 or wider; the dtype
    of `x` is preserved.

    The input is an array `(batch, time, features)` or a dict
    `{"x": ..., "memory": ..., "mask": ...}`, of which `x` is required; `in_shape` is then the dict
    of their shapes without the batch axis. With `memory`, a sequence
    `(batch, memory time, any features)`, :math:`k` and :math:`v` are projected from it instead of
    `x` (cross-attention). Where `mask` is True, or a number other than 0, a step of the memory (or
    of `x`) is attended to: `(batch, memory time)` hides padding, `(batch, time, memory time)` hides
    steps from each step. A step that may attend to none gets weights of 0.

    Args:
        num_heads: the number of heads.
        key_dim: the number of features per head; features / num_heads by default.
        key_value_heads: the number of heads of k and v, each shared by num_heads / key_value_heads
            neighbouring heads of q; `num_heads` by default.
        causal: whether each time step attends only to itself and earlier steps.
        rotary: whether q and k carry their positions: features 2i and 2i + 1 of each head are
            rotated by the angle :math:`t / 10000^{2i / d}` at step :math:`t`.
        dropout: the fraction of attention weights that is dropped in training, in [0, 1).
        use_bias: whether the dense layers add a bias.
        kernel_init, bias_init: the initializers of the dense layers.

    Raises:
        TypeError: (from `init`) the input is a dict without `x`, or with other names.
        ValueError: a number is out of its range, or `key_value_heads` does not divide `num_heads`;
            (from `init`) samples do not have shape `(time, features)`, `mask` does not have the
            lengths of the sequences, `key_dim` is None and `num_heads` does not divide the
            features, or `rotary` meets an odd `key_dim`; (from `forward`) `key` is None and
            `dropout` is not 0.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> block = fnet.residual(fnet.layer_norm(), fnet.attention(4, causal=True))
        >>> params = fnet.init(block, jax.random.key(0), (10, 32))
        >>> fnet.apply(block, params, jnp.ones((5, 10, 32))).shape
        (5, 10, 32)

    A second sequence, of which the last step is padding:
        >>> net, mask = fnet.attention(2), jnp.array([[True, True, False]])
        >>> shapes = {"x": (5, 8), "memory": (3, 6), "mask": (3,)}
        >>> params = fnet.init(net, jax.random.key(0), shapes)
        >>> x = {"x": jnp.ones((1, 5, 8)), "memory": jnp.ones((1, 3, 6)), "mask": mask}
        >>> fnet.apply(net, params, x).shape
        (1, 5, 8)

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.2; `key_value_heads`: Ainslie
    et al. 2023, GQA, section 2.2; `rotary`: Su et al. 2021, RoFormer, section 3.2.2.
    """

    num_heads: int
    key_dim: int | None = None
    _: KW_ONLY
    key_value_heads: int | None = None
    causal: bool = False
    rotary: bool = False
    dropout: float = 0.0
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "num_heads", "One head is attention(1).")
        if self.key_dim is not None:
            set_count(self, "key_dim", "Leave it out for features / num_heads.")
        if self.key_value_heads is not None:
            set_count(self, "key_value_heads", "Leave it out for as many as `num_heads`.")
            if self.num_heads % self.key_value_heads:
                raise ValueError(
                    f"`key_value_heads` of attention must divide `num_heads`, got "
                    f"{self.key_value_heads} for {self.num_heads} heads. Change one of them."
                )
        set_number(self, "dropout", 0, 1, "It is the fraction dropped: 0.1 keeps 90 %.")
        set_functions(self, "kernel_init", "bias_init")

    @property
    def groups(self) -> int:
        """The number of heads of k and v."""
        return self.key_value_heads or self.num_heads

    def head_size(self, x: Shape, memory: Shape, mask: Shape | None) -> int:
        """Return the features of a head, from shapes without the batch axis."""
        check_sequences(x)
        check_sequences(memory)
        if mask is not None and mask not in (memory[:1], (x[0], memory[0])):
            raise LayerValueError(
                f"expected a mask with a number for each of {memory[0]} steps, shape {memory[:1]} "
                f"or {(x[0], memory[0])} a sample, got {mask}. Cut or pad it as the sequence is."
            )
        if self.key_dim is None and x[-1] % self.num_heads:
            raise LayerValueError(
                f"expected features in the last axis that `num_heads`={self.num_heads} divides, "
                f"got samples of shape {x}. Change one of them, or pass `key_dim`."
            )
        size = self.key_dim or x[-1] // self.num_heads
        if self.rotary and size % 2:
            raise LayerValueError(
                f"expected heads with an even number of features, which `rotary` pairs, got "
                f"{size}. Change `num_heads` or `key_dim`."
            )
        return size

    def projections(self, x: Shape, memory: Shape, size: int) -> dict[str, tuple[dense, Shape]]:
        """Return the four dense layers by name, each with its input shape."""

        def to(units: int) -> dense:
            return dense(
                units,
                use_bias=self.use_bias,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init,
            )

        width = self.num_heads * size
        return {
            "query": (to(width), x),
            "key": (to(self.groups * size), memory),
            "value": (to(self.groups * size), memory),
            "output": (to(x[-1]), (x[0], width)),
        }

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Tree) -> InitResult:
        x, memory, mask = parts(in_shape)
        layers = self.projections(x, memory, self.head_size(x, memory, mask))
        params = {}
        for i, (name, (layer, shape)) in enumerate(layers.items()):
            params[name], _, _ = layer.init(jax.random.fold_in(key, i), shape)
        return params, {}, x

    def apply(self, params: Tree, state: Tree, x: Tree, key: Key, training: bool) -> Output:
        x, memory, mask = parts(x)
        batches = [array.shape[0] for array in (x, memory, mask) if array is not None]
        if len(set(batches)) > 1:
            raise LayerValueError(
                f"expected as many samples in all parts of the input, got {batches}. Take 'x', "
                f"'memory' and 'mask' from the same batch."
            )
        shapes = x.shape[1:], memory.shape[1:]
        size = self.head_size(*shapes, None if mask is None else mask.shape[1:])
        layers = self.projections(*shapes, size)
        check_names("parameters", params, tuple(layers), REBUILD)

        def project(name: str, x: jax.Array) -> jax.Array:
            with inside(name):
                return layers[name][0].apply(params[name], {}, x, None, training)[0]

        def heads(name: str, x: jax.Array) -> jax.Array:
            count = self.num_heads if name == "query" else self.groups
            return project(name, x).reshape(*x.shape[:2], count, size)

        q, k, v = heads("query", x), heads("key", memory), heads("value", memory)
        if self.rotary:
            q, k = rotated(q), rotated(k)
        weights = self.weights(q, k, mask)
        drop = stochastic.dropout(self.dropout)
        weights, _ = drop.apply({}, {}, weights.astype(v.dtype), key, training)
        y = jnp.einsum("bngts,bsnd->btngd", weights, v)
        return project("output", y.reshape(*x.shape[:2], self.num_heads * size)), state

    def weights(self, q: jax.Array, k: jax.Array, mask: jax.Array | None) -> jax.Array:
        """The attention weights, `(batch, groups, heads of a group, time, memory time)`."""
        batch, time, _, size = q.shape
        q = q.reshape(batch, time, self.groups, self.num_heads // self.groups, size)
        wide = jnp.float32 if q.dtype.itemsize < 4 else q.dtype
        scores = jnp.einsum("btngd,bsnd->bngts", q, k, preferred_element_type=wide)
        scores /= math.sqrt(size)
        seen: jax.Array | None = None
        if mask is not None:
            seen = jnp.asarray(mask, bool)
            seen = seen[:, None, None, None] if mask.ndim == 2 else seen[:, None, None]
        if self.causal:
            past = np.tri(time, k.shape[1], dtype=bool)[None, None, None]
            seen = jnp.asarray(past) if seen is None else seen & past
        if seen is None:
            return jax.nn.softmax(scores)
        weights = jax.nn.softmax(jnp.where(seen, scores, float(np.finfo(scores.dtype).min)))
        return jnp.where(seen, weights, 0)  # where nothing is seen, the softmax is uniform


def parts(given: Tree) -> tuple[Tree, Tree, Tree]:
    """The sequence, the memory and the mask or None, of arrays or of shapes."""
    if not isinstance(given, dict):
        return given, given, None
    if "x" not in given or given.keys() - {"x", "memory", "mask"}:
        raise LayerTypeError(
            f"expected a sequence, or a dict with 'x' and, where there are any, 'memory' and "
            f"'mask', got a dict with {sorted(given)}. Write {{'x': x, 'mask': mask}}."
        )
    return given["x"], given.get("memory", given["x"]), given.get("mask")
