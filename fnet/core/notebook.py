"""The notebook that shows the output, if there is one."""

import sys
from typing import Any


def notebook() -> Any:
    """IPython's shell if this process is the kernel of a notebook, which shows pictures."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if getattr(shell, "kernel", None) is not None else None
