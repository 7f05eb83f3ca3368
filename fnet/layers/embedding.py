"""Embedding of integer ids, such as words or letters, as vectors."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..core.dtypes import check_real
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_functions
from .dense import REBUILD
from .initializers import Initializer, symmetric_uniform


@dataclass(frozen=True, repr=False)
class embedding(Layer):
    """Map each id to a vector, `y = embeddings[x]`.

    Maps ids `(batch, ...)` in [0, input_dim) to `(batch, ..., output_dim)`, in the dtype of the
    embeddings, which have shape `(input_dim, output_dim)`. Ids are integers; as in Keras, floats
    that are whole numbers also work.

    Outside of `jax.jit`, an id out of range raises an error. Inside, values are unknown, and such
    an id gives NaN, never the vector of another id. The loss is then not finite, and `fit` stops
    and reports this error as the reason.

    Args:
        input_dim: the number of ids.
        output_dim: the length of the vectors.
        embeddings_init: an initializer, `initializer(key, shape) -> array`; uniform on
            [-0.05, 0.05) by default.

    Raises:
        ValueError: `input_dim` or `output_dim` is below 1; (from `apply`) ids are out of range, or
            the embeddings have the wrong shape.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.embedding(1000, 8)
        >>> params = fnet.init(net, jax.random.key(0), (20,))
        >>> params["embeddings"].shape
        (1000, 8)
        >>> fnet.apply(net, params, jnp.zeros((5, 20), int)).shape
        (5, 20, 8)

    Source: Bengio et al. 2003, A Neural Probabilistic Language Model, section 2.
    """

    input_dim: int
    output_dim: int
    _: KW_ONLY
    embeddings_init: Initializer = symmetric_uniform

    def __post_init__(self) -> None:
        set_count(self, "input_dim", "It is the number of ids: the largest id plus one.")
        set_count(self, "output_dim", "Pass the length of the vectors: embedding(1000, 64).")
        set_functions(self, "embeddings_init")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        embeddings = self.embeddings_init(key, (self.input_dim, self.output_dim))
        return {"embeddings": embeddings}, {}, (*in_shape, self.output_dim)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        check_names("parameters", params, ("embeddings",), REBUILD)
        embeddings, shape = params["embeddings"], (self.input_dim, self.output_dim)
        if embeddings.shape != shape:
            raise LayerValueError(
                f"expected embeddings of shape {shape}, got {embeddings.shape}. {REBUILD}"
            )
        check_real(x, embeddings.dtype)
        if not isinstance(x, jax.core.Tracer):
            self.check_ids(np.asarray(x))
        # As an unsigned integer, a negative id is huge and so out of range; otherwise it would
        # count from the end.
        ids = x.astype(jnp.int32).astype(jnp.uint32)
        return jnp.take(embeddings, ids, axis=0, mode="fill", fill_value=jnp.nan), state

    def check_ids(self, ids: np.ndarray) -> None:
        if not ids.size:
            return
        low, high = ids.min(), ids.max()
        if not (0 <= low and high < self.input_dim):
            raise LayerValueError(
                f"expected ids in [0, {self.input_dim}), got {low} to {high}. Raise `input_dim`, "
                f"or map unknown items to a reserved id."
            )
        if (ids != np.floor(ids)).any():
            raise LayerValueError(
                f"expected whole numbers as ids, got {ids.dtype} with fractions. For numbers "
                f"that are not ids use fnet.dense."
            )
