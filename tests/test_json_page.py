"""docs/json.md names each key that we print, and none that we do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import HERE, Cli
from made_events import began, end, told
from manyhands.core.events import Counted, Printed, RunStarted, Summary, Warned
from manyhands.core.job import Output, Status
from manyhands.export.job_record import job_record
from manyhands.handlers.batch_list import list_runs
from manyhands.options.runs import ListOptions
from manyhands.storage.runs import Store
from render.test_render_event_lines import lines

PAGE = (HERE / "docs" / "json.md").read_text()
PATHS = {"stdout_path", "stderr_path"}  # only where the output is not in the line itself
EVENTS = {
    "run": RunStarted("r", "cmd {}", 4),
    "counted": Counted(9),
    "began": began(1, 1.0),
    "finished": told(1),
    "printed": Printed(began(1, 1.0).attempt, Output(b"a\n", None, 2), Output()),
    "warned": Warned("careful"),
    "summary": Summary("r", {Status.OK: 1}),
}


def keys(heading: str) -> set[str]:
    """The keys in the table below the heading that begins so."""
    [section] = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(heading)]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize("name", EVENTS)
def test_events(name: str) -> None:
    """Those that every event has, and its own."""
    [found] = lines(EVENTS[name])
    assert found.keys() == keys("Every event") | keys(f"`{name}`") - PATHS
    assert found["event"] == name


def test_output_in_a_file(tmp_path: Path) -> None:
    """Is named by keys that are there only then."""
    big = Output(b"", str(tmp_path / "big"), 1 << 21)
    [found] = lines(told(1, stdout=big, stderr=big))
    assert (found.keys() - lines(told(1))[0].keys(), found["stdout"]) == (PATHS, None)
    assert keys("`finished`") >= PATHS


def test_every_kind_of_event_is_there() -> None:
    """In the page as in the program."""
    assert re.findall(r"^## `(\w+)`", PAGE, re.MULTILINE) == list(EVENTS)


def test_exact_bytes_have_keys_of_their_own() -> None:
    """For just those that the page names."""
    evil = "\udcff"
    found = lines(RunStarted("r", evil, 4), Warned(evil), told(1, Status.OK, b"\xff", out=b"\xff", err=b"\xff"))
    exact = {key.removesuffix("_base64") for line in found for key in line if key.endswith("_base64")}
    [sentence] = re.findall(r"It is there for (.*?), and only when", PAGE.replace("\n  ", " "))
    assert exact == set(re.findall(r"`(\w+)`", sentence))


def test_jobs() -> None:
    """Ended or not, the same keys."""
    for outcome in (end(1), None):
        record = job_record(end(1).attempt.job, outcome, run="r", argv=[b"x"], attempts=1)
        assert record.keys() == (keys("`finished`") - {"final", "retry_in"} - PATHS) | {"schema", "run"}


def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As batch.list prints them."""
    Store(tmp_path).create({"template": "echo {}", "shell": None, "workdir": "/"})[1].close()
    list_runs(Store(tmp_path), ListOptions(json=True), width=80)
    assert json.loads(capsys.readouterr().out).keys() == keys("A run")


def test_calls_without_a_record(cli: Cli) -> None:
    """One that is ok and one that failed have all keys between them."""
    done = cli("batch.call", "math:sqrt", "--type", "float", "--no-journal", "--json", "--", "4", "-1")
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in found] == ["ok", "failed"]
    assert found[0].keys() | found[1].keys() == keys("A call without a record")
    assert found[0].keys() == keys("A call without a record") - {"error", "traceback"}
