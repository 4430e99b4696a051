"""Lets other processes of this user tell a run what to do, while it is carried out."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.control.server import Steerable, start
from manyhands.runtime.gevent_patch import threads_are_patched
from manyhands.storage.runs import Run


def listen(run: Run, batch: Steerable) -> Callable[[], None]:
    """Listen until what is returned is called. Not for a run that leaves no record, nor where gevent has patched threads: an accept(2)
    would hold up the whole program there."""
    return start(run.path, batch) if run.kept and not threads_are_patched() else lambda: None
