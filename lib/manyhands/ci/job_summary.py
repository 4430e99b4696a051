"""A run in Markdown, as CI systems show it above the log: how many jobs, which failed and what they printed last, which passed only
on a retry, which took longest.

Of each list a bounded number is kept, and all text of jobs is written so that it is no Markdown and no HTML.
"""

from __future__ import annotations

import heapq
import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Finished, Summary
from manyhands.core.job import Outcome, Status
from manyhands.core.lean import NamedTuple
from manyhands.core.patterns import pattern
from manyhands.core.safe_text import one_line
from manyhands.core.terminal_escapes import plain
from manyhands.render.summary import describe, input_of, summary_line
from manyhands.render.words import duration
from manyhands.storage import output

FAILURES: Final = 50
"""Jobs that failed of which the table has a row."""
_PRINTED: Final = 10
"""Those of which it is shown what they printed."""
_FLAKY: Final = 20
_SLOWEST: Final = 5
_LINES: Final = 20
_NAME: Final = 100
MOST: Final = 1 << 20
"""Bytes that GitHub takes of one step."""
_HEAD: Final = 4
"""Lines of the title and the sum."""
_SPECIAL: Final = pattern(r"[^\w\s.,;/=+\"'(){}!?-]|_")
_ENDED: Final = frozenset({Status.OK, Status.FAILED, Status.TIMEOUT, Status.LOST})


class _Row(NamedTuple):
    """A job, in words that are no Markdown."""

    number: int
    name: str
    how: str
    wall: float
    printed: str = ""

    def cells(self) -> str:
        return f"| {self.number} | {self.name} | {self.how} | {duration(self.wall)} |"


class JobSummary:
    """Keeps what is worth a row."""

    def __init__(self) -> None:
        self.what = ""
        """The command."""
        self._failed: list[_Row] = []
        self._flaky: list[_Row] = []
        self._slowest: list[tuple[float, int, _Row]] = []
        self.failures = self.flaky = 0

    def finished(self, event: Finished) -> None:
        """Take a job into account that is over."""
        outcome = event.outcome
        if not outcome.final or outcome.status not in _ENDED:
            return
        if outcome.status is not Status.OK:
            self.failures += 1
            if len(self._failed) < FAILURES:
                text = _last_lines(outcome) if len(self._failed) < _PRINTED else ""
                self._failed.append(_row(outcome, describe(outcome), text))
        elif outcome.attempt.number > 1:
            self.flaky += 1
            if len(self._flaky) < _FLAKY:
                self._flaky.append(_row(outcome, f"passed at attempt {outcome.attempt.number}"))
        if len(self._slowest) < _SLOWEST or outcome.wall > self._slowest[0][0]:
            number = outcome.attempt.job.number
            push = heapq.heappush if len(self._slowest) < _SLOWEST else heapq.heappushpop
            push(self._slowest, (outcome.wall, -number, _row(outcome, outcome.status.value)))

    def text(self, summary: Summary, room: int = MOST) -> str:
        """The whole of it, or, if that has no room, only its head, or nothing. ``summary``: what the run came to; ``room``: in bytes."""
        lines = list(self._lines(summary))
        texts = ("".join(line + "\n" for line in part) for part in (lines, lines[:_HEAD]))
        return next((text for text in texts if len(text.encode()) <= room), "")

    def _lines(self, summary: Summary) -> Iterator[str]:
        yield from (f"### {no_markdown(self.what, _NAME)}", "", f"Run {summary.run}: {summary_line(summary)}", "")
        if self._failed:
            yield from _table(f"{self.failures:,} failed", self._failed, self.failures)
            for row in self._failed:
                if row.printed:
                    yield f"<details><summary>the end of what job {row.number} printed</summary>"
                    yield from ("", f"<pre>{row.printed}</pre>", "", "</details>", "")
        if self._flaky:
            yield from _table(f"{self.flaky:,} passed only on a retry", self._flaky, self.flaky)
        if summary.jobs > 1 and self._slowest:
            rows = [row for _, _, row in sorted(self._slowest, reverse=True)]
            yield from _table("The slowest", rows, len(rows))

    def append(self, file: Path, summary: Summary) -> None:
        """Write it to the end of ``file``. Raises OSError."""
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as stream:
            stream.write(self.text(summary, MOST - os.fstat(descriptor).st_size).encode())


def _table(title: str, rows: list[_Row], number: int) -> Iterator[str]:
    yield from (f"#### {title}", "", "| job | input | how it ended | time |", "|---|---|---|---|")
    yield from (row.cells() for row in rows)
    if number > len(rows):
        yield from ("", f"... and {number - len(rows):,} more")
    yield ""


def _row(outcome: Outcome, how: str, printed: str = "") -> _Row:
    attempt = outcome.attempt
    return _Row(
        attempt.job.number, no_markdown(input_of(attempt, _NAME), _NAME), no_markdown(how, _NAME), outcome.wall, printed
    )


def _last_lines(outcome: Outcome) -> str:
    """The last lines of what a job printed, as the text of an element of HTML."""
    printed = outcome.stderr if outcome.stderr.size else outcome.stdout
    try:
        lines = output.tail(printed, _LINES, 1 << 13)
    except ManyhandsError as error:
        return html.escape(str(error))
    texts = (one_line(plain(line.decode("utf-8", "surrogateescape")), 400) for line in lines)
    return "\n".join(html.escape(text) or "&nbsp;" for text in texts)


def no_markdown(text: str, width: int) -> str:
    """``text`` on one line that is neither Markdown nor HTML: whatever is not a letter, a digit or a plain sign is a reference."""
    return _SPECIAL.sub(_reference, one_line(text, width))


def _reference(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"
