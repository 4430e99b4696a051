"""``--jobs auto``: runs more jobs at once while that completes more per second, and fewer while the machine is under pressure.

Separate from the loop, which only reads how many jobs may run now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_LEAST: Final = 0.5
"""Seconds for which each width is tried at least."""
_GAIN: Final = 1.05
"""A greater width must complete this many times as many jobs per second."""
_CALM: Final = 4
"""Measurements without pressure after which a lowered width may grow again."""


class Climber:
    """Chooses the number of jobs at once. ``strain`` names the resource under pressure, or None; ``clock`` is in seconds."""

    def __init__(self, first: int, most: int, strain: Callable[[], str | None], clock: Callable[[], float]) -> None:
        self.width, self._most, self._strain, self._clock = min(first, most), most, strain, clock
        self._best: tuple[float, int] = (0.0, self.width)
        self._climbing = True
        self._since, self._ended = clock(), 0
        self._calm = 0
        self._began = self._since
        self.steps: list[tuple[float, int]] = [(0.0, self.width)]
        """(seconds since the beginning, jobs at once) of each change."""
        self._obey: Callable[[int], None] | None = None

    def obeyed_by(self, obey: Callable[[int], None]) -> None:
        """Pass each width to the backend, by ``obey``."""
        self._obey = obey
        obey(self.width)

    @property
    def obeyed(self) -> bool:
        """Whether the backend itself keeps to the width, so that more attempts may be queued there."""
        return self._obey is not None

    def ended(self) -> str | None:
        """Count a job that has ended; return a sentence about the new width if it changes."""
        self._ended += 1
        now = self._clock()
        if self._ended < 2 * self.width or now - self._since < _LEAST:
            return None
        rate, before = self._ended / (now - self._since), self.width
        why = self._look(rate)
        self._since, self._ended = now, 0
        if self.width == before:
            return None
        self.steps.append((round(now - self._began, 3), self.width))
        if self._obey:
            self._obey(self.width)
        return f"{self.width} jobs at once, not {before}: {why}"

    def _look(self, rate: float) -> str:
        """Choose the next width; return the reason."""
        if pressed := self._strain():
            self.width, self._climbing, self._calm = max(1, self.width * 3 // 4), False, 0
            return pressed
        if self._climbing:
            return self._climb(rate)
        self._calm += 1
        if self._calm >= _CALM and self.width < self._best[1]:  # the pressure has gone
            self.width, self._calm = min(self._best[1], self.width * 4 // 3 + 1), 0
            return "the pressure has gone"
        return ""

    def _climb(self, rate: float) -> str:
        best, width = self._best
        if rate < best * _GAIN:
            self.width, self._climbing = width, False
            return f"{best:.1f} jobs a second there, {rate:.1f} here"
        self._best = rate, self.width
        self._climbing = self.width < self._most
        self.width = min(self._most, 2 * self.width)
        return f"{rate:.1f} jobs a second so far"
