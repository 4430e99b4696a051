#!/usr/bin/env python3
"""How fast commands run on other hosts: `batch --on` beside the same batch here, GNU parallel -S, and a connection a job.

    scripts/bench/remote.py --on web1,web2                       two hosts that ssh reaches without a question
    scripts/bench/remote.py --on h1:2,h2:2 --ssh 'ssh -F config' --jobs 2000 --rounds 5
    scripts/bench/remote.py --on web1,web2 --markdown docs/bench-remote.md

Each peer runs `true` so many times, and those that need long a tenth or a hundredth of it; in every round each runs once, in turn. The
table shows medians of milliseconds a job, starts and connections included, and ratios are medians of the ratios round by round.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

MANYHANDS = [sys.executable, "-m", "manyhands", "batch", "true", "--quiet", "--from", "-"]
OURS = "manyhands --on"


def peers(hosts: str, ssh: str, here: int) -> dict[str, tuple[list[str], int]]:
    """(the command, which reads a line for each job, by how many jobs are divided for it) of each peer that is installed."""
    first = hosts.split(",")[0].partition(":")[0]
    found = {
        OURS: ([*MANYHANDS, "--on", hosts, "--ssh", ssh], 1),
        f"manyhands, here, -j {here}": ([*MANYHANDS, "-j", str(here)], 1),
        f"a connection a job (xargs -P {here})": (
            ["xargs", "-P", str(here), "-I{}", *shlex.split(ssh), "-n", first, "true"],
            10,
        ),
    }
    if shutil.which("parallel"):
        names = ",".join(f"{slots or here}/{name}" for name, _, slots in (one.partition(":") for one in hosts.split(",")))
        found["GNU parallel -S"] = (["parallel", "--ssh", ssh, "-S", names, "true {}"], 10)
    return found


def took(command: list[str], jobs: int, environment: Mapping[str, str]) -> float:
    """Milliseconds a job."""
    inputs = "".join(f"{number}\n" for number in range(jobs))
    began = time.perf_counter()
    subprocess.run(command, input=inputs, text=True, env=environment, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - began) / jobs


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", required=True, metavar="HOSTS", help="as batch --on takes them")
    parser.add_argument("--ssh", default="ssh", metavar="COMMAND", help="how they are reached (default: ssh)")
    parser.add_argument("--jobs", type=int, default=2000, metavar="N", help="jobs in a round (default: 2000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default: 5)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file")
    given = parser.parse_args()
    here = 2 * len(given.on.split(","))
    all_peers = peers(given.on, given.ssh, here)
    figures: dict[str, list[float]] = {name: [] for name in all_peers}
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "XDG_STATE_HOME": state, "PARALLEL_HOME": state}
        for _ in range(given.rounds):
            for name, (command, fewer) in all_peers.items():
                figures[name].append(took(command, max(10, given.jobs // fewer), environment))
    lines = [
        f"`scripts/bench/remote.py --jobs {given.jobs} --rounds {given.rounds}`: {given.on.count(',') + 1} hosts, "
        f"{os.cpu_count()} cores here, Python {platform.python_version()}, load before: {os.getloadavg()[2]:.1f}",
        "",
        "| `true` on other hosts | ms a job | peer / manyhands --on |",
        "|---|---:|---:|",
    ]
    for name, found in figures.items():
        ratio = statistics.median(one / ours for one, ours in zip(found, figures[OURS], strict=True))
        lines.append(f"| {name} | {statistics.median(found):.2f} | {ratio:.2f} |")
    text = "\n".join(lines) + "\n"
    if given.markdown:
        given.markdown.write_text(f"# Commands on other hosts: how fast\n\n{text}", encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
