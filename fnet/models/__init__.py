"""Functions on models: initialisation, inference, training passes and summaries."""

from .model import (
    apply as apply,
    count_params as count_params,
    forward as forward,
    init as init,
    init_state as init_state,
    output_shape as output_shape,
)
from .summary import summary as summary
