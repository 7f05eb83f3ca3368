"""Devices and processes: how arrays lie on a mesh, and programs that run on many hosts."""

from .processes import host_batches as host_batches
from .sharding import shardings as shardings
