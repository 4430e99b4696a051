"""Jobs that failed in the same way are one group: they ended alike, and the first line in which their output differs from that of jobs
that are well is the same, but for numbers and their own input.

A banner or a warning that all jobs print therefore tells nothing. Of each failure its first lines are looked at, or the last one of a
traceback, and of jobs that are well those of the first ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Status, Values
from manyhands.core.lean import NamedTuple
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass, field
from manyhands.core.safe_text import one_line
from manyhands.render.summary import describe
from manyhands.report.texts import input_text, printed, shown_text

_LINES: Final = 50
_BYTES: Final = 1 << 14
_WELL: Final = 300
"""Jobs that are well whose lines are known."""
_KINDS: Final = 1000
"""Different outputs that are told apart."""
_NUMBERS: Final = 12
_WIDTH: Final = 300
_SHOWN: Final = 6000
"""Bytes of the output of a group's first job."""
_VARIABLE: Final = pattern(r"\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}\b|\d+")


class Group(NamedTuple):
    """``how`` they ended, the ``line`` of the first of them, its output; the first of the ``number`` ``jobs``."""

    how: str
    line: str
    number: int
    jobs: list[int]
    first_input: str
    stdout: str
    stderr: str


@dataclass(slots=True)
class _Kind:
    """Jobs that ended alike and printed the same."""

    how: str
    alike: list[str]
    """Its lines without what varies."""
    lines: list[str]
    first_input: str
    stdout: str
    stderr: str
    count: int = 0
    jobs: list[int] = field(default_factory=list)


class FailureGroups:
    """Takes jobs one by one, in any order."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._well = 0
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def well(self, end: Outcome) -> None:
        """A job that is well."""
        if self._well < _WELL:
            self._well += 1
            for output in (end.stdout, end.stderr):
                with suppress(ManyhandsError, OSError):
                    self._known.update(_alike(_lines(output.read(_BYTES)), end.attempt.job.values))

    def failed(self, end: Outcome) -> None:
        """A job that has failed for good."""
        how = "timed out" if end.status is Status.TIMEOUT else describe(end)
        lines = _told(end)
        values = end.attempt.job.values
        alike = _alike(lines, values)
        same = (how if _tells(how) else _alike([how], values)[0], *alike)
        kind = self._kinds.get(same)
        if kind is None:
            if len(self._kinds) >= _KINDS:
                how, alike, lines, same = "failed in other ways", [], [], ("",)
            made = _Kind(how, alike, lines, input_text(values, 200), printed(end.stdout, _SHOWN), _errors(end))
            kind = self._kinds.setdefault(same, made)
        kind.count += 1
        if len(kind.jobs) < _NUMBERS:
            kind.jobs.append(end.number)

    def groups(self) -> list[Group]:
        """The largest first."""
        found: dict[tuple[str, str], list[tuple[_Kind, str]]] = {}
        for kind in self._kinds.values():
            at = next((n for n, line in enumerate(kind.alike) if line and line not in self._known), None)
            line, key = ("", "") if at is None else (kind.lines[at], kind.alike[at])
            how = kind.how if _tells(kind.how) else _VARIABLE.sub("#", kind.how)
            found.setdefault((how, key), []).append((kind, line))
        groups = list(_of_kinds(found.values()))
        return sorted(groups, key=lambda group: (-group.number, group.jobs))


def _tells(how: str) -> bool:
    """Whether its numbers tell it from others."""
    return "exit status" in how or how.startswith("was ended by")


def _of_kinds(found: Iterable[list[tuple[_Kind, str]]]) -> Iterator[Group]:
    for kinds in found:
        kinds.sort(key=lambda one: one[0].jobs[0])
        first, line = kinds[0]
        jobs = sorted(number for kind, _ in kinds for number in kind.jobs)[:_NUMBERS]
        count = sum(kind.count for kind, _ in kinds)
        yield Group(first.how, line, count, jobs, first.first_input, first.stdout, first.stderr)


def _errors(end: Outcome) -> str:
    text = printed(end.stderr, _SHOWN)
    return text + ("\n" if text and end.traceback else "") + shown_text(end.traceback[-_SHOWN:] if end.traceback else "")


def _told(end: Outcome) -> list[str]:
    """The lines that may tell why: of a traceback the last one, else those of stderr, then those of stdout."""
    if end.traceback and (lines := [line for line in end.traceback.splitlines() if line.strip()]):
        return [one_line(lines[-1], _WIDTH)]
    found: list[str] = []
    for output in (end.stderr, end.stdout):
        with suppress(ManyhandsError, OSError):
            found += _lines(output.read(_BYTES))
    return found


def _lines(data: bytes) -> list[str]:
    texts = shown_text(data).split("\n")[:_LINES]
    return [one_line(text.strip(), _WIDTH) for text in texts]


def _alike(lines: Sequence[str], values: Values) -> list[str]:
    """Lines without the job's own input and without numbers."""
    own = [text for value in values if len(text := one_line(os.fsdecode(value), _WIDTH)) > 2]
    return [_VARIABLE.sub("#", _without(line, own)) for line in lines]


def _without(line: str, own: Sequence[str]) -> str:
    for text in own:
        line = line.replace(text, "{}")
    return line
