"""Puts a user's folder into `sys.path`: after the standard library, before installed packages.

So a random.py in it does not replace `random` for us, nor for what we import. The program's first line imports this module, so it
imports nothing that could be in that folder.
"""

from __future__ import annotations

import os
import sys


def search(folder: str) -> None:
    """Search ``folder`` for modules, too."""
    if folder not in sys.path:
        installed = [at for at, one in enumerate(sys.path) if os.path.basename(one) in ("site-packages", "dist-packages")]
        sys.path.insert(min(installed, default=len(sys.path)), folder)


def move_first_back() -> None:
    """Move the current folder, which ``python -m`` has put first."""
    if sys.path and not sys.flags.safe_path:
        search(sys.path.pop(0))
