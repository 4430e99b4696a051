"""Where the cluster of ``cluster.up`` notes itself: a scheduler file as Dask writes it, and a list of its processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.storage.runs import default_state_dir


def folder() -> Path:
    """Where the notes are: below the state folder."""
    return default_state_dir(os.environ) / "cluster"


def usual_path() -> str:
    """The scheduler file of ``cluster.up``."""
    return str(folder() / "scheduler.json")


def check_running(path: str, *, own: bool) -> str:
    """The address in a scheduler file. Raises UsageError if there is none."""
    try:
        address = json.loads(Path(path).read_text(encoding="utf-8"))["address"]
    except FileNotFoundError:
        if own:
            raise UsageError(f"{given_as('--cluster', 'up')}: there is no cluster: start one by cluster.up") from None
        raise UsageError(f"{given_as('--cluster', repr(path))}: there is no such file") from None
    except (OSError, ValueError, LookupError, TypeError):
        raise UsageError(f"{given_as('--cluster', repr(path))}: it is no scheduler file of Dask") from None
    return str(address)
