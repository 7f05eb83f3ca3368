"""Weights and optimizers of other libraries."""

from .from_optax import from_optax as from_optax
from .keras import load_keras as load_keras, save_keras as save_keras
from .torch import load_torch as load_torch, save_torch as save_torch
