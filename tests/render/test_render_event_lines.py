"""A run for programs: every line is an object that any JSON reader takes, and no byte is lost in it."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_events import Clock, began, end, told
from manyhands.core.events import Held, RunStarted, Summary, Tick, Warned
from manyhands.core.job import Output, Status
from manyhands.render.event_lines import JsonLines

NOON = 1_700_000_000.25


def lines(*events: Any) -> list[dict[str, Any]]:
    out = io.BytesIO()
    renderer = JsonLines(out, clock=Clock(), now=lambda: NOON)
    for event in events:
        renderer.event(event)
    renderer.close()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_one_object_for_everything_that_happens() -> None:
    """In order, with schema, kind, moment and run; what is only a chance to redraw is left out."""
    found = lines(
        RunStarted("r1", "cmd {}", 2, 9, 4),
        began(1, 5.0),
        Held(end(2)),
        told(1),
        Tick(6.0, 1),
        Warned("careful"),
        Summary("r1"),
    )
    assert [line["event"] for line in found] == ["run", "began", "finished", "warned", "summary"]
    assert {line["schema"] for line in found} == {"manyhands.event/1"}
    assert {line["run"] for line in found} == {"r1"}
    assert all(list(line)[:2] == ["schema", "event"] for line in found)
    for line in found:
        moment = datetime.fromisoformat(line["at"])
        assert moment.utcoffset() is not None
        assert moment.timestamp() == NOON


def test_what_each_kind_says() -> None:
    """Plain numbers and words."""
    counts = {Status.OK: 3, Status.TIMEOUT: 1}
    summary = Summary("r1", counts, 2, True, 1.5, 2.5, 15, "soon,fail=1")
    run, began_, warned, last = (
        {key: value for key, value in line.items() if key not in ("schema", "event", "at", "run")}
        for line in lines(RunStarted("r1", "cmd {}", 2, None), began(7, 5.0, tries=2), Warned("careful"), summary)
    )
    assert run == {"template": "cmd {}", "jobs": 2, "total": None, "done_before": 0}
    assert began_ == {"job": 7, "attempt": 2, "slot": 7, "pid": 1007, "stage": 1, "host": socket.gethostname()}
    assert warned == {"text": "careful"}
    assert last == {
        "counts": {"ok": 3, "timeout": 1},
        "left": 2,
        "unread": True,
        "wall": 1.5,
        "work": 2.5,
        "stopped_by": 15,
        "total": None,
        "not_run": None,
        "done_before": 0,
        "halted": "soon,fail=1",
        "early": False,
    }


def test_a_finished_job_has_the_keys_of_the_export() -> None:
    """So that one program reads both."""
    [line] = lines(told(5, Status.FAILED, b"a b", out=b"x\n", err=b"y", wall=0.5, user=0.25, leftovers=1, tries=2))
    assert {
        key: line[key] for key in ("job", "input", "argv", "status", "exit", "signal", "attempts", "wall", "user")
    } == {
        "job": 5,
        "input": "a b",
        "argv": ["cmd", "a b"],
        "status": "failed",
        "exit": 3,
        "signal": None,
        "attempts": 2,
        "wall": 0.5,
        "user": 0.25,
    }
    assert (line["stdout"], line["stderr"], line["slot"], line["leftovers"], line["final"]) == ("x\n", "y", 1, 1, True)
    assert {"run", "system", "max_rss_bytes", "started", "host", "error"} <= line.keys()
    assert datetime.fromisoformat(line["started"]).timestamp() == 1e9


def test_an_attempt_on_another_host_names_it() -> None:
    """When it begins and when it ends."""
    assert [line["host"] for line in lines(began(1, 5.0, host="web1"), told(1, host="web1"))] == ["web1", "web1"]


def test_an_attempt_that_is_tried_again_says_when() -> None:
    """It is not the job's end."""
    [line] = lines(told(5, Status.FAILED, retry_in=1.5))
    assert (line["final"], line["retry_in"]) == (False, 1.5)


@given(st.binary(), st.binary())
def test_bytes_that_are_not_utf8_are_there_twice(value: bytes, out: bytes) -> None:
    """As text for people, and exactly."""
    [line] = lines(told(1, Status.OK, value, out=out))
    for name, data in (("input", value), ("stdout", out)):
        exact = line.get(f"{name}_base64")
        assert (base64.b64decode(exact) if exact is not None else line[name].encode()) == data


def test_names_that_are_not_utf8_are_valid_json(tmp_path: Path) -> None:
    """A template, a reason or a warning can hold a file's name; the line is UTF-8 all the same."""
    name = os.fsdecode(b"caf\xe9")
    run, warned, failed = lines(
        RunStarted("r1", name, 1), Warned(f"no {name}"), told(1, Status.FAILED, error=f"cannot start {name}")
    )
    assert base64.b64decode(run["template_base64"]) == b"caf\xe9"
    assert base64.b64decode(warned["text_base64"]) == b"no caf\xe9"
    assert failed["error"] == f"cannot start {name}"


def test_large_output_is_named_by_its_file(tmp_path: Path) -> None:
    """More than 1 MiB does not go through a line."""
    path = tmp_path / "big"
    path.write_bytes(b"x" * (1 << 21))
    [line] = lines(told(1, stdout=Output(b"", str(path), 1 << 21)))
    assert (line["stdout"], line["stdout_path"]) == (None, str(path))


def test_output_that_somebody_removed_is_a_warning(tmp_path: Path) -> None:
    """The job's line comes all the same, without it."""
    warned, line = lines(told(1, Status.FAILED, stdout=Output(b"", str(tmp_path / "gone"), 9)))
    assert (warned["event"], line["event"], line["exit"], line["stdout"]) == ("warned", "finished", 3, "")
    assert "gone" in warned["text"]


def test_lines_are_written_soon() -> None:
    """After 50 ms, or as soon as nothing happens, or before we are stopped; what is running can be asked for."""
    clock, out = Clock(), io.BytesIO()
    renderer = JsonLines(out, clock=clock)
    renderer.event(began(1, 90.0))
    assert out.getvalue() == b""
    clock.time += 0.06
    renderer.event(Held(end(2)))
    assert out.getvalue().count(b"\n") == 1
    renderer.event(told(3))
    renderer.event(Tick(0.0, 1))
    assert out.getvalue().count(b"\n") == 2
    renderer.event(told(4))
    renderer.pause(True)
    renderer.pause(False)
    assert out.getvalue().count(b"\n") == 3
    assert renderer.running()[0] == "1 running"


def test_a_reader_that_has_left_is_told_to_the_caller() -> None:
    """`| head -1` ends the run."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        renderer = JsonLines(out)
        with pytest.raises(BrokenPipeError):
            renderer.event(Summary("r"))
        renderer.close()
