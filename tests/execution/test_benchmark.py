"""A sample on each backend, and what follows: the advice is computed from what was measured."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import functions
from conftest import Cli
from manyhands.core.limits import Limits
from manyhands.execution.benchmark import Measured, advise, backends_for, best_of, measure, sample_of, widths_for
from manyhands.inputs.program_inputs import Iterating
from manyhands.inputs.sources import Args
from manyhands.render.comparison import HEADER, record, row
from manyhands.work.function import Call
from manyhands.work.plan import Plan

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("nothing_left")


def seen(
    backend: str, jobs: int, wall: float, *, cpu: float = 0.0, failed: int = 0, error: str | None = None
) -> Measured:
    """Ten jobs of a second of work."""
    return Measured(backend, jobs, 10, failed, 0.1, wall, 10.0, cpu, 0.0, 1 << 20, error)


def test_waiting_for_a_cpu_is_not_waiting() -> None:
    """Of ten seconds one was computed and eight were in the queue; and a crowded machine is told."""
    busy = replace(seen("serial", 1, 10.0, cpu=1.0), queued=8.0, crowded=0.5)
    assert busy.waiting == pytest.approx(0.1)
    assert advise([busy]).startswith("90% of the time was computing, or waiting for a CPU: serial, 1 job at once")
    assert "busy with other work" in advise([busy])
    assert "busy with other work" not in advise([replace(busy, crowded=0.1)])


def test_a_sample_is_from_all_over() -> None:
    """If it is known how many there are; else it is the beginning."""
    assert sample_of(Args([str(n) for n in range(10)]), 4) == [(b"0",), (b"2",), (b"5",), (b"7",)]
    assert sample_of(Args(["a", "b"]), 40) == [(b"a",), (b"b",)]
    assert sample_of(Iterating(str(n) for n in range(10**9)), 2) == [(b"0",), (b"1",)]


def test_widths_are_powers_of_two() -> None:
    """From one job to as many as the sample has; more processes than four to a core are never worth it."""
    assert list(widths_for("threads", 2, 40)) == [1, 2, 4, 8, 16, 32]
    assert list(widths_for("processes", 2, 40)) == [1, 2, 4, 8]
    assert list(widths_for("serial", 2, 40)) == [1]
    assert list(widths_for("threads", 4, 3)) == [1]


def test_what_fits_is_tried() -> None:
    """Async functions on asyncio, others on threads; the reference is first."""

    def names(call: Call) -> list[str]:
        return backends_for(Plan(work=call, source={}, limits=Limits(jobs=1), workdir="/"))

    assert names(Call.of(functions.double))[:3] == ["serial", "threads", "processes"]
    assert names(Call.of(functions.a_double))[:3] == ["serial", "asyncio", "processes"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            [
                seen("serial", 1, 10.0, cpu=1.0),
                seen("threads", 8, 1.3),
                seen("threads", 16, 1.25),
                seen("processes", 8, 1.4),
            ],
            "90% of the time was waiting: threads, 8 jobs at once, 7.7 times as fast as serial; more did not help",
        ),
        (
            [seen("serial", 1, 10.0, cpu=9.9), seen("threads", 2, 10.5), seen("processes", 2, 5.1)],
            "99% of the time was computing: processes, 2 jobs at once, 2.0 times as fast as serial",
        ),
        (
            [seen("serial", 1, 10.0, cpu=9.9), seen("threads", 2, 12.0)],
            "99% of the time was computing: serial, 1 job at once, nothing was faster",
        ),
        (
            [seen("serial", 1, 10.0, cpu=0.0), seen("threads", 2, 1.0, failed=3), seen("processes", 2, 0.0, error="no")],
            "100% of the time was waiting: serial, 1 job at once, nothing was faster",
        ),
        ([seen("serial", 1, 0.0, error="no")], "nothing worked: see the errors"),
    ],
)
def test_the_advice_follows_from_the_numbers(found: list[Measured], said: str) -> None:
    """What fails where the reference does not, is no choice; of what is nearly as fast, the least."""
    assert advise(found) == said
    best = best_of(found)
    assert best is None or f"{best.backend}, {best.jobs} job" in said


def test_a_sample_that_is_too_short_gives_no_advice() -> None:
    """Less than the noise of a start."""
    found = [seen("serial", 1, 0.001), seen("threads", 1, 0.0004)]
    assert advise(found).startswith("10 jobs took 1.0 ms, which is too short to compare: ")


def test_overhead_is_what_a_slot_does_beside_the_work() -> None:
    """Per job, in seconds."""
    assert seen("threads", 5, 2.2).overhead == pytest.approx(0.1)
    assert seen("threads", 1, 9.0).overhead == 0.0
    assert seen("threads", 100, 1.0).overhead == 0.0


def test_a_measurement_is_a_real_batch(tmp_path: Path, own_state: Path) -> None:
    """It leaves no run behind; failures are counted."""
    plan = Plan(
        work=Call.of(functions.odd_fails, type="int", result="none"),
        source={},
        limits=Limits(jobs=1),
        workdir=os.getcwd(),
    )
    found = measure(plan, [(b"%d" % n,) for n in range(10)], (), "threads", 2)
    assert (found.done, found.failed, found.error) == (10, 5, None)
    assert found.wall > 0
    assert found.memory > 1 << 20
    assert not own_state.exists()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_row_fits(width: int) -> None:
    """Into the terminal, bar and error included."""
    reference = seen("serial", 1, 10.0)
    for one in (
        reference,
        seen("threads", 16, 0.1),
        seen("processes", 2, 1.0, failed=2),
        seen("gevent", 1, 0, error="x" * 300),
    ):
        assert len(row(one, reference, width)) <= max(width, len(HEADER) + 12)
    assert "█" in row(seen("threads", 4, 2.5), reference, 120)
    assert "█" not in row(reference, reference, 80)


def test_a_record_has_what_the_row_has() -> None:
    """Plain numbers; no speed-up where there was an error."""
    reference = seen("serial", 1, 10.0)
    told = record(seen("threads", 2, 5.0), reference)
    assert (told["schema"], told["backend"], told["speed_up"], told["rate"]) == (
        "manyhands.measured/1",
        "threads",
        2.0,
        2.0,
    )
    assert record(seen("threads", 2, 5.0, error="no"), reference)["speed_up"] is None


# -- by its users --------------------------------------------------------------------------------------------------------


def test_a_function_is_compared(cli: Cli, tmp_path: Path) -> None:
    """Jobs that wait: something concurrent wins, and the last line says why."""
    args = [
        "batch.compare",
        f"{HERE / 'functions.py'}:spell",
        "--type",
        "int",
        "--sample",
        "12",
        "--",
        *map(str, range(30)),
    ]
    done = cli(*args, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "12 jobs on each"
    assert lines[1] == HEADER
    assert {line.split()[0] for line in lines[2:-1]} >= {"serial", "threads", "processes"}
    assert "of the time was waiting: " in lines[-1]
    told = [json.loads(line) for line in cli(*args[:-31], "--json", "--", "1", "2", timeout=120).stdout.splitlines()]
    assert told[-1]["schema"] == "manyhands.advice/1"
    assert all(one["schema"] == "manyhands.measured/1" and one["done"] == 2 for one in told[:-1])


def test_a_command_is_compared(cli: Cli) -> None:
    """On what runs commands."""
    done = cli("batch.compare", "sleep 0.05; : {}", "--shell", "--sample", "4", input="1\n2\n3\n4\n5\n", timeout=120)
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()[2:-1]} == {"commands", "command-threads"}


def test_groups_are_compared(cli: Cli) -> None:
    """Jobs of several inputs are measured as such."""
    command = ["batch.compare", "sh -c 'test $# = 2' x {}", "--max-args", "2", "--sample", "2"]
    done = cli(*command, input="1\n2\n3\n4\n5\n", timeout=120)
    assert (done.returncode, "failed" in done.stdout, done.stdout.splitlines()[0]) == (0, False, "2 jobs on each")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nosuch:f", "--", "1"], "there is no module 'nosuch'"),
        (["math:sqrt", "--type", "int", "--", "x"], "the input 'x' is not of type int"),
        (["math:sqrt", "--sample", "0", "--", "1"], "--sample 0: at least one is needed"),
        (["math:sqrt", "--open", "--", "1"], "--open has no effect without --output"),
        (["true {x}", "--", "1"], "there is no column 'x'"),
        (["math:sqrt", "--from", "/dev/null"], "no inputs"),
    ],
)
def test_mistakes_in_a_comparison(cli: Cli, args: list[str], said: str) -> None:
    """One line, exit 2."""
    done = cli("batch.compare", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_this_python_is_the_one_that_is_measured() -> None:
    """Interpreters are only tried where there are any."""
    plan = Plan(work=Call.of(functions.double), source={}, limits=Limits(jobs=1), workdir="/")
    assert ("interpreters" in backends_for(plan)) == (sys.version_info >= (3, 14))
