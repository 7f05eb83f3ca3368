"""Weights from and for PyTorch: state dicts as safetensors files."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.checks import check_path
from ..core.trees import Tree
from ..files.atomic import write
from ..files.tensor_file import DTYPES, CorruptFileError
from ..layers.attention import attention
from ..layers.base import Layer, Shape, as_layer
from ..layers.convolution import conv
from ..layers.dense import dense
from ..layers.depthwise import depthwise_conv
from ..layers.embedding import embedding
from ..layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..layers.positions import learned_positions
from ..layers.prelu import prelu
from ..layers.transposed_convolution import conv_transpose
from .flatten_order import orders
from .foreign import (
    Array,
    Entry,
    Form,
    LayerTable,
    Slot,
    Turn,
    check_same,
    holders,
    natural,
    read,
    slots,
    written,
)
from .layer_paths import Place, check_straight, named_by, places
from .torch_recurrent import RECURRENT


def rows_there(kernel: Array, place: Place) -> Array:
    """(in, out) to (out, in), with the inputs in torch's order after a flattened image."""
    if place.order is not None:
        kernel = kernel.reshape(*place.order, -1)
        axes = range(len(place.order) - 1)
        kernel = kernel.transpose(len(axes), *axes, -1).reshape(-1, kernel.shape[-1])
    return kernel.T


def rows_back(weight: np.ndarray, place: Place, shape: Shape) -> np.ndarray:
    kernel = weight.T
    if place.order is not None:
        *spatial, channels = place.order
        kernel = np.moveaxis(kernel.reshape(channels, *spatial, -1), 0, -2)
    return kernel.reshape(shape)


ROWS = Turn(rows_there, rows_back)
FILTERS = Turn(  # (*kernel_size, in, out) to (out, in, *kernel_size)
    lambda kernel, place: kernel.transpose(-1, -2, *range(kernel.ndim - 2)),
    lambda weight, place, shape: weight.transpose(*range(2, weight.ndim), 1, 0),
)
EACH = Turn(  # (*kernel_size, channels, multiplier) to (channels multiplier, 1, *kernel_size)
    lambda kernel, place: kernel.reshape(*kernel.shape[:-2], 1, -1).transpose(
        -1, -2, *range(kernel.ndim - 2)
    ),
    lambda weight, place, shape: weight.transpose(*range(2, weight.ndim), 1, 0).reshape(shape),
)
CHANNELS = Turn(  # (1, ..., 1, channels) to (channels,)
    lambda alpha, place: alpha.reshape(-1), lambda weight, place, shape: weight.reshape(shape)
)
BIAS = Entry("bias", ("bias",))
SCALED = Entry("weight", ("scale",))
TABLE: LayerTable = {
    dense: (Entry("weight", ("kernel",), ROWS), BIAS),
    conv: (Entry("weight", ("kernel",), FILTERS), BIAS),
    conv_transpose: (Entry("weight", ("kernel",), FILTERS), BIAS),
    depthwise_conv: (Entry("weight", ("kernel",), EACH), BIAS),
    prelu: (Entry("weight", ("alpha",), CHANNELS),),
    embedding: (Entry("weight", ("embeddings",)),),
    learned_positions: (Entry("weight", ("embeddings",)),),
    batch_norm: (
        SCALED,
        BIAS,
        Entry("running_mean", ("mean",)),
        Entry("running_var", ("variance",)),
    ),
    layer_norm: (SCALED, BIAS),
    group_norm: (SCALED, BIAS),
    rms_norm: (SCALED,),
    attention: (
        Entry("in_proj_weight", ("query/kernel", "key/kernel", "value/kernel"), ROWS),
        Entry("in_proj_bias", ("query/bias", "key/bias", "value/bias")),
        Entry("out_proj.weight", ("output/kernel",), ROWS),
        Entry("out_proj.bias", ("output/bias",)),
    ),
    **RECURRENT,
}
COUNTER = "num_batches_tracked"  # of batch norm, for its average over all batches
FIX = "Write it with safetensors.torch.save_file(model.state_dict(), path), without pickle."


def load_torch(
    path: str | os.PathLike[str],
    net: Layer,
    in_shape: Shape,
    names: Mapping[str, str] | None = None,
) -> tuple[Tree, Tree]:
    """Load the weights of a PyTorch model as parameters and state of the same model in fnet.

    The file is that of `safetensors.torch.save_file(model.state_dict(), path)`. Modules of
    `nn.Sequential` are mapped in the order of their numbers; other modules require `names`. In
    torch, the channels of images come first: kernels are transposed, and the rows of a dense layer
    after a flattened image are reordered. Samples with three axes or more count as images. A file
    holds no hyperparameters: `epsilon` is 1e-5 in torch and 1e-3 in `fnet.batch_norm()`, so use
    `fnet.batch_norm(epsilon=1e-5)`. The padding of torch differs too. A recurrent layer is
    a module of one layer with `batch_first=True`; where fnet has one bias, those of torch add up.

    Nothing is unpickled; shapes and dtypes are compared before an array is read. The format has no
    checksums, so damaged numbers go unnoticed.

    Args:
        path: a `.safetensors` file.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, channels last, without the batch axis.
        names: the module for each layer with parameters, such as
            `{"conv": "features.0", "dense": "fc1"}`.

    Returns:
        `(params, state)`, like those of `fnet.init` and `fnet.init_state`. Narrower floats are
        widened without loss.

    Raises:
        ValueError: torch lacks a layer or an order, `names` is required, or the arrays in the file
            differ; all differences are listed.
        CorruptFileError: the file is a pickle or damaged.
        OSError: the file does not exist or cannot be read.

    Example:
        >>> import tempfile, jax, fnet
        >>> net = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(2))
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     names = {"dense": "fc1", "dense_1": "fc2"}
        ...     fnet.save_torch(f"{folder}/net.safetensors", net, (3,), params, names=names)
        ...     params, state = fnet.load_torch(f"{folder}/net.safetensors", net, (3,), names)
        >>> params["dense"]["kernel"].shape, state
        ((3, 4), {})
    """
    import safetensors

    path, holding = check_path("path", path), layers(net, in_shape)
    check_kind(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            forms = {name: form(file.get_slice(name)) for name in file.keys()}
            modules = numbered(path, holding, forms) if names is None else named_by(holding, names)
            wanted = slots(holding, TABLE, modules, ".")
            check(path, wanted, forms)
            return read(wanted, file.get_tensor)
    except safetensors.SafetensorError as error:
        raise CorruptFileError(
            f"{path} must be a safetensors file, got one that cannot be read ({error}). {FIX}"
        ) from error


def save_torch(
    path: str | os.PathLike[str],
    net: Layer,
    in_shape: Shape,
    params: Tree,
    state: Tree | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Write weights to a safetensors file with the state dict of the same model in PyTorch.

    In PyTorch, load it with `model.load_state_dict(safetensors.torch.load_file(path))`. Without
    `names`, the modules are those of an `nn.Sequential` with a module for each layer of `net`,
    including functions: `fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(2))` gives
    `0.weight`, `0.bias`, `2.weight`, `2.bias`. The file is written atomically.

    Args:
        path: where to write.
        net: the model, a layer or a plain function.
        in_shape: the shape of one sample, channels last, without the batch axis.
        params: the parameters, see `fnet.init`.
        state: the running statistics, if the model has any.
        names: as for `load_torch`.

    Raises:
        ValueError: torch lacks a layer or an order, or a tree is of another model.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, jax, fnet
        >>> net = fnet.sequential(fnet.flatten, fnet.dense(10))
        >>> params = fnet.init(net, jax.random.key(0), (28, 28))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fnet.save_torch(f"{folder}/net.safetensors", net, (28, 28), params)
    """
    from safetensors.numpy import save

    holding = layers(net, in_shape)
    if names is None:
        check_straight(holding, "torch")
        modules = [".".join(map(str, place.positions)) for place in holding]
    else:
        modules = named_by(holding, names)
    arrays = written(slots(holding, TABLE, modules, "."), holding, params, state)
    for place, module in zip(holding, modules, strict=True):
        if isinstance(place.layer, batch_norm):
            arrays[".".join(filter(None, (module, COUNTER)))] = np.zeros((), np.int64)
    write(path, [save(arrays, {"format": "pt"})])


def layers(net: Layer, in_shape: Shape) -> list[Place]:
    """The layers with arrays, each with the order of its features in torch."""
    net = as_layer(net, "net")
    holding, found = holders(places(net, in_shape), TABLE, "torch"), orders(net, in_shape)
    for place in holding:
        kernels = [place.leaves.get(f"{name}/kernel") for name in ("query", "key")]
        for kernel in filter(None, kernels):
            if kernel.shape[0] != kernel.shape[1]:
                raise ValueError(
                    f"{place.path}: expected heads whose widths add up to the features, as in "
                    f"torch, got a kernel of shape {kernel.shape}. Leave out `key_dim` and "
                    f"`key_value_heads`."
                )
        alpha = place.leaves.get("alpha")
        if alpha and math.prod(alpha.shape) != alpha.shape[-1]:
            raise ValueError(
                f"{place.path}: expected one alpha per channel, as in torch, got alphas of shape "
                f"{alpha.shape}. Share the other axes: `shared_axes`=(1, 2) for images."
            )
    return [place._replace(order=found.get(place.names)) for place in holding]


def check_kind(path: str) -> None:
    """Refuse pickles: a safetensors file has the brace of its header at byte 8."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] != b"{":
        pickled = start.startswith((b"PK", b"\x80"))
        came = "a pickle, which can run any code" if pickled else f"one that begins with {start!r}"
        raise CorruptFileError(f"{path} must be a safetensors file, got {came}. {FIX}")


def form(piece: Any) -> Form:
    """Shape and dtype as a file declares them; an unknown dtype counts as one byte."""
    return tuple(piece.get_shape()), DTYPES.get(piece.get_dtype(), np.dtype("V1"))


def numbered(path: str, holding: list[Place], found: Mapping[str, Form]) -> list[str]:
    """The modules of an `nn.Sequential` in the file, in order, one for each layer."""
    check_straight(holding, "torch")
    modules = set(map(module_of, found))
    if len(modules) != len(holding) or not all(
        re.fullmatch(r"(\d+(\.\d+)*)?", module) for module in modules
    ):
        paths = [place.path for place in holding]
        raise ValueError(
            f"{path} must hold one numbered module of an nn.Sequential for each of the layers "
            f"{paths}, got the modules {natural(modules)}. Pass `names`, the module for each "
            f"layer, since the order in a file has no meaning."
        )
    return natural(modules)


def module_of(name: str) -> str:
    """The module that an array belongs to; an attention holds another module, `out_proj`."""
    own = {entry.name for entries in TABLE.values() for entry in entries} | {COUNTER}
    for end in sorted(own, key=len, reverse=True):
        if f".{name}".endswith(f".{end}"):
            return name.removesuffix(end).removesuffix(".")
    return name


def check(path: str, wanted: dict[str, Slot], found: Mapping[str, Form]) -> None:
    """Refuse arrays that the layers lack, except the counters of batch norm."""
    forms = {name: (slot.place.path, (slot.shape, slot.dtype)) for name, slot in wanted.items()}
    counted = {
        re.sub(r"running_mean$", COUNTER, name) for name in wanted if name.endswith("running_mean")
    }
    weights = {name: form for name, form in found.items() if name not in counted}
    fix = "Give `net` the layers of the torch model, or pass the right `names`."
    check_same(path, forms, weights, fix)
