#!/usr/bin/env python3
"""How fast commands run on other hosts: `batch --on` beside the same batch here, GNU parallel -S, and a connection a job.

    scripts/bench/remote.py --on web1,web2                       two hosts that ssh reaches without a question
    scripts/bench/remote.py --on h1:2,h2:2 --ssh 'ssh -F config' --jobs 10000 --rounds 5
    scripts/bench/remote.py --on web1,web2 --markdown docs/bench-remote.md

Each peer runs `true` so many times, and a tenth of it; those that need long do a fiftieth of both. The time of a job is the slope between
the two, so that starts and connections are not in it (they are shown apart). In every round each runs once, in turn; the table shows
medians, and ratios are medians of the ratios round by round. No peer is given a locale, which `true` would load: hosts have none, either.
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
from typing import NamedTuple

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
            50,
        ),
    }
    if shutil.which("parallel"):
        names = ",".join(f"{slots or here}/{name}" for name, _, slots in (one.partition(":") for one in hosts.split(",")))
        found["GNU parallel -S"] = (["parallel", "--ssh", ssh, "-S", names, "true {}"], 50)
    return found


def took(command: list[str], jobs: int, environment: Mapping[str, str]) -> float:
    """Seconds for a whole process with so many jobs."""
    inputs = "".join(f"{number}\n" for number in range(jobs))
    began = time.perf_counter()
    subprocess.run(command, input=inputs, text=True, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


class Cost(NamedTuple):
    """Seconds for each job, and for what happens once."""

    job: float
    start: float


def cost(command: list[str], jobs: int, environment: Mapping[str, str]) -> Cost:
    """From a run with a tenth of the jobs and one with all of them."""
    few = max(10, jobs // 10)
    small, large = took(command, few, environment), took(command, jobs, environment)
    job = (large - small) / (jobs - few)
    return Cost(job, small - few * job)


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", required=True, metavar="HOSTS", help="as batch --on takes them")
    parser.add_argument("--ssh", default="ssh", metavar="COMMAND", help="how they are reached (default: ssh)")
    parser.add_argument("--jobs", type=int, default=10_000, metavar="N", help="jobs in a round (default: 10,000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default: 5)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file")
    given = parser.parse_args()
    here = 2 * len(given.on.split(","))
    all_peers = peers(given.on, given.ssh, here)
    figures: dict[str, list[Cost]] = {name: [] for name in all_peers}
    with tempfile.TemporaryDirectory() as state:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
        environment = {**plain, "XDG_STATE_HOME": state, "PARALLEL_HOME": state}
        for _ in range(given.rounds):
            for name, (command, fewer) in all_peers.items():
                figures[name].append(cost(command, max(20, given.jobs // fewer), environment))
    lines = [
        f"`scripts/bench/remote.py --jobs {given.jobs} --rounds {given.rounds}`: {given.on.count(',') + 1} hosts, "
        f"{os.cpu_count()} cores here, Python {platform.python_version()}, load before: {os.getloadavg()[2]:.1f}",
        "",
        "| `true` on other hosts | ms a job | start, s | peer / manyhands --on, a job |",
        "|---|---:|---:|---:|",
    ]
    for name, found in figures.items():
        ratio = statistics.median(one.job / ours.job for one, ours in zip(found, figures[OURS], strict=True))
        job, start = map(statistics.median, zip(*found, strict=True))
        lines.append(f"| {name} | {1000 * job:.2f} | {start:.2f} | {ratio:.2f} |")
    text = "\n".join(lines) + "\n"
    if given.markdown:
        given.markdown.write_text(f"# Commands on other hosts: how fast\n\n{text}", encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
