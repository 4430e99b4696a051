"""The global interpreter lock: what it means for work that computes, and what for work that waits."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Barrier, get_context

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, expect, most_at_once


def compute(number: int) -> float:
    """Some work for a core; returns the CPU seconds that it took."""
    began = time.thread_time()
    with doing("computes {number}", number=number):
        sum(range(int(scaled(20_000_000))))
    return time.thread_time() - began


def wait(number: int) -> float:
    with doing("waits {number}", number=number):
        time.sleep(max(scaled(0.4), 0.1))  # at any --scale long enough for all to have begun
    return 0.0


def has_gil() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def executor_of(kind: str, workers: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers, initializer=threading.Barrier(workers).wait)
    return ProcessPoolExecutor(workers, mp_context=get_context(), initializer=Barrier(workers).wait)


def measure(work: Callable[[int], float], kind: str, workers: int) -> None:
    with executor_of(kind, workers) as executor:
        list(executor.map(abs, range(workers)))  # all of them are there, or the barrier would hold
        began = time.perf_counter()
        cpu = sum(executor.map(work, range(workers)))
        took = time.perf_counter() - began
    tell(
        "{work:<7} {workers} by {kind:<9} {took:.2f} s {bar}",
        work=work.__name__,
        workers=workers,
        kind=kind,
        took=took,
        bar="█" * min(24, round(took / scaled(1) * 12)),
        cpu=cpu,
    )


def gil(workers: int) -> None:
    """The same amount of work for each: a flat row of bars is a good one."""
    tell(
        "{version}, {cores} cores, the GIL is {state}",
        version=sys.version.split()[0],
        cores=os.cpu_count(),
        state="on" if has_gil() else "off",
        gil=has_gil(),
    )
    for work in (compute, wait):
        for kind in ("threads", "processes"):
            for number in range(1, workers + 1):
                measure(work, kind, number)


def gil_seen(seen: Seen) -> str:
    rows = {(one.data["work"], one.data["kind"], one.data["workers"]): one.data for one in seen.all("{work")}
    most = seen.options["workers"]
    expect(len(rows) == 4 * most, f"{len(rows)} of {4 * most} were measured")
    for kind in ("threads", "processes"):
        last = max(one.at for one in seen.all("{work") if one.data["work"] == "wait" and one.data["kind"] == kind)
        spans = [one for one in seen.spans("waits") if one.end <= last][-most:]
        expect(most_at_once(spans) == most, f"{kind} did not wait at the same time")
    threads, processes = (rows["compute", kind, most] for kind in ("threads", "processes"))
    used = threads["cpu"] / threads["took"]
    if seen.one("{version}").data["gil"]:
        expect(used < 1.3, f"threads have used {used:.2f} cores, although there is a GIL")
    waiting = rows["wait", "threads", most]["took"] / rows["wait", "threads", 1]["took"]
    return seen.timed(
        f"{most} computations by threads used {used:.2f} cores, by processes {processes['cpu'] / processes['took']:.2f}; "
        f"{most} waits by threads took {waiting:.2f} times as long as one"
    )
