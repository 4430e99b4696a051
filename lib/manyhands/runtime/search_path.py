"""Where a user's folder belongs in `sys.path`: after the standard library, before what is installed.

So a random.py in it is no `random` for us, nor for what we import. Imported by the first line of the program, and so imports
nothing that could be in that folder.
"""

from __future__ import annotations

import os
import sys


def search(folder: str) -> None:
    """Look for modules in ``folder``, too."""
    if folder not in sys.path:
        installed = [at for at, one in enumerate(sys.path) if os.path.basename(one) in ("site-packages", "dist-packages")]
        sys.path.insert(min(installed, default=len(sys.path)), folder)


def move_first_back() -> None:
    """``python -m`` has put the current folder first."""
    if sys.path and not sys.flags.safe_path:
        search(sys.path.pop(0))
