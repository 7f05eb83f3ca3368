"""Whether a notebook shows the output."""

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows pictures and widgets."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
