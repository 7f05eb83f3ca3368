"""Neural networks as pure functions on JAX; the public names, by file."""

from . import datasets as datasets, initializers as initializers
from .activations import (
    celu as celu,
    elu as elu,
    gelu as gelu,
    glu as glu,
    hard_sigmoid as hard_sigmoid,
    hard_silu as hard_silu,
    hard_tanh as hard_tanh,
    leaky_relu as leaky_relu,
    log_sigmoid as log_sigmoid,
    log_softmax as log_softmax,
    mish as mish,
    relu as relu,
    relu6 as relu6,
    selu as selu,
    sigmoid as sigmoid,
    silu as silu,
    soft_sign as soft_sign,
    softmax as softmax,
    softplus as softplus,
    squareplus as squareplus,
    tanh as tanh,
)
from .adapters import from_optax as from_optax
from .attention import attention as attention
from .augmentation import random_noise as random_noise, random_shift as random_shift
from .callbacks import STOP as STOP, early_stopping as early_stopping
from .combinators import (
    parallel as parallel,
    residual as residual,
    sequential as sequential,
)
from .contract import layer as layer
from .convolution import conv as conv
from .data import batches as batches, index_shuffle as index_shuffle
from .devices import shardings as shardings
from .embedding import embedding as embedding
from .files.checkpoints import Checkpoints as Checkpoints
from .files.container import CorruptFileError as CorruptFileError
from .files.exported import export as export, load_exported as load_exported
from .files.keras import load_keras as load_keras, save_keras as save_keras
from .files.orbax import OrbaxCheckpoints as OrbaxCheckpoints
from .files.runs import load as load, save as save
from .files.torch import load_torch as load_torch, save_torch as save_torch
from .files.weights import load_weights as load_weights, save_weights as save_weights
from .fitting import fit as fit
from .hosts import host_batches as host_batches
from .inference import (
    evaluate as evaluate,
    predict as predict,
    predict_classes as predict_classes,
)
from .labels import one_hot as one_hot, to_categorical as to_categorical
from .layers import (
    dense as dense,
    dropout as dropout,
    flatten as flatten,
    rescale as rescale,
    reshape as reshape,
)
from .losses import (
    binary_crossentropy as binary_crossentropy,
    categorical_crossentropy as categorical_crossentropy,
    huber as huber,
    kl_divergence as kl_divergence,
    mean_absolute_error as mean_absolute_error,
    mean_squared_error as mean_squared_error,
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from .many import train_many as train_many
from .masking import masked as masked
from .matrices import muon as muon
from .metrics import (
    accuracy as accuracy,
    binary_accuracy as binary_accuracy,
    confusion_matrix as confusion_matrix,
    top_k_accuracy as top_k_accuracy,
)
from .model import (
    apply as apply,
    count_params as count_params,
    forward as forward,
    init as init,
    init_state as init_state,
    output_shape as output_shape,
)
from .normalization import (
    batch_norm as batch_norm,
    group_norm as group_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
)
from .optimizers import (
    adagrad as adagrad,
    adam as adam,
    adamw as adamw,
    lion as lion,
    momentum as momentum,
    rmsprop as rmsprop,
    sgd as sgd,
)
from .plots import (
    plot_grid as plot_grid,
    plot_history as plot_history,
    plot_predictions as plot_predictions,
)
from .pooling import (
    avg_pool as avg_pool,
    global_avg_pool as global_avg_pool,
    max_pool as max_pool,
)
from .schedules import (
    cosine as cosine,
    exponential as exponential,
    piecewise as piecewise,
    warmup_cosine as warmup_cosine,
)
from .stacks import remat as remat, scan_layers as scan_layers
from .state import TrainState as TrainState, train_state as train_state
from .summaries import summary as summary
from .sweeps import grid as grid
from .training import train as train, train_step as train_step
from .wrappers import (
    accumulated as accumulated,
    averaged as averaged,
    averaged_params as averaged_params,
    clipped as clipped,
)
