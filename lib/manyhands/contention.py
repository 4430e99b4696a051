"""How much of a time went into waiting for a CPU: on a busy machine that looks like waiting for a disk or a network, and is not.

wall time = on a CPU + in the queue for one (run-queue delay, /proc/PID/schedstat) + really waiting
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_NANO: Final = 1e9
_IDLE: Final = slice(3, 5)
"""idle and iowait, in the first line of /proc/stat (proc(5)); what follows from the eighth on is counted in user, too."""


def queued_seconds(thread: int | None = None) -> float:
    """Seconds that a thread of this process (its native id; None: all threads that live now) has waited for a CPU since its
    start; 0.0 where the kernel does not tell (macOS, no CONFIG_SCHEDSTATS)."""
    return sum(_delay(one) for one in ([thread] if thread is not None else _threads()))


def queued_seconds_of(process: int) -> float:
    """Seconds that the first thread of another process has waited for a CPU; 0.0 where the kernel does not tell."""
    return _delay_in(f"/proc/{process}/schedstat")


def waiting_share(wall: float, cpu: float, queued: float) -> float:
    """The share of ``wall`` in which nothing was computed and no CPU was waited for, from 0.0 to 1.0; all in seconds."""
    return min(1.0, max(0.0, 1 - (cpu + queued) / max(wall, 1e-9)))


def busy_seconds() -> float | None:
    """Seconds that all CPUs together have worked since the start of the machine, for everybody; None where it does not tell."""
    with suppress(OSError, ValueError), open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
        return (sum(ticks) - sum(ticks[_IDLE])) / os.sysconf("SC_CLK_TCK")
    return None


def crowding(busy: float, own: float, wall: float, cores: int) -> float:
    """The share of the machine that others used in ``wall`` seconds, if it had nearly nothing left to give; else 0.0. ``busy``
    and ``own`` are the seconds of CPU of all and of ourselves."""
    whole = max(wall * cores, 1e-9)
    return max(0.0, busy - own) / whole if busy > 0.9 * whole else 0.0


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
