"""What runs in a run just now, for somebody who looks at it from outside: each job, its age, and the last line it has printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import cells, one_line
from manyhands.render.words import duration
from manyhands.storage import output, progress_file
from manyhands.storage.progress_file import Going, RunProgress
from manyhands.storage.runs import Run

_TAIL = 1 << 12


class Now:
    """How the stages of a run stand at ``at``, in seconds since the epoch. Only of a run that somebody is working on."""

    def __init__(self, run: Run, at: float) -> None:
        found = [(stage, progress_file.read(stage.path)) for stage in run.stages]
        self._stages: list[tuple[int, Run, RunProgress]] = [
            (number, stage, one) for number, (stage, one) in enumerate(found, 1) if one
        ]
        self._at, self._many = at, len(found) > 1

    @property
    def elapsed(self) -> float | None:
        """Seconds since this execution began; None while that is not known."""
        return max((self._at - one.started for _, _, one in self._stages), default=None)

    def counts(self) -> str:
        """``2 running, 1 waits for a retry in 3.2 s``; nothing is said of what is not known."""
        if not self._stages:
            return ""
        text = f", {sum(one.going for _, _, one in self._stages):,} running"
        if waiting := sum(one.waiting for _, _, one in self._stages):
            due = min(one.next_retry for _, _, one in self._stages if one.next_retry is not None)
            text += f", {waiting:,} to retry, next in {duration(max(0.0, due - self._at))}"
        if any(one.paused for _, _, one in self._stages):
            text += ", paused"
        return text

    def numbers(self) -> set[int]:
        """The jobs that run."""
        return {going.job for _, _, one in self._stages for going in one.named}

    def going(self, number: int) -> Iterator[tuple[Run, Going]]:
        """A job, if it runs, and the run, or stage of it, in which it does."""
        return ((run, going) for _, run, one in self._stages for going in one.named if going.job == number)

    def lines(self, width: int, most: int) -> Iterator[str]:
        """A table of at most ``most`` of what runs, the longest-running first; nothing if nothing does."""
        found = [(number, run, going) for number, run, one in self._stages for going in one.named]
        shown = sorted(found, key=lambda one: one[2].since)[:most]
        if not shown:
            return
        rows = [self._row(number, run, going) for number, run, going in shown]
        header = ("RUNNING", *(("STAGE",) * self._many), "JOB", "INPUT")
        wide = [max(map(cells, column)) for column in zip(header, *(row[:-1] for row in rows), strict=True)]
        wide[-1] = min(wide[-1], max(10, (width - sum(wide[:-1])) // 2))
        room = max(10, width - sum(wide) - 2 * len(wide))
        yield f"{_padded(header, wide)}  {one_line('LAST LINE OF OUTPUT', room)}"
        for *row, said in rows:
            yield f"{_padded(row, wide)}  {one_line(said, room)}".rstrip()
        if (more := sum(one.going for _, _, one in self._stages) - len(shown)) > 0:
            yield f"... and {more:,} more that run"

    def _row(self, stage: int, run: Run, going: Going) -> tuple[str, ...]:
        age = duration(self._at - going.since)
        name = one_line(b" ".join(going.values), 200)
        return (age, *((str(stage),) * self._many), f"{going.job:,}", name, last_line(run, going))


def _padded(row: Sequence[str], wide: Sequence[int]) -> str:
    """Numbers to the right, the input to the left."""
    *numbers, name = row
    name = one_line(name, wide[-1])
    return "  ".join([*map(str.rjust, numbers, wide), name + " " * (wide[-1] - cells(name))])


def last_line(run: Run, going: Going) -> str:
    """Of what it has printed to stderr, else to stdout; harmless, however long."""
    for printed in reversed(going.printed(run.outputs)):
        with suppress(ManyhandsError):
            if lines := output.tail(printed, 1, _TAIL):
                return one_line(lines[-1], 1000) if going.may_run else ""
    return ""
