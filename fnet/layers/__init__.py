"""Layers, and combinators of layers."""

from . import initializers as initializers
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
from .attention import attention as attention
from .base import Layer as Layer, layer as layer
from .cells import gru as gru, lstm as lstm, simple_rnn as simple_rnn
from .combinators import parallel as parallel, residual as residual, sequential as sequential
from .convolution import conv as conv
from .dense import dense as dense
from .depthwise import depthwise_conv as depthwise_conv, separable_conv as separable_conv
from .embedding import embedding as embedding
from .graph import graph as graph
from .normalization import (
    batch_norm as batch_norm,
    group_norm as group_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
)
from .pooling import (
    avg_pool as avg_pool,
    global_avg_pool as global_avg_pool,
    global_max_pool as global_max_pool,
    max_pool as max_pool,
)
from .positions import (
    learned_positions as learned_positions,
    sinusoidal_positions as sinusoidal_positions,
)
from .prelu import prelu as prelu
from .recurrent import (
    Cell as Cell,
    bidirectional as bidirectional,
    recurrent as recurrent,
)
from .reshaping import flatten as flatten, rescale as rescale, reshape as reshape
from .resizing import up_sample as up_sample, zero_pad as zero_pad
from .stochastic import (
    dropout as dropout,
    random_noise as random_noise,
    random_shift as random_shift,
)
from .transposed_convolution import conv_transpose as conv_transpose
from .wrappers import remat as remat, scan_layers as scan_layers
