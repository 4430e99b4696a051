#!/usr/bin/env python3
"""How fast Python functions are called: manyhands beside its peers, interleaved in one run.

    scripts/bench/functions.py                      the whole table (about 2 minutes)
    scripts/bench/functions.py --rounds 3 --part 100us
    scripts/bench/functions.py --markdown docs/bench-functions.md

Every figure is one whole batch on two worker processes, made and ended for it. In every round each peer runs once, in turn; the
table shows medians, and ratios to `multiprocessing.Pool` are medians of the ratios round by round. manyhands journals every job
(twice, with fsync), keeps its output apart, and survives `kill -9`; the others do none of it. All use forkserver.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from manyhands import run_batch

WORKERS = 2


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


def length(data: bytes) -> int:
    """How much was sent."""
    return len(data)


def ours(function: Callable[[Any], Any], inputs: list[Any]) -> None:
    """As a program calls it."""
    with tempfile.TemporaryDirectory() as state:
        count = sum(1 for _ in run_batch(function, inputs, jobs=WORKERS, state_dir=state))
    assert count == len(inputs)


def pool(function: Callable[[Any], Any], inputs: list[Any]) -> None:
    """`multiprocessing.Pool`, with the chunks that its own `map` would choose."""
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as workers:
        chunk = max(1, len(inputs) // (WORKERS * 4))
        assert sum(1 for _ in workers.imap_unordered(function, inputs, chunksize=chunk)) == len(inputs)


def executor(function: Callable[[Any], Any], inputs: list[Any]) -> None:
    """`ProcessPoolExecutor.map` with the same chunks."""
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as workers:
        chunk = max(1, len(inputs) // (WORKERS * 4))
        assert sum(1 for _ in workers.map(function, inputs, chunksize=chunk)) == len(inputs)


def with_joblib(function: Callable[[Any], Any], inputs: list[Any]) -> None:
    """joblib, which chooses its batches by itself."""
    from joblib import Parallel, delayed

    assert len(Parallel(WORKERS)(delayed(function)(one) for one in inputs)) == len(inputs)


def with_mpire(function: Callable[[Any], Any], inputs: list[Any]) -> None:
    """mpire, with its own chunks."""
    from mpire import WorkerPool

    with WorkerPool(WORKERS, start_method="forkserver") as workers:
        assert sum(1 for _ in workers.imap_unordered(function, inputs)) == len(inputs)


PEERS: dict[str, Callable[[Callable[[Any], Any], list[Any]], None]] = {
    "manyhands": ours, "multiprocessing.Pool": pool, "ProcessPoolExecutor": executor, "joblib": with_joblib, "mpire": with_mpire,
}  # fmt: skip


def parts() -> dict[str, tuple[str, Callable[[Any], Any], list[Any]]]:
    """What is measured: name -> (title, function, inputs)."""
    return {
        "nothing": ("100,000 jobs that do nothing", nothing, list(range(100_000))),
        "100us": ("20,000 jobs of 100 us", spin, list(range(20_000))),
        "5ms": ("1,000 jobs of 5 ms", spin_longer, list(range(1_000))),
        "2KB": ("5,000 arguments of 2 KB", length, [bytes(2_000)] * 5_000),
        "10MB": ("20 arguments of 10 MB", length, [bytes(10_000_000)] * 20),
    }


def measure(function: Callable[[Any], Any], inputs: list[Any], rounds: int) -> list[str]:
    """The rows of one table."""
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    for _ in range(rounds):
        for name, run in PEERS.items():
            began = time.perf_counter()
            try:
                run(function, inputs)
            except ImportError:
                continue
            times[name].append(time.perf_counter() - began)
    rows = ["| who | seconds | per job | ratio to Pool |", "|---|---|---|---|"]
    for name, found in times.items():
        if found:
            ratio = statistics.median(
                one / other for one, other in zip(found, times["multiprocessing.Pool"], strict=True)
            )
            middle = statistics.median(found)
            rows.append(f"| {name} | {middle:.3f} | {middle / len(inputs) * 1e6:,.1f} us | {ratio:.2f} |")
    return rows


def main() -> None:
    """Measure what was asked for, print it, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", action="append", choices=list(parts()))
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    asked = parser.parse_args()
    lines = [
        "# Functions on two worker processes", "",
        f"`scripts/bench/functions.py {' '.join(sys.argv[1:])}`, Python {platform.python_version()}, {os.cpu_count()} cores. "
        "Medians; ratios are medians of the ratios round by round. manyhands journals every job twice, with fsync, keeps its output "
        "apart and survives `kill -9`; the others do none of it.",
    ]  # fmt: skip
    for name, (title, function, inputs) in parts().items():
        if not asked.part or name in asked.part:
            lines += ["", f"## {title}", "", *measure(function, inputs, asked.rounds)]
            print("\n".join(lines[-len(PEERS) - 5 :]), flush=True)
    if asked.markdown:
        asked.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
