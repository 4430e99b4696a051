"""The table of all jobs, as data of a page: a row for each, and what they printed. Those that failed have room of their own, so that they
are there however many others come before them."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import Any, Final

from manyhands.core.lean import NamedTuple
from manyhands.core.serialization import shown
from manyhands.render.summary import describe
from manyhands.report.attempts import BAD, OK, STATES
from manyhands.report.packed import Packed
from manyhands.report.texts import code_of, input_text, printed, shown_text
from manyhands.storage.rows import JobRecord

_NAME: Final = 300, 80
"""Columns of an input: of a job that is not well, and of one that is, of many jobs."""
_MANY: Final = 20_000
_FAILED_BYTES: Final = 1 << 16
_WELL_BYTES: Final = 1 << 13
_SLOWEST: Final = 10


class Slow(NamedTuple):
    """A job that took long; ``input`` as it is shown."""

    wall: float
    number: int
    input: str
    state: str


class JobRows:
    """Takes the history of one job after the other."""

    def __init__(self) -> None:
        self.bad, self.well = Packed(450_000, 1 << 26), Packed(1_600_000, 1 << 26)
        self.bad_output, self.well_output = Packed(700_000, 1 << 25), Packed(350_000, 1 << 25)
        self.hosts: dict[str | None, int] = {}
        self._slowest: list[Slow] = []
        self._count = 0

    def add(self, history: Sequence[JobRecord], state: int, first: float) -> None:
        """The attempts of a job, how it stands, and when the run began."""
        last = history[-1]
        end = last.outcome
        self._count += 1
        well = state == OK
        width = _NAME[1] if well and self._count > _MANY else _NAME[0]
        name = input_text(last.job.values, width)
        wall = sum(one.outcome.wall for one in history if one.outcome)
        row: list[Any] = [
            last.job.number,
            name,
            state,
            _rounded(wall) if end else None,
            None if end is None or end.started is None else round(end.started - first, 3),
            len(history),
            last.stage,
            self.hosts.setdefault(end.host if end else None, len(self.hosts)),
            round(end.max_rss / 2**20, 1) if end else 0,
            _rounded(end.user + end.system) if end else 0,
            code_of(end),
        ]
        (self.well if well else self.bad).add(row)
        self._outputs(history, state, first)
        if len(self._slowest) < _SLOWEST or wall > self._slowest[-1].wall:
            slow = Slow(wall, last.job.number, input_text(last.job.values, 120), STATES[state])
            self._slowest = nlargest(_SLOWEST, [*self._slowest, slow], key=lambda one: (one.wall, -one.number))

    def _outputs(self, history: Sequence[JobRecord], state: int, first: float) -> None:
        end = history[-1].outcome
        packed = self.bad_output if state in BAD else self.well_output
        if end is None:
            return
        if packed.left_out:  # it need not even be made
            packed.left_out += 1
            return
        most = _WELL_BYTES if state == OK else _FAILED_BYTES
        item: dict[str, Any] = {"j": history[-1].job.number}
        for key, output in (("o", end.stdout), ("e", end.stderr)):
            if text := printed(output, most):
                item[key] = text
        if end.traceback:
            item["t"] = shown_text(end.traceback[-most:])
        if end.error and not end.traceback:
            item["x"] = shown_text(end.error[:most])
        if end.result is not None and end.ok:
            value, described = shown(end.result)
            item["r"] = shown_text((repr(value) if described is None else described)[:most])
        if len(history) > 1:
            item["a"] = [_attempt(one, first) for one in history[-50:]]
        if len(item) > 1:
            packed.add(item)

    @property
    def slowest(self) -> list[Slow]:
        """The jobs that took longest, all their attempts together."""
        return [one for one in self._slowest if one.wall > 0]


def _attempt(record: JobRecord, first: float) -> list[Any]:
    """An attempt, in words: stage, number, how it ended, seconds, when, slot."""
    end = record.outcome
    if end is None:
        return [record.stage, record.attempt, "has not ended", None, None, 0]
    began = None if end.started is None else round(end.started - first, 3)
    return [record.stage, record.attempt, describe(end), _rounded(end.wall), began, end.slot]


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")
