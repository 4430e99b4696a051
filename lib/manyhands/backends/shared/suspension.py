"""How long this process was stopped (SIGSTOP, a suspended virtual machine): time that its jobs did not have.

No clock leaves that out, so a thread notes when it was awake; where it was not, and no CPU time was used meanwhile, the process did
not run. For jobs inside this process: those in other processes run on, and their time counts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from manyhands.backends.protocol import Suspended

GONE_ON: Final = 0.2
"""Seconds that jobs have after a stop to say that they have ended, before a time-out is looked at."""
_TICK: Final = 0.1
_LEAST: Final = 0.4
"""Seconds; less is a busy machine."""
_IDLE: Final = 0.2
"""The share of CPU time beyond which it was not stopped, but held up by a job that does not let other threads run."""
_KEPT: Final = 100


class Suspension:
    """Looks on while it is open, if there are time-outs (``timed``)."""

    def __init__(self, *, timed: bool) -> None:
        self._mutex = threading.Lock()
        self._awake, self._cpu = time.monotonic(), time.process_time()
        self._spells: deque[Suspended] = deque(maxlen=_KEPT)
        self._untold: list[Suspended] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="manyhands-suspension", daemon=True) if timed else None
        if self._thread:
            self._thread.start()

    def since(self, moment: float) -> float:
        """Seconds that the process was stopped since a moment of the monotonic clock."""
        if self._thread is None:
            return 0.0
        self._look()
        with self._mutex:
            return sum(seconds for at, seconds in self._spells if at > moment)

    def news(self) -> Sequence[Suspended]:
        """The stops that are over, each once. What has ended meanwhile may need a moment (`GONE_ON`) to say so."""
        if self._thread is None:
            return ()
        self._look()
        with self._mutex:
            untold, self._untold = self._untold, []
        return untold

    def close(self) -> None:
        """Look on no more. May be called twice."""
        self._over.set()
        if self._thread:
            self._thread.join(2 * _TICK)

    def _tick(self) -> None:
        while not self._over.wait(_TICK):
            self._look()

    def _look(self) -> None:
        with self._mutex:
            now, cpu = time.monotonic(), time.process_time()
            gap, used = now - self._awake - _TICK, cpu - self._cpu
            self._awake, self._cpu = now, cpu
            if gap > _LEAST and used < _IDLE * gap:
                spell = Suspended(now, gap)
                self._spells.append(spell)
                self._untold.append(spell)
