#!/usr/bin/env python3
"""How fast one tiny command after another is dispatched: manyhands beside its peers, interleaved in one run.

    scripts/bench/dispatch.py                      the whole table (about 15 minutes)
    scripts/bench/dispatch.py --rounds 3 --part echo --part true
    scripts/bench/dispatch.py --markdown docs/bench-dispatch.md

Each figure is a whole process: started, fed, waited for. The time of a job is the slope between a small and a large number
of jobs, so that start-up is not in it (it is shown apart). In every round each peer runs once, in turn; the table shows
medians, and ratios are medians of the ratios round by round, which hold when the machine's speed drifts.

manyhands captures, orders and journals (fsync included); xargs does none of it; the others capture and order.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from manyhands import run_batch

BIN = Path(sys.executable).parent
SMALL, LARGE = 100, 2_000
LIMIT = 0.2
PARTS = ("echo", "true", "growth", "wide", "start", "list", "options", "order", "late")
POOL = """
import subprocess, sys
from concurrent.futures import ThreadPoolExecutor
def one(n):
    return subprocess.run([*sys.argv[2:], n], capture_output=True).stdout
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    for out in pool.map(one, (line.rstrip("\\n") for line in sys.stdin)):
        sys.stdout.buffer.write(out)
"""
JOBLIB = """
import subprocess, sys
from joblib import Parallel, delayed
def one(n):
    return subprocess.run([*sys.argv[2:], n], capture_output=True).stdout
if __name__ == "__main__":
    lines = (line.rstrip("\\n") for line in sys.stdin)
    for out in Parallel(n_jobs=int(sys.argv[1]), return_as="generator")(delayed(one)(line) for line in lines):
        sys.stdout.buffer.write(out)
"""


def peers(command: Sequence[str], jobs: int, scratch: Path) -> dict[str, list[str]]:
    """The command lines that run ``command N`` for every line N of stdin, for everything that is installed."""
    joblib_script = scratch / "with_joblib.py"
    joblib_script.write_text(JOBLIB)
    found = {
        "manyhands": [
            str(BIN / "manyhands"),
            "batch",
            " ".join(command) + " {}",
            "--jobs",
            str(jobs),
            "--state-dir",
            str(scratch / "state"),
        ],
        "xargs -P": ["xargs", "-n1", f"-P{jobs}", *command],
        "GNU parallel": ["parallel", "--will-cite", "-k", f"-j{jobs}", *command],
        "ThreadPoolExecutor": [sys.executable, "-c", POOL, str(jobs), *command],
        "joblib": [sys.executable, str(joblib_script), str(jobs), *command],
    }
    if not shutil.which("parallel"):
        del found["GNU parallel"]
    if not importlib.util.find_spec("joblib"):
        del found["joblib"]
    return found


def numbers(count: int, scratch: Path) -> Path:
    """A file with the numbers 1..count, one a line."""
    given = scratch / "numbers"
    given.write_text("".join(f"{n}\n" for n in range(1, count + 1)))
    return given


def seconds(argv: Sequence[str], given: Path, scratch: Path) -> float:
    """Wall time of one run over the lines of a file."""
    with given.open("rb") as stdin:
        began = time.perf_counter()
        subprocess.run(argv, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        took = time.perf_counter() - began
    shutil.rmtree(scratch / "state", ignore_errors=True)
    return took


def slopes(command: Sequence[str], jobs: int, rounds: int, scratch: Path) -> list[str]:
    """Rows of the table for one command: time per job, start-up, ratio to manyhands."""
    rows: dict[str, list[tuple[float, float]]] = {}
    everybody = peers(command, jobs, scratch)
    for number in range(rounds):
        names = list(everybody)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            # GNU parallel and joblib are slow enough to be judged by fewer jobs
            large = LARGE if name != "GNU parallel" else LARGE // 4
            small = seconds(everybody[name], numbers(SMALL, scratch), scratch)
            each = (seconds(everybody[name], numbers(large, scratch), scratch) - small) / (large - SMALL)
            rows.setdefault(name, []).append((each, small - SMALL * each))
            print(f"  round {number + 1} {name:20} {each * 1e6:8.0f} us a job", file=sys.stderr)
    ours = [slope for slope, _ in rows["manyhands"]]
    table = [
        f"| `{' '.join(command)} N` | us a job | start-up, ms | manyhands / peer |",
        "|---|---:|---:|---:|",
    ]
    for name, figures in rows.items():
        ratio = statistics.median(our / slope for our, (slope, _) in zip(ours, figures, strict=True))
        table.append(
            f"| {name} | {statistics.median(s for s, _ in figures) * 1e6:.0f} "
            f"| {statistics.median(start for _, start in figures) * 1e3:.0f} | {ratio:.2f} |"
        )
    return table


def growth(jobs: int, scratch: Path) -> list[str]:
    """Time per job and the coordinator's peak memory for growing numbers of inputs that come from a pipe.

    The time of one job alone, which is start-up, is taken off.
    """
    table = ["| jobs | us a job | peak memory of the coordinator, MiB |", "|---:|---:|---:|"]
    alone = 0.0
    for count in (1, 1_000, 10_000, 100_000):
        argv = peers(["true"], jobs, scratch)["manyhands"]
        with subprocess.Popen(["seq", str(count)], stdout=subprocess.PIPE) as numbers:
            began = time.perf_counter()
            process = subprocess.Popen(argv, stdin=numbers.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        shutil.rmtree(scratch / "state", ignore_errors=True)
        if count == 1:
            alone = took
            continue
        unit = 1 if sys.platform == "darwin" else 1024
        table.append(f"| {count:,} | {(took - alone) / count * 1e6:.0f} | {usage.ru_maxrss * unit / 2**20:.0f} |")
        print(table[-1], file=sys.stderr)
    return table


def wide(rounds: int, scratch: Path) -> list[str]:
    """1,000 x `sleep 1`, all at once."""
    figures: dict[str, list[float]] = {"manyhands": [], "xargs -P1000": []}
    for _ in range(rounds):
        given = scratch / "ones"
        given.write_text("1\n" * 1_000)
        ours = peers(["sleep"], 1_000, scratch)["manyhands"]
        for name, argv in (("manyhands", ours), ("xargs -P1000", ["xargs", "-n1", "-P1000", "sleep"])):
            with given.open("rb") as stdin:
                began = time.perf_counter()
                subprocess.run(argv, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
                figures[name].append(time.perf_counter() - began)
            shutil.rmtree(scratch / "state", ignore_errors=True)
    ratio = statistics.median(a / b for a, b in zip(figures["manyhands"], figures["xargs -P1000"], strict=True))
    table = ["| 1,000 x `sleep 1`, 1,000 at once | seconds | manyhands / peer |", "|---|---:|---:|"]
    table.append(f"| manyhands | {statistics.median(figures['manyhands']):.2f} | 1.00 |")
    return [*table, f"| xargs -P1000 | {statistics.median(figures['xargs -P1000']):.2f} | {ratio:.2f} |"]


def starting(rounds: int, scratch: Path) -> list[str]:
    """One job, from the command to its end, beside an interpreter that does nothing."""
    state = ["--state-dir", str(scratch / "state")]
    rivals = {
        "manyhands batch true": [str(BIN / "manyhands"), "batch", "true", *state, "--", "1"],
        "manyhands batch.call": [str(BIN / "manyhands"), "batch.call", "math:sqrt", *state, "--type", "int", "--", "4"],
        "python3 -c pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds * 5):
        for name, argv in rivals.items():
            began = time.perf_counter()
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - began)
    rows = [f"| {name} | {statistics.median(found) * 1e3:.0f} |" for name, found in times.items()]
    return ["| one job | ms |", "|---|---:|", *rows]


def listing(rounds: int, scratch: Path) -> list[str]:
    """`invoke -l` here beside `invoke -l` with one empty task."""
    empty = scratch / "empty"
    empty.mkdir(exist_ok=True)
    (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(ctx):\n    pass\n")
    here = Path(__file__).parents[2]
    times: dict[Path, list[float]] = {here: [], empty: []}
    for _ in range(rounds * 5):
        for folder in times:
            began = time.perf_counter()
            subprocess.run([BIN / "invoke", "-l"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
            times[folder].append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(times[here], times[empty], strict=True))
    table = ["| `invoke -l` | ms | ratio |", "|---|---:|---:|"]
    table.append(f"| manyhands | {statistics.median(times[here]) * 1e3:.0f} | {ratio:.2f} |")
    return [*table, f"| one empty task | {statistics.median(times[empty]) * 1e3:.0f} | 1.00 |"]


def options(jobs: int, rounds: int, scratch: Path) -> list[str]:
    """The options that give the coordinator something to do for every job, beside none."""
    plain = peers(["true"], jobs, scratch)["manyhands"]
    rivals = {"no option": plain} | {
        " ".join(more): [*plain, *more]
        for more in (["--timeout", "30"], ["--timeout", "10000%"], ["--jobs", "auto"], ["--no-keep-order"])
    }
    table = ["| `true N` with | us a job | ratio |", "|---|---:|---:|"]
    return table + compared(rivals, lambda argv: slope(argv, scratch) * 1e6, rounds, "{:.0f}")


def slow_head(jobs: int, rounds: int, scratch: Path) -> list[str]:
    """Results in order, of which the first comes last."""
    (scratch / "head").write_text("2\n" + "0\n" * LARGE)
    plain = peers(["sleep"], jobs, scratch)["manyhands"]
    rivals = {"as they end": [*plain, "--no-keep-order"], "in order, all held until the first has ended": plain}
    table = [f"| `sleep 2`, then {LARGE:,} x `sleep 0` | seconds | ratio |", "|---|---:|---:|"]
    return table + compared(rivals, lambda argv: seconds(argv, scratch / "head", scratch), rounds, "{:.2f}")


def slope(argv: Sequence[str], scratch: Path) -> float:
    """Seconds a job, without start-up."""
    small = seconds(argv, numbers(SMALL, scratch), scratch)
    return (seconds(argv, numbers(LARGE, scratch), scratch) - small) / (LARGE - SMALL)


def compared(rivals: dict[str, list[str]], measure: Callable[[list[str]], float], rounds: int, shown: str) -> list[str]:
    """Rows for command lines that take turns; ratios to the first."""
    figures: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, argv in rivals.items():
            figures[name].append(measure(argv))
    first = next(iter(figures.values()))
    return [
        f"| {name} | {shown.format(statistics.median(found))} "
        f"| {statistics.median(one / other for one, other in zip(found, first, strict=True)):.2f} |"
        for name, found in figures.items()
    ]


def late(jobs: int, rounds: int, scratch: Path) -> list[str]:
    """How long after its time-out a command has ended, when the program that takes the outcomes computes in between."""
    table = [
        f"| `sleep 9`, time-out {LIMIT} s, the program between two outcomes | median ms late | most |",
        "|---|---:|---:|",
    ]
    for name, pause in (("takes the next one", 0.0), ("computes for 50 ms", 0.05)):
        walls: list[float] = []
        for outcome in run_batch(
            "sleep {}", ["9"] * (20 * rounds), jobs=jobs, timeout=LIMIT, state_dir=scratch / "state"
        ):
            assert outcome.status == "timeout"
            walls.append((outcome.wall - LIMIT) * 1e3)
            end = time.perf_counter() + pause
            while time.perf_counter() < end:
                pass
        table.append(f"| {name} | {statistics.median(walls):.1f} | {max(walls):.1f} |")
    return table


def main() -> None:
    """Run the parts that were asked for, and print or write the table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer runs")
    parser.add_argument("--jobs", type=int, default=cores, help="jobs at once (default: the cores)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manyhands-bench-") as name:
        scratch = Path(name)
        parts: dict[str, Callable[[], list[str]]] = {
            "echo": lambda: slopes(["echo"], asked.jobs, asked.rounds, scratch),
            "true": lambda: slopes(["true"], asked.jobs, asked.rounds, scratch),
            "growth": lambda: growth(asked.jobs, scratch),
            "wide": lambda: wide(asked.rounds, scratch),
            "start": lambda: starting(asked.rounds, scratch),
            "list": lambda: listing(asked.rounds, scratch),
            "options": lambda: options(asked.jobs, asked.rounds, scratch),
            "order": lambda: slow_head(asked.jobs, asked.rounds, scratch),
            "late": lambda: late(asked.jobs, asked.rounds, scratch),
        }
        tables = ["\n".join(make()) for part, make in parts.items() if not asked.part or part in asked.part]
    head = (
        f"{platform.system()} {platform.release()}, {cores} cores, Python {platform.python_version()}, "
        f"{asked.jobs} jobs at once, {asked.rounds} interleaved rounds, medians."
    )
    text = "\n\n".join([head, *tables]) + "\n"
    print(text)
    if asked.markdown:
        asked.markdown.write_text(
            f"# Dispatch\n\nMade by `{' '.join(['scripts/bench/dispatch.py', *sys.argv[1:]])}`.\n\n{text}"
        )


if __name__ == "__main__":
    main()
