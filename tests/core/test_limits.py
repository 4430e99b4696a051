"""What users type for limits becomes exact numbers, or one line that names the option."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import UsageError
from manyhands.core.limits import (
    MAX_JOBS,
    Backoff,
    Halt,
    HaltWhen,
    Limits,
    RetryOn,
    Timeout,
    parse_duration,
    parse_jobs,
    parse_size,
    parse_timeout,
)

pytestmark = pytest.mark.usefixtures("options_typed")


@pytest.mark.parametrize(
    ("text", "cores", "jobs"),
    [("8", 2, 8), (3, 2, 3), ("0", 2, MAX_JOBS), ("50%", 4, 2), ("1%", 4, 1), ("+2", 4, 6), ("-1", 4, 3), ("100%", 3, 3)],
)
def test_jobs(text: str | int, cores: int, jobs: int) -> None:
    """A number, everything, a share of the cores, or more or fewer than there are."""
    assert parse_jobs(text, cores) == jobs


@pytest.mark.parametrize("text", ["", "x", "1.5", "-5", "-4", "+", "-0", "%", "1e3"])
def test_bad_jobs(text: str) -> None:
    """Anything else is an error that names --jobs."""
    with pytest.raises(UsageError, match="--jobs"):
        parse_jobs(text, 4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("250ms", 0.25), ("2m", 120), ("1h30m", 5400), ("2d", 172800), ("1w", 604800), (7, 7)],
)
def test_durations(text: str | float, seconds: float) -> None:
    """Seconds, or numbers with units."""
    assert parse_duration(text, "--x") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1x", "m", "1m x", "1 m"])
def test_bad_durations(text: str) -> None:
    """Negative, endless or unreadable durations name their option."""
    with pytest.raises(UsageError, match="--grace"):
        parse_duration(text, "--grace")


@given(st.floats(0, 1e6))
def test_every_number_of_seconds_can_be_given(seconds: float) -> None:
    """Whatever Python prints for a number of seconds is read back as that number."""
    assert parse_duration(repr(seconds), "--x") == seconds


def test_timeouts() -> None:
    """A duration, a share of the median, or none; no time at all is refused; text round-trips."""
    assert parse_timeout("2m") == Timeout(seconds=120)
    assert parse_timeout("300%") == Timeout(percent=300)
    assert parse_timeout(None) is parse_timeout("") is None
    assert parse_timeout(str(Timeout(percent=150))) == Timeout(percent=150)
    for text in ("0", "0%"):
        with pytest.raises(UsageError, match="--timeout"):
            parse_timeout(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64k", 65536), ("10M", 10 << 20), ("1GiB", 1 << 30), ("10MB", 10_000_000), ("512", 512), ("1.5K", 1536), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    """Bytes, with the units of GNU coreutils."""
    assert parse_size(text, "--x") == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1Q", "k"])
def test_bad_sizes(text: str) -> None:
    """Anything else names its option."""
    with pytest.raises(UsageError, match="--output-cap"):
        parse_size(text, "--output-cap")


@pytest.mark.parametrize(
    "text", ["never", "soon,fail=1", "now,fail=20%", "now,success=3", "soon,done=50%", "now,fail=2.5%"]
)
def test_halt_rules_round_trip(text: str) -> None:
    """A rule prints as it was given."""
    assert str(Halt.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "maybe", "now", "now,fail", "now,fail=0", "now,fail=1.5", "soon,left=3", "now,fail=-1"]
)
def test_bad_halt_rules(text: str) -> None:
    """Anything else names --halt."""
    with pytest.raises(UsageError, match="--halt"):
        Halt.parse(text)


@pytest.mark.parametrize(
    ("rule", "done", "failed", "total", "reached"),
    [
        ("now,fail=2", 9, 1, None, False),
        ("now,fail=2", 9, 2, None, True),
        ("now,fail=50%", 4, 4, None, False),
        ("now,fail=50%", 4, 1, 4, False),
        ("now,fail=50%", 4, 2, 4, True),
        ("now,success=3", 4, 1, None, True),
        ("soon,done=50%", 5, 0, None, False),
        ("soon,done=50%", 5, 0, 10, True),
        ("never", 9, 9, 9, False),
    ],
)
def test_when_a_halt_rule_is_reached(rule: str, done: int, failed: int, total: int | None, reached: bool) -> None:
    """Counts at once, shares of all jobs once their number is known."""
    assert Halt.parse(rule).reached(done, failed, done - failed, total) is reached


def test_the_old_numbers_of_gnu_parallel() -> None:
    """--halt 1, -2 and 20% mean what they meant."""
    assert str(Halt.parse("-2")) == "now,success=1"
    assert str(Halt.parse("20%")) == "soon,fail=20%"
    assert Halt.parse("2") == Halt(HaltWhen.NOW, "fail", 1)
    assert Halt.parse("0").when is HaltWhen.NEVER


def test_retries_wait_longer_each_time_up_to_a_bound() -> None:
    """The wait doubles, and stays below five minutes however often it fails; a longer first wait is taken as it is."""
    assert [Backoff(2.0).wait(n) for n in (1, 2, 3)] == [2, 4, 8]
    assert Backoff(2.0).wait(10_000) == 300
    assert Backoff(0).wait(5) == 0
    assert [Backoff.parse("10m").wait(n) for n in (1, 2)] == [600, 600]


def test_the_growth_of_the_wait_can_be_chosen() -> None:
    """So can its longest, and how much of it is left to chance: never more than without it."""
    assert [Backoff.parse("500ms,growth=3,max=2s").wait(n) for n in (1, 2, 3)] == [0.5, 1.5, 2.0]
    assert [Backoff.parse("5,growth=1").wait(n) for n in (1, 2, 900)] == [5, 5, 5]
    assert [Backoff.parse("8,jitter=25%").wait(1, iter([share]).__next__) for share in (0.0, 0.5, 1.0)] == [8, 7, 6]


@given(
    st.builds(
        Backoff,
        st.floats(0, 300),
        st.floats(1, 1e3),
        st.floats(300, 1e6),
        st.integers(0, 100).map(lambda share: share / 100),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1),
)
def test_a_back_off_can_be_written_down(backoff: Backoff, failures: int, share: float) -> None:
    """A resumed run waits as the first execution did, and within the bounds that were given."""
    again = Backoff.parse(str(backoff))
    assert (again.first, again.growth, again.cap) == (backoff.first, backoff.growth, backoff.cap)
    assert again.jitter == pytest.approx(backoff.jitter)
    assert 0 <= again.wait(failures, lambda: share) <= backoff.cap


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "1,growth",
        "1,growth=0.5",
        "1,growth=x",
        "1,max=0.5",
        "1,jitter=101%",
        "1,jitter=3",
        "1,jitter=1%,jitter=1%",
        "1,cap=3",
    ],
)
def test_a_back_off_that_cannot_be_meant(text: str) -> None:
    """It is refused with the name of the option."""
    with pytest.raises(UsageError, match="--backoff"):
        Backoff.parse(text)


def test_what_is_tried_again_can_be_named() -> None:
    """Exit statuses, signals, time-outs, lost jobs and exceptions, each for itself."""
    rule = RetryOn.parse("75,100-110,timeout,SIGSEGV,ConnectionError")
    covered = [
        rule.covers("failed", 75, None, None),
        rule.covers("failed", 105, None, None),
        rule.covers("timeout", None, 15, None),
        rule.covers("failed", None, 11, None),
        rule.covers("failed", 1, None, "ConnectionError: reset"),
        rule.covers("failed", 1, None, "ConnectionResetError (ConnectionError): reset by peer"),
        rule.covers("failed", 1, None, "ConnectionError"),
    ]
    others = [
        rule.covers("failed", 1, None, None),
        rule.covers("failed", 111, None, None),
        rule.covers("lost", None, None, None),
        rule.covers("failed", None, 9, None),
        rule.covers("failed", 1, None, "ValueError: ConnectionError"),
        rule.covers("timeout", 75, None, None) and not rule.words,
    ]
    assert all(covered)
    assert not any(others)
    assert RetryOn.parse("signal").covers("failed", None, 9, None)
    assert RetryOn.parse("lost").covers("lost", None, None, "why")


class Trouble(Exception):
    """One that a program has made."""


def test_what_is_tried_again_can_be_given_by_a_program() -> None:
    """As numbers and classes; it is kept as text, and read back from that."""
    rule = RetryOn.parse([75, "timeout", ConnectionError, Trouble])
    assert RetryOn.parse(str(rule)) == rule
    assert rule.exceptions == ("ConnectionError", f"{__name__}.Trouble")
    assert RetryOn.parse(75) == RetryOn.parse("75")
    with pytest.raises(UsageError, match=r"retry_on 1\.5"):
        RetryOn.parse([1.5], "retry_on")


@pytest.mark.parametrize("text", ["", " , ", "0", "256", "9-1", "timeuot", "SIGNONE,3 4", "-3", "[x]"])
def test_a_rule_for_retries_that_cannot_be_meant(text: str) -> None:
    """A word that would never match is a mistake, not a rule."""
    with pytest.raises(UsageError, match="--retry-on"):
        RetryOn.parse(text)


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"jobs": 1, "retries": -1}, {"jobs": 1, "retry_on": RetryOn.parse("75")}])
def test_limits_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    """A record of limits is right or is not made."""
    with pytest.raises(UsageError):
        Limits(**wrong)
