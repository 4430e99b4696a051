"""A pattern is compiled when it is first used, and is then what `re.compile` gives."""

from __future__ import annotations

import re

import pytest

from manyhands.core.patterns import pattern


def test_it_is_compiled_once_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it is named, and not again for the same method."""
    compiled: list[tuple[object, ...]] = []
    usual = re.compile
    monkeypatch.setattr(re, "compile", lambda *args: compiled.append(args) or usual(*args))  # type: ignore[func-returns-value]
    words = pattern(r"[a-z]+", re.IGNORECASE)
    assert compiled == []
    for _ in range(3):
        assert words.findall("One two") == ["One", "two"]
    assert compiled == [(r"[a-z]+", re.IGNORECASE)]


def test_it_has_all_that_a_pattern_has() -> None:
    """For text and for bytes."""
    text, data = pattern(r"(\d+)-(\d+)"), pattern(rb"(\d+)")
    found = text.fullmatch("12-3")
    assert found
    assert found.groups() == ("12", "3")
    assert (text.sub("x", "1-2 y"), text.pattern, text.groups) == ("x y", r"(\d+)-(\d+)", 2)
    assert data.search(b"a7") is not None
    assert [*data.finditer(b"1 2")][1][0] == b"2"
    with pytest.raises(AttributeError):
        text.other  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(re.error):
        pattern("(").search("x")
