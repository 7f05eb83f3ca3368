"""Where this user's caches lie."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The folder for what fnet can make or download again; it may not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fnet"
