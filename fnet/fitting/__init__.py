"""`fit`: training driven from the host, with progress, callbacks, checkpoints and signals."""

from .callbacks import (
    STOP as STOP,
    early_stopping as early_stopping,
    reduce_on_plateau as reduce_on_plateau,
)
from .fit import fit as fit
from .replay import batch_of as batch_of, replay as replay
