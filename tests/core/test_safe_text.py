"""Whatever bytes a job, a name or a file holds, a terminal is safe from them, and people can see what they are."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from manyhands.core.safe_text import Harmless, cells, harmless, one_line

TRICKY = st.one_of(
    st.binary(),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from([b"\r", b"\n", b"\x1b[2J", b"\xe2\x80\xae", b"\xc2\x9b", b"\xe4\xb8", b"\x96", b"a"])).map(
        b"".join
    ),
)
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@given(TRICKY)
@example(b"\x1b]0;title\x07")
@example(b"\xf0\x9f")
def test_nothing_that_could_move_a_cursor_or_hide_text_gets_through(data: bytes) -> None:
    """Newline and TAB are the only control characters that come out, and all of it can be written as UTF-8."""
    shown = harmless(data)
    assert not HARMFUL.search(shown)
    assert not [byte for byte in shown.encode() if (byte < 32 and byte not in b"\n\t") or byte == 0x7F]
    assert harmless(shown) == shown


@given(st.text())
def test_a_string_is_as_harmless_as_bytes(text: str) -> None:
    """Also one with surrogates in it, as names of files have them."""
    assert not HARMFUL.search(harmless(text))


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cn", "Cs", "Zl", "Zp"])))
def test_printable_text_is_not_changed(text: str) -> None:
    """In every script there is, with newlines and TABs."""
    text = f"{text}\n\t{text}"
    assert harmless(text) == harmless(text.encode()) == text


@pytest.mark.parametrize("text", ["👩‍👩‍👧‍👦", "می‌خواهم", "क्‍ष", "ﷺ", "e\u0301", "a\u00a0b"])
def test_scripts_that_need_joiners_keep_them(text: str) -> None:
    """U+200C and U+200D hide nothing: words and emoji are spelt with them."""
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[31mred", "^[[31mred"),
        (b"bell\x07 nul\x00 del\x7f", "bell^G nul^@ del^?"),
        (b"10%\r20%\r\n", "10%^M20%\n"),
        (b"\x9b2J", "\\x9b2J"),
        ("\x9b2J".encode(), "\\x9b2J"),
        (b"caf\xe9", "caf\\xe9"),
        ("a\u202eb\u2066c\u200bd\ufeff".encode(), "a\\u202eb\\u2066c\\u200bd\\ufeff"),
        ("\U000e0041".encode(), "\\U000e0041"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
    ],
)
def test_what_is_harmful_is_shown(data: bytes, shown: str) -> None:
    """Caret notation for C0, escapes for the rest, as cat -v and Python write them."""
    assert harmless(data) == shown


@given(TRICKY, st.lists(st.integers(0, 64)))
@example(b"a\r\nb", [2])
@example("世".encode(), [1, 2])
def test_in_pieces_it_comes_out_as_at_once(data: bytes, cuts: list[int]) -> None:
    """Wherever a stream is cut: in the middle of a character, or between CR and LF."""
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    stream = Harmless()
    pieces = [stream.feed(data[a:b]) for a, b in pairwise(borders)]
    assert "".join(pieces) + stream.feed(b"", final=True) == harmless(data)


@given(st.text(), st.integers(1, 100))
def test_one_line_fits_its_width(text: str, width: int) -> None:
    """No newline, no more columns than there are; what fits is not cut."""
    shown = one_line(text, width)
    assert "\n" not in shown
    assert "\t" not in shown
    assert cells(shown) <= width
    assert shown.endswith("…") or shown == harmless(text).replace("\n", "␤").replace("\t", " ")


def test_one_line_cuts_with_an_ellipsis() -> None:
    """By columns, not by characters; an input of megabytes costs nothing."""
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert one_line("世界世界", 6) == "世界…"
    assert one_line(b"a\nb\tc", 9) == "a␤b c"
    assert one_line(b"x" * 50_000_000, 5) == "xxxx…"
    assert one_line("abc", 1) == "…"
    assert one_line("abc", 0) == ""


@pytest.mark.parametrize("text", ["plain", "grüße", "世界", "e\u0301a", "\uff46\uff55\uff4c\uff4c", "한글", "🎉 done"])
def test_columns_are_those_of_the_display(text: str) -> None:
    """rich, which draws the display, counts the same."""
    assert cells(text) == cell_len(unicodedata.normalize("NFC", text))


@given(
    st.lists(
        st.sampled_from(
            [
                b"\x1b[31m",
                b"\x1b[0m",
                b"\x1b",
                b"[",
                b"3",
                b"1m",
                b"\x1b[2J",
                b"\x1b]0;t\x07",
                b"\r",
                b"\n",
                b"a",
                b"\xff",
            ]
        )
    )
)
def test_only_colours_may_pass(pieces: list[bytes]) -> None:
    """However the stream is cut; nothing else does, and the terminal is left without colours."""
    safe = Harmless(colours=True)
    shown = "".join([*(safe.feed(piece) for piece in pieces), safe.feed(b"", final=True)])
    whole = Harmless(colours=True).feed(b"".join(pieces), final=True)
    assert shown == whole
    colours = re.findall("\x1b\\[[0-9;]*m", shown)
    assert not HARMFUL.search(re.sub("\x1b\\[[0-9;]*m", "", shown))
    assert not colours or colours[-1] == "\x1b[0m"
