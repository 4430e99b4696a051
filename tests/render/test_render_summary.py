"""The words for what happened."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_events import attempt, end
from manyhands.core.events import Summary
from manyhands.core.job import Status
from manyhands.render.summary import describe, left_behind, name_of, summary_line
from manyhands.render.words import duration

OK, FAILED, TIMEOUT, LOST = Status.OK, Status.FAILED, Status.TIMEOUT, Status.LOST


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            Summary("r", {OK: 1997, FAILED: 3}, wall=12.1, work=41.2),
            "2,000 jobs: 1,997 ok, 3 failed in 12.1 s (41.2 s of work, 3.4x); again: manyhands batch.retry 7f3a",
        ),
        (Summary("r", {OK: 2000}, wall=12.1, work=41.2), "2,000 jobs: 2,000 ok in 12.1 s (41.2 s of work, 3.4x)"),
        (Summary("r", {OK: 2000}, wall=12.1, work=6.2), "2,000 jobs: 2,000 ok in 12.1 s (6.2 s of work)"),
        (Summary("r", {OK: 1}, wall=0.3, work=0.3), "1 job: 1 ok in 0.3 s"),
        (Summary("r", {OK: 3}, wall=0.02, work=0.01), "3 jobs: 3 ok in 20 ms"),
        (
            Summary("r", {OK: 1, TIMEOUT: 2}, wall=125.0),
            "3 jobs: 1 ok, 2 timed out in 2 min 05 s; again: manyhands batch.retry 7f3a",
        ),
        (
            Summary("r", {OK: 1, FAILED: 1}, left=3, unread=True, wall=1.0, stopped_by=signal.SIGINT),
            "2 jobs: 1 ok, 1 failed, 3 or more not run in 1.0 s; stopped by SIGINT; the rest: manyhands batch.resume 7f3a",
        ),
        (
            Summary("r", {FAILED: 1}, unread=True, wall=1.0, halted="now,fail=1"),
            "1 job: 0 ok, 1 failed, further inputs not read in 1.0 s; halted by now,fail=1; the rest: manyhands batch.resume 7f3a",
        ),
        (
            Summary("r", {OK: 254}, left=1, unread=True, wall=1.0, stopped_by=signal.SIGINT, total=3000),
            "254 of 3,000 jobs done: 254 ok, 2,746 not run in 1.0 s; stopped by SIGINT; the rest: manyhands batch.resume 7f3a",
        ),
        (
            Summary("r", {OK: 1, FAILED: 1}, total=2, done_before=2),
            "nothing new to run: 2 were done before (1 ok, 1 failed); again: manyhands batch.retry 7f3a",
        ),
        (
            Summary("r", {OK: 3}, total=3, done_before=2, wall=1.0),
            "3 jobs: 3 ok (2 of them before) in 1.0 s",
        ),
        (
            Summary("r", {OK: 9}, left=1, wall=1.0),
            "9 of 10 jobs done: 9 ok, 1 not run in 1.0 s; the rest: manyhands batch.resume 7f3a",
        ),
        (Summary("r", {OK: 1}, wall=1.0, stopped_by=signal.SIGTERM), "1 job: 1 ok in 1.0 s; stopped by SIGTERM"),
        (
            Summary("r", {}, unread=True, wall=0.1, stopped_by=signal.SIGHUP),
            "0 jobs: 0 ok, further inputs not read in 0.1 s; stopped by SIGHUP; the rest: manyhands batch.resume 7f3a",
        ),
    ],
)
def test_one_line_says_what_a_run_came_to(summary: Summary, line: str) -> None:
    """How many of what, how long it took, why it ended early, and what to type next."""
    assert summary_line(summary, run="7f3a") == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.001, "0.0 s"),
        (0, "0.0 s"),
        (0.00004, "0.0 s"),
        (0.0004, "0.4 ms"),
        (0.0123, "12 ms"),
        (0.0499, "50 ms"),
        (0.05, "0.1 s"),
        (0.3, "0.3 s"),
        (12.06, "12.1 s"),
        (99.94, "99.9 s"),
        (99.95, "1 min 40 s"),
        (125, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.5, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (86399.9, "1 d 00 h"),
        (273_600, "3 d 04 h"),
        (86400 * 1234, "1,234 d 00 h"),
    ],
)
def test_durations_are_in_the_units_people_use(seconds: float, text: str) -> None:
    """Two units at most, the second with two digits."""
    assert duration(seconds) == text


@given(st.floats(0, 8.6e7))
def test_every_duration_is_short(seconds: float) -> None:
    """It fits into a column of 11, up to 995 days."""
    assert len(duration(seconds)) <= 11


@pytest.mark.parametrize(
    ("status", "more", "words"),
    [
        (OK, {}, "is ok"),
        (FAILED, {}, "failed with exit status 3"),
        (FAILED, {"exit": None, "signal": 9}, "was ended by SIGKILL"),
        (FAILED, {"exit": None, "signal": 60}, "was ended by signal 60"),
        (FAILED, {"exit": 127, "error": "cannot start x: No such file"}, "cannot start x: No such file"),
        (FAILED, {"exit": None, "error": "ValueError: no\x1b[2J"}, "failed: ValueError: no^[[2J"),
        (FAILED, {"exit": None}, "failed"),
        (TIMEOUT, {"wall": 2.0, "signal": 15}, "timed out after 2.0 s"),
        (
            TIMEOUT,
            {"wall": 2.0, "still_running": True},
            "timed out after 2.0 s; it could not be stopped and is still running",
        ),
        (LOST, {"error": "its launcher died"}, "was lost: its launcher died"),
        (LOST, {}, "was lost: how it ended is not known"),
        (Status.CANCELLED, {}, "was stopped"),
        (Status.CANCELLED, {"started": None}, "was not begun"),
        (Status.SKIPPED, {}, "was skipped"),
        (Status.SKIPPED, {"error": "done before"}, "was skipped: done before"),
    ],
)
def test_each_way_to_end_has_its_words(status: Status, more: dict[str, Any], words: str) -> None:
    """They go on after "job 5"."""
    assert describe(end(5, status, **more)) == words


def test_what_was_left_behind_is_counted() -> None:
    """Nothing, one, or several processes."""
    assert left_behind(end(1)) is None
    assert left_behind(end(1, leftovers=1)) == "left 1 process behind, which was stopped"
    assert left_behind(end(1, leftovers=2)) == "left 2 processes behind, which were stopped"


def test_a_job_goes_by_its_command_or_its_input() -> None:
    """The command if there is room for it, else the values, joined by a blank, which tell it from the others."""
    one = attempt(1, b"first", b"sec\x1bond")
    assert name_of(one, 40) == "cmd first $'sec\\x1bond'"
    assert name_of(one, 22) == "first sec^[ond"
    assert name_of(one, 8) == "first s…"
    assert name_of(one._replace(argv=()), 40) == "first sec^[ond"
