"""The trace is JSON that Perfetto takes: processes, threads, an event for each attempt, flows for retries."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from made_events import end
from manyhands.core.job import Outcome, Status
from manyhands.export.job_record import RunJobs
from manyhands.export.trace import export
from manyhands.storage.journal import Journal
from manyhands.storage.stage_journals import Journals


def traced(path: Path, *stages: list[Outcome]) -> list[dict[str, Any]]:
    journals = []
    for number, ends in enumerate(stages):
        journal = Journal.create(path / f"{number}.db")
        for outcome in ends:
            journal.began(outcome.attempt)
            journal.ended(outcome)
        journal.commit()
        journals.append(journal)
    pieces: list[bytes] = []
    with closing(Journals(journals)) as all_stages:
        export(RunJobs(all_stages, "r", lambda _: []), pieces.append)
    found = json.loads(b"".join(pieces))
    assert (found["displayTimeUnit"], found["otherData"]) == ("ms", {"run": "r"})
    events: list[dict[str, Any]] = found["traceEvents"]
    return events


def test_hosts_slots_and_stages(tmp_path: Path) -> None:
    """A process for each host, a thread for each slot of each stage, named before they are used."""
    first = [end(1, host="a", slot=1, wall=1.5), end(2, host="b", slot=1), end(3, host="a", slot=2)]
    events = traced(tmp_path, first, [end(1, host="a", slot=1, started=1e9 + 2)])
    names = {(one["pid"], one.get("tid")): one["args"]["name"] for one in events if one["name"].endswith("_name")}
    assert sorted(names.values()) == ["a", "b", "slot 1", "slot 1", "slot 2", "stage 2, slot 1"]
    seen: set[tuple[int, int | None]] = set()
    for one in events:
        if one["ph"] == "X":
            assert {(one["pid"], None), (one["pid"], one["tid"])} <= seen
        seen |= {(one["pid"], one.get("tid"))}
    [event] = [one for one in events if one["ph"] == "X" and one["args"]["job"] == 1 and one["args"]["stage"] == 1]
    assert (event["name"], event["cat"], event["ts"], event["dur"]) == ("in1", "ok", 10**15, 1_500_000)


def test_retries_are_joined(tmp_path: Path) -> None:
    """An arrow from the end of one attempt to the begin of the next."""
    ends = [end(1, Status.FAILED, final=False, wall=1.0), end(1, tries=2, started=1e9 + 3)]
    events = traced(tmp_path, ends)
    begin, finish = [one for one in events if one["ph"] in "sf"]
    assert (begin["id"], begin["ph"], finish["ph"], finish["bp"]) == (finish["id"], "s", "f", "e")
    assert 10**15 <= begin["ts"] < 10**15 + 1_000_000
    assert finish["ts"] == 10**15 + 3_000_000
    assert [one["name"] for one in events if one["ph"] == "X"] == ["in1", "in1 (attempt 2)"]


@pytest.mark.parametrize("value", [b"</script>\n\x1b[2J", b"\xff\xfe", b""])
def test_any_input(value: bytes, tmp_path: Path) -> None:
    """Is harmless in a name; a job without one is called by its number."""
    [event] = [one for one in traced(tmp_path, [end(1, Status.OK, value)]) if one["ph"] == "X"]
    assert event["name"].isprintable()
    assert event["name"]


def test_what_never_began_is_left_out(tmp_path: Path) -> None:
    """And a run without jobs is an empty trace."""
    assert traced(tmp_path, [end(1, Status.CANCELLED, started=None)]) == []


def test_from_the_command_line(cli: Cli) -> None:
    """``batch.export --format trace``."""
    assert (
        cli("batch", "sh -c 'exit {}'", "--run-id", "r", "--retries", "1", "--delay", "0", "--", "0", "1").returncode == 1
    )
    found = json.loads(cli("batch.export", "r", "--format", "trace").stdout)
    assert [one["cat"] for one in found["traceEvents"] if one["ph"] == "X"] == ["ok", "failed", "failed"]
