"""Waiting for a CPU is told from waiting for something else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from conftest import wait_for
from manyhands.posix.cpu_wait import Crowding, busy_seconds, crowding, is_crowded, queued_seconds, waiting_share

needs_schedstat = pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the kernel does not tell")

CROWDED = """
import os, subprocess, sys, threading, time
from manyhands.posix.cpu_wait import queued_seconds, waiting_share
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
try:
    time.sleep(0.3)
    me, began = threading.get_native_id(), time.monotonic()
    cpu, queued = time.thread_time(), queued_seconds(me)
    WORK
    wall, cpu, queued = time.monotonic() - began, time.thread_time() - cpu, queued_seconds(me) - queued
finally:
    for one in others:
        one.kill()
print(1 - cpu / wall, waiting_share(wall, cpu, queued))
"""


def shares(work: str, environment: dict[str, str]) -> tuple[float, float]:
    """(wall time without CPU, share that was waiting) of some work beside three busy loops on the same CPU."""
    done = subprocess.run(
        [sys.executable, "-c", CROWDED.replace("WORK", work)], env=environment, capture_output=True, text=True, check=True
    )
    without, waiting = map(float, done.stdout.split())
    return without, waiting


@needs_schedstat
def test_computing_on_a_busy_machine_is_not_waiting(environment: dict[str, str]) -> None:
    """Three quarters of the time it has no CPU, and waits for nothing else."""
    without, waiting = shares("while time.thread_time() - cpu < 0.5: pass", environment)
    assert without > 0.4
    assert waiting < 0.2


@needs_schedstat
def test_sleeping_on_a_busy_machine_is_waiting(environment: dict[str, str]) -> None:
    """However busy the others are."""
    assert shares("time.sleep(1)", environment)[1] > 0.6


@needs_schedstat
def test_all_threads_count_together() -> None:
    """A thread that has ended is no longer known; one that is not there has no time."""
    assert queued_seconds() >= queued_seconds(threading.get_native_id()) >= 0
    assert queued_seconds(1 << 22) == 0.0


def test_what_others_use_counts_when_nothing_is_left() -> None:
    """Half of a full machine; nothing of one that has room."""
    assert crowding(busy=20.0, own=10.0, wall=10.0, cores=2) == 0.5
    assert crowding(busy=12.0, own=2.0, wall=10.0, cores=2) == 0.0
    assert is_crowded(0.5) and not is_crowded(0.0)
    assert waiting_share(10.0, 2.0, 3.0) == 0.5
    assert waiting_share(10.0, 9.0, 3.0) == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_what_we_have_not_waited_for_is_other_work() -> None:
    """As many loops as CPUs leave nothing."""
    crowding = Crowding()
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        wait_for(lambda: is_crowded(crowding.measured()))
    finally:
        for one in loops:
            one.kill()
            one.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_work_makes_the_machine_busy() -> None:
    """By as many seconds at least as we have used, to the tick."""
    before, began = busy_seconds(), time.process_time()
    while time.process_time() - began < 0.3:
        pass
    after = busy_seconds()
    assert before is not None
    assert after is not None
    assert after - before >= 0.2
