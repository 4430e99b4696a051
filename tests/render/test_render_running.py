"""What runs just now, as batch.show tells it."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from made_events import began
from manyhands.core.events import Began
from manyhands.core.limits import Limits
from manyhands.core.safe_text import cells
from manyhands.execution.batch import Batch
from manyhands.handlers import batch_runs as handler
from manyhands.inputs.sources import Args
from manyhands.options.runs import ShowOptions
from manyhands.render.running import Now
from manyhands.storage.runs import Store
from manyhands.work.plan import Plan
from manyhands.work.template import Template
from storage.test_progress_file import kept, waiting


@pytest.mark.usefixtures("nothing_left")
def test_a_run_is_looked_at_while_it_goes_on(own_state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs and for how long, what it has printed so far, how many there are; what lies ready is not running."""
    plan = Plan(
        work=Template.parse("sh -c 'echo hello {}; sleep 100'"),
        source=Args(["a", "b", "c"]).spec(),
        workdir=os.getcwd(),
        limits=Limits(jobs=2),
    )
    batch = Batch.start(plan, Store(own_state), run_id="live")
    begun = 0
    with closing(batch.events(tick=0.1)) as events:
        for event in events:
            begun += isinstance(event, Began)
            if begun == 2 and (batch.run.path / "standing.json").exists() and "hello b" in _shown(capsys):
                break
        shown, one = _shown(capsys).splitlines(), _shown(capsys, job=2).splitlines()
        batch.stop(signal.SIGTERM)
        for _ in events:
            pass
    assert shown[0] == "run      live (running)"
    assert "running for" in shown[2]
    assert shown[4] == "jobs     0 ok, 0 failed, 2 running, 3 left of 3"
    assert shown[6] == "RUNNING  JOB  INPUT  LAST LINE OF OUTPUT"
    assert sorted(line.split()[2:] for line in shown[7:9]) == [["1", "a", "hello", "a"], ["2", "b", "hello", "b"]]
    assert [line.split()[1] for line in shown[11:]] == ["running", "running", "left"]
    assert one[3].startswith("attempt  1 is running since 2")
    assert one[4].startswith("stdout   8 bytes, in ")
    assert one[5:] == ["  hello b"]
    assert not (batch.run.path / "standing.json").exists()


def _shown(capsys: pytest.CaptureFixture[str], job: int | None = None) -> str:
    capsys.readouterr()
    handler.show(ShowOptions(run="live", job=job))
    return capsys.readouterr().out


def test_retries_that_wait_are_told(tmp_path: Path) -> None:
    """How many, and when the next one comes."""
    run, held = Store(tmp_path).create({"template": "x", "workdir": "/"})
    held.close()
    assert Now(run, 0.0).counts() == ""
    assert Now(run, 0.0).elapsed is None
    kept(run.path, began(1, 99.0), retries=waiting(131.0))
    at = Now(run, 0.0)._stages[0][2].at
    assert Now(run, at + 10).counts() == ", 1 running, 1 to retry, next in 20.0 s"
    assert Now(run, at + 99).counts() == ", 1 running, 1 to retry, next in 0.0 s"


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits_and_is_harmless(tmp_path: Path, width: int) -> None:
    """Long inputs and long lines are cut; no more rows than asked for."""
    run, held = Store(tmp_path).create({"template": "x", "workdir": "/"})
    held.close()
    begun = (began(number, 90.0 + number, b"\x1b[2J" + b"x" * 200) for number in range(1, 9))
    kept(run.path, *(one._replace(pid=os.getpid()) for one in begun))
    (run.outputs / ".slot-1.out").write_bytes(b"out\n")
    (run.outputs / ".slot-1.err").write_bytes(b"first\n\x1b[31m" + b"e" * 500)
    (run.outputs / ".slot-2.out").write_bytes("漢".encode() * 200)
    at = Now(run, 0.0)._stages[0][2].at
    lines = list(Now(run, at).lines(width, 3))
    assert all(cells(line) <= width and line.isprintable() for line in lines)
    assert (len(lines), lines[-1]) == (5, "... and 5 more that run")
    assert "  ^[[31mee" in lines[1]
