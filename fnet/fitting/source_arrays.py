"""Steps from arrays that lie on the device as a whole."""

import jax

from ..core.checks import check_batch_size, check_finite_data
from ..data.batches import num_samples
from ..training.state import TrainState
from ..training.task import Batch
from ..training.train import check_fit
from .sources import EpochState, IndexedSource, Segment, Settings


class Arrays(IndexedSource):
    """The whole of the data on the device."""

    def __init__(self, data: Batch, state: TrainState, settings: Settings):
        batch_size = check_batch_size(settings.batch_size, jax.tree.leaves(data)[0])
        names = check_fit(settings.program.task, state, "`data`", data, batch_size)
        check_finite_data(" of `data`", data)
        super().__init__(num_samples(data), batch_size, names, settings)
        data = self.program.devices.replicate(data)
        self.whole = Segment(data, 0, self.steps, settings.shuffle)

    def segment(self, epoch: int, at: EpochState) -> Segment:
        return self.whole
