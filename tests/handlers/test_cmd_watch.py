"""A watch on a terminal: colours are shown as such, and nothing else of a command moves the cursor."""

from __future__ import annotations

import re

import pytest
from rich.style import Style
from rich.text import Span

from manyhands.commands.command_tree import Tree
from manyhands.commands.pipeline import PipelineResult
from manyhands.commands.retry import watch
from manyhands.render.cmd_watch import _marked, coloured


def colour_of(span: Span) -> int | None:
    """By its number in a terminal's palette."""
    colour = Style.parse(str(span.style)).color
    return colour.number if colour else None


def test_colours_are_shown_and_the_rest_is_harmless() -> None:
    """Only those: what moves the cursor or sets the title is text."""
    first, second = coloured(b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\nplain\n", 80)
    assert (first.plain, second.plain) == ("red ^[[2J^[]0;title^G", "plain")
    assert [(span.start, span.end, colour_of(span)) for span in first.spans] == [(0, 3, 1)]


def test_a_colour_holds_until_it_is_ended() -> None:
    """Over the end of the line."""
    lines = coloured(b"\x1b[1;32mone\ntwo\x1b[m three\n", 80)
    assert [(colour_of(line.spans[0]), Style.parse(str(line.spans[0].style)).bold) for line in lines] == [
        (2, True),
        (2, True),
    ]
    assert (lines[1].spans[0].start, lines[1].spans[0].end) == (0, 3)


def test_escapes_take_no_room() -> None:
    """Lines are cut and TABs are filled by what is seen."""
    (line,) = coloured(b"\x1b[31mab\x1b[0m\tcdefgh\n", 10)
    assert line.plain == "ab      c…"


def test_what_has_changed_is_marked_in_its_colour() -> None:
    """By what is read, character by character."""
    (line,) = coloured(b"\x1b[31m15\x1b[0m", 80)
    marked = _marked(line, "14")
    assert [(span.start, span.end) for span in marked.spans if span.style == "reverse"] == [(1, 2)]
    assert colour_of(marked.spans[0]) == 1


@pytest.mark.parametrize("printed", [b"all \x1b[32mgreen\x1b[0m now\n", b"al\x1b[1ml green now\n"])
def test_until_searches_what_people_read(printed: bytes) -> None:
    """A colour in the middle of it is no part of the text."""
    with Tree() as tree:
        looks = watch(
            lambda _: PipelineResult((), 0.0, printed),
            tree,
            every=0.0,
            until=re.compile(b"^all green now$", re.MULTILINE),
            times=2,
        )
        assert [look.met for look in looks] == [True]
