"""Weights from and for Keras 3: `.weights.h5` files and the `.keras` archives that hold them."""

import math
import os
from collections import Counter
from collections.abc import Mapping

from ..core.checks import check_path
from ..core.trees import Tree
from ..files.atomic import write
from ..layers.attention import attention
from ..layers.base import Layer, Shape, as_layer
from ..layers.cells import gru, lstm, simple_rnn
from ..layers.convolution import conv
from ..layers.dense import dense
from ..layers.depthwise import depthwise_conv, separable_conv
from ..layers.embedding import embedding
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.positions import learned_positions
from ..layers.prelu import prelu
from ..layers.recurrent import DIRECTIONS, bidirectional
from ..layers.transposed_convolution import conv_transpose
from .foreign import Entry, LayerTable, Slot, Turn, check_same, holders, read, slots, written
from .hdf5 import opened, packed
from .layer_paths import Place, check_straight, named_by, places


def heads(place: Place) -> int:
    assert isinstance(place.layer, attention)
    return place.layer.num_heads


def shared_heads(place: Place) -> int:
    assert isinstance(place.layer, attention)
    return place.layer.groups


HEADS_LAST = Turn(  # (features, heads key_dim) or (heads key_dim,), split into an axis per factor
    lambda array, place: array.reshape(*array.shape[:-1], heads(place), -1),
    lambda array, place, shape: array.reshape(shape),
)
SHARED_LAST = Turn(
    lambda array, place: array.reshape(*array.shape[:-1], shared_heads(place), -1),
    lambda array, place, shape: array.reshape(shape),
)
HEADS_FIRST = Turn(  # (heads key_dim, features)
    lambda array, place: array.reshape(heads(place), -1, array.shape[-1]),
    lambda array, place, shape: array.reshape(shape),
)
# A layer's variables are numbered in this order; those that it does without have no number.
KERNEL, BIAS = Entry("vars/#", ("kernel",)), Entry("vars/#", ("bias",))
NORMALIZED = Entry("vars/#", ("scale",)), BIAS
CELL = (
    Entry("cell/vars/0", ("kernel",)),
    Entry("cell/vars/1", ("recurrent_kernel",)),
    Entry("cell/vars/2", ("bias",)),
)
TABLE: LayerTable = {
    dense: (KERNEL, BIAS),
    conv: (KERNEL, BIAS),
    conv_transpose: (KERNEL, BIAS),
    depthwise_conv: (KERNEL, BIAS),
    separable_conv: (
        Entry("vars/#", ("depthwise_kernel",)),
        Entry("vars/#", ("pointwise_kernel",)),
        BIAS,
    ),
    prelu: (Entry("vars/#", ("alpha",)),),
    embedding: (Entry("vars/#", ("embeddings",)),),
    learned_positions: (Entry("vars/#", ("embeddings",)),),
    batch_norm: (*NORMALIZED, Entry("vars/#", ("mean",)), Entry("vars/#", ("variance",))),
    layer_norm: NORMALIZED,
    group_norm: NORMALIZED,
    rms_norm: (Entry("vars/#", ("scale",)),),
    attention: (
        Entry("query_dense/vars/0", ("query/kernel",), HEADS_LAST),
        Entry("query_dense/vars/1", ("query/bias",), HEADS_LAST),
        Entry("key_dense/vars/0", ("key/kernel",), SHARED_LAST),
        Entry("key_dense/vars/1", ("key/bias",), SHARED_LAST),
        Entry("value_dense/vars/0", ("value/kernel",), SHARED_LAST),
        Entry("value_dense/vars/1", ("value/bias",), SHARED_LAST),
        Entry("output_dense/vars/0", ("output/kernel",), HEADS_FIRST),
        Entry("output_dense/vars/1", ("output/bias",)),
    ),
    simple_rnn: CELL,
    lstm: CELL,
    gru: CELL,
    bidirectional: tuple(
        Entry(f"{way}_layer/{entry.name}", (f"{way}/{entry.leaves[0]}",))
        for way in DIRECTIONS
        for entry in CELL
    ),
}
GROUPS: dict[type[Layer], str] = {
    dense: "dense",
    conv: "conv{rank}d",
    conv_transpose: "conv{rank}d_transpose",
    depthwise_conv: "depthwise_conv{rank}d",
    separable_conv: "separable_conv{rank}d",
    prelu: "p_re_lu",
    embedding: "embedding",
    learned_positions: "embedding",
    batch_norm: "batch_normalization",
    layer_norm: "layer_normalization",
    group_norm: "group_normalization",
    rms_norm: "rms_normalization",
    attention: "multi_head_attention",
    simple_rnn: "simple_rnn",
    lstm: "lstm",
    gru: "gru",
    bidirectional: "bidirectional",
}


def load_keras(
    path: str | os.PathLike[str],
    net: Layer,
    in_shape: Shape,
    names: Mapping[str, str] | None = None,
) -> tuple[Tree, Tree]:
    """Load the weights of a Keras 3 model as parameters and state of the same model in fnet.

    Layers are mapped in order, as Keras numbers them in each model: `dense`, `dense_1`, `conv2d`,
    `sequential/layers/dense`. Keras layers without variables, seeds and the optimizer are ignored.
    A file holds no hyperparameters: activations, strides, padding and `epsilon` are those of `net`
    (its defaults, and 'same' padding, are those of Keras).

    No link in the file is followed and no code in it is run; shapes and dtypes are compared before
    an array is read. HDF5 has no checksums, so damaged numbers go unnoticed, and the HDF5 library
    is not hardened against malicious files: load only files that you trust.

    Args:
        path: a `.weights.h5` file of `model.save_weights`, or a `.keras` file of `model.save`; the
            contents decide which, not the name.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, without the batch axis.
        names: the group in the file for each layer with parameters, such as
            `{"residual/dense": "layers/block/layers/dense"}`; required unless every combinator in
            the model is `sequential`.

    Returns:
        `(params, state)`, like those of `fnet.init` and `fnet.init_state`. Narrower floats are
        widened without loss.

    Raises:
        ValueError: Keras lacks a layer, or the arrays in the file differ; all differences are
            listed.
        CorruptFileError: the file is damaged, of another kind, or refers to other files.
        OSError: the file does not exist or cannot be read.
        ModuleNotFoundError: h5py is not installed: `pip install "fnet-jax[keras]"`.

    Example:
        >>> import tempfile, jax, fnet
        >>> net = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(2))
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fnet.save_keras(f"{folder}/model.weights.h5", net, (3,), params)
        ...     params, state = fnet.load_keras(f"{folder}/model.weights.h5", net, (3,))
        >>> params["dense"]["kernel"].shape, state
        ((3, 4), {})
    """
    wanted, _ = layout(net, in_shape, names)
    needed = sum(slot.dtype.itemsize * math.prod(slot.shape) for slot in wanted.values())
    with opened(path, needed) as file:
        forms = {name: (slot.place.path, (slot.shape, slot.dtype)) for name, slot in wanted.items()}
        fix = (
            "Give `net` the layers of the Keras model, or pass `names`, the group in the file for "
            "each layer with parameters."
        )
        check_same(str(path), forms, file.forms, fix)
        return read(wanted, file.array)


def save_keras(
    path: str | os.PathLike[str],
    net: Layer,
    in_shape: Shape,
    params: Tree,
    state: Tree | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Write weights to a file for `load_weights` of the same model in Keras 3, atomically.

    Args:
        path: where to write; Keras requires a name that ends in `.weights.h5`.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, without the batch axis.
        params: the parameters, see `fnet.init`.
        state: the running statistics, if the model has any.
        names: as for `load_keras`.

    Raises:
        ValueError: the name ends differently, Keras lacks a layer, or a tree is of another model.
        OSError: the file cannot be written.
        ModuleNotFoundError: h5py is not installed: `pip install "fnet-jax[keras]"`.

    Example:
        >>> import tempfile, jax, fnet
        >>> net = fnet.sequential(fnet.flatten, fnet.dense(10))
        >>> params = fnet.init(net, jax.random.key(0), (28, 28))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fnet.save_keras(f"{folder}/model.weights.h5", net, (28, 28), params)
    """
    if not check_path("path", path).endswith(".weights.h5"):
        raise ValueError(
            f"`path` must end in .weights.h5 for Keras to read it, got {os.fspath(path)!r}. "
            f"Rename the file."
        )
    wanted, holding = layout(net, in_shape, names)
    write(path, [packed(written(wanted, holding, params, state))])


def layout(
    net: Layer, in_shape: Shape, names: Mapping[str, str] | None
) -> tuple[dict[str, Slot], list[Place]]:
    """The arrays of the file by name, and the layers that have arrays."""
    holding = holders(places(as_layer(net, "net"), in_shape), TABLE, "Keras")
    if names is None:
        check_straight(holding, "Keras")
    groups = numbered(holding) if names is None else named_by(holding, names)
    wanted = slots(holding, TABLE, groups, "/")
    return {in_file(name, slot.place): slot for name, slot in wanted.items()}, holding


def shares_heads(place: Place) -> bool:
    """Whether Keras calls it GroupQueryAttention rather than MultiHeadAttention."""
    return isinstance(place.layer, attention) and place.layer.key_value_heads is not None


def in_file(name: str, place: Place) -> str:
    """Keras names the parts of a GroupQueryAttention with an underscore: `_query_dense`."""
    if not shares_heads(place):
        return name
    group, part, *rest = name.rsplit("/", 3)
    return "/".join((group, f"_{part}", *rest))


def group_of(place: Place) -> str:
    if shares_heads(place):
        return "grouped_query_attention"
    return GROUPS[type(place.layer)].format(rank=len(place.in_shape) - 1)


def numbered(holding: list[Place]) -> list[str]:
    """The groups as Keras numbers them: separately for each class in each nested model."""
    seen: Counter[str] = Counter()
    groups = []
    for place in holding:
        above = "".join(f"layers/{name}/" for name in place.names[:-1])
        group = f"{above}layers/{group_of(place)}"
        groups.append(f"{group}_{seen[group]}" if seen[group] else group)
        seen[group] += 1
    return groups
