"""What became of processes that were to be stopped, in a sentence each, and as records for JSON."""

from __future__ import annotations

import os
import signal
from typing import Any

from manyhands.core.encoding import text_or_base64
from manyhands.core.safe_text import one_line
from manyhands.processes.stop import Fate, Stopped
from manyhands.render.words import duration, signal_name


def stopped_line(one: Stopped) -> str:
    """``4711 sleep: ended 3 ms after SIGTERM``."""
    head = f"{one.pid} {one_line(one.name, 40)}: "
    match one.fate:
        case Fate.ENDED:
            took = one.seconds or 0.0
            after = f"{1000 * took:.0f} ms" if took < 1 else duration(took)
            return head + f"ended {after} after {signal_name(one.signal or signal.SIGTERM)}"
        case Fate.GONE:
            return head + "had ended before it was signalled"
        case Fate.REUSED:
            return head + f"was skipped: {one.why}"
        case Fate.REFUSED:
            return head + f"is not stopped: {one.why}"
        case Fate.ZOMBIE:
            return head + f"cannot be stopped: {one.why}"
        case _:
            return head + f"is left: {one.why}"


def stopped_record(one: Stopped) -> dict[str, Any]:
    """What became of a process as a JSON object."""
    return {
        "schema": "manyhands.stopped/1",
        "pid": one.pid,
        **text_or_base64("name", os.fsencode(one.name)),
        "fate": one.fate.value,
        "chosen": one.chosen,
        "signal": one.signal,
        "signal_name": None if one.signal is None else signal_name(one.signal),
        "seconds": one.seconds,
        "why": one.why,
    }
