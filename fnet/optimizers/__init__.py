"""Optimizers, learning-rate schedules, and wrappers around optimizers."""

from .adafactor import adafactor as adafactor
from .adam import (
    adam as adam,
    adamax as adamax,
    adamw as adamw,
    amsgrad as amsgrad,
    lamb as lamb,
    nadam as nadam,
)
from .base import Objective as Objective
from .cycles import (
    cosine_restarts as cosine_restarts,
    one_cycle as one_cycle,
    warmup_cosine as warmup_cosine,
)
from .decay import decayed as decayed
from .decays import (
    cosine as cosine,
    exponential as exponential,
    inverse_time as inverse_time,
    polynomial as polynomial,
)
from .masking import masked as masked
from .muon import muon as muon
from .partition import partitioned as partitioned
from .pieces import joined as joined, piecewise as piecewise
from .rules import (
    adagrad as adagrad,
    lion as lion,
    momentum as momentum,
    rmsprop as rmsprop,
    sgd as sgd,
)
from .wrappers import (
    accumulated as accumulated,
    averaged as averaged,
    averaged_params as averaged_params,
    clipped as clipped,
)
