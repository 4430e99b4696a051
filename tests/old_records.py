"""What the runs in data/runs-old-modules.tar.gz did: this module's functions, on records of manyhands itself.

They were made, from an empty folder OUT and in a checkout of the last version that kept all its modules in one flat folder, by

    cd / && PYTHONPATH=CHECKOUT/lib:CHECKOUT/tests python -c 'import old_records; old_records.make("OUT")'

so the pickles in them name modules that are not there any more, such as manyhands.job and manyhands.pipeline. All but `ended` were
killed with -9 half way. Each job writes its name to $LEDGER; `slow*` waits until there is $GO, `bad*` fails before that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND = (
    'sh -c \'echo "$0" >> "$LEDGER"; case $0 in bad*) [ -e "$GO" ] || exit 3;; '
    'slow*) until [ -e "$GO" ]; do sleep 0.05; done;; esac; echo "out $0"\' '
)
RECORDS = [
    "live-outcome",
    "outcome",
    "output",
    "chain",
    "command",
    "error",
    "process",
    "stopped",
    "halt",
    "status",
    "pattern",
    "bad-record",
    "slow-outcome",
    "slow-chain",
    "slow-process",
]
"""The jobs of `records` and `ended`, in their order; the last three are what was left of `records`."""


def back(name: str, record: Any) -> Any:
    """What was given."""
    _act(name)
    return record


def again(record: Any) -> Any:
    """What the stage before returned."""
    name = record.stdout.decode().strip()
    _act(f"slow-two-{name}" if name.startswith("late") else f"two-{name}")
    return record, type(record).__name__


def first(name: str) -> Any:
    """A record for `again`, made by a function."""
    from manyhands import pipe

    _act(name)
    return pipe(["echo", name])


def _act(name: str) -> None:
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(name + "\n")
    there = Path(os.environ["GO"]).exists()
    if name.startswith("bad") and not there:
        from manyhands import UsageError

        raise UsageError(name)
    while name.startswith("slow") and not Path(os.environ["GO"]).exists():
        time.sleep(0.05)


def _given() -> list[tuple[str, Any]]:
    """An input for each of `RECORDS`."""
    from manyhands import Fate, Halt, Outcome, Pipeline, ProcessInfo, Status, Stopped, UsageError, pipe, run_batch  # type: ignore[attr-defined]  # in that version

    (live,) = run_batch("echo {}", ["one"], journal=False)
    plain = Outcome(*live)
    chain = pipe(["echo", "x"], ["cat"])
    process = ProcessInfo(7, 1, "root", "S", "init", ("init", "-s"), 1.0, 2.0, 3.0, 4.0, 5, 6)
    records = [
        live,
        plain,
        live.stdout,
        chain,
        chain.stages[0],
        UsageError("what", "why"),
        process,
        Stopped(7, "x", Fate.ENDED, True),
        Halt.parse("now,fail=1"),
        Status.LOST,
        Pipeline.parse("ls *.py | wc > n"),
        "no record",
        live,
        chain,
        process,
    ]
    return list(zip(RECORDS, records, strict=True))


def _killed(name: str, work: Any, inputs: Any, slow: str, **options: Any) -> None:
    """In a process of its own: begin a run, and die when its slow job has begun and all before that is recorded."""
    from manyhands import run_batch

    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    run = run_batch(work, inputs, run_id=name, jobs=1, ordered=False, output="keep", **options)
    outcomes = iter(run)
    next(outcomes)
    _wait_and_die(slow)


def _wait_and_die(slow: str) -> None:
    while slow not in Path(os.environ["LEDGER"]).read_text().split():
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_command(*args: str) -> None:
    with subprocess.Popen([sys.executable, "-m", "manyhands", "batch", *args]) as process:
        while "slow" not in Path(os.environ["LEDGER"]).read_text().split():
            time.sleep(0.05)
        time.sleep(0.5)
        process.kill()


def make(out: str) -> None:
    """Make all of them below ``out``."""
    from manyhands import run_batch

    os.environ.update(XDG_STATE_HOME=out, LEDGER=f"{out}/ledger", GO=f"{out}/go")
    given = _given()
    Path(out, "ledger").touch()
    for _ in run_batch(back, [one for one in given if "slow" not in one[0]], run_id="ended", ordered=True):
        pass
    _killed("records", back, given, "slow-outcome", chunk=1)
    _killed("chain", first, ["a", "late-b", "c", "slow-d"], "slow-d", then=[again], chunk=1)
    _killed_command(COMMAND + "{}", "--run-id", "commands", "-j", "1", "--", "a", "bad", "b", "slow", "c")
    Path(out, "ledger").write_text("")
    two = ["--then", COMMAND + "two-{}"]
    _killed_command(COMMAND + "{}", *two, "--run-id", "stages", "-j", "1", "--", "a", "b", "bad", "c", "slow", "d")
