"""`proc.top`: sums, a table in the order that was chosen, keys."""

from __future__ import annotations

import json
import os

import pytest

from manyhands.core.errors import UsageError
from manyhands.handlers import proc_top
from manyhands.options.proc import TopOptions
from manyhands.processes.listing import process_info
from manyhands.render.processes import without_folder


def test_keys_change_the_order_and_end_it() -> None:
    """c, m, a, p sort; q, Escape and Ctrl-D end it; others do nothing."""
    shown = proc_top._Top("cpu", 3)
    for key, order in (("m", "memory"), ("A", "age"), ("p", "pid"), ("x", "pid"), ("c", "cpu")):
        assert shown.press(key)
        assert shown.sort == order
    assert not any(shown.press(key) for key in "qQ\x1b\x04")


def test_a_look_has_sums_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """How many processes, CPU, memory, load; then as many as were asked for, in their order."""
    assert proc_top.show_top(TopOptions(every="0.01", sort="pid", top=2, times=2, json=False)) == 0
    first, header, *rows = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert "processes, " in first
    assert "; load " in first
    assert header.split()[0] == "PID"
    pids = [int(row.split()[0]) for row in rows]
    assert len(pids) == 2
    assert pids == sorted(pids)


def test_records(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON lines have no title."""
    proc_top.show_top(TopOptions(every="0.01", sort="cpu", top=1, times=2, json=True))
    assert [json.loads(line)["schema"] for line in capsys.readouterr().out.splitlines()] == ["manyhands.process/1"] * 2
    with pytest.raises(UsageError, match="--times 0"):
        proc_top.show_top(TopOptions(every="1", sort="cpu", top=1, times=0, json=True))


def test_a_command_without_its_folder() -> None:
    """Where there is no room, the name of the program says more."""
    us = process_info(os.getpid())
    assert us
    assert "/" not in without_folder(us).split()[0]
