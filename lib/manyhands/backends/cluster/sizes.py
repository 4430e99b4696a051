"""How many attempts are sent, and how many of them as one task: short ones together, because a task costs Dask some milliseconds of CPU."""

from __future__ import annotations

import time
from typing import Final

_SECONDS: Final = 0.050
"""Seconds of work in one task, about."""
_MOST: Final = 256
"""Attempts in one task at most."""
_UNKNOWN: Final = 20.0
"""Seconds in which the first attempts are waited for, to learn how long they take. On a busy machine a site needs some until it does its first
attempt; a thousand short attempts that were sent one by one meanwhile would take longer than that."""
_FIRST: Final = 2
"""The first attempts for each thread,"""
_LONG: Final = 8
"""and if one of them takes longer than a very short one, so that a cluster that grows sees that there is more to do."""
_DEEP: Final = 4
"""Tasks for each thread that are on their way, if they are short."""


class Sizes:
    """Learns from the attempts that have ended how long they take."""

    def __init__(self, chunk: int | None = None) -> None:
        """``chunk``: how many attempts make a task, if that was requested."""
        self._chunk = chunk
        self._mean: float | None = None
        self._began: float | None = None
        self._long = False
        """Whether an attempt has run for longer than very short ones do."""

    def runs(self) -> None:
        """An attempt has begun, and is not over yet."""
        self._long = True

    def note(self, wall: float) -> None:
        """An attempt took ``wall`` seconds."""
        self._mean = wall if self._mean is None else self._mean + (wall - self._mean) / 16

    @property
    def _is_unknown(self) -> bool:
        return self._mean is None and self._chunk is None

    @property
    def together(self) -> int:
        """How many attempts make a task."""
        if self._chunk is not None:
            return self._chunk
        if self._mean is None:
            return 1
        return max(1, min(_MOST, int(_SECONDS / max(self._mean, 1e-6))))

    def ahead(self, threads: int) -> int:
        """How many attempts are wanted beyond the slots."""
        return 64 if self.together == 1 else 64 + min(16_384, _DEEP * threads * self.together)

    def room(self, width: int, threads: int, flying: int, waiting: int) -> tuple[int, int]:
        """(how many attempts may be sent now, how many of them as one task)."""
        now = time.monotonic()
        self._began = self._began or now
        if self._is_unknown and now - self._began < _UNKNOWN:
            return min(width, (_LONG if self._long else _FIRST) * max(threads, 1)) - flying, 1
        together = self.together
        if together == 1:
            return width - flying, 1
        size = max(1, min(together, (flying + waiting) // (2 * max(threads, 1))))
        return width + self.ahead(threads) - flying, size

    def narrow_room(self, width: int, slots: int, used: int, *, fresh: bool) -> tuple[int, int]:
        """The same if the cluster has more threads than there may be jobs at once. A task of several attempts needs as many ``slots`` as
        a worker has, because that does them at once; ``used``: by those that are on their way, of which some are ``fresh``, and will
        soon be over."""
        together = self.together
        if together == 1:
            return width - used, 1
        if (tasks := (width - used) // slots) > 0:
            return tasks * together, together
        return (0 if fresh else width - used), 1

    def patience(self) -> float | None:
        """Seconds after which more may be sent although nothing has ended; None: it is known how long attempts take."""
        if not self._is_unknown or self._began is None:
            return None
        return max(0.0, self._began + _UNKNOWN - time.monotonic()) or None
