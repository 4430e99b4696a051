"""The queue between two stages. Separate, because it knows neither threads nor stages.

    the stage before --put--> jobs --take--> the stage after        one thread each

It is short, so that a slow stage holds back the one before it. But functions go to workers in chunks: where the stage after empties a
queue that was full, it could have had more at once, and the room is doubled.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from manyhands.core.job import Job

_MOST: Final = 4096
"""Jobs that it has room for, however quick the stages are."""


class StageQueue:
    """Jobs that one stage has done and the next has not taken; at most about ``room`` of them."""

    def __init__(self, room: int) -> None:
        self._jobs: deque[Job] = deque()
        self.room = room
        self.ended = False
        """Whether nothing more comes."""
        self._held = False
        """Whether the stage before had to wait since the queue was last empty."""
        self._waits = False
        """Whether it waits now."""

    @property
    def full(self) -> bool:
        """Whether the stage before has to wait: it is told when there is room again (`tell_before`)."""
        self._waits = True  # before the look: what is taken after it is then noticed
        self._waits = len(self._jobs) >= self.room
        self._held = self._held or self._waits
        return self._waits

    def put(self, job: Job) -> bool:
        """Add a job; return whether the stage after has to be told: one that has found jobs here takes them until there are none."""
        self._jobs.append(job)
        return len(self._jobs) <= 1

    def take(self) -> Job | None:
        """Take a job; None if there is none now."""
        if self._jobs:
            return self._jobs.popleft()
        if self._held:
            self._held, self.room = False, min(2 * self.room, max(self.room, _MOST))
        return None

    def tell_before(self) -> bool:
        """Whether the stage before waits, and has to be told, once, that a quarter of the room is free."""
        if not self._waits or len(self._jobs) > self.room - max(1, self.room // 4):
            return False
        self._waits = False
        return True
