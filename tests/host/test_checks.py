"""Thresholds, levels and the line that monitors read."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Cli
from manyhands.core.errors import UsageError
from manyhands.core.level import Level, worst
from manyhands.host.checks import Checked, Threshold, check
from manyhands.options.host import CheckHostOptions
from manyhands.render.checks import check_line

NUMBERS = st.integers(min_value=0, max_value=10**6)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_levels_are_above_their_thresholds(one: int, other: int, value: int) -> None:
    """Above the second is an alarm, above the first a warning; a value that is equal is not above."""
    low, high = sorted((one, other))
    both = Threshold.parse(f"{low},{high}", "--load", percent=False)
    expected = Level.CRITICAL if value > high else Level.WARNING if value > low else Level.OK
    assert both.level(value) is expected
    alone = Threshold.parse(str(high), "--load", percent=False)
    assert alone.level(value) is (Level.CRITICAL if value > high else Level.OK)


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("", False),
        ("x", False),
        ("90%", False),
        ("90", True),
        ("1,2,3", False),
        ("5,4", False),
        ("90%,101%", True),
        ("-1", False),
        ("80%,90", True),
    ],
)
def test_thresholds_that_are_none(text: str, percent: bool) -> None:
    """One clear line, with the option."""
    with pytest.raises(UsageError, match="load="):
        Threshold.parse(text, "--load", percent=percent)


def test_the_worst_counts() -> None:
    """An alarm, then what is not known, then a warning."""
    assert worst([Level.OK, Level.WARNING]) is Level.WARNING
    assert worst([Level.UNKNOWN, Level.WARNING]) is Level.UNKNOWN
    assert worst([Level.UNKNOWN, Level.CRITICAL, Level.OK]) is Level.CRITICAL
    assert worst([Level.OK]) is Level.OK


def test_the_line() -> None:
    """What is wrong stands first; the numbers as the guidelines have them."""
    checked = [
        Checked("load", 4.2, "load 4.20 1.00 1.00", Level.OK, Threshold(None, 8, percent=False)),
        Checked("memory", 85.04, "memory 85.0%", Level.WARNING, Threshold(80, 90, percent=True)),
        Checked("/a b='c", 96.0, "/a b='c 96.0%", Level.CRITICAL, Threshold(None, 95, percent=True)),
        Checked("/gone", None, "/gone No such file or directory", Level.UNKNOWN, Threshold(None, 95, percent=True)),
    ]
    said, _, perfdata = check_line(checked).partition(" | ")
    assert said == (
        "CRITICAL - memory 85.0% (above 80%), /a b='c 96.0% (above 95%), /gone No such file or directory, load 4.20 1.00 1.00"
    )
    assert perfdata == "load=4.2;;8;0; memory=85.04%;80;90;0;100 /a_b__c=96%;;95;0;100"


def test_every_check_measures(tmp_path: Path) -> None:
    """Values that are those of the machine, for every option."""
    wanted = CheckHostOptions(
        load="100000",
        memory="100%",
        swap="100%",
        disk=[f"{tmp_path}=100%"],
        inodes=[f"{tmp_path}=100%"],
        processes="1000000",
        zombies="0,1000000",
    )
    checked = {one.name: one for one in check(wanted)}
    assert set(checked) == {"load", "memory", "swap", "processes", "zombies", str(tmp_path), f"{tmp_path} inodes"}
    assert worst(one.level for name, one in checked.items() if name != "zombies") is Level.OK
    percent = subprocess.run(["df", "--output=pcent", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    value = checked[str(tmp_path)].value
    assert value is not None
    assert abs(value - int(percent.split()[1].rstrip("%"))) <= 1.5
    value = checked["processes"].value
    assert value is not None
    assert value > 1


def test_exit_statuses_for_a_monitor(cli: Cli, tmp_path: Path) -> None:
    """0 OK, 1 warning, 2 critical, 3 unknown, also for a mistake, always with one line on stdout."""
    for args, status, begins in [
        (["--load", "100000"], 0, "OK - load "),
        (["--disk", f"{tmp_path}=0%,100%"], 1, "WARNING - "),
        (["--memory", "0%"], 2, "CRITICAL - memory "),
        (["--disk", f"{tmp_path}/missing=90%"], 3, "UNKNOWN - "),
        (["--memory", "much"], 3, "UNKNOWN - --memory 'much'"),
        (["--disk", "90%"], 3, "UNKNOWN - --disk '90%': expected PATH=90%"),
        ([], 3, "UNKNOWN - nothing to check"),
    ]:
        done = cli("host.check", *args)
        assert (done.returncode, done.stderr) == (status, ""), args
        assert done.stdout.startswith(begins)
        assert done.stdout.count("\n") == 1


def test_the_record(cli: Cli) -> None:
    """Values and thresholds as numbers."""
    done = cli("host.check", "--load", "50000,100000", "--json")
    record = json.loads(done.stdout)
    assert (record["schema"], record["level"]) == ("manyhands.check/1", "OK")
    (one,) = record["checks"]
    assert (one["name"], one["warning"], one["critical"], one["unit"]) == ("load", 50000, 100000, "count")
    assert abs(one["value"] - os.getloadavg()[0]) < 5
