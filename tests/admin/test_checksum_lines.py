"""Lines of sha256sum: what is written is read back, and what that program would not write is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.admin.checksum_lines import line_of, read_line

NAMES = st.binary(min_size=1).filter(lambda name: b"\0" not in name and name != b"-")


@given(st.from_regex("[0-9a-f]{64}", fullmatch=True), NAMES | st.text(alphabet="\\\n\rnr* -", min_size=1).map(str.encode))
def test_a_line_is_read_as_it_is_written(checksum: str, name: bytes) -> None:
    """Whatever the name is, it is one line."""
    line = line_of(checksum, name)
    assert line.count(b"\n") == 1
    assert read_line(line) == (checksum, name if name != b"-" else b"./-")


@pytest.mark.parametrize(
    "line", [b"", b"abc", b"abc name", b"abc\tname", b"xyz  name", b"\\abc  a\\b", b"abc  ", b"ab  a\0b"]
)
def test_what_is_no_line(line: bytes) -> None:
    """It is not guessed at."""
    assert read_line(line) is None


def test_other_forms_of_a_line() -> None:
    """Binary mode, capital letters, the line ends of other systems."""
    for line in (b"ab12  name\n", b"ab12 *name\n", b"AB12  name\r\n", b"ab12  name"):
        assert read_line(line) == ("ab12", b"name")
