"""A run as the log of a CI system shows it: everything on standard output, in one order, and no job can speak to the system.

    a job that is well  --> a group with what it printed, which may be shown closed
    one that failed     --> a line, the end of what it printed, never in a group, and an annotation

At the end come the sum of the annotations that were too many, and the summary (`manyhands.ci.job_summary`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import BinaryIO, Final

from manyhands.ci.dialects import Dialect
from manyhands.ci.job_summary import JobSummary
from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Event, Finished, RunStarted, Summary, Tick, Warned
from manyhands.core.job import Job, Outcome, Output, Status
from manyhands.core.safe_text import harmless
from manyhands.options.choices import Shown
from manyhands.render.plain import HEARTBEAT, UNREMARKABLE, remarks
from manyhands.render.progress import Progress
from manyhands.render.returned import Raised, returned
from manyhands.render.stream import Stream, dressed
from manyhands.render.summary import describe, name_of
from manyhands.render.words import duration
from manyhands.storage import output

ANNOTATIONS: Final = 10
"""What GitHub shows of one step, and Azure of one task."""
OPEN_LINES: Final = 200
"""Lines of each stream of a failed job that are shown."""
_ANNOTATED_LINES: Final = 10
_ANNOTATED: Final = 2_000
"""Characters of them."""
_NAME: Final = 200


class CiLog:
    """A `manyhands.render.protocol.Renderer`; see the module's first lines."""

    def __init__(
        self,
        stdout: BinaryIO,
        dialect: Dialect,
        *,
        shown: Shown = "all",
        tag: bool = False,
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``secrets``: what the system is asked to hide."""
        self._out, self._dialect = Stream(stdout, tag=False, clock=clock), dialect
        self._shown, self._tag, self._environ, self._clock = shown, tag, environ, clock
        self.progress, self.summary = Progress(clock), JobSummary()
        self._raised = Raised()
        self._last_sign = clock()
        self._failed = 0
        self._held = ""
        """The last annotation that there is room for, unless there are more."""
        for secret in secrets:
            for line in filter(str.strip, secret.splitlines()):
                self._command(dialect.secret_of(line))

    def event(self, event: Event) -> None:
        """Show what happened."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, RunStarted):
            self.summary.what = event.template
        elif isinstance(event, Warned):
            self.say(f"manyhands: {harmless(event.text)}")
        elif isinstance(event, Summary):
            self._over(event)
        now = self._clock()
        if now - self._last_sign >= HEARTBEAT:
            self._last_sign = now
            self.say(self.progress.line())
        if isinstance(event, Tick | Summary):
            self._out.flush()
        self._out.flush_if_due(now)

    def say(self, *lines: str) -> None:
        """Lines of ours; names in them may have newlines."""
        for line in "\n".join(lines).split("\n") if lines else ():
            self._command(self._dialect.line(line))
        if lines:
            self._out.flush()

    def running(self) -> list[str]:
        """See `Renderer.running`."""
        self._out.flush()
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """See `Renderer.pause`."""
        self.progress.pause(paused)
        self._out.flush()

    def close(self) -> None:
        """See `Renderer.close`."""
        self._out.flush()

    def _finished(self, event: Finished) -> None:
        outcome = event.outcome
        self.summary.finished(event)
        if outcome.final and outcome.status is Status.OK:
            self._well(outcome)
        for line in remarks(event):
            self.say(f"manyhands: {line}")
        self.say(*self._raised.traceback(outcome))
        if outcome.final and outcome.status not in UNREMARKABLE:
            self._not_well(outcome)

    def _well(self, outcome: Outcome) -> None:
        """What it printed, in a group unless it is the only job."""
        (job, attempt, _), result = outcome.attempt, returned(outcome)
        printed = [one for one in (outcome.stdout, result, outcome.stderr) if one is not None and one.size]
        if self._shown != "all" or not printed:
            return
        grouped = self.progress.total != 1
        began = outcome.started or time.time()
        if grouped:
            again = f", attempt {attempt}" if attempt > 1 else ""
            title = f"job {job.number}{again}, {duration(outcome.wall)}: {name_of(outcome.attempt, _NAME)}"
            self._command(self._dialect.group_of(job.number, title, began))
        self._print(job, chain.from_iterable(self._pieces(one, job) for one in printed))
        if grouped:
            self._command(self._dialect.end_of(job.number, began + outcome.wall))

    def _not_well(self, outcome: Outcome) -> None:
        """The end of what it printed, and an annotation, if there is room for one more."""
        job = outcome.attempt.job
        if self._shown != "none":
            for name, printed in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
                self._print(job, self._end_of(printed, name, job))
        self._failed += 1
        if self._failed <= ANNOTATIONS:
            title = f"job {job.number} {describe(outcome)}"
            text = self._dialect.error_of(title, self._annotated(outcome))
            self._held = text if self._failed == ANNOTATIONS else ""
            self._command("" if self._held else text)

    def _annotated(self, outcome: Outcome) -> str:
        """Which job it was, and the last lines of what it printed."""
        lines = [name_of(outcome.attempt, _NAME)]
        if self._shown != "none":
            printed = outcome.stderr if outcome.stderr.size else outcome.stdout
            with suppress(ManyhandsError):  # its file is gone, which has been said
                lines += [harmless(line) for line in output.tail(printed, _ANNOTATED_LINES, _ANNOTATED)]
        return "\n".join(lines)

    def _end_of(self, printed: Output, name: str, job: Job) -> Iterator[str]:
        lines = output.tail(printed, OPEN_LINES) if printed.size else []
        left = printed.size - sum(len(line) + 1 for line in lines)
        if left > 0:
            self.say(f"manyhands: job {job.number}: the end of {name}, without its first {left:,} bytes:")
        data = b"".join(line + b"\n" for line in lines)
        yield from self._pieces(Output(data, size=len(data)), job)

    def _pieces(self, printed: Output, job: Job) -> Iterator[str]:
        """An output, harmless for a terminal, whose colours every system shows."""
        return (piece.decode() for piece in dressed(printed, job, tag=self._tag, terminal=True))

    def _print(self, job: Job, pieces: Iterator[str]) -> None:
        """Write what a job printed between fences; nothing if it is nothing."""
        try:
            first = next((piece for piece in pieces if piece), None)
            if first is not None:
                for piece in self._dialect.fenced(chain([first], pieces)):
                    self._out.write(piece.encode())
        except ManyhandsError as error:  # somebody removed the file: no reason to end the run
            self.say(f"manyhands: job {job.number}: {error}")

    def _command(self, line: str) -> None:
        if line:
            self._out.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _over(self, summary: Summary) -> None:
        more = self._failed - ANNOTATIONS
        if more > 0:
            self._held = self._dialect.error_of(f"{more + 1:,} more jobs failed", "The log and the summary name them.")
        self._command(self._held)
        self.say(*(f"manyhands: {line}" for line in self._raised.told()))
        if (file := self._dialect.summary_file(self._environ)) is not None:
            try:
                self.summary.append(file, summary)
                self._command(self._dialect.summary_of(file))
            except OSError as error:
                self.say(f"manyhands: the summary cannot be written to {harmless(os.fspath(file))}: {error.strerror}")
