"""Seconds of CPU of this process, of all that it has started, and of a server: on a busy machine they say more than the clock. Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Seconds(NamedTuple):
    """What was used until a moment, or between two."""

    here: float
    below: float
    server: float

    def since(self, before: Seconds) -> Seconds:
        """The difference."""
        return Seconds(*(after - one for after, one in zip(self, before, strict=True)))


def used(server: int | None = None) -> Seconds:
    """Until now; ``server`` is the pid of one that somebody else has started."""
    parents: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(entry.parent.name)] = (
            int(fields[1]),
            _TICK * sum(map(int, fields[11:15])),
        )  # with children that were waited for
    ours, more = {os.getpid()}, {os.getpid()}
    while more:
        more = {pid for pid, (parent, _) in parents.items() if parent in more}
        ours |= more
    below = sum(parents[pid][1] for pid in ours - {os.getpid()} if pid in parents)
    times = os.times()
    return Seconds(
        times.user + times.system,
        below + times.children_user + times.children_system,
        parents.get(server or 0, (0, 0.0))[1],
    )
