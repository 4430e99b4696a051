#!/usr/bin/env python3
"""How fast Python functions are called: manyhands beside its peers, interleaved in one run.

    scripts/bench/functions.py                      the whole table (about 8 minutes)
    scripts/bench/functions.py --rounds 3 --part 100us
    scripts/bench/functions.py --markdown docs/bench-functions.md

Every figure is one whole batch on two worker processes, made and ended for it (joblib keeps its workers from round to round). In
every round each peer runs once, in turn; the table shows medians, and ratios to `multiprocessing.Pool` are medians of the ratios
round by round. `run_batch` journals every job (twice, with fsync), keeps its output apart, and survives `kill -9`; "bare SQLite"
writes the same rows in the same groups and does nothing else; `map_batch` and the others keep no record. All use forkserver.
Memory is the peak of the program that hands out the jobs, which pulls its inputs from a generator; each is measured once, in a
process of its own.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cpu_seconds import used  # type: ignore[import-not-found]  # it stands beside this file

from manyhands import map_batch, run_batch
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.storage.journal import Journal
from manyhands.tour.scenes.primes import NUMBERS, is_prime

WORKERS = 2
GROUP = 2000
"""Rows that our engine commits together when jobs do nothing."""


def nothing(_: object) -> None:
    """A job that does nothing."""


def spin(_: object) -> None:
    """100 microseconds of work."""
    end = time.perf_counter() + 0.0001
    while time.perf_counter() < end:
        pass


def spin_longer(_: object) -> None:
    """5 milliseconds of work."""
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass


def length(data: Any) -> int:
    """How much was sent."""
    return len(data)


Inputs = list[Any] | range
Peer = Callable[[Callable[[Any], Any], Iterable[Any], int], None]


def journaled(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """As a program calls it that wants to know what became of each job."""
    assert sum(1 for _ in run_batch(function, inputs, jobs=WORKERS)) == count


def mapped(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """As a program calls it that wants the values only."""
    assert sum(1 for _ in map_batch(function, inputs, jobs=WORKERS, ordered=False)) == count


def sqlite(_: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """The rows alone, made and written in one process."""
    journal = Journal.create(Path(os.environ["XDG_STATE_HOME"]) / "journal.db")
    attempts: list[Attempt] = []
    for number, _given in enumerate(inputs, 1):
        attempts.append(Attempt(Job(number, b"k" * 16, (b"%d" % number,)), 1, ()))
        if len(attempts) == GROUP or number == count:
            for one in attempts:
                journal.began(one)
            journal.commit()
            for one in attempts:
                journal.ended(Outcome(one, Status.OK, Ending(0, started=1.0, wall=0.1, result=b"null")))
            journal.commit()
            attempts.clear()
    journal.close()


def pool(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """`multiprocessing.Pool`, with the chunks that its own `map` would choose."""
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as workers:
        chunk = max(1, count // (WORKERS * 4))
        assert sum(1 for _ in workers.imap_unordered(function, inputs, chunksize=chunk)) == count


def executor(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """`ProcessPoolExecutor.map` with the same chunks."""
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as workers:
        assert sum(1 for _ in workers.map(function, inputs, chunksize=max(1, count // (WORKERS * 4)))) == count


def with_joblib(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """joblib, which chooses its batches by itself."""
    from joblib import Parallel, delayed

    assert len(Parallel(WORKERS)(delayed(function)(one) for one in inputs)) == count


def with_mpire(function: Callable[[Any], Any], inputs: Iterable[Any], count: int) -> None:
    """mpire, with its own chunks."""
    from mpire import WorkerPool

    with WorkerPool(WORKERS, start_method="forkserver") as workers:
        assert sum(1 for _ in workers.imap_unordered(function, inputs, iterable_len=count)) == count


PEERS: dict[str, Peer] = {
    "manyhands map_batch": mapped,
    "manyhands run_batch": journaled,
    "bare SQLite": sqlite,
    "multiprocessing.Pool": pool,
    "ProcessPoolExecutor": executor,
    "joblib": with_joblib,
    "mpire": with_mpire,
}


def parts() -> dict[str, tuple[str, Callable[[Any], Any], Inputs]]:
    """What is measured: name -> (title, function, inputs)."""
    found: dict[str, tuple[str, Callable[[Any], Any], Inputs]] = {
        "8M": ("8,000,000 jobs that do nothing", nothing, range(8_000_000)),
        "million": ("1,000,000 jobs that do nothing", nothing, range(1_000_000)),
        "nothing": ("100,000 jobs that do nothing", nothing, range(100_000)),
        "ten": ("10 jobs that do nothing", nothing, range(10)),
        "100us": ("20,000 jobs of 100 us", spin, range(20_000)),
        "5ms": ("1,000 jobs of 5 ms", spin_longer, range(1_000)),
        "2KB": ("5,000 arguments of 2 KB", length, [bytes(2_000)] * 5_000),
        "10MB": ("20 arguments of 10 MB", length, [bytes(10_000_000)] * 20),
    }
    try:
        import numpy as np
    except ImportError:
        return found
    return found | {"arrays": ("20 numpy arrays of 10 MB", length, [np.zeros(1_250_000) for _ in range(20)])}


LEFT_OUT = {
    "8M": PEERS.keys() - {"manyhands map_batch", "multiprocessing.Pool"},
    "million": {"manyhands run_batch", "bare SQLite"},
    **{name: {"bare SQLite"} for name in ("ten", "100us", "5ms", "2KB", "10MB", "arrays")},
}
"""What would take minutes and tell nothing new."""


@contextmanager
def state_of_its_own() -> Iterator[None]:
    """A folder for what is kept. It is removed when the clock has been read, because a program keeps its runs."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        yield


class Taken(NamedTuple):
    """What one batch takes, in seconds: by the clock, of CPU in the program, and of CPU in all processes that it starts."""

    wall: float
    here: float
    below: float


def taken(run: Peer, function: Callable[[Any], Any], inputs: Inputs) -> Taken:
    """One batch."""
    with state_of_its_own():
        before, began = used(), time.perf_counter()
        run(function, inputs, len(inputs))
        wall = time.perf_counter() - began
        cpu = used().since(before)
    return Taken(wall, cpu.here, cpu.below)


def measure(name: str, function: Callable[[Any], Any], inputs: Inputs, rounds: int) -> list[str]:
    """The rows of one table."""
    peers = {who: run for who, run in PEERS.items() if who not in LEFT_OUT.get(name, ())}
    times: dict[str, list[Taken]] = {who: [] for who in peers}
    for _ in range(rounds):
        for who, run in peers.items():
            with suppress(ImportError):
                times[who].append(taken(run, function, inputs))
    rows = [
        "| who | seconds | per job | ratio to Pool | CPU per job, program | CPU per job, below it |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for who, found in times.items():
        if found:
            ratio = statistics.median(
                one.wall / other.wall for one, other in zip(found, times["multiprocessing.Pool"], strict=True)
            )
            middle = Taken(*map(statistics.median, zip(*found, strict=True)))
            each = " | ".join(f"{one / len(inputs) * 1e6:,.2f} us" for one in middle[1:])
            rows.append(
                f"| {who} | {middle.wall:.3f} | {middle.wall / len(inputs) * 1e6:,.2f} us | {ratio:.2f} | {each} |"
            )
    return rows


def generated(count: int) -> Iterator[int]:
    """Inputs that nobody holds."""
    yield from range(count)


def memory(counts: tuple[int, ...] = (100_000, 1_000_000)) -> list[str]:
    """A table of peak memory by the number of jobs."""
    rows = [
        "",
        "## Memory of who hands out jobs that do nothing",
        "",
        "| who | " + " | ".join(f"{n:,} jobs" for n in counts) + " |",
    ]
    rows.append("|---" * (len(counts) + 1) + "|")
    for who in PEERS:
        if who in ("manyhands run_batch", "bare SQLite"):
            continue
        cells = []
        for count in counts:
            done = subprocess.run(
                [sys.executable, __file__, "--peak", who, str(count)], capture_output=True, text=True, check=False
            )
            cells.append(f"{int(done.stdout) / 2**20:,.0f} MiB" if done.returncode == 0 else "not installed")
        rows.append(f"| {who} | " + " | ".join(cells) + " |")
    return rows


def peak(who: str, count: int) -> None:
    """Print the peak memory in bytes of one batch."""
    with state_of_its_own():
        PEERS[who](nothing, generated(count), count)
    status = Path("/proc/self/status").read_text()  # getrusage(2) would begin with the peak of whoever started us
    print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)


def primes() -> list[str]:
    """The 20 numbers on two workers, in their order and the longest first, against the bound of any order."""
    with tempfile.TemporaryDirectory() as state:
        walls: list[float] = []
        times = []
        for order in ("input", "longest"):
            results = run_batch(is_prime, NUMBERS, jobs=WORKERS, order=order, state_dir=state)
            walls = [one.wall for one in results]
            assert results.summary is not None
            times.append((order, results.summary.wall, longest_first(walls)))
    rows = [
        "",
        "## The 20 primes of the tour on two workers",
        "",
        "| order | seconds | longest-first bound | ratio |",
        "|---|---|---|---|",
    ]
    return rows + [f"| {order} | {wall:.2f} | {bound:.2f} | {wall / bound:.3f} |" for order, wall, bound in times]


WAITS = ("poll", "take", "_listen", "get", "wait", "acquire", "select", "next")
"""Functions in which a thread does nothing, or waits for the interpreter's lock."""


def profile() -> list[str]:
    """Where the time of `run_batch` goes, by py-spy: the share of each module, of the samples in which a thread of the coordinator works."""
    rows = [
        "",
        "## Where the time of `run_batch` goes: 300,000 jobs that do nothing",
        "",
        "| module | share |",
        "|---|---:|",
    ]
    if shutil.which("py-spy") is None:
        return [*rows, "| (py-spy is not installed) | |"]
    shares: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples"
        command = [sys.executable, __file__, "--peak", "manyhands run_batch", "300000"]
        spy = ["py-spy", "record", "--rate", "500", "--format", "raw", "--output", str(file)]
        subprocess.run([*spy, "--", *command], check=True, capture_output=True)
        for line in file.read_text().splitlines():
            stack, _, number = line.rpartition(" ")
            function, _, place = stack.rpartition(";")[2].partition(" (")
            if function.rpartition(".")[2] not in WAITS:
                shares[place.partition(":")[0].removeprefix("manyhands/")] += int(number)
    whole = shares.total()
    rows += [f"| {name} | {100 * number / whole:.0f}% |" for name, number in shares.most_common(16)]
    return [*rows, f"| {len(shares) - 16} others | {100 * sum(n for _, n in shares.most_common()[16:]) / whole:.0f}% |"]


FLOORS = """## Why `run_batch` is not nearer to Pool

- *All*: each batch pays once, as the table of ten jobs shows: for workers that lead sessions of their own, for a watchdog that ends them if we
  are killed (it is an interpreter of its own: with `cat` in its place `map_batch` takes 4 ms less), for a look for what jobs have left
  behind, and for the journal's files. In 1,000,000 jobs `map_batch` makes up for that, in 100,000 it does not.
- *Jobs that do nothing*: "bare SQLite" is what two durable rows cost. The rest is Python in the coordinator, which numbers, keys, hands out,
  judges and yields each job; the table above shows that no part of it stands out.
- *100 us*: both cores are busy with jobs, so each microsecond of CPU counts. 1.25 times the CPU of Pool would leave 26 us for a job, in the
  coordinator and in the worker; a job that does nothing takes more of both, by the table of 100,000. A worker restores after each job what
  it may have changed, and reads what it has printed. It has its next jobs before it is done with the last, so it does not wait.
- *2 KB*: 3 times Pool is less time than one batch and 5,000 jobs that do nothing take, by the same tables.
- *10 MB*: an argument is stored before anything begins, so that a resume has it: a pickle, a CRC-32, a SHA-256 (by which a later run knows
  the input again), and a write: four times through the memory, where Pool has one pickle and a pipe.
"""


def longest_first(walls: list[float]) -> float:
    """When the last worker would end if each took the longest job left, without any overhead."""
    ends = [0.0] * WORKERS
    for wall in sorted(walls, reverse=True):
        ends[ends.index(min(ends))] += wall
    return max(*ends, math.fsum(walls) / WORKERS)


def main() -> None:
    """Measure what was asked for, print it, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", action="append", choices=[*parts(), "memory", "primes", "profile"])
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "COUNT"), help="print the peak memory of one batch")
    asked = parser.parse_args()
    if asked.peak:
        peak(asked.peak[0], int(asked.peak[1]))
        return
    lines = [
        "# Functions on two worker processes",
        "",
        f"`scripts/bench/functions.py {' '.join(sys.argv[1:])}`, Python {platform.python_version()}, {os.cpu_count()} cores. "
        "Medians; ratios are medians of the ratios round by round. `run_batch` journals every job twice, with fsync, keeps its output "
        'apart and survives `kill -9`; "bare SQLite" writes the same rows and does nothing else; `map_batch` and the others keep no '
        "record.",
    ]
    for name, (title, function, inputs) in parts().items():
        if not asked.part or name in asked.part:
            table = ["", f"## {title}", "", *measure(name, function, inputs, asked.rounds)]
            print("\n".join(table), flush=True)
            lines += table
    for name, more in (("memory", memory), ("primes", primes), ("profile", profile)):
        if not asked.part or name in asked.part:
            table = more()
            print("\n".join(table), flush=True)
            lines += table
    lines += ["", FLOORS.strip()]
    if asked.markdown:
        asked.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
