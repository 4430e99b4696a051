"""What failed, once more at the end, where it is found: a bounded list, and the command that shows what these jobs printed.

Separate from the renderers, because all of them end in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from manyhands.core.events import Event, Finished, Summary
from manyhands.core.job import Ending, Outcome, Status
from manyhands.core.safe_text import cells, one_line
from manyhands.render.summary import describe, input_of

MOST: Final = 10
"""Jobs that are listed."""
_WELL: Final = frozenset({Status.OK, Status.CANCELLED})
_INPUT: Final = 16, 50
"""Columns that an input gets at least, and at most."""


class Failures:
    """Keeps the first jobs that failed for good."""

    def __init__(self) -> None:
        self._first: list[Outcome] = []

    def event(self, event: Event) -> None:
        """Take one event into account."""
        if not isinstance(event, Finished) or not event.outcome.final or event.outcome.status in _WELL:
            return
        if len(self._first) < MOST:
            kept = event.outcome.attempt._replace(argv=())
            end = event.outcome.ending
            short = Ending(end.exit, end.signal, end.error, wall=end.wall)
            self._first.append(Outcome(kept, event.outcome.status, short))

    @property
    def some(self) -> bool:
        """Whether there are any."""
        return bool(self._first)

    def told(self, summary: Summary, run: str, width: int, typed: Callable[..., str]) -> Iterator[str]:
        """The lines to say; none if nothing has failed in this execution. ``run`` is the short id of the run, ``typed``
        makes a command about it that the user can type."""
        if not self._first:
            return
        found = [(f"job {one.attempt.job.number}", describe(one), one.attempt) for one in self._sorted()]
        jobs, ends = max(len(job) for job, _, _ in found), max(cells(how) for _, how, _ in found)
        room = max(_INPUT[0], min(_INPUT[1], width - jobs - ends - 6))
        rows = [(job, input_of(attempt, room), how) for job, how, attempt in found]
        names = max(cells(name) for _, name, _ in rows)
        yield "failed:"
        for job, name, how in rows:
            line = f"  {job:{jobs}}  {name}{' ' * (names - cells(name))}  {how}"
            yield one_line(line, width)
        more = sum(count for status, count in summary.counts.items() if status not in _WELL) - len(rows)
        if more > 0:
            yield f"  ... and {more:,} more: {typed('batch.show', run, '--failed')}"
        only = self._first[0].attempt.job.number if len(rows) == 1 and more <= 0 else None
        which = ("--failed", "--output") if only is None else ("--job", str(only))
        yield f"  what {'they' if only is None else 'it'} printed: {typed('batch.show', run, *which)}"

    def _sorted(self) -> list[Outcome]:
        return sorted(self._first, key=lambda one: one.attempt.job.number)
