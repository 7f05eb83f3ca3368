"""Devices and processes: how arrays lie on a mesh, and programs that run on many hosts."""

from .layouts import fsdp as fsdp, shardings as shardings
from .processes import host_batches as host_batches
