"""How an attempt ended, as a launcher or worker knows it: the fields of `manyhands.core.job.Ending`, with outputs as captured.

Separate from that record, because launchers import as little as they can. It is sent as a plain tuple to the coordinator, which makes
an `Ending` of it; or it is written to the run's folder, if the coordinator is gone.
"""

from __future__ import annotations

from manyhands.backends.shared.slot import NOTHING, Captured
from manyhands.core.lean import NamedTuple


class Measured(NamedTuple):
    """See `manyhands.core.job.Ending`, whose fields have the same order."""

    exit: int | None
    signal: int | None
    error: str | None
    started: float
    wall: float = 0.0
    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    stdout: Captured = NOTHING
    stderr: Captured = NOTHING
    slot: int = 0
    leftovers: int = 0
    result: bytes | None = None
    traceback: str | None = None


def exit_and_signal(code: int | None) -> tuple[int | None, int | None]:
    """(exit status, signal) from a return code as `subprocess` has it; (None, None) if that is not known."""
    if code is None:
        return None, None
    return (code, None) if code >= 0 else (None, -code)
