"""Detects a script without ``if __name__ == "__main__":``. Every worker process imports it, and would start the same work again.

    script --run_batch--> worker --imports the script--> run_batch --exits with `UNGUARDED`--> the script's own run_batch raises

So the error is shown once, in the last line that the user sees, and not in a traceback of each worker.
"""

from __future__ import annotations

import os
from multiprocessing.process import current_process
from typing import Final

from manyhands.core.errors import UsageError

WORKER: Final = "manyhands-"
"""How the names of our worker processes begin."""
UNGUARDED: Final = 78
"""The exit status of a worker that found itself starting work: EX_CONFIG of sysexits(3)."""
_UNGUARDED: Final = (
    'this script starts its work while a worker process imports it: put the call under if __name__ == "__main__":'
)


def refuse_in_worker() -> None:
    """End this process if it is a worker that imports the script; raise UsageError if it is another library's worker."""
    process = current_process()
    if getattr(process, "_inheriting", False):
        if process.name.startswith(WORKER):
            os._exit(UNGUARDED)
        raise UsageError(_UNGUARDED)


def refuse_unguarded(status: int | None) -> None:
    """Raise UsageError if ``status`` says that a worker exited for that reason."""
    if status == UNGUARDED:
        raise UsageError(_UNGUARDED)
