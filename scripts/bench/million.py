#!/usr/bin/env python3
"""A run of a million jobs with its journal: time, memory, size on disk, and what the commands that read it take.

    scripts/bench/million.py                              1,000,000 jobs (some minutes)
    scripts/bench/million.py --jobs 100000
    scripts/bench/million.py --markdown docs/bench-million.md

Each row is one command, as a user starts it. Its memory is that of its largest process (wait4(2)). The jobs take no time, two at once,
so all that is measured is manyhands. The run is made in a temporary state folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALL = "batch.call math:sqrt --type int -j 2 --quiet --result none --run-id million --from"
READ = (
    "batch.resume million --quiet",
    "batch.list",
    "batch.show million",
    "batch.export million --format jsonl",
    "batch.export million --format csv",
    "batch.export million --format joblog",
)


def row(command: list[str], state: Path) -> str:
    """Run one command of manyhands; return what it took as a row of the table."""
    began = time.monotonic()
    with (state / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "manyhands", *command, "--state-dir", str(state)], stdout=printed
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} has failed with {process.returncode}")
    seconds, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    folder, size = str(state), (state / "printed").stat().st_size
    shown = " ".join("inputs.txt" if word.startswith(folder) else word for word in command)
    return f"| `{shown}` | {seconds:.2f} | {cpu:.2f} | {used.ru_maxrss // 1024} | {size / 1e6:,.1f} |"


def main() -> None:
    """Make the run, read it in each way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        inputs = state / "inputs.txt"
        inputs.write_text("".join(f"{number}\n" for number in range(given.jobs)))
        rows = [row([*CALL.split(), str(inputs)], state)]
        size = sum(path.stat().st_size for path in (state / "runs").rglob("*") if path.is_file())
        rows += [row(command.split(), state) for command in READ]
    lines = [
        f"# A run of {given.jobs:,} jobs",
        "",
        f"Made by `scripts/bench/million.py {' '.join(sys.argv[1:])}`, Python {platform.python_version()}, {os.cpu_count()} cores. "
        f"The folder of the run has {size / 1e6:,.0f} MB: {size / given.jobs:.0f} bytes a job, its input and its result among them.",
        "",
        "| command | seconds | CPU seconds | MiB of memory | MB printed |",
        "|---|---:|---:|---:|---:|",
        *rows,
    ]
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
