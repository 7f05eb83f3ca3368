"""Training as pure functions: no disk, no clock, no terminal."""

from .evaluate import evaluate as evaluate
from .grid import grid as grid
from .influence import influence as influence
from .predict import predict as predict, predict_classes as predict_classes
from .state import TrainState as TrainState, train_state as train_state
from .step import train_step as train_step
from .supervised import supervised as supervised
from .task import Task as Task, task as task
from .task_wrappers import (
    l1 as l1,
    l2 as l2,
    penalized as penalized,
    sharpness_aware as sharpness_aware,
)
from .train import train as train
from .train_many import train_many as train_many
