#!/usr/bin/env python3
"""How fast one Python script after another is run: warm and cold, beside the peers, interleaved in one run.

    scripts/bench/warm.py                                   1,000 scripts of each kind, as far as what they import is installed
    scripts/bench/warm.py --part nothing --part numpy --rounds 3
    scripts/bench/warm.py --prototype zygote.py             beside another program that takes arguments from standard input

Each figure is a whole process: started, fed, waited for; wall time, and CPU time of all that it has started. The time of a job is the
slope between a few jobs and many, so that start-up and the first import are not in it (they are shown apart). In every round each
peer runs once, in turn; the table shows medians, and ratios are medians of the ratios round by round.

manyhands captures, orders and journals (fsync included) and gives each job a process of its own; xargs and GNU parallel start an
interpreter for each; joblib calls a function in processes that have imported it, without a process, an exit status or output of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

BIN = Path(sys.executable).parent
IMPORTS = {"nothing": "", "numpy": "import numpy", "Pillow": "from PIL import Image", "pandas": "import pandas"}
JOBLIB = """
import sys
from joblib import Parallel, delayed
import body
if __name__ == "__main__":
    lines = (line.rstrip("\\n") for line in sys.stdin)
    for out in Parallel(n_jobs=int(sys.argv[1]), return_as="generator")(delayed(body.main)(line) for line in lines):
        print(out)
"""
Cost = tuple[float, float]
"""Wall and CPU seconds."""


def installed(python: str, statement: str) -> bool:
    """Whether an interpreter can import it."""
    return not subprocess.run([python, "-c", statement], capture_output=True, check=False).returncode


def peers(python: str, jobs: int, prototype: str | None) -> dict[str, tuple[list[str], int]]:
    """The command lines that run ``script.py N`` for every line N of stdin, and how many jobs they are judged by, in percent."""
    ours = [str(BIN / "manyhands"), "batch", f"{python} script.py {{}}", "--jobs", str(jobs), "--state-dir", "state"]
    found = {
        "manyhands, warm": ([*ours, "--warm"], 100),
        "manyhands, cold": (ours, 10),
        "xargs -P": (["xargs", "-n1", f"-P{jobs}", python, "script.py"], 10),
        "GNU parallel": (["parallel", "--will-cite", "-k", f"-j{jobs}", python, "script.py"], 10),
        "joblib, a function": ([python, "with_joblib.py", str(jobs)], 100),
    }
    if prototype:
        found["prototype"] = ([python, prototype, f"-j{jobs}", "--auto", "--out", "/dev/null", "script.py"], 100)
    if not shutil.which("parallel"):
        del found["GNU parallel"]
    if not installed(python, "import joblib"):
        del found["joblib, a function"]
    return found


def cost(argv: Sequence[str], count: int, folder: Path) -> Cost:
    """What one run over ``count`` inputs takes."""
    (folder / "numbers").write_text("".join(f"{n}\n" for n in range(count)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "numbers").open("rb") as stdin:
        began = time.perf_counter()
        subprocess.run(
            argv,
            cwd=folder,
            stdin=stdin,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder / "state", ignore_errors=True)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slope(argv: Sequence[str], most: int, folder: Path) -> tuple[Cost, Cost]:
    """(what a job takes, what the start takes)."""
    few = max(2, most // 20)
    small, large = cost(argv, few, folder), cost(argv, most, folder)
    wall, cpu = ((b - a) / (most - few) for a, b in zip(small, large, strict=True))
    return (wall, cpu), (small[0] - few * wall, small[1] - few * cpu)


def table(kind: str, python: str, jobs: int, most: int, rounds: int, prototype: str | None, folder: Path) -> list[str]:
    """Rows for one kind of script."""
    body = f"import sys\n{IMPORTS[kind]}\ndef main(given):\n    return len(given)\n"
    (folder / "body.py").write_text(body)
    (folder / "script.py").write_text(f"{body}if __name__ == '__main__':\n    print(main(sys.argv[1]))\n")
    (folder / "with_joblib.py").write_text(JOBLIB)
    everybody = peers(python, jobs, prototype)
    figures: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in everybody}
    for number in range(rounds):
        names = list(everybody)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            argv, percent = everybody[name]
            figures[name].append(slope(argv, most * percent // 100, folder))
            print(
                f"  {kind}, round {number + 1} {name:20} {figures[name][-1][0][0] * 1e3:7.2f} ms a job", file=sys.stderr
            )
    rows = [
        f"| imports {kind} | ms a job | ms of CPU a job | start-up, ms | time, warm / peer | CPU, warm / peer |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return rows + [_row(name, found, figures["manyhands, warm"]) for name, found in figures.items()]


def _row(name: str, found: list[tuple[Cost, Cost]], ours: list[tuple[Cost, Cost]]) -> str:
    wall, cpu = (statistics.median(each[part] for each, _ in found) * 1e3 for part in (0, 1))
    start = statistics.median(first[0] for _, first in found) * 1e3
    ratios = (
        statistics.median(own[0][part] / other[0][part] for own, other in zip(ours, found, strict=True))
        for part in (0, 1)
    )
    return f"| {name} | {wall:.2f} | {cpu:.2f} | {start:.0f} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"


def main() -> None:
    """Run the parts that were asked for, and print or write the table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer runs")
    parser.add_argument("--jobs", type=int, default=cores, help="jobs at once (default: the cores)")
    parser.add_argument("--count", type=int, default=1_000, help="scripts of each kind (default: 1000)")
    parser.add_argument("--part", action="append", choices=IMPORTS, help="only these")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the scripts (default: this one)")
    parser.add_argument("--prototype", help="another warm runner, called with -j N --auto --out FILE SCRIPT")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    asked = parser.parse_args()
    kinds = [one for one in asked.part or IMPORTS if installed(asked.python, IMPORTS[one])]
    with tempfile.TemporaryDirectory(prefix="manyhands-bench-") as name:
        tables = [
            "\n".join(table(kind, asked.python, asked.jobs, asked.count, asked.rounds, asked.prototype, Path(name)))
            for kind in kinds
        ]
    head = (
        f"{platform.system()} {platform.release()}, {cores} cores, Python {platform.python_version()}, "
        f"{asked.jobs} jobs at once, {asked.rounds} interleaved rounds, medians."
    )
    text = "\n\n".join([head, *tables]) + "\n"
    print(text)
    if asked.markdown:
        asked.markdown.write_text(
            f"# Python scripts\n\nMade by `{' '.join(['scripts/bench/warm.py', *sys.argv[1:]])}`.\n\n{text}"
        )


if __name__ == "__main__":
    main()
