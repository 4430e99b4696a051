"""What is known of a run from its journals: the state of each job in one byte, counts, failures, the timeline. No thread, no clock, no file.

journal_tail --rows--> Picture.add --> counts, failures, timeline
"""

from __future__ import annotations

from typing import Final

from manyhands.web.failures import Failures
from manyhands.web.journal_tail import EndedAttempt
from manyhands.web.timeline import Timeline

LEFT: Final = "left"
STATES: Final = (LEFT, "ok", "failed", "timeout", "skipped", "lost", "cancelled")
"""The state of a job, by its code: `LEFT` if it has not ended, waits for a retry, or is between two stages."""
_CODES: Final = {name: code for code, name in enumerate(STATES)}
_BAD: Final = frozenset({_CODES["failed"], _CODES["timeout"], _CODES["lost"]})
_DONE: Final = ("ok", "failed", "timeout", "skipped")


class Picture:
    """``stages``: how many the run has."""

    def __init__(self, stages: int = 1) -> None:
        self.stages = stages
        self.counts = [0] * len(STATES)
        """Jobs in each state; of those that are left, only such as have ended once."""
        self.retries = 0
        """Attempts after the first."""
        self.busy = self.cpu = 0.0
        """Seconds that all attempts took, and their CPU time."""
        self.max_rss = 0
        self.done_since = 0
        """Jobs that were done since the start of the timeline."""
        self.failures = Failures()
        self.timeline = Timeline(0.0, stages=stages > 1)
        self.states = bytearray()
        self._reached = bytearray()

    def begin(self, start: float) -> None:
        """Another execution begins, at this moment (seconds since the epoch); the timeline and the rate are its own."""
        self.timeline = Timeline(start, stages=self.stages > 1)
        self.done_since = 0

    def add(self, row: EndedAttempt, stage: int) -> None:
        """Take the end of an attempt into account. Those of a job at one stage come in their order; a stage may be read before the
        one before it."""
        job = row.job
        if job >= len(self.states):
            more = job + 4096 - len(self.states)
            self.states.extend(bytes(more))
            self._reached.extend(bytes(more))
        self.timeline.add(row, stage)
        self.busy += row.wall
        self.cpu += row.cpu
        self.max_rss = max(self.max_rss, row.max_rss)
        self.retries += row.attempt > 1
        if stage < self._reached[job] - 1:
            return
        code = _CODES[row.status] if row.final and (stage == self.stages or row.status != "ok") else 0
        before, known = self.states[job], self._reached[job]
        self._reached[job] = stage + 1
        self.states[job] = code
        if known:
            self.counts[before] -= 1
        self.counts[code] += 1
        if code and STATES[code] in _DONE and (row.started or 0.0) >= self.timeline.start - 1:
            self.done_since += 1
        if code in _BAD:
            self.failures.add(row)
        elif before in _BAD:
            self.failures.forget(job)

    def count(self, *names: str) -> int:
        """How many jobs are in one of these states."""
        return sum(self.counts[_CODES[name]] for name in names)

    @property
    def done(self) -> int:
        """Jobs that need not be done."""
        return self.count(*_DONE)

    def numbers(self, states: frozenset[str], after: int, most: int) -> list[int]:
        """The first jobs after this number whose state is one of these."""
        codes = {_CODES[name] for name in states}
        found: list[int] = []
        for number in range(after + 1, len(self.states)):
            if self.states[number] in codes and self._reached[number]:
                found.append(number)
                if len(found) >= most:
                    break
        return found
