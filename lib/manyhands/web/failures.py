"""Jobs that failed in the same way, while a run goes on: a retry takes a job out of its group again."""

from __future__ import annotations

import os
import re
from array import array
from contextlib import suppress
from heapq import nlargest
from typing import Any, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Ending, Job, Outcome, Output, Status
from manyhands.core.safe_text import one_line
from manyhands.render.summary import describe
from manyhands.storage import output
from manyhands.web.journal_tail import EndedAttempt

KINDS: Final = 500
"""Groups that are told apart."""
SHOWN: Final = 30
_NAMED: Final = 8
"""Jobs of a group that are named."""
_FILES: Final = 500
"""Outputs in files that are read for their last line."""
_WORDS: Final = 300
_NUMBER: Final = re.compile(r"\d+")
_OTHER: Final = ("failed in other ways", "")


class _Group:
    def __init__(self, how: str, said: str) -> None:
        self.how, self.said, self.number = how, said, 0
        self.jobs: dict[int, None] = {}


class Failures:
    """The groups of the jobs that are not well now."""

    def __init__(self) -> None:
        self._of = array("H")
        """The group of each job plus 1; 0: none."""
        self._groups: list[_Group] = []
        self._places: dict[tuple[str, str], int] = {}
        self._files = 0
        self.version = 0

    def add(self, row: EndedAttempt) -> None:
        """A job that has failed for good, or was lost."""
        how = one_line(describe(_outcome(row)), _WORDS)
        if row.status == Status.TIMEOUT:
            how = "timed out"
        said = self._last_line(row)
        key = how, _NUMBER.sub("0", said)
        at = self._places.get(key)
        if at is None:
            if len(self._groups) >= KINDS:
                key, said = _OTHER, ""
            at = self._places.setdefault(key, len(self._groups))
            if at == len(self._groups):
                self._groups.append(_Group(key[0], said))
        self.forget(row.job)
        if row.job >= len(self._of):
            self._of.extend([0] * (row.job + 1024 - len(self._of)))
        self._of[row.job] = at + 1
        group = self._groups[at]
        group.number += 1
        if len(group.jobs) < _NAMED:
            group.jobs[row.job] = None
        self.version += 1

    def forget(self, job: int) -> None:
        """A job that is tried again, or has ended in another way."""
        if job < len(self._of) and (at := self._of[job]):
            self._of[job] = 0
            self._groups[at - 1].number -= 1
            self._groups[at - 1].jobs.pop(job, None)
            self.version += 1

    def to_json(self) -> dict[str, Any]:
        """The largest groups first."""
        there = [group for group in self._groups if group.number]
        shown = nlargest(SHOWN, there, key=lambda one: one.number)
        groups = [{"how": one.how, "said": one.said, "number": one.number, "jobs": sorted(one.jobs)} for one in shown]
        return {"groups": groups, "more": len(there) - len(shown)}

    def _last_line(self, row: EndedAttempt) -> str:
        if row.said:
            printed = Output(row.said, None, len(row.said))
        elif row.said_in and self._files < _FILES:
            self._files += 1
            printed = Output(b"", os.fsdecode(row.said_in), 1)
        else:
            return ""
        with suppress(ManyhandsError, OSError):
            if lines := [line for line in output.tail(printed, 5, 1 << 12) if line.strip()]:
                return one_line(lines[-1], _WORDS)
        return ""


def _outcome(row: EndedAttempt) -> Outcome:
    """As much of it as its description needs."""
    ending = Ending(row.exit, row.signal, row.error, wall=row.wall, still_running=bool(row.still_running))
    return Outcome(Attempt(Job(row.job, b"", ()), row.attempt, ()), Status(row.status), ending)
