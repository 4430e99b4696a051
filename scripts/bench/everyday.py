#!/usr/bin/env python3
"""How fast the everyday tools are: a start beside invoke's and its peers', a pipeline beside the shell's, processes listed and stopped.

    scripts/bench/everyday.py                      all of it (about 3 minutes)
    scripts/bench/everyday.py --rounds 3 --part pipe
    scripts/bench/everyday.py --rounds 20 --part start
    scripts/bench/everyday.py --markdown docs/bench-everyday.md

In every round each peer runs once, in turn; the tables show medians, and ratios are medians of the ratios round by round, which
hold when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).resolve().parents[2]
GIGA = 10**9

# -- a start -----------------------------------------------------------------------------------------------------------------

EMPTY = "invoke: a task that does nothing"
TASKS = "from invoke import task\n\n\n@task\ndef nothing(ctx):\n    pass\n\n\ndef same(x):\n    return x\n"


def starts(rounds: int) -> list[str]:
    """One job, a list of tasks, an empty task of invoke: seconds, and CPU time of all that is started."""
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tasks.py").write_text(TASKS)
        Path(folder, "inputs").write_text("1\n")
        environment = {**os.environ, "XDG_STATE_HOME": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def seconds(name: str) -> float:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(started()[name], cwd=folder, env=environment, capture_output=True, check=True)
            took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            spent.setdefault(name, []).append(used)
            return took

        for name in started():
            seconds(name)  # compiles modules, and fills the page cache
        spent.clear()
        figures = interleaved({name: lambda name=name: seconds(name) for name in started()}, rounds)  # type: ignore[misc]
    rows = [
        f"| {name} | {1000 * statistics.median(figures[name]):.0f} | {1000 * statistics.median(spent[name]):.0f} | "
        f"{ratio(spent[name], spent[EMPTY]):.2f} |"
        for name in figures
    ]
    return ["| one start | ms | ms of CPU | CPU / empty task |", "|---|---:|---:|---:|", *rows]


def started() -> dict[str, list[str]]:
    """What is started, by name."""
    ours, invoke = str(BIN / "manyhands"), str(BIN / "invoke")
    commands = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`xargs -n1 true`": ["xargs", "-a", "inputs", "-n1", "true"],
        "`parallel true ::: 1`": ["parallel", "true", ":::", "1"],
        EMPTY: [invoke, "nothing"],
        "`invoke -l` of these tasks": [invoke, "--search-root", str(HERE), "-l"],
        "`manyhands -l`": [ours, "-l"],
        "`manyhands batch true -- 1`": [ours, "batch", "true", "--", "1"],
        "`manyhands batch.call tasks:same -- 1`": [ours, "batch.call", "tasks:same", "--", "1"],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


# -- 4 GB through three stages -----------------------------------------------------------------------------------------------

TIMED = """
import sys, time
size = sys.argv[1]
{setup}
began = time.perf_counter()
{move}
took = time.perf_counter() - began
assert int(counted) == int(size), counted
print(took)
"""
PIPES = {
    "manyhands": (
        "from manyhands import pipe",
        'counted = pipe(["head", "-c", size, "/dev/zero"], ["cat"], ["wc", "-c"]).stdout',
    ),
    "subprocess": (
        "from subprocess import PIPE, Popen",
        'one = Popen(["head", "-c", size, "/dev/zero"], stdout=PIPE)\n'
        'two = Popen(["cat"], stdin=one.stdout, stdout=PIPE); one.stdout.close()\n'
        'three = Popen(["wc", "-c"], stdin=two.stdout, stdout=PIPE); two.stdout.close()\n'
        "counted = three.communicate()[0]; one.wait(); two.wait()",
    ),
    "plumbum": (
        "from plumbum import local",
        'counted = (local["head"]["-c", size, "/dev/zero"] | local["cat"] | local["wc"]["-c"])()',
    ),
    "invoke": (
        "from invoke import Context",
        'counted = Context().run(f"head -c {size} /dev/zero | cat | wc -c", hide=True, in_stream=False).stdout',
    ),
    "sh": (
        "import sh",
        'counted = sh.wc("-c", _in=sh.cat(_in=sh.head("-c", size, "/dev/zero", _piped=True), _piped=True))',
    ),
}
BASH = 'a=$EPOCHREALTIME; n=$(head -c "$1" /dev/zero | cat | wc -c); b=$EPOCHREALTIME; [ "$n" = "$1" ] && echo "$b - $a" | bc'


def pipes(rounds: int) -> list[str]:
    """Gigabytes a second through ``head | cat | wc``, counted from the first start to the last end."""
    size = dict.fromkeys(PIPES, 4 * GIGA) | {"bash": 4 * GIGA, "sh": GIGA // 4}  # sh copies everything through Python
    commands = {
        name: [sys.executable, "-c", TIMED.format(setup=setup, move=move), str(size[name])]
        for name, (setup, move) in PIPES.items()
        if name in ("manyhands", "subprocess") or importlib.util.find_spec(name)
    }
    commands["bash"] = ["bash", "-c", BASH, "bash", str(size["bash"])]

    def speed(name: str) -> float:
        took = float(subprocess.run(commands[name], capture_output=True, text=True, check=True).stdout)
        return size[name] / GIGA / took

    figures = interleaved({name: lambda name=name: speed(name) for name in commands}, rounds)  # type: ignore[misc]
    table = ["| `head -c 4000000000 /dev/zero \\| cat \\| wc -c` | GB/s | manyhands / peer |", "|---|---:|---:|"]
    return table + [
        f"| {name} | {statistics.median(found):.2f} | {ratio(figures['manyhands'], found):.2f} |"
        for name, found in figures.items()
    ]


# -- 300 processes -----------------------------------------------------------------------------------------------------------

LIST = "from manyhands.processes.listing import list_processes\nfrom manyhands.render.processes import list_lines\n"
LIBRARY = "list_processes and its table, with all imports"
SHOWN = 'print(*list_lines(list_processes(), None), sep="\\n")'


def lists(rounds: int) -> list[str]:
    """CPU time of listing 300 processes, user and system together."""
    with Sleepers(300):
        figures = interleaved(
            {
                "ps aux": lambda: cpu(["ps", "aux"]),
                "the interpreter (python -c pass)": lambda: cpu([sys.executable, "-c", "pass"]),
                LIBRARY: lambda: cpu([sys.executable, "-c", LIST + SHOWN]),
                "a task that looks at nothing (host.identity)": lambda: cpu([str(BIN / "manyhands"), "host.identity"]),
                "manyhands proc.list": lambda: cpu([str(BIN / "manyhands"), "proc.list"]),
            },
            rounds,
        )
    start, whole, ps = (figures[name] for name in ("the interpreter (python -c pass)", LIBRARY, "ps aux"))
    beyond = statistics.median((all_ - empty) / one for all_, empty, one in zip(whole, start, ps, strict=True))
    pair = zip(figures["manyhands proc.list"], figures["a task that looks at nothing (host.identity)"], ps, strict=True)
    task = statistics.median((listed - empty) / one for listed, empty, one in pair)
    rows = [f"| {name} | {1000 * statistics.median(found):.0f} |" for name, found in figures.items()]
    return [
        "| a list of 300 sleeping processes and what else runs | ms of CPU |",
        "|---|---:|",
        *rows,
        "",
        f"Beyond the interpreter's start the library takes {beyond:.1f} times the CPU time of `ps aux`, its imports included; the task "
        f"takes {task:.1f} times that beyond another task.",
    ]


def cpu(argv: list[str]) -> float:
    """Seconds of CPU that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Sleepers:
    """So many sleeping processes below one shell."""

    def __init__(self, count: int) -> None:
        script = f"for i in $(seq {count}); do sleep 600 & done; echo ready; wait"
        self.root = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        assert self.root.stdout
        self.root.stdout.readline()

    def __enter__(self) -> Sleepers:
        return self

    def __exit__(self, *_: object) -> None:
        if self.root.poll() is None:
            os.killpg(self.root.pid, 9)
            self.root.wait()
        assert self.root.stdout
        self.root.stdout.close()


# -- a tree of 500 -----------------------------------------------------------------------------------------------------------


def stops(rounds: int) -> list[str]:
    """Seconds from the call until 501 processes are known to be gone."""
    from manyhands import stop_process

    figures = []
    for _ in range(rounds):
        with Sleepers(500) as tree:
            began = time.perf_counter()
            told = stop_process(tree.root.pid)
            figures.append(time.perf_counter() - began)
            assert len(told) == 501, len(told)
            assert all(one.gone for one in told)
    return [
        "| a tree of 501 processes, stopped by TERM | seconds |",
        "|---|---:|",
        f"| `stop_process`, median of {rounds} | {statistics.median(figures):.2f} |",
        f"| the slowest | {max(figures):.2f} |",
    ]


# -- all together ------------------------------------------------------------------------------------------------------------


def interleaved(measure: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each once in every round, begun by another one each time."""
    figures: dict[str, list[float]] = {name: [] for name in measure}
    names = list(measure)
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            figures[name].append(measure[name]())
            print(f"  round {number + 1} {name:45} {figures[name][-1]:.4f}", file=sys.stderr)
    return figures


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios round by round."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def main() -> None:
    """Run the parts that were asked for, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer runs")
    parser.add_argument("--part", action="append", choices=["start", "pipe", "list", "stop"], help="only these")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    asked = parser.parse_args()
    parts = {"start": starts, "pipe": pipes, "list": lists, "stop": stops}
    tables = ["\n".join(make(asked.rounds)) for part, make in parts.items() if not asked.part or part in asked.part]
    head = (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{asked.rounds} interleaved rounds, medians."
    )
    text = "\n\n".join([head, *tables]) + "\n"
    print(text)
    if asked.markdown:
        command = " ".join(["scripts/bench/everyday.py", *sys.argv[1:]])
        asked.markdown.write_text(f"# Everyday tools\n\nMade by `{command}`.\n\n{text}")


if __name__ == "__main__":
    main()
