"""Steps from arrays that lie on the device as a whole, or from none."""

from collections.abc import Callable, Iterator

from ..core.checks import check_batch_size, check_finite_data
from ..data.batches import Samples, num_samples
from ..data.shuffle import epoch_order
from ..training.state import TrainState
from ..training.task import Batch
from ..training.train import check_fit
from .sources import EpochState, IndexedSource, Segment, Settings


class Arrays(IndexedSource):
    """The whole of the data on the device; without data, steps whose batch the task draws."""

    shuffled: bool
    whole: Segment

    def __init__(
        self, data: Batch | None, steps: int | None, state: TrainState, settings: Settings
    ):
        samples = num_samples(data) if steps is None else steps
        batch_size = check_batch_size(settings.batch_size if steps is None else 1, samples)
        values = check_fit(settings.program.task, state, "`data`", data, batch_size)
        check_finite_data("`data`", data)
        super().__init__(samples, batch_size, values, settings)
        self.shuffled = settings.shuffle and data is not None
        samples_there = self.program.devices.spread(Samples.of(data))
        self.whole = Segment(samples_there, 0, self.steps, order=None)

    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        if self.shuffled:
            order = epoch_order(at.state.key, self.number(at), self.samples)
            self.whole = self.whole._replace(order=self.program.devices.replicate(order))
        yield from super().epoch(at, stop)

    def segment(self, at: EpochState) -> Segment:
        return self.whole
