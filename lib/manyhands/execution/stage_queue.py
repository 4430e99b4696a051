"""The queue between two stages. Separate, because it knows neither threads nor stages."""

from __future__ import annotations

from collections import deque

from manyhands.core.job import Job


class StageQueue:
    """Jobs that one stage has done and the next has not taken; at most about ``room`` of them."""

    def __init__(self, room: int) -> None:
        self.jobs: deque[Job] = deque()
        self.room = room
        self.ended = False

    @property
    def full(self) -> bool:
        """Whether the stage before has to wait."""
        return len(self.jobs) >= self.room
