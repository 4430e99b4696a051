"""For programs: one JSON object a line on stdout for everything that happens.

``event`` tells what: run, began, finished, warned, summary. A finished job has the keys that ``batch.export`` gives it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from manyhands.events import Began, Event, Finished, Held, RunStarted, Summary, Tick, Warned
from manyhands.joblog import iso, job_record
from manyhands.render.progress import Progress
from manyhands.template import fill_slot

SCHEMA: Final = "manyhands.event/1"
_INLINE: Final = 1 << 20


class JsonLines:
    """See the module's first lines."""

    def __init__(self, stdout: BinaryIO) -> None:
        self._out = stdout
        self._run = ""
        self.progress = Progress(time.monotonic)

    def event(self, event: Event) -> None:
        """Write it, unless it is only a chance to redraw."""
        self.progress.event(event)
        if isinstance(event, Tick | Held):
            return
        record = {"schema": SCHEMA, "event": _NAMES[type(event)], **self._content(event)}
        self._out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._out.flush()

    def running(self) -> list[str]:
        """See `Renderer.running`."""
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: every line has been flushed."""

    def _content(self, event: Event) -> Mapping[str, Any]:
        if isinstance(event, Finished):
            outcome = event.outcome
            attempt = outcome.attempt
            record = job_record(
                attempt.job, outcome, run=self._run, argv=fill_slot(attempt.argv, outcome.slot), attempts=attempt.number,
                inline=_INLINE,
            )  # fmt: skip
            del record["schema"]
            return record | {"final": outcome.final, "retry_in": event.retry_in}
        if isinstance(event, RunStarted):
            self._run = event.run
            return {
                "run": event.run,
                "template": event.template,
                "jobs": event.jobs,
                "total": event.total,
                "at": iso(time.time()),
            }
        if isinstance(event, Began):
            return {"run": self._run, "job": event.attempt.job.number, "attempt": event.attempt.number, "slot": event.slot,
                    "pid": event.pid}  # fmt: skip
        if isinstance(event, Summary):
            return {"run": event.run, "counts": {status.value: count for status, count in event.counts.items()},
                    "left": event.left, "unread": event.unread, "wall": event.wall, "work": event.work,
                    "stopped_by": event.stopped_by, "halted": event.halted}  # fmt: skip
        return {"run": self._run, "text": event.text if isinstance(event, Warned) else ""}


_NAMES: Final = {RunStarted: "run", Began: "began", Finished: "finished", Warned: "warned", Summary: "summary"}
