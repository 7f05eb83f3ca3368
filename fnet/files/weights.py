"""Weights as safetensors files, which other programs can read."""

import os

from ..core.trees import Tree
from ..layers.base import Layer, as_layer
from .tensor_file import check_kind, read_tensors, write_tensors
from .trees import as_it_was, named, nested, restored


def save_weights(path: str | os.PathLike[str], params: Tree, net: Layer | None = None) -> None:
    """Write parameters to a safetensors file, atomically and with checksums of every bit.

    The names of the tensors are their paths, such as `dense_1/kernel`. Any reader of safetensors
    can open the file. The same parameters give the same bytes.

    Args:
        path: where to write; an existing file is replaced once the new one is on the disk.
        params: the parameters, see `init`; any tree of arrays.
        net: the model; its `repr` is stored in the file for human readers.

    Raises:
        TypeError: a leaf is not an array, or safetensors lacks its dtype.
        ValueError: two leaves have the same name.
        OSError: writing fails; an existing file is intact.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> net = fnet.sequential(fnet.dense(8), fnet.relu, fnet.dense(1))
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> fnet.save_weights(path, params, net)
        >>> fnet.load_weights(path)["dense_1"]["kernel"].shape
        (8, 1)

    Source: the format of https://github.com/huggingface/safetensors.
    """
    metadata = {} if net is None else {"model": repr(as_layer(net, "net"))}
    write_tensors(path, named(params), {"kind": "weights", **metadata})


def load_weights(path: str | os.PathLike[str], like: Tree | None = None) -> Tree:
    """Read parameters from a safetensors file, and check every bit if fnet wrote it.

    Files of other programs have no checksums, so damage to their tensors goes unnoticed.

    Args:
        path: the file.
        like: parameters, or their `jax.eval_shape`, with the expected names, shapes and dtypes.
            Without it, the names in the file determine the tree.

    Returns:
        A tree like `like`; without `like`, a nested dict of JAX arrays, and of NumPy arrays for
        tensors of 64 bits that JAX would truncate to 32.

    Raises:
        CorruptFileError: the file is damaged, or does not hold weights.
        TypeError: names or dtypes differ from those of `like`; all differences are listed.
        ValueError: only shapes differ.
        OSError: the file does not exist or cannot be read.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> params = fnet.init(fnet.dense(2), jax.random.key(0), (3,))
        >>> fnet.save_weights(path, params)
        >>> wider = fnet.init(fnet.dense(4), jax.random.key(0), (3,))
        >>> fnet.load_weights(path, like=wider)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ...; 'kernel' has shape (3, 2) instead of (3, 4). Build `like` ...
    """
    tensors, metadata = read_tensors(path)
    if "fnet" in metadata:
        check_kind(path, metadata, "weights")
    if like is None:
        return nested({name: as_it_was(tensor) for name, tensor in tensors.items()})
    return restored(tensors, like, f"`{os.fspath(path)}`")
