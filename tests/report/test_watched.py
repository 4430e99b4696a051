"""A watch as a drawing: what it keeps is bounded, extremes are exact, counts become rates."""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.host.info import host_info
from manyhands.host.metrics import (
    Cpu,
    Disk,
    Interface,
    Pressure,
    Sensors,
    cpu,
    disks,
    memory,
    network,
    pressure,
    sensors,
    swap,
)
from manyhands.report.drawn_forms import in_form
from manyhands.report.host_figures import KINDS, HostWatch, NetworkValues
from manyhands.report.watched import History, Kind, Series

PLAIN = Kind("Title", "Words.", lambda value: f"{value:g}", lambda _: (1, "units"))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=3000))
def test_a_series_is_bounded_and_exact_at_its_ends(values: list[float]) -> None:
    """However many values: at most 600 points, in order; the least, the most and the last are those that were seen."""
    series = Series()
    for at, value in enumerate(values):
        series.add(float(at), value)
    points = series.points(1.0, 1.0)
    assert len(points) <= 600
    assert all(early.x < late.x for early, late in pairwise(points))
    assert (series.least, series.most, series.last) == (min(values), max(values), values[-1])
    assert series.mean == pytest.approx(sum(values) / len(values), abs=1e-3)
    assert (min(one.low for one in points), max(one.high for one in points)) == (min(values), max(values))
    if len(values) <= 600:
        assert [one.y for one in points] == values


def test_a_history_says_what_it_has() -> None:
    """How many looks in what time; a series that comes later, or is 0 all the time, is in the table."""
    clock = count(100, 2)
    history = History(clock=lambda: float(next(clock)))
    history.add({"a": {"x": 1.0, "zero": 0.0}, "other": {"y": 1.0}})
    history.add({"a": {"x": 5.0, "late": 2.0, "zero": 0.0}})
    drawing = history.drawing("watch", {"a": PLAIN, "none": PLAIN})
    assert drawing.told.startswith("2 looks in 2.0 s, until ")
    (figure,), (table,) = drawing.figures, drawing.tables
    assert figure.told == "Words. The most was 5 (x). The table also has the others."
    assert table.rows == [("x", "1", "3", "5", "5"), ("zero", "0", "0", "0", "0"), ("late", "2", "2", "2", "2")]
    assert in_form(drawing, "svg", "").startswith(b"<svg")


def test_nothing_that_has_a_number() -> None:
    """Is said."""
    history = History()
    history.add({"a": {}})
    assert "nothing of it has a number here" in history.drawing("watch", {"a": PLAIN}).told
    assert History().drawing("watch", {"a": PLAIN}).told.startswith("0 looks in 0.0 s")


def test_what_never_moved_is_drawn_as_such() -> None:
    """A line at 0, with words that say so."""
    history = History()
    history.add({"a": {"x": 0.0, "y": 0.0}})
    drawing = history.drawing("watch", {"a": PLAIN})
    assert drawing.figures[0].told == "Words. It was 0 all the time."
    assert in_form(drawing, "png", "").startswith(b"\x89PNG")


def interface(name: str, received: int, sent: int, errors: int = 0) -> Interface:
    return Interface(name, True, (), 1500, None, received, sent, errors, 0)


def test_counts_become_rates() -> None:
    """Between two looks; not at the first, not of an interface that is new, not where a count began anew."""
    times = iter((10.0, 12.0, 13.0))
    values = NetworkValues(clock=lambda: next(times))
    assert values((interface("a", 100, 0),)) == {"received": {}, "sent": {}, "faults": {}}
    second = values((interface("a", 300, 50, errors=4), interface("b", 9, 9)))
    assert second == {"received": {"a": 100.0}, "sent": {"a": 25.0}, "faults": {"a": 2.0}}
    third = values((interface("a", 5, 60), interface("b", 10, 9)))
    assert third == {"received": {"b": 1.0}, "sent": {"b": 0.0}, "faults": {"b": 0.0}}


SEEN = {
    "cpu": lambda: cpu(0.01),
    "memory": lambda: (memory(), swap()),
    "host": host_info,
    "disks": disks,
    "network": network,
    "sensors": sensors,
    "pressure": pressure,
}


@pytest.mark.parametrize("schema", KINDS)
def test_every_task_gives_what_its_figures_want(schema: str) -> None:
    """On this machine, whatever it has."""
    watch = HostWatch(schema)
    for _ in range(2):
        watch.add(SEEN[schema]())
    drawing = watch.drawing()
    assert {one.name for one in drawing.figures} <= set(KINDS[schema])
    assert in_form(drawing, "html", "us").startswith(b"<!DOCTYPE html>")


def test_every_kind_of_value() -> None:
    """Also of what this machine may lack."""
    some = {
        "cpu": Cpu(1.0, 50.0, (40.0, 60.0), {"user": 50.0, "idle": 50.0}, (), None, (1.0, 2.0, 3.0), 2, 2, None),
        "disks": (
            Disk("/", "sda", "ext4", 100, 40, 60, 40.0, 10, 5),
            Disk("/b", "sdb", "btrfs", 10, 1, 9, 10.0, None, None),
        ),
        "sensors": Sensors({"cpu": 50.0}, {"fan": 900}, 80.0, True),
        "pressure": {
            "cpu": Pressure((1.0, 2.0, 3.0), 1.0, (0.5, 0.0, 0.0), 1.0),
            "irq": Pressure((1.0, 0.0, 0.0), 1.0, None, None),
        },
    }
    for schema, seen in some.items():
        watch = HostWatch(schema)
        watch.add(seen)
        assert [one.name for one in watch.drawing().figures] == list(KINDS[schema])
    assert watch.drawing().tables[1].rows == [("cpu", "0.5%", "0.5%", "0.5%", "0.5%")]
