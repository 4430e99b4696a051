"""Control sequences are taken out of text that is searched, and known when they are not complete."""

from __future__ import annotations

import pytest

from manyhands.core.terminal_escapes import plain, torn


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[1;31mb\x1b[mc", "abc"),
        ("\x1b]0;title\x07x\x1b]8;;http://y\x1b\\z", "xz"),
        ("\x1b[?25l\x1b[2Kx\x1b(B", "x"),
        ("a\x1bb", "a\x1bb"),
        ("plain", "plain"),
    ],
)
def test_text_as_it_is_seen(text: str, shown: str) -> None:
    """Colours, titles, links and movements are gone; what is no sequence stays."""
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("ab", 2),
        ("ab\x1b", 2),
        ("ab\x1b[1;3", 2),
        ("a\x1b[0m", 5),
        ("a\x1b]0;ti", 1),
        ("a\x1b[0mb\x1b[", 6),
        ("\x1b[" + "1" * 99, 101),
    ],
)
def test_where_a_sequence_is_not_complete(text: str, at: int) -> None:
    """Only at the end, and only as long as one can be."""
    assert torn(text) == at
