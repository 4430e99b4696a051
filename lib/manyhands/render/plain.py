"""For pipes, files and logs: the jobs' output and nothing else on stdout, one line for each failure on stderr.

Finished --> stdout of the job, whole --> stderr of the job, whole --> a line if it failed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TextIO

from manyhands import output
from manyhands.events import Event, Finished, RunStarted, Tick, Warned
from manyhands.job import Outcome, Output, Status
from manyhands.render.progress import Progress
from manyhands.render.safe import Harmless, one_line
from manyhands.render.summary import describe, duration
from manyhands.template import display

HEARTBEAT: Final = 10.0
"""Seconds between two signs of life on stderr."""

_FLUSH: Final = 1 << 16
_PATIENCE: Final = 0.05


class Plain:
    """See the module's first lines. ``quiet``: on stderr only what the jobs print there."""

    def __init__(
        self, stdout: BinaryIO, stderr: TextIO, *, tag: bool = False, quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._out, self._err = Stream(stdout, tag=tag), Stream(stderr.buffer, tag=tag)
        self._talk, self._quiet, self._clock = stderr, quiet, clock
        self.progress = Progress(clock)
        self._last_sign = clock()

    def event(self, event: Event) -> None:
        """Show what happened."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Warned):
            self.say(f"manyhands: {event.text}")
        elif isinstance(event, Tick):
            self._out.flush()
        if not isinstance(event, RunStarted) and self._clock() - self._last_sign >= HEARTBEAT:
            self._last_sign = self._clock()
            self.say(self.progress.line())

    def say(self, line: str) -> None:
        """One line on stderr, after what was printed so far."""
        if not self._quiet:
            self._out.flush()
            self._talk.write(line + "\n")
            self._talk.flush()

    def running(self) -> list[str]:
        """See `Renderer.running`."""
        self._out.flush()
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """See `Renderer.pause`."""
        if paused:
            self._out.flush()

    def close(self) -> None:
        """See `Renderer.close`."""
        self._out.flush()

    def _finished(self, event: Finished) -> None:
        outcome = event.outcome
        if outcome.final:
            self.show_output(outcome)
        for line in remarks(event):
            self.say(line)

    def show_output(self, outcome: Outcome) -> None:
        """The job's stdout to ours and its stderr to ours, whole."""
        if outcome.stdout.size:
            self._out.write(outcome.stdout, outcome)
        if outcome.stderr.size:
            self._out.flush()
            self._err.write(outcome.stderr, outcome)
            self._err.flush()


class Stream:
    """One of our two streams: gathers small outputs, passes bytes on as they are, or harmless if it is a terminal."""

    def __init__(self, stream: BinaryIO, *, tag: bool) -> None:
        self._stream, self._tag = stream, tag
        self._terminal = stream.isatty()
        self._held: list[bytes] = []
        self._size = 0
        self._since = 0.0

    def write(self, printed: Output, outcome: Outcome) -> None:
        """All that one job printed to this stream."""
        if not self._held:
            self._since = time.monotonic()
        for chunk in self._dressed(printed, outcome):
            self._held.append(chunk)
            self._size += len(chunk)
            if self._size >= _FLUSH:
                self.flush()
        if time.monotonic() - self._since >= _PATIENCE:
            self.flush()

    def flush(self) -> None:
        """Write out what is held. Raises BrokenPipeError."""
        if self._held:
            held, self._held, self._size = b"".join(self._held), [], 0
            self._stream.write(held)
            self._stream.flush()

    def _dressed(self, printed: Output, outcome: Outcome) -> Iterator[bytes]:
        chunks: Iterator[bytes] = output.chunks(printed)
        if self._terminal:
            safe = Harmless()
            chunks = (safe.feed(chunk).encode() for chunk in chunks)
        if not self._tag:
            return chunks
        return _tagged(chunks, one_line(b" ".join(outcome.attempt.job.values), 200).encode() + b"\t")


def _tagged(chunks: Iterator[bytes], tag: bytes) -> Iterator[bytes]:
    """Every line with ``tag`` before it; a last line without newline stays without."""
    begins = True
    for chunk in chunks:
        if not chunk:
            continue
        text = (tag if begins else b"") + chunk.replace(b"\n", b"\n" + tag)
        begins = chunk.endswith(b"\n")
        yield text[: -len(tag)] if begins else text


def remarks(event: Finished) -> Iterator[str]:
    """The lines to say about an end: what failed and how, what comes next, what was cut or left behind."""
    outcome = event.outcome
    number = outcome.attempt.job.number
    if outcome.status not in (Status.OK, Status.CANCELLED):
        command = one_line(display(outcome.attempt.argv), 120)
        then = ""
        if event.retry_in is not None:
            then = f"; trying again in {duration(event.retry_in)} (attempt {outcome.attempt.number + 1})"
        yield f"manyhands: job {number} {describe(outcome)}{then}: {command}"
    for name, printed in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if printed.dropped:
            yield f"manyhands: job {number}: {printed.dropped:,} bytes of {name} dropped by --output-cap"
    if outcome.leftovers:
        yield f"manyhands: job {number} left {outcome.leftovers} processes behind, which were stopped"
