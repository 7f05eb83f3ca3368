"""What a run writes for others to read: tables, TensorBoard, trackers, a live picture."""

from .csv_writer import CSVWriter as CSVWriter
from .live_plot import live_plot as live_plot
from .log_history import log_history as log_history, log_many as log_many
from .log_to import log_to as log_to
from .tensorboard import TensorBoardWriter as TensorBoardWriter
