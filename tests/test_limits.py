"""What users type for limits becomes exact numbers, or one line that names the option."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import UsageError
from manyhands.limits import (
    MAX_JOBS,
    Halt,
    HaltWhen,
    Limits,
    Timeout,
    parse_duration,
    parse_jobs,
    parse_size,
    parse_timeout,
)


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
    """The wait doubles, and stays below five minutes however often it fails."""
    limits = Limits(jobs=1, backoff=2.0)
    assert [limits.retry_wait(n) for n in (1, 2, 3)] == [2, 4, 8]
    assert limits.retry_wait(10_000) == 300
    assert Limits(jobs=1, backoff=0).retry_wait(5) == 0


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"jobs": 1, "retries": -1}])
def test_limits_that_cannot_be_meant(wrong: dict[str, int]) -> None:
    """A record of limits is right or is not made."""
    with pytest.raises(UsageError):
        Limits(**wrong)  # type: ignore[arg-type]
