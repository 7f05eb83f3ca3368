"""Training as pure functions: no disk, no clock, no terminal."""

from .evaluate import evaluate as evaluate, predict as predict, predict_classes as predict_classes
from .grid import grid as grid
from .state import TrainState as TrainState, train_state as train_state
from .train import train as train, train_step as train_step
from .train_many import train_many as train_many
