"""Where the runs are that a task is about."""

from __future__ import annotations

import os
from pathlib import Path

from manyhands.posix.home import expanded
from manyhands.storage import runs


def store(state_dir: str | os.PathLike[str] | None) -> runs.Store:
    """The runs below ``state_dir``, or below the user's own."""
    root = Path(expanded(os.fspath(state_dir))).absolute() if state_dir else runs.default_state_dir(os.environ)
    return runs.Store(root, given=os.fspath(state_dir) if state_dir else None)
