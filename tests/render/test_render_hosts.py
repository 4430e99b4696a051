"""The lanes of hosts: at a glance, and never more than there is room for."""

from __future__ import annotations

import pytest

from made_events import Clock, began, told
from manyhands.core.job import Status
from manyhands.core.safe_text import cells
from manyhands.render.hosts import Hosts
from manyhands.render.progress import Progress


def hosts(number: int, *, name: str = "web{:02}") -> Hosts:
    """Hosts of which each has done some jobs; every tenth has failures."""
    found = Hosts()
    for one in range(1, number + 1):
        host = found.of(name.format(one))
        host.ok, host.failed, host.running = 100 + one, 2 * (one % 10 == 0), one % 4
    return found


def test_few_hosts_are_told_in_words() -> None:
    """Zeros are left out; the columns stand below one another."""
    assert hosts(3).lines(80, 4) == ["web01  101 ok, 1 running   web02  102 ok, 2 running   web03  103 ok, 3 running"]


def test_more_hosts_are_told_in_numbers() -> None:
    """With a line that says what they mean."""
    found = hosts(12).lines(80, 4)
    assert found[0] == "ok/failed/running of 12 hosts:"
    assert found[1].split("   ")[:2] == ["web01  101/0/1", "web02  102/0/2"]
    assert len(found) == 4


def test_of_very_many_those_with_failures_come_first() -> None:
    """The others are added up."""
    first, *lines, last = hosts(200).lines(80, 4)
    assert first == "ok/failed/running of 200 hosts:"
    assert lines[0].startswith("web10   110/2/2   web20   120/2/0   ")
    assert last.startswith("... and 192 more hosts: ")
    assert "24 failed" in last


@pytest.mark.parametrize("number", [1, 2, 7, 50, 1000])
@pytest.mark.parametrize(
    "name", ["web{:02}", "some.very.long.name.of.a.host.{}.example.org", "\x1b[31m{}\n\u202e", "\u8a9e{}"]
)
@pytest.mark.parametrize("width", [20, 80, 200])
def test_it_never_breaks_the_display(number: int, name: str, width: int) -> None:
    """Whatever a host is called: as many lines as there is room for, none too wide, nothing that the terminal would obey."""
    found = hosts(number, name=name).lines(width, 4)
    assert 1 <= len(found) <= 4
    for line in found:
        assert cells(line) <= width
        assert not set(line) & {"\x1b", "\n", "\u202e"}


def test_they_are_counted_as_the_events_come() -> None:
    """An attempt that is tried again counts as failed; one that was stopped counts as neither."""
    progress = Progress(Clock())
    first = began(1, 1.0, host="a"), began(2, 1.0, host="b"), told(1, host="a"), began(3, 2.0, slot=1, host="a")
    later = told(2, Status.FAILED, host="b", retry_in=1.0), began(2, 3.0, host="a"), told(3, Status.CANCELLED, host="a")
    for event in (*first, *later, began(4, 3.0)):
        progress.event(event)
    assert progress.hosts.lines(80, 3) == ["a  1 ok, 1 running   b  1 failed"]


def test_a_run_on_this_machine_has_none() -> None:
    """No lane, no room."""
    assert not Progress(Clock()).hosts
    assert Hosts().lines(80, 3) == []


def test_a_slot_of_another_host_is_another_slot() -> None:
    """Each worker of a cluster counts its slots from 1: what begins on one of them replaces nothing that runs on the other."""
    progress = Progress(Clock())
    for number, host in ((1, "a"), (2, "b"), (3, "b")):
        progress.event(began(number, 1.0, host=host, slot=1))
    assert sorted(progress.active) == [1, 3]
    assert (progress.hosts.of("a").running, progress.hosts.of("b").running) == (1, 1)
