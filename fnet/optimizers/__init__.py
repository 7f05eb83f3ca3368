"""Optimizers, learning-rate schedules, and wrappers around optimizers."""

from .masking import masked as masked
from .muon import muon as muon
from .rules import (
    adagrad as adagrad,
    adam as adam,
    adamw as adamw,
    lion as lion,
    momentum as momentum,
    rmsprop as rmsprop,
    sgd as sgd,
)
from .schedules import (
    cosine as cosine,
    exponential as exponential,
    piecewise as piecewise,
    warmup_cosine as warmup_cosine,
)
from .wrappers import (
    accumulated as accumulated,
    averaged as averaged,
    averaged_params as averaged_params,
    clipped as clipped,
)
