"""A batch on a cluster: a scheduler, and workers that could be on any machine. One of them is killed, and nothing is missing."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.primes import is_prime
from manyhands.tour.scenes.servers import serving
from manyhands.tour.seen import Seen, expect

WORKERS = 3
DASK = [sys.executable, "-m", "dask"]


def check(number: int, unlucky: bool = False) -> bool:
    """Whether it is prime; ``unlucky``: say where that is done, and wait for what comes."""
    with doing("checks {number}", number=number):
        time.sleep(scaled(0.3))
        if unlucky:
            from distributed import Event, Queue

            Queue("here").put(os.getpid())
            Event("go on").wait()
        return is_prime(number)


@contextmanager
def dask_cluster() -> Iterator[Any]:
    """What one would start by hand on several machines, here all on 127.0.0.1; gives a client."""
    from distributed import Client

    with tempfile.TemporaryDirectory(prefix="dask-") as folder, ExitStack() as stack:
        note = Path(folder, "scheduler.json")
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(note)]
        place: dict[str, Any] = {"cwd": folder, "env": {"DASK_TEMPORARY_DIRECTORY": folder}}
        stack.enter_context(serving(DASK + scheduler, lambda _: is_written(note), **place))
        address = json.loads(note.read_text())["address"]
        worker = ["worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        for _ in range(WORKERS):
            stack.enter_context(serving(DASK + worker, lambda _: True, **place))
        client = stack.enter_context(Client(address))
        client.wait_for_workers(WORKERS)
        yield client


def is_written(note: Path) -> bool:
    """Whether the scheduler has noted where it is."""
    try:
        return bool(json.loads(note.read_text()))
    except (FileNotFoundError, ValueError):
        return False


def on_the_cluster(numbers: list[int]) -> list[bool]:
    from distributed import Event, Queue, wait

    with dask_cluster() as client:
        pids = sorted(client.run(os.getpid).values())
        tell("a scheduler, and {count} workers: {pids}", count=len(pids), pids=pids)
        unlucky = numbers[len(numbers) // 2]
        futures = [client.submit(check, number, number == unlucky) for number in numbers]
        victim = Queue("here").get()
        os.kill(victim, signal.SIGKILL)
        tell("worker {victim} is killed in the middle of {number}", victim=victim, number=unlucky)
        Event("go on").set()
        wait([futures[len(numbers) // 2]])  # then the client has heard, too, what was lost with the worker
        found: list[bool] = client.gather(futures)
        tell("left are the workers {pids}", pids=sorted(client.run(os.getpid).values()))
        return found


def cluster(tasks: int) -> None:
    """The same function, by processes here, then by workers that a scheduler feeds; if one dies, the scheduler asks another."""
    numbers = [101 + 2 * place for place in range(tasks)]
    with ProcessPoolExecutor(WORKERS) as pool:
        here = list(pool.map(check, numbers))
    tell("processes here: {primes} numbers are prime", primes=sum(here), found=here)
    there = on_the_cluster(numbers)
    tell("the cluster: {primes} numbers are prime", primes=sum(there), found=there)


def cluster_seen(seen: Seen) -> str:
    here, there = (seen.one(who).data["found"] for who in ("processes here", "the cluster"))
    expect(here == there and len(there) == seen.options["tasks"], f"they have found {here} and {there}")
    pids = seen.one("a scheduler, and").data["pids"]
    expect(len(pids) == WORKERS, f"there were {len(pids)} workers")
    killed = seen.one("worker {victim} is killed")
    victim, number = killed.data["victim"], killed.data["number"]
    left = seen.one("left are").data["pids"]
    expect(left == [pid for pid in pids if pid != victim], f"left were {left}")
    done = [one for one in seen.spans("checks") if one.event.pid in pids]
    expect({one.event.data["number"] for one in done} >= set(numbers_of(seen)), "not all was done on the cluster")
    again = [one for one in done if one.event.data["number"] == number]
    expect(
        again and all(one.event.pid != victim and one.end > killed.at for one in again), f"nobody has done {number} again"
    )
    more = len(done) - len(there)
    return (
        f"{WORKERS} processes here and {WORKERS} workers found the same; worker {victim} was killed in the middle of {number}, "
        f"which {again[0].event.pid} did instead" + f", and {more} more whose results were lost with it" * bool(more)
    )


def numbers_of(seen: Seen) -> list[int]:
    begun = [one for one in seen.events if one.kind == "begin"]
    return sorted({one.data["number"] for one in begun})
