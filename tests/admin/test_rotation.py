"""Which backups a rule keeps, for any history of backups."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.admin.rotation import Rotation
from manyhands.core.errors import UsageError

COUNTS = st.none() | st.integers(1, 8)
RULES = st.builds(Rotation, COUNTS, COUNTS, COUNTS, COUNTS)
MOMENTS = st.datetimes(datetime(2023, 12, 20), datetime(2026, 1, 15)).map(lambda moment: moment.replace(microsecond=0))
HISTORIES = st.sets(MOMENTS, max_size=40) | st.tuples(MOMENTS, st.integers(1, 60), st.sampled_from([6, 24, 100])).map(
    lambda made: {made[0] + timedelta(hours=made[2] * number) for number in range(made[1])}
)
"""At any times; or so many, every so many hours."""


@given(RULES, HISTORIES)
def test_what_is_kept(rule: Rotation, history: set[datetime]) -> None:
    """The newest always; never more than the rule says; the last of each period, and of the last periods."""
    kept = rule.kept(history)
    assert set(kept) <= history
    assert not history or max(history) in kept
    if not rule.deletes:
        assert set(kept) == history
        return
    assert len(kept) <= max(1, sum(count or 0 for count in rule))
    periods = {"newest": None, "daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m"}
    for count, (name, form) in zip(rule, periods.items(), strict=True):
        of_it = sorted(moment for moment, reasons in kept.items() if name in reasons)
        every: dict[str, datetime] = {}
        for moment in sorted(history):
            every[moment.strftime(form) if form else moment.isoformat()] = moment
        assert of_it == sorted(every.values())[-count:] if count else not of_it


@given(RULES, HISTORIES)
def test_rotated_each_time_or_once_is_the_same(rule: Rotation, history: set[datetime]) -> None:
    """What a nightly rotation has left is what one at the end would leave: none deletes what a later one needs."""
    left: set[datetime] = set()
    for moment in sorted(history):
        left = set(rule.kept({*left, moment}))
    assert left == set(rule.kept(history))


@given(RULES, HISTORIES)
def test_a_second_rotation_deletes_nothing(rule: Rotation, history: set[datetime]) -> None:
    """Nothing is lost by running it twice."""
    once = set(rule.kept(history))
    assert set(rule.kept(once)) == once


@given(RULES, RULES, HISTORIES)
def test_more_is_more(rule: Rotation, other: Rotation, history: set[datetime]) -> None:
    """A rule that keeps more of each kind keeps what the other one keeps."""
    more = Rotation(
        *(None if one is None is two else max(one or 0, two or 0) for one, two in zip(rule, other, strict=True))
    )
    if rule.deletes:
        assert set(rule.kept(history)) <= set(more.kept(history))


def test_a_year_of_nights() -> None:
    """As one would expect it: a week of days, a month of weeks, the months."""
    nights = [datetime(2025, 1, 1, 3) + timedelta(days=number) for number in range(365)]
    kept = Rotation(daily=7, weekly=4, monthly=12).kept(nights)
    assert sorted(moment.strftime("%m-%d") for moment in kept) == [
        "01-31",
        "02-28",
        "03-31",
        "04-30",
        "05-31",
        "06-30",
        "07-31",
        "08-31",
        "09-30",
        "10-31",
        "11-30",
        "12-14",
        "12-21",
        "12-25",
        "12-26",
        "12-27",
        "12-28",
        "12-29",
        "12-30",
        "12-31",
    ]
    assert kept[nights[-1]] == ["daily", "weekly", "monthly"]


@pytest.mark.parametrize("rule", [Rotation(keep=0), Rotation(daily=-1), Rotation(monthly=0)])
def test_a_rule_that_keeps_nothing(rule: Rotation) -> None:
    """It is refused."""
    with pytest.raises(UsageError, match="expected 1 or more"):
        rule.check()
