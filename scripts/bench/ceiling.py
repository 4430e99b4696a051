#!/usr/bin/env python3
"""What one coordinator can do: the engine with its journal, and a cluster of ten thousand slots that takes no time at all.

    scripts/bench/ceiling.py                              1,000,000 jobs on 10,000 slots (about a minute)
    scripts/bench/ceiling.py --jobs 100000 --slots 1000
    scripts/bench/ceiling.py --markdown FILE

The slots are simulated: an attempt ends as soon as it was given, 200 at a time, as they would arrive in 10 ms from 10,000 slots whose jobs
take half a second. Everything else is real: each job has a number, a key, the host that it ran on, and two rows in the journal. So this is the bound for every backend that is past one machine; what that costs itself (a frame, a message) comes on top.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.core.events import Finished
from manyhands.core.job import Arg, Attempt, Ending, Job, Values
from manyhands.core.limits import Limits
from manyhands.engine.loop import Engine
from manyhands.storage.journal import Journal

TOGETHER = 200
"""Ends that arrive at once."""
HOSTS = [f"node{number:03}" for number in range(100)]


class Cluster:
    """A `manyhands.backends.protocol.Backend` on which every attempt has ended when somebody asks."""

    name, can_stop, reports_start, ahead = "simulated", True, True, 0

    def __init__(self) -> None:
        self._running: deque[Attempt] = deque()
        self.most = 0
        """Attempts that it had at once."""

    def start(self, attempt: Attempt) -> None:
        self._running.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:  # noqa: ARG002 - there is never anything to wait for
        self.most = max(self.most, len(self._running))
        now, began = time.monotonic(), time.time()
        found: list[Report] = []
        for _ in range(min(TOGETHER, len(self._running))):
            attempt = self._running.popleft()
            host, slot = HOSTS[attempt.job.number % 100], attempt.job.number % 100 + 1
            found.append(Started(attempt, now, slot, host=host))
            found.append(Ended(attempt, now, Ending(0, started=began, wall=0.5, slot=slot, host=host)))
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """There is nothing that has not begun."""

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """All ends by itself."""

    def pause(self, paused: bool) -> None:
        """It does not last long enough."""

    def wake(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """There is nothing."""


def jobs(count: int) -> Iterator[tuple[Job, int]]:
    """As a batch of commands would give them out."""
    for number in range(1, count + 1):
        value = b"/data/part-%09d" % number
        yield Job(number, blake2b(value, digest_size=16).digest(), (value,)), 0


def argv(values: Values, number: int) -> tuple[Arg, ...]:  # noqa: ARG001
    """The command of a job."""
    return (b"work", *values)


def measured(count: int, slots: int) -> tuple[int, dict[str, str]]:
    """How many jobs were done, and the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        journal, cluster = Journal.create(Path(folder) / "journal.db"), Cluster()
        engine = Engine(
            jobs=jobs(count),
            argv=argv,
            backend=cluster,
            journal=journal,
            limits=Limits(jobs=slots),
            begins=False,
        )
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        done = sum(isinstance(event, Finished) for event in engine.run())
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        journal.close()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    assert (done, cluster.most) == (count, min(slots, count))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, {
        "jobs a second": f"{done / wall:,.0f}",
        "CPU of the coordinator, us a job": f"{cpu / done * 1e6:.1f}",
        "memory, MiB at its peak": f"{after.ru_maxrss / 1024:,.0f}",
        "journal, bytes a job": f"{size / done:,.0f}",
        "100,000,000 jobs would take, hours": f"{1e8 * wall / done / 3600:.1f}",
        "and their journal, GB": f"{1e8 * size / done / 1e9:.0f}",
    }


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--slots", type=int, default=10_000)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file")
    given = parser.parse_args()
    done, rows = measured(given.jobs, given.slots)
    lines = [
        f"`{' '.join(['scripts/bench/ceiling.py', *sys.argv[1:]])}`: {done:,} jobs on {given.slots:,} simulated slots, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
