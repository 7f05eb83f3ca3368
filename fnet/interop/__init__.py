"""Models, weights and optimizers of other libraries."""

from .from_equinox import from_equinox as from_equinox
from .from_flax import from_flax as from_flax
from .from_haiku import from_haiku as from_haiku
from .from_optax import from_optax as from_optax
from .keras import load_keras as load_keras, save_keras as save_keras
from .torch import load_torch as load_torch, save_torch as save_torch
