"""Weights from and for Keras 3: `.weights.h5`, and the `.keras` archives that hold one."""

import math
import os
from collections import Counter
from collections.abc import Mapping

from ..core.trees import Tree
from ..files.atomic import write
from ..layers.attention import attention
from ..layers.base import Layer, Shape, as_layer
from ..layers.convolution import conv
from ..layers.dense import dense
from ..layers.embedding import embedding
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from .foreign import Entry, LayerTable, Slot, Turn, check_same, holders, read, slots, written
from .hdf5 import opened, packed
from .layer_paths import Place, check_straight, named_by, places


def heads(place: Place) -> int:
    assert isinstance(place.layer, attention)
    return place.layer.num_heads


HEADS_LAST = Turn(  # (features, heads key_dim) or (heads key_dim,), the heads an axis of their own
    lambda array, place: array.reshape(*array.shape[:-1], heads(place), -1),
    lambda array, place, shape: array.reshape(shape),
)
HEADS_FIRST = Turn(  # (heads key_dim, features)
    lambda array, place: array.reshape(heads(place), -1, array.shape[-1]),
    lambda array, place, shape: array.reshape(shape),
)
NORMALIZED = Entry("vars/0", ("scale",)), Entry("vars/1", ("bias",))
TABLE: LayerTable = {
    dense: (Entry("vars/0", ("kernel",)), Entry("vars/1", ("bias",))),
    conv: (Entry("vars/0", ("kernel",)), Entry("vars/1", ("bias",))),
    embedding: (Entry("vars/0", ("embeddings",)),),
    batch_norm: (*NORMALIZED, Entry("vars/2", ("mean",)), Entry("vars/3", ("variance",))),
    layer_norm: NORMALIZED,
    group_norm: NORMALIZED,
    rms_norm: (Entry("vars/0", ("scale",)),),
    attention: (
        Entry("query_dense/vars/0", ("query/kernel",), HEADS_LAST),
        Entry("query_dense/vars/1", ("query/bias",), HEADS_LAST),
        Entry("key_dense/vars/0", ("key/kernel",), HEADS_LAST),
        Entry("key_dense/vars/1", ("key/bias",), HEADS_LAST),
        Entry("value_dense/vars/0", ("value/kernel",), HEADS_LAST),
        Entry("value_dense/vars/1", ("value/bias",), HEADS_LAST),
        Entry("output_dense/vars/0", ("output/kernel",), HEADS_FIRST),
        Entry("output_dense/vars/1", ("output/bias",)),
    ),
}
GROUPS: dict[type[Layer], str] = {
    dense: "dense",
    conv: "conv{rank}d",
    embedding: "embedding",
    batch_norm: "batch_normalization",
    layer_norm: "layer_normalization",
    group_norm: "group_normalization",
    rms_norm: "rms_normalization",
    attention: "multi_head_attention",
}


def load_keras(
    path: str | os.PathLike[str],
    net: Layer,
    in_shape: Shape,
    names: Mapping[str, str] | None = None,
) -> tuple[Tree, Tree]:
    """The weights of a Keras 3 model, as the parameters and the state of the same model here.

    Layers are mapped in order, as Keras numbers them in each model: `dense`, `dense_1`, `conv2d`,
    `sequential/layers/dense`. Layers of Keras without variables, its seeds and its optimizer are
    passed over. A file holds no hyperparameters: activations, strides, padding and `epsilon` are
    those of `net` (the defaults are Keras's; its 'same' padding is ours too).

    No link in the file is followed and nothing is unpickled or run; shapes and dtypes are compared
    before an array is read. HDF5 has no checksum, so a damaged number goes unseen, and the HDF5
    library, which is written in C, is not made for files that mean harm: take those you trust.

    Args:
        path: a `.weights.h5` of `model.save_weights`, or a `.keras` of `model.save`; its first
            bytes tell which.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, without the batch axis.
        names: the group in the file for each layer with parameters, such as
            `{"residual/dense": "layers/block/layers/dense"}`; needed for models that are not
            `sequential` alone.

    Returns:
        `(params, state)`, as `fnet.init` and `fnet.init_state` give them. Narrower floats become
        theirs, which loses nothing.

    Raises:
        ValueError: layers that Keras does not have, or a file of other arrays: all differences.
        CorruptFileError: a file that is damaged, of another kind, or refers to other files.
        OSError: a file that cannot be read.
        ModuleNotFoundError: h5py is not installed: `pip install fnet[keras]`.

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
    """Weights as a file that `load_weights` of the same model in Keras 3 reads.

    The file is written whole or not at all.

    Args:
        path: where to; Keras wants a name that ends in `.weights.h5`.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, without the batch axis.
        params: what `fnet.init` or training gave for it.
        state: its running statistics, where it has some.
        names: as for `load_keras`.

    Raises:
        ValueError: another ending, layers that Keras does not have, trees of another model.
        OSError: a file that cannot be written.
        ModuleNotFoundError: h5py is not installed: `pip install fnet[keras]`.

    Example:
        >>> import tempfile, jax, fnet
        >>> net = fnet.sequential(fnet.flatten, fnet.dense(10))
        >>> params = fnet.init(net, jax.random.key(0), (28, 28))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fnet.save_keras(f"{folder}/model.weights.h5", net, (28, 28), params)
    """
    if not os.fspath(path).endswith(".weights.h5"):
        raise ValueError(
            f"`path` must end in .weights.h5, or Keras does not read it, got {os.fspath(path)!r}. "
            f"Change the ending."
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
    return slots(holding, TABLE, groups, "/"), holding


def numbered(holding: list[Place]) -> list[str]:
    """The groups as Keras numbers them: for each class anew in every model within the model."""
    seen: Counter[str] = Counter()
    groups = []
    for place in holding:
        above = "".join(f"layers/{name}/" for name in place.names[:-1])
        group = above + "layers/" + GROUPS[type(place.layer)].format(rank=len(place.in_shape) - 1)
        groups.append(f"{group}_{seen[group]}" if seen[group] else group)
        seen[group] += 1
    return groups
