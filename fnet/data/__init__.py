"""The order of samples, batches of them, rows that are looked up, and weights."""

from .batches import batches as batches
from .sample_weights import class_weights as class_weights
from .shuffle import index_shuffle as index_shuffle
