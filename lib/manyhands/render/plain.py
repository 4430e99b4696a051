"""For pipes, files and logs: the jobs' output and nothing else on stdout, one line for each failure on stderr.

    Finished --> stdout of the job, whole --> stderr of the job, whole --> a line if it failed

With a heartbeat on stderr every 10 s, so that a log shows that somebody is still at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TextIO

from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Event, Finished, Printed, Summary, Tick, Warned
from manyhands.core.job import NOTHING, Job, Output, Status
from manyhands.core.safe_text import cells, harmless, one_line
from manyhands.render.progress import Progress
from manyhands.render.returned import Raised, returned
from manyhands.render.stream import Stream
from manyhands.render.summary import describe, left_behind, name_of
from manyhands.render.words import duration

HEARTBEAT: Final = 10.0
"""Seconds between two signs of life on stderr."""

_LONGEST: Final = 400
UNREMARKABLE: Final = frozenset({Status.OK, Status.CANCELLED, Status.SKIPPED})


class Plain:
    """See the module's first lines. ``quiet``: on stderr only what the jobs print there, and errors of ours; ``heartbeat``: seconds
    between two signs of life."""

    def __init__(
        self,
        stdout: BinaryIO,
        stderr: TextIO,
        *,
        tag: bool = False,
        quiet: bool = False,
        heartbeat: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = Stream(stdout, tag=tag, clock=clock)
        self._err = Stream(stderr.buffer, tag=tag, clock=clock)
        self._talk, self._quiet, self._clock = stderr, quiet, clock
        self._heartbeat = HEARTBEAT if heartbeat is None else heartbeat
        self.progress = Progress(clock)
        self._raised = Raised()
        self._last_sign = clock()

    def event(self, event: Event) -> None:
        """Show what happened."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Printed):
            self._printed(event.stdout, event.stderr, event.attempt.job)
            self._out.flush()
        elif isinstance(event, Warned):
            self.say(f"manyhands: {harmless(event.text)}")
        elif isinstance(event, Tick | Summary):
            self._out.flush()
        if isinstance(event, Summary):
            for line in self._raised.told():
                self.say(f"manyhands: {line}")
        now = self._clock()
        self._out.flush_if_due(now)
        if now - self._last_sign >= self._heartbeat:
            self._last_sign = now
            self.say(self.progress.line())

    def say(self, line: str, *, error: bool = False) -> None:
        """One line on stderr, after what was printed so far; only an ``error`` if we are to be quiet."""
        if error or not self._quiet:
            self._out.flush()
            self._talk.write(line + "\n")
            self._talk.flush()

    def running(self) -> list[str]:
        """See `Renderer.running`."""
        self._out.flush()
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """See `Renderer.pause`."""
        self.progress.pause(paused)
        if paused:
            self._out.flush()

    def close(self) -> None:
        """See `Renderer.close`."""
        self._out.flush()

    def _finished(self, event: Finished) -> None:
        outcome = event.outcome
        if outcome.final:
            self._printed(outcome.stdout, NOTHING, outcome.attempt.job)
            if result := returned(outcome):
                self._show(self._out, result, outcome.attempt.job)
            self._printed(NOTHING, outcome.stderr, outcome.attempt.job)
        for line in remarks(event):
            self.say(f"manyhands: {line}")
        for line in self._raised.traceback(outcome):
            self.say(line)

    def _printed(self, stdout: Output, stderr: Output, job: Job) -> None:
        if stdout.size:
            self._show(self._out, stdout, job)
        if stderr.size:
            self._out.flush()
            self._show(self._err, stderr, job)
            self._err.flush()

    def _show(self, stream: Stream, printed: Output, job: Job) -> None:
        try:
            stream.show(printed, job)
        except ManyhandsError as error:  # somebody removed the file: no reason to end the run
            self.say(f"manyhands: job {job.number}: {error}", error=True)


def remarks(event: Finished, width: int | None = None) -> Iterator[str]:
    """The lines to say about an end: what failed and how, what comes next, what was cut or left behind.

    ``width``: what failed is named so that the line fits into so many columns, if that leaves room for a name.
    """
    outcome = event.outcome
    number = outcome.attempt.job.number
    if outcome.status not in UNREMARKABLE:
        then = ""
        if event.retry_in is not None:
            then = f"; trying again in {duration(event.retry_in)} (attempt {outcome.attempt.number + 1})"
        where = f" on {one_line(outcome.host, 60)}" if outcome.host else ""
        how = f"job {number}{where} {describe(outcome)}{then}: "
        yield how + name_of(outcome.attempt, max(20, width - cells(how)) if width else _LONGEST)
    for name, printed in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if printed.dropped and "could not be kept" not in (outcome.error or ""):  # that was said, with the reason
            yield f"job {number}: {printed.dropped:,} bytes of {name} dropped by --output-cap"
    if outcome.leftovers:
        yield f"job {number} {left_behind(outcome)}"
