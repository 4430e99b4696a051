"""A small process that outlives a killed coordinator just long enough to end its workers and all that they started.

    coordinator --"+ PID START", "- PID", "folder PATH"--> watchdog      end of the pipe: kill, clean up, exit

It holds the run's lock meanwhile, so a process that gets the lock knows that nothing of the run is alive. It is a process of its own,
because a thread in each worker would have to wait for the interpreter's lock, and would disturb jobs that fork.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from manyhands.core.lean import Final, signal
from manyhands.posix import linux

_GRACE: Final = 0.5
"""Seconds that workers have to end by themselves: all processes should be gone after one second in all."""


def main(token: str) -> None:
    """Listen on standard input until it ends."""
    workers: dict[int, int] = {}
    folders: set[str] = set()
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "+":
            pid, start = map(int, rest.split())
            workers[pid] = start
        elif verb == "-":
            workers.pop(int(rest), None)
        else:
            folders.add(rest)
    for pid, start in workers.items():  # raises an exception inside the job, which can then clean up
        linux.send_signal_exact(pid, start, signal.SIGHUP)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and any(linux.process_alive(*worker) for worker in workers.items()):
        time.sleep(0.01)
    end_trees(workers, b"MH_WORKER=" + token.encode() + b".", prefix=True)
    if folders:
        import shutil

        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def end_trees(workers: Mapping[int, int], tag: bytes | None = None, *, prefix: bool = False) -> int:
    """Kill workers, given as {pid: start}, their descendants and sessions, and processes with ``tag``; return how many.

    A pid that has been reused by another process is not signalled. Raises TimeoutError if a process cannot be killed.
    """
    look = linux.Look()
    there = look.found
    ours = {pid for pid, start in workers.items() if pid not in there or there[pid].start == start}
    below = {(stat.pid, stat.start) for stat in look.below(ours & there.keys())}
    first, me = min(workers.values(), default=0), os.getpid()

    def is_theirs(stat: linux.ProcStat) -> bool:
        if stat.pid == me or stat.start < first:  # what they have started is younger; most processes are older
            return False
        return (
            stat.session in ours
            or (stat.pid in ours and stat.start == workers[stat.pid])
            or (stat.pid, stat.start) in below
            or (tag is not None and linux.has_tag(stat.pid, tag, prefix=prefix))
        )

    return linux.end_all(is_theirs, seen=look)
