"""Conversion between trees and named arrays.

The name of a leaf is its path, such as `params/dense/kernel`. A typed key is stored as its key
data, and its name ends with the algorithm, as in `key:threefry2x32`. A Python number is stored as
an array without axes.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.trees import Tree, on_device
from ..core.values import Static, describe

WIDE = ("int64", "uint64", "float64")


def named(tree: Tree) -> dict[str, np.ndarray]:
    """The leaves by their names.

    Raises:
        TypeError: a leaf is not an array.
        ValueError: two leaves have the same name.
    """
    tensors: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_static):
        name = name_of(path, leaf)
        if name in tensors:
            raise ValueError(
                f"leaves must have different names, got two called {name!r}. Remove the slashes "
                f"from the keys of the dicts."
            )
        tensors[name] = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    return tensors


def name_of(path: Any, leaf: Any) -> str:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    known = isinstance(leaf, (bool, int, float, np.ndarray, np.generic, jax.Array))
    if isinstance(leaf, jax.core.Tracer) or not known | isinstance(leaf, jax.ShapeDtypeStruct):
        raise TypeError(
            f"every leaf must be an array or a number, got {describe(leaf)} as {name!r}. Leave it "
            f"out, and call this outside of jax.jit."
        )
    return f"{name}:{algorithm(leaf)}" if is_key(leaf) else name


def is_static(node: Any) -> bool:
    """Whether this is a model or a task, which has no leaves and would be lost in a file."""
    return isinstance(node, Static)


def is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def algorithm(key: Any) -> Any:
    """The algorithm of a key, which may be a ShapeDtypeStruct."""
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def nested(tensors: Mapping[str, Any]) -> Tree:
    """The nested dict that the names describe.

    Raises:
        ValueError: a name is that of both a leaf and a dict.
    """
    if list(tensors) == [""]:
        return tensors[""]
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *folders, last = name.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
            if not isinstance(inner, dict):
                break
        if not isinstance(inner, dict) or last in inner:
            raise ValueError(
                f"names must describe a nested dict, got {name!r} beside a tensor or a dict in "
                f"its place. Pass `like`, a tree with the same names."
            )
        inner[last] = tensor
    return tree


def as_it_was(tensor: np.ndarray) -> Any:
    """A JAX array, or the tensor itself if JAX would truncate it from 64 bits to 32."""
    fits = jnp.result_type(float) == jnp.float64 or tensor.dtype.name not in WIDE
    return on_device(tensor) if fits else tensor


def restored(tensors: Mapping[str, np.ndarray], like: Tree, what: str) -> Tree:
    """A tree like `like` with the tensors as leaves; names, shapes, dtypes and kinds must match.

    No tensor is cast. Only a weakly typed number in `like`, from Python or JAX, accepts a number of
    the same kind and any width, as it does in JAX.

    Args:
        tensors: by name, as `named` returns them.
        like: arrays, ShapeDtypeStructs, numbers and typed keys.
        what: what the tensors are, for the message.

    Raises:
        TypeError: names or dtypes differ; every difference is listed.
        ValueError: only shapes differ.
    """
    leaves = check_same(tensors, like, what)
    built_leaves = [built(tensors[name], leaf) for name, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), built_leaves)


def check_same(tensors: Mapping[str, Any], like: Tree, what: str) -> dict[str, Any]:
    """The leaves of `like` by name, if the tensors or abstract tensors can replace them.

    Raises: as `restored`.
    """
    paths = jax.tree_util.tree_leaves_with_path(like)
    leaves = {name_of(path, leaf): leaf for path, leaf in paths}
    trees = [f"{name!r} is missing" for name in leaves.keys() - tensors.keys()]
    trees += [f"{name!r} is unexpected" for name in tensors.keys() - leaves.keys()]
    shapes = []
    for name in leaves.keys() & tensors.keys():
        leaf, tensor = plain(leaves[name]), tensors[name]
        if leaf.shape != tensor.shape:
            shapes.append(f"{name!r} has shape {tensor.shape} instead of {leaf.shape}")
        if leaf.dtype != tensor.dtype and not (
            is_weak_number(leaves[name]) and leaf.dtype.kind == tensor.dtype.kind
        ):
            trees.append(f"{name!r} has dtype {tensor.dtype} instead of {leaf.dtype}")
    if trees or shapes:
        raise (TypeError if trees else ValueError)(
            f"{what} must hold the arrays of `like`, got differences: "
            f"{'; '.join(sorted(trees + shapes))}. Build `like` like the saved tree."
        )
    return leaves


def plain(leaf: Any) -> Any:
    """A leaf with the shape and dtype that it has in a file."""
    if is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def is_weak_number(leaf: Any) -> bool:
    return getattr(leaf, "weak_type", not hasattr(leaf, "dtype")) and np.ndim(leaf) == 0


def built(tensor: np.ndarray, like: Any) -> Any:
    """A leaf of the same kind as `like`, for which a compiled program need not be recompiled."""
    if isinstance(like, (bool, int, float)) and not isinstance(like, np.generic):
        return tensor.item()
    if isinstance(like, np.ndarray):
        return tensor
    if isinstance(like, np.generic):
        return tensor[()]
    if is_key(like):
        array = jax.random.wrap_key_data(on_device(tensor), impl=algorithm(like))
    elif like.weak_type and tensor.size:
        numbers = [on_device(number) for number in tensor.ravel().tolist()]
        array = jnp.stack(numbers).reshape(tensor.shape) if tensor.ndim else numbers[0]
    else:
        array = as_it_was(tensor)
    committed = getattr(like, "committed", like.sharding is not None)
    return jax.device_put(array, like.sharding) if committed else array


def structure(tree: Tree) -> dict[str, str]:
    """The nodes of a tree that are not plain containers, by path.

    For example, "optimizer" is `momentum(learning_rate=*, beta=*, nesterov=False)`.
    """
    nodes: dict[str, str] = {}

    def visit(path: str, node: Any) -> None:
        children, form = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda n: n is not node)
        if jax.tree_util.all_leaves([node]):
            return
        if not children and isinstance(node, tuple):  # says nothing that its place does not
            return
        if not isinstance(node, (dict, list)) and type(node) is not tuple and node is not None:
            shown = repr(jax.tree.unflatten(form, [Leaf()] * len(children)))
            nodes[path] = re.sub(r" at 0x[0-9a-f]+", "", shown)  # the addresses of functions
        for keys, child in children:
            visit(f"{path}/{jax.tree_util.keystr(keys, simple=True)}".lstrip("/"), child)

    visit("", tree)
    return nodes


class Leaf:
    def __repr__(self) -> str:
        return "*"
