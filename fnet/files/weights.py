"""Weights as safetensors files, which other programs read too."""

import os

from ..core.trees import Tree
from ..layers.base import Layer, as_layer
from .tensor_file import check_kind, read_tensors, write_tensors
from .trees import named, nested, on_device, restored


def save_weights(path: str | os.PathLike[str], params: Tree, net: Layer | None = None) -> None:
    """Write parameters into a safetensors file, whole or not at all, with checksums of every bit.

    The tensors are called as their paths, `dense_1/kernel`; any reader of safetensors opens the
    file. The same parameters give the same bytes.

    Args:
        path: where to write; what is there is replaced once the new file is whole and on the disk.
        params: the parameters, see `init`; any tree of arrays.
        net: the model, whose `repr` is noted in the file for whoever looks into it.

    Raises:
        TypeError: a leaf is not an array, or has a dtype that safetensors lacks.
        ValueError: two leaves of one name.
        OSError: the disk refused; what was there before is intact.

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
    """Read parameters from a safetensors file; of one that fnet wrote, every bit is checked.

    A file of another program is read too, but has no checksums: nothing tells whether it is as it
    was written.

    Args:
        path: the file.
        like: what to expect: parameters, or what `jax.eval_shape` gives of them. Names, shapes and
            dtypes must be the same. Without it the names alone say what the tree is.

    Returns:
        A tree like `like`; or a nested dict of JAX arrays, in which tensors of 64 bits are NumPy
        arrays where JAX would cut them to 32.

    Raises:
        CorruptFileError: a file that is damaged, or holds something else.
        TypeError: names or dtypes other than those of `like`; all differences are listed.
        ValueError: other shapes.
        OSError: a file that is not there or cannot be read.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> params = fnet.init(fnet.dense(2), jax.random.key(0), (3,))
        >>> fnet.save_weights(path, params)
        >>> wider = fnet.init(fnet.dense(4), jax.random.key(0), (3,))
        >>> fnet.load_weights(path, like=wider)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ...; 'kernel' has shape (3, 2) instead of (3, 4). Build `like` as ...
    """
    tensors, metadata = read_tensors(path)
    if "fnet" in metadata:
        check_kind(path, metadata, "weights")
    if like is None:
        return nested({name: on_device(tensor) for name, tensor in tensors.items()})
    return restored(tensors, like, f"`{os.fspath(path)}`")
