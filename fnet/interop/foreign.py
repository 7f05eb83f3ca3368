"""Tables `type of layer -> Entry, ...` that map arrays to and from files of other libraries."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.trees import Tree, on_device
from ..files.trees import named, nested
from ..layers.base import Layer, Shape
from .layer_paths import Place

SHOWN = 50  # differences in one message
Array = Any  # of NumPy, or abstract if only its shape is needed


class Turn(NamedTuple):
    """Conversions of an array to the other library's layout, and back to the given shape."""

    there: Callable[[Array, Place], Array]
    back: Callable[[np.ndarray, Place, Shape], np.ndarray]


class Entry(NamedTuple):
    """An array of the other library: our arrays, converted and concatenated along axis 0.

    A `#` in the name is the number of entries with the same name before it that the layer has.
    Entries may share an array of ours, which is then the sum of what each is converted back to.
    """

    name: str
    leaves: tuple[str, ...]
    turn: Turn = Turn(lambda array, place: array, lambda array, place, shape: array)


class Slot(NamedTuple):
    """An array in a file, and the layer that it belongs to."""

    place: Place
    entry: Entry
    shape: Shape
    dtype: np.dtype[Any]


LayerTable = Mapping[type[Layer], Sequence[Entry]]
Form = tuple[Shape, np.dtype[Any]]


def holders(everywhere: list[Place], table: LayerTable, library: str) -> list[Place]:
    """The layers with arrays, all of which the library must support."""
    found = [place for place in everywhere if place.leaves]
    foreign = [place for place in found if not covered(place, table)]
    if foreign:
        known = ", ".join(sorted(kind.__name__ for kind in table))
        raise ValueError(
            f"{foreign[0].path}: expected a layer that files of {library} can hold ({known}), got "
            f"{foreign[0].layer!r}. Keep this model with fnet.save_weights."
        )
    return found


def covered(place: Place, table: LayerTable) -> bool:
    entries = table.get(type(place.layer), ())
    return {leaf for entry in entries for leaf in entry.leaves} >= place.leaves.keys()


def slots(
    holding: list[Place], table: LayerTable, modules: Sequence[str], separator: str
) -> dict[str, Slot]:
    """The arrays of the file by name; nothing is computed."""
    found = {}
    for place, module in zip(holding, modules, strict=True):
        seen: Counter[str] = Counter()
        for entry in table[type(place.layer)]:
            if entry.leaves[0] not in place.leaves:
                continue  # an unused bias
            number, seen[entry.name] = seen[entry.name], seen[entry.name] + 1
            leaf = place.leaves[entry.leaves[0]]
            abstract = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
            turned = jax.eval_shape(lambda a, e=entry, p=place: e.turn.there(a, p), abstract)
            shape = turned.shape
            if len(entry.leaves) > 1:
                shape = (len(entry.leaves) * shape[0], *shape[1:])
            own = entry.name.replace("#", str(number))
            name = separator.join(filter(None, (module, own)))
            found[name] = Slot(place, entry, shape, leaf.dtype)
    return found


def check_same(
    what: str, wanted: Mapping[str, tuple[str, Form]], found: Mapping[str, Form], fix: str
) -> None:
    """Refuse different names, shapes and dtypes, all at once; floats may be narrower."""
    wrong = []
    for name, (owner, (shape, dtype)) in wanted.items():
        if name not in found:
            wrong.append(f"{owner}: {name} of shape {shape} is missing")
        elif found[name][0] != shape:
            wrong.append(f"{owner}: {name} must have shape {shape}, got {found[name][0]}")
        elif not exact(found[name][1], dtype):
            wrong.append(f"{owner}: {name} must be {dtype} or narrower, got {found[name][1]}")
    wrong += [
        f"{name[:200]} of shape {found[name][0]} belongs to no layer"
        for name in natural(found.keys() - wanted.keys())
    ]
    if wrong:
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        lines = "".join(f"\n  {line}" for line in wrong[:SHOWN])
        raise ValueError(
            f"{what} must hold the arrays of this model, got {len(wrong)} differences:{lines}"
            f"{more}\n{fix}"
        )


def exact(dtype: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating)) and np.can_cast(dtype, wanted, "safe")


def natural(names: Any) -> list[str]:
    """Names sorted by the numbers in them."""
    return sorted(names, key=lambda name: ([int(n) for n in re.findall("[0-9]{1,18}", name)], name))


def read(wanted: dict[str, Slot], array_of: Callable[[str], np.ndarray]) -> tuple[Tree, Tree]:
    """The trees of parameters and state, from the checked arrays of a file."""
    trees: dict[str, dict[str, Any]] = {"params": {}, "state": {}}
    for name, (place, entry, _, _) in wanted.items():
        whole = array_of(name)
        parts = np.split(whole, len(entry.leaves)) if len(entry.leaves) > 1 else [whole]
        for own, part in zip(entry.leaves, parts, strict=True):
            leaf = place.leaves[own]
            array = np.ascontiguousarray(entry.turn.back(part, place, leaf.shape), leaf.dtype)
            tree, path = trees[leaf.tree], "/".join((*place.names, own))
            tree[path] = tree[path] + array if path in tree else array
    params, state = (jax.tree.map(on_device, nested(tree)) for tree in trees.values())
    return params, state


def written(
    wanted: dict[str, Slot], holding: list[Place], params: Tree, state: Tree | None
) -> dict[str, np.ndarray]:
    """The arrays of the file by name; trees of another model are refused."""
    ours = named({"params": params, "state": state or {}})

    def key(place: Place, own: str) -> str:
        return "/".join((place.leaves[own].tree, *place.names, own))

    forms = {name: (array.shape, array.dtype) for name, array in ours.items()}
    expected = {}
    for place in holding:
        for own, leaf in place.leaves.items():
            _, dtype = forms.get(key(place, own), ((), leaf.dtype))
            kept = dtype if jnp.issubdtype(dtype, jnp.floating) else leaf.dtype
            expected[key(place, own)] = place.path, (leaf.shape, kept)
    fix = "Use the trees from fnet.init and fnet.init_state for this model and this `in_shape`."
    check_same("`params` and `state`", expected, forms, fix)
    arrays = {}
    for name, (place, entry, _, _) in wanted.items():
        parts = [entry.turn.there(ours[key(place, own)], place) for own in entry.leaves]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        arrays[name] = np.ascontiguousarray(whole).reshape(whole.shape)
    return arrays
