"""The order of samples, batches of them, rows that are looked up, and weights."""

from .batches import batches as batches
from .shuffle import index_shuffle as index_shuffle
