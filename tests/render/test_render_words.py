"""Durations, sizes and signals in words."""

from __future__ import annotations

from manyhands.render.words import size, span


def test_sizes_never_need_more_than_their_column() -> None:
    """Eight columns, up to a terabyte."""
    assert [size(n) for n in (99_900, 102_349, 102_400, 1 << 20)] == ["97.6 KiB", "100 KiB", "100 KiB", "1.0 MiB"]
    assert all(len(size(n)) <= 8 for n in range(0, 1 << 21, 997))


def test_spans_as_one_would_say_them() -> None:
    """The unit that fits exactly."""
    said = [span(seconds) for seconds in (1, 90, 60, 120, 3600, 86400, 30 * 86400, 0.5)]
    assert said == ["1 second", "90 seconds", "1 minute", "2 minutes", "1 hour", "1 day", "30 days", "0.5 seconds"]
