"""Durations, sizes and signals in words."""

from __future__ import annotations

from manyhands.render.words import size


def test_sizes_never_need_more_than_their_column() -> None:
    """Eight columns, up to a terabyte."""
    assert [size(n) for n in (99_900, 102_349, 102_400, 1 << 20)] == ["97.6 KiB", "100 KiB", "100 KiB", "1.0 MiB"]
    assert all(len(size(n)) <= 8 for n in range(0, 1 << 21, 997))
