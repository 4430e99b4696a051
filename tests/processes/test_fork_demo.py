"""What fork does is what the demonstration says that it did."""

from __future__ import annotations

import json
import os
import threading

import pytest

from conftest import Cli
from manyhands.core.errors import UsageError
from manyhands.processes.fork_demo import ForkEvent, fork_demo
from manyhands.render.forks import fork_verdict


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask keeps a thread for all its clients in a process, if a test before had one."""
    others = [one for one in threading.enumerate() if one.name.startswith("Dask-Offload")]
    count = threading.active_count
    monkeypatch.setattr(threading, "active_count", lambda: count() - len(others))


@pytest.mark.usefixtures("nothing_left")
def test_fork_returns_twice() -> None:
    """The child gets 0, the parent the child's pid; the child's parent is the parent, which reaps it (scenario B1)."""
    events: list[ForkEvent] = []
    report = fork_demo(children=3, exit_code=7, emit=events.append)
    assert report.as_expected
    assert set(report.exits.values()) == {7}
    assert len(report.exits) == 3
    children = [event for event in events if event.who == "child"]
    assert [event.returned for event in children] == [0, 0, 0]
    assert {event.ppid for event in children} == {os.getpid()}
    told = [event.returned for event in events if event.who == "parent" and "I am the parent" in event.text]
    assert told == [event.pid for event in children] == list(report.exits)
    assert "3 children" in fork_verdict(report)
    mine = [
        event.elapsed for event in events if event.who == "parent"
    ]  # a child runs beside us: its moments may come first
    assert mine == sorted(mine)


@pytest.mark.parametrize("wrong", [{"children": 0}, {"children": 65}, {"exit_code": -1}, {"exit_code": 256}])
def test_numbers_that_make_no_sense(wrong: dict[str, int]) -> None:
    """Are refused before anything is forked."""
    with pytest.raises(UsageError, match="expected"):
        fork_demo(**wrong)  # type: ignore[arg-type]


def test_fork_with_threads_is_refused() -> None:
    """A lock that another thread holds would stay locked in the child."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    try:
        with pytest.raises(UsageError, match="threads"):
            fork_demo()
    finally:
        go.set()
        thread.join()


def test_without_fork_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear line where fork does not exist."""
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="no fork"):
        fork_demo()


def test_the_task(cli: Cli) -> None:
    """Events as they happen, and a verdict; --json has one event a line; the children's exit status is as asked for."""
    done = cli("fork-demo", "--children", "2", "--exit-code", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("I am the child") == 2
    assert "fork was called 2 times and returned 4 times" in done.stdout.splitlines()[-1]
    assert cli("fork-demo").stdout.splitlines()[-1].startswith("fork was called once and returned 2 times: 1 child of ")
    events = [json.loads(line) for line in cli("fork-demo", "--exit-code", "7", "--json").stdout.splitlines()]
    parent, child, reaped = events
    assert (child["returned"], child["ppid"]) == (0, parent["pid"])
    assert parent["returned"] == child["pid"]
    assert "exit status 7" in reaped["text"]
    for wrong in (["--children", "0"], ["--exit-code", "256"], ["--children", "x"]):
        done = cli("fork-demo", *wrong)
        assert (done.returncode, done.stdout) == (2, "")
