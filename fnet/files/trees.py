"""Trees as named arrays, and named arrays as trees.

A leaf's name is its path, such as `params/dense/kernel`. A typed key is the numbers of its data,
and its name ends in the algorithm, as `key:threefry2x32`; a Python number is an array without axes.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.trees import Tree
from ..core.values import describe

WIDE = ("int64", "uint64", "float64")


def named(tree: Tree) -> dict[str, np.ndarray]:
    """The leaves by their names.

    Raises:
        TypeError: a leaf is not an array.
        ValueError: two leaves of one name.
    """
    tensors: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = name_of(path, leaf)
        if name in tensors:
            raise ValueError(
                f"every leaf must have a name of its own, got two called {name!r}. Take the "
                f"slashes out of the keys of the dicts."
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


def is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def algorithm(key: Any) -> Any:
    """How the key makes random numbers, known of a ShapeDtypeStruct too."""
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def nested(tensors: Mapping[str, Any]) -> Tree:
    """The nested dict that the names describe.

    Raises:
        ValueError: a name that is a leaf and a dict at once.
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
                f"its place. Pass `like`, a tree of the same names."
            )
        inner[last] = tensor
    return tree


def on_device(tensor: np.ndarray) -> Any:
    """A JAX array, unless JAX would cut it from 64 bits to 32: then the tensor itself."""
    fits = jnp.result_type(float) == jnp.float64 or tensor.dtype.name not in WIDE
    return jnp.array(tensor) if fits else tensor


def restored(tensors: Mapping[str, np.ndarray], like: Tree, what: str) -> Tree:
    """A tree like `like`, whose leaves are the tensors: same names, shapes, dtypes and kinds.

    No tensor is cast. Only a number that is weakly typed in `like`, one of Python's or one of JAX
    that came of it, takes a number of its kind in any width, as it does in JAX.

    Args:
        tensors: by name, as `named` gives them.
        like: arrays, ShapeDtypeStructs, numbers and typed keys.
        what: what the tensors are, for the message.

    Raises:
        TypeError: names or dtypes that differ; every difference is listed.
        ValueError: the same where only shapes differ.
    """
    leaves = check_same(tensors, like, what)
    built_leaves = [built(tensors[name], leaf) for name, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), built_leaves)


def check_same(tensors: Mapping[str, Any], like: Tree, what: str) -> dict[str, Any]:
    """The leaves of `like` by name, if the tensors, or what they are to be, may take their place.

    Raises: as `restored`.
    """
    paths = jax.tree_util.tree_leaves_with_path(like)
    leaves = {name_of(path, leaf): leaf for path, leaf in paths}
    trees = [f"{name!r} is missing" for name in leaves.keys() - tensors.keys()]
    trees += [f"{name!r} is too much" for name in tensors.keys() - leaves.keys()]
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
            f"{'; '.join(sorted(trees + shapes))}. Build `like` as what was saved was built."
        )
    return leaves


def plain(leaf: Any) -> Any:
    """What a leaf is in a file: its shape and dtype."""
    if is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def is_weak_number(leaf: Any) -> bool:
    return getattr(leaf, "weak_type", not hasattr(leaf, "dtype")) and np.ndim(leaf) == 0


def built(tensor: np.ndarray, like: Any) -> Any:
    """A leaf of the kind of `like`, so that a program compiled for that takes this too."""
    if isinstance(like, (bool, int, float)) and not isinstance(like, np.generic):
        return tensor.item()
    if isinstance(like, np.ndarray):
        return tensor
    if isinstance(like, np.generic):
        return tensor[()]
    if is_key(like):
        array = jax.random.wrap_key_data(jnp.array(tensor), impl=algorithm(like))
    elif like.weak_type and tensor.size:
        numbers = [jnp.asarray(number) for number in tensor.ravel().tolist()]
        array = jnp.stack(numbers).reshape(tensor.shape) if tensor.ndim else numbers[0]
    else:
        array = on_device(tensor)
    committed = getattr(like, "committed", like.sharding is not None)
    return jax.device_put(array, like.sharding) if committed else array


def structure(tree: Tree) -> dict[str, str]:
    """Describe a tree without its leaves: the nodes that are not plain containers, by path.

    So "optimizer" is `momentum(learning_rate=*, beta=*, nesterov=False)`.
    """
    nodes: dict[str, str] = {}

    def visit(path: str, node: Any) -> None:
        children, form = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda n: n is not node)
        if jax.tree_util.treedef_is_leaf(form):
            return
        if not isinstance(node, (dict, list)) and type(node) is not tuple and node is not None:
            shown = repr(jax.tree.unflatten(form, [Leaf()] * len(children)))
            nodes[path] = re.sub(r" at 0x[0-9a-f]+", "", shown)  # of functions without a name
        for keys, child in children:
            visit(f"{path}/{jax.tree_util.keystr(keys, simple=True)}".lstrip("/"), child)

    visit("", tree)
    return nodes


class Leaf:
    def __repr__(self) -> str:
        return "*"
