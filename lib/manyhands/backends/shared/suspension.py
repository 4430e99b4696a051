"""How long this process was stopped (SIGSTOP, a suspended virtual machine): that time does not count for its jobs.

No clock leaves that time out, so a thread notes when it was awake. If it was not for a while, and the process used no CPU time
meanwhile, the process was stopped. This is for jobs inside this process: those in other processes keep running.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from manyhands.backends.protocol import Suspended

GONE_ON: Final = 0.2
"""Seconds after a stop in which jobs may still report their end, before time-outs are checked."""
_TICK: Final = 0.1
_LEAST: Final = 0.4
"""Seconds; a shorter gap means a busy machine."""
_IDLE: Final = 0.2
"""With more than this share of CPU time in a gap, it was not stopped, but blocked by a job that does not let other threads run."""
_KEPT: Final = 100


class Suspension:
    """Watches for stops while it is open, if there are time-outs (``timed``)."""

    def __init__(self, *, timed: bool) -> None:
        self._mutex = threading.Lock()
        self._awake, self._cpu = time.monotonic(), time.process_time()
        self._spells: deque[Suspended] = deque(maxlen=_KEPT)
        self._unreported: list[Suspended] = []
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
        """The stops that are over, each once. Jobs that ended meanwhile may need a moment (`GONE_ON`) to report it."""
        if self._thread is None:
            return ()
        self._look()
        with self._mutex:
            unreported, self._unreported = self._unreported, []
        return unreported

    def close(self) -> None:
        """Stop watching. May be called twice."""
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
                self._unreported.append(spell)
