"""Demonstrates fork with real processes.

fork(2) is called once and returns twice. The report has, for each child, what both sides saw, so that it can be checked.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass

MOST_CHILDREN: Final = 64


@dataclass(frozen=True, slots=True)
class ForkEvent:
    """One thing that one side saw. ``returned`` is what fork returned there; ``elapsed`` seconds since the start."""

    who: str
    pid: int
    ppid: int
    returned: int
    text: str
    elapsed: float


@dataclass(frozen=True, slots=True)
class ForkReport:
    """The result of a demonstration. ``exits``: the exit status of each child by its pid."""

    parent: int
    exits: dict[int, int]
    parents_seen: dict[int, int]
    """The parent that each child saw, by the child's pid."""

    @property
    def as_expected(self) -> bool:
        """Whether every child saw this process as its parent, and every one was reaped."""
        return set(self.parents_seen) == set(self.exits) and set(self.parents_seen.values()) <= {self.parent}


def fork_demo(*, children: int = 1, exit_code: int = 0, emit: Callable[[ForkEvent], None] = lambda _: None) -> ForkReport:
    """Fork ``children`` times; each child reports over a pipe, and ends with ``exit_code``; all are reaped.

    Raises UsageError if the system has no fork, for invalid numbers, and if this process has other threads: the child has only the
    thread that forks, and a lock that another thread held stays locked (fork(2)).
    """
    if not hasattr(os, "fork"):
        raise UsageError("this system has no fork; use spawn instead")
    if not 1 <= children <= MOST_CHILDREN:
        raise UsageError(f"--children {children}: expected 1 to {MOST_CHILDREN}")
    if not 0 <= exit_code <= 255:
        raise UsageError(f"--exit-code {exit_code}: expected 0 to 255")
    if threading.active_count() > 1:
        raise UsageError("other threads are running here: to fork now could leave their locks locked in the child")
    began = time.monotonic()
    exits: dict[int, int] = {}
    parents: dict[int, int] = {}
    for _ in range(children):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_the_child(writing, pid, began, exit_code)
        os.close(writing)
        emit(ForkEvent("parent", os.getpid(), os.getppid(), pid, f"fork returned {pid}: I am the parent", _since(began)))
        with open(reading, "rb") as pipe:
            for line in pipe:
                seen = ForkEvent(**json.loads(line))
                parents[seen.pid] = seen.ppid
                emit(seen)
        _, status = os.waitpid(pid, 0)
        exits[pid] = os.waitstatus_to_exitcode(status)
        text = f"child {pid} has ended with exit status {exits[pid]} and is reaped"
        emit(ForkEvent("parent", os.getpid(), os.getppid(), pid, text, _since(began)))
    return ForkReport(os.getpid(), exits, parents)


def _be_the_child(writing: int, returned: int, began: float, exit_code: int) -> None:
    """Report from the child and exit; whatever happens, the child must not continue its parent's work."""
    try:
        text = f"fork returned {returned}: I am the child, and my parent is {os.getppid()}"
        event = ForkEvent("child", os.getpid(), os.getppid(), returned, text, _since(began))
        os.write(writing, json.dumps(asdict(event)).encode() + b"\n")
    finally:
        os._exit(exit_code)


def _since(began: float) -> float:
    return time.monotonic() - began
