"""Opening data: the one place where `fit` asks what kind it was given."""

from typing import Any

import jax

from ..core.checks import check_finite_data, check_split
from ..core.values import describe
from ..data.random_access import RandomAccessData, is_random_access
from ..training.state import TrainState
from ..training.task import Batch
from ..training.train import check_steps, with_validation
from .source_arrays import Arrays
from .source_batches import Batches, check_batches, is_batches
from .source_rows import Rows
from .sources import Settings, Source


def open_source(
    data: Any,
    steps: int | None,
    state: TrainState,
    epochs: int,
    validation: Any,
    validation_split: float,
    settings: Settings,
) -> tuple[Source, Batch | None]:
    """The steps of a run and its validation data, both checked and on the devices."""
    if is_random_access(data):
        if jax.process_count() > 1:  # each would read all rows, at a pace of its own
            raise ValueError(
                f"`data` must be fnet.host_batches(...) on many processes, got {describe(data)} on "
                f"{jax.process_count()} of them. It takes arrays on the disk too."
            )
        check_steps(data, steps)
        rows = RandomAccessData(data)
        validation = rows.split(validation, validation_split)
        source: Source = Rows(rows, state, settings)
    elif is_batches(data):
        check_steps(data, steps)
        check_batches(data, epochs, validation_split)
        source = Batches(data, state, settings)
    else:
        data = settings.program.task.check_data("`data`", data)
        check_steps(data, steps)
        data, validation = check_split(data, validation, validation_split)
        source = Arrays(data, steps, state, settings)
    source.program, validation = with_validation(source.program, state, validation)
    check_finite_data("`validation`", validation)
    return source, source.program.devices.spread(validation)
