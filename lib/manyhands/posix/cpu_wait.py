"""How much time was spent waiting for a CPU: on a busy machine this must not be mistaken for waiting for a disk or a network.

wall time = on a CPU + in the queue for one (run-queue delay, /proc/PID/schedstat) + really waiting
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

BUSY: Final = "; but the machine was busy with other work: waiting may have been for a CPU, so {again} when it is calm"
"""Added to a finding that is based on times; ``again`` says what to repeat."""
_CROWDED: Final = 0.2
_NANO: Final = 1e9
_IDLE: Final = slice(3, 5)
"""idle and iowait, in the first line of /proc/stat (proc(5)); fields from the eighth on are included in user."""


def queued_seconds(thread: int | None = None) -> float:
    """Seconds that a thread of this process (its native id; None: all threads that live now) has waited for a CPU since its
    start; 0.0 if the kernel does not report it (macOS, no CONFIG_SCHEDSTATS)."""
    return sum(_delay(one) for one in ([thread] if thread is not None else _threads()))


def queued_seconds_of(process: int) -> float:
    """Seconds that the first thread of another process has waited for a CPU; 0.0 if the kernel does not report it."""
    return _delay_in(f"/proc/{process}/schedstat")


def waiting_share(wall: float, cpu: float, queued: float) -> float:
    """The share of ``wall`` without computing and without waiting for a CPU, from 0.0 to 1.0; arguments in seconds."""
    return min(1.0, max(0.0, 1 - (cpu + queued) / max(wall, 1e-9)))


def busy_seconds() -> float | None:
    """Seconds that all CPUs together have worked since the start of the machine; None if the system does not report it."""
    with suppress(OSError, ValueError), open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
        return (sum(ticks) - sum(ticks[_IDLE])) / os.sysconf("SC_CLK_TCK")
    return None


def crowding(busy: float, own: float, wall: float, cores: int) -> float:
    """The share of the machine that other processes used in ``wall`` seconds, if nearly no CPU was idle; else 0.0. ``busy`` and
    ``own`` are the CPU seconds of all processes and of this one."""
    whole = max(wall * cores, 1e-9)
    return max(0.0, busy - own) / whole if busy > 0.9 * whole else 0.0


class Crowding:
    """Measures how much other processes use the machine from now on, see `crowding`."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = busy_seconds(), _own_seconds(), time.monotonic()

    def measured(self) -> float:
        """The share of the machine; children of this process count as its own after it has waited for them."""
        busy, own = (busy_seconds() or 0.0) - (self._busy or 0.0), _own_seconds() - self._own
        return crowding(busy, own, time.monotonic() - self._began, os.cpu_count() or 1)


def is_crowded(share: float) -> bool:
    """Whether other processes use so much that measured times say little."""
    return share > _CROWDED


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in used)


def _threads() -> Iterable[int]:
    with suppress(OSError):
        return map(int, os.listdir("/proc/self/task"))
    return ()


def _delay(thread: int) -> float:
    return _delay_in(f"/proc/self/task/{thread}/schedstat")


def _delay_in(path: str) -> float:
    with suppress(OSError, ValueError, IndexError), open(path, encoding="ascii") as file:
        return int(file.read().split()[1]) / _NANO
    return 0.0
