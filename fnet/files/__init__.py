"""Weights, whole runs, checkpoints, exported and cached programs as files."""

from .checkpoints import Checkpoints as Checkpoints
from .export import export as export, load_exported as load_exported
from .orbax import OrbaxCheckpoints as OrbaxCheckpoints
from .programs import cache_programs as cache_programs
from .runs import export_run as export_run, load_run as load_run
from .state import load as load, save as save
from .tensor_file import CorruptFileError as CorruptFileError
from .weights import load_weights as load_weights, save_weights as save_weights
