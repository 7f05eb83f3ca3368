"""`fit`: training driven from the host; its runs replayed and verified."""

from .callbacks import (
    STOP as STOP,
    early_stopping as early_stopping,
    reduce_on_plateau as reduce_on_plateau,
)
from .fit import fit as fit
from .receipts import receipt as receipt, verify as verify
from .replay import batch_of as batch_of, replay as replay
