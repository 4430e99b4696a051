"""For programs: one JSON object a line on stdout for everything that happens.

``event`` tells what: run, counted, began, printed (with --line-buffer), finished, warned, summary; ``at`` when it was told. A finished job has the keys that
``batch.export`` gives it. Lines are written out at least every 50 ms while events come.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final

from manyhands.core.encoding import iso, json_line, text_or_base64
from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Began, Counted, Event, Finished, Printed, RunStarted, Summary, Tick, Warned
from manyhands.core.job import NOTHING, Outcome
from manyhands.export.job_record import job_record
from manyhands.render.progress import Progress
from manyhands.render.stream import Stream
from manyhands.work.template import fill_slot

SCHEMA: Final = "manyhands.event/1"
_INLINE: Final = 1 << 20
"""Bytes of output; what is larger and has a file is named by that file."""


class JsonLines:
    """See the module's first lines. ``clock`` is monotonic, ``now`` gives seconds since the epoch."""

    def __init__(
        self, stdout: BinaryIO, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._out, self._clock, self._now = Stream(stdout, tag=False, clock=clock), clock, now
        self._run = ""
        self.progress = Progress(clock)

    def event(self, event: Event) -> None:
        """Write it, unless it is only a chance to redraw."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._write("finished", self._finished(event))
        elif isinstance(event, Began):
            self._write("began", _began(event))
        elif isinstance(event, RunStarted):
            self._run = event.run
            self._write("run", _started(event))
        elif isinstance(event, Printed):
            self._write("printed", _printed(event))
        elif isinstance(event, Counted):
            self._write("counted", {"total": event.total})
        elif isinstance(event, Warned):
            self._write("warned", text_or_base64("text", os.fsencode(event.text)))
        elif isinstance(event, Summary):
            self._write("summary", summary_record(event))
        if isinstance(event, Tick | Summary):
            self._out.flush()
        self._out.flush_if_due(self._clock())

    def running(self) -> list[str]:
        """See `Renderer.running`."""
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """See `Renderer.pause`."""
        self.progress.pause(paused)
        if paused:
            self._out.flush()

    def close(self) -> None:
        """See `Renderer.close`."""
        self._out.flush()

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        record = {"schema": SCHEMA, "event": name, "at": iso(self._now()), "run": self._run, **content}
        self._out.write(json_line(record))

    def _finished(self, event: Finished) -> Mapping[str, Any]:
        try:
            record = self._record(event.outcome)
        except ManyhandsError as error:  # its output was removed: no reason to end the run
            self._write("warned", {"text": f"job {event.outcome.attempt.job.number}: {error}"})
            record = self._record(
                event.outcome._replace(ending=event.outcome.ending._replace(stdout=NOTHING, stderr=NOTHING))
            )
        return record | {"final": event.outcome.final, "retry_in": event.retry_in, "stage": event.stage}

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        attempt = outcome.attempt
        argv = fill_slot(attempt.argv, outcome.slot)
        record = job_record(attempt.job, outcome, run=self._run, argv=argv, attempts=attempt.number, inline=_INLINE)
        del record["schema"]
        return record


def _started(event: RunStarted) -> Mapping[str, Any]:
    return {
        **text_or_base64("template", os.fsencode(event.template)),
        "jobs": event.jobs,
        "total": event.total,
        "done_before": event.done_before,
    }


def _began(event: Began) -> Mapping[str, Any]:
    attempt = event.attempt
    return {
        "job": attempt.job.number,
        "attempt": attempt.number,
        "slot": event.slot,
        "pid": event.pid,
        "stage": event.stage,
        "host": event.host or socket.gethostname(),
    }


def _printed(event: Printed) -> Mapping[str, Any]:
    return {
        "job": event.attempt.job.number,
        "attempt": event.attempt.number,
        "stage": event.stage,
        **text_or_base64("stdout", event.stdout.data),
        **text_or_base64("stderr", event.stderr.data),
    }


def summary_record(event: Summary) -> Mapping[str, Any]:
    """What a run came to."""
    return {
        "run": event.run,
        "counts": {status.value: count for status, count in event.counts.items()},
        "left": event.left,
        "unread": event.unread,
        "wall": event.wall,
        "work": event.work,
        "stopped_by": event.stopped_by,
        "halted": event.halted,
        "early": event.early,
        "total": event.total,
        "not_run": event.not_run,
        "done_before": event.done_before,
    }
