"""Inputs arrive byte-exact and lazily; what is wrong with them is said before anything runs, as far as it can be."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import InputError, InputWarning
from manyhands.inputs.sources import (
    Args,
    Csv,
    Glob,
    JsonLines,
    Lines,
    Product,
    Rows,
    Source,
    Zip,
    open_source,
    streamed_part,
)

pytestmark = pytest.mark.usefixtures("options_typed")

values = st.binary(max_size=12)


def again(source: Source) -> Source:
    """The source as a resumed run sees it: described as JSON, and opened from that."""
    return open_source(json.loads(json.dumps(source.spec())))


def is_line(value: bytes) -> bool:
    """What every list can hold: no newline, no NUL; and no beginning or end that says how the list was made."""
    return bool(value) and not set(value) & set(b"\n\0") and value[-1:] != b"\r" and value[0] not in b"\xef\xfe\xff"


@given(st.lists(values.filter(is_line)))
def test_lines_come_back_exactly(lines: list[bytes]) -> None:
    """Whatever bytes a line holds, with or without a last newline."""
    for text in (b"\n".join(lines), b"".join(line + b"\n" for line in lines)):
        assert list(Lines("-", stream=io.BytesIO(text))) == [(line,) for line in lines]


@given(st.lists(values.filter(lambda v: b"\0" not in v)))
def test_nul_separated_inputs_come_back_exactly(pieces: list[bytes]) -> None:
    """With --null even newlines and empty inputs are kept."""
    text = b"".join(piece + b"\0" for piece in pieces)
    assert list(Lines("-", null=True, stream=io.BytesIO(text))) == [(piece,) for piece in pieces]


def test_empty_lines_are_left_out() -> None:
    """As xargs does; a carriage return is part of the input."""
    assert list(Lines("-", stream=io.BytesIO(b"a\n\nb\r\n"))) == [(b"a",), (b"b\r",)]


def test_lines_can_be_split_into_columns() -> None:
    """--colsep takes a regular expression."""
    source = Lines("-", separator=r"\s*,\s*", stream=io.BytesIO(b"a , b,c\n"))
    assert list(source) == [(b"a", b"b", b"c")]
    with pytest.raises(InputError, match="--colsep"):
        Lines("-", separator="(", stream=io.BytesIO())


@pytest.mark.parametrize("null", [False, True])
def test_a_slow_pipe_delivers_each_input_when_it_comes(null: bool) -> None:
    """The first input is there before the second has been written."""
    reading, writing = os.pipe()
    got_first = threading.Event()

    def write() -> None:
        os.write(writing, b"one\0" if null else b"one\n")
        assert got_first.wait(10)
        os.write(writing, b"two")
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb") as stream:
        rows = iter(Lines("-", null=null, stream=stream))
        assert next(rows) == (b"one",)
        got_first.set()
        assert next(rows) == (b"two",)
    thread.join()


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
            min_size=2,
            max_size=2,
        )
    )
)
def test_csv_comes_back_exactly(rows: list[list[str]]) -> None:
    """Quotes, commas and newlines inside fields are part of the value."""
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    source = Csv("-", stream=io.BytesIO(text.getvalue().encode()))
    assert source.columns == ("a", "b")
    assert list(source) == [tuple(field.encode() for field in row) for row in rows]


def test_csv_keeps_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A field in another encoding arrives as it was written; a byte order mark is no part of the first name."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfname,n\ncaf\xe9,1\n")
    source = again(Csv(str(path)))
    assert source.columns == ("name", "n")
    assert list(source) == list(source) == [(b"caf\xe9", b"1")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"", "is empty"), (b"a,a\n1,2\n", "line 1"), (b"a,\n1,2\n", "line 1"), (b'"a\n', "not CSV")],
)
def test_a_csv_without_good_names_is_refused_at_once(tmp_path: Path, text: bytes, reason: str) -> None:
    """The header is read when the source is made."""
    path = tmp_path / "x.csv"
    path.write_bytes(text)
    with pytest.raises(InputError, match=reason):
        Csv(str(path))


def test_a_csv_row_of_another_length_names_its_row(tmp_path: Path) -> None:
    """What is wrong further down is said where it is."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,2\n1\n")
    with pytest.raises(InputError, match="row 3: 1 column where the first line names 2"):
        list(Csv(str(path)))


def test_json_lines() -> None:
    """Objects by name, arrays by position, anything else as one value."""
    text = b'{"a": "x y", "b": 1.50, "c": null, "d": {"e": [1, "\xc3\xa4"]}, "f": true}\n'
    named = JsonLines("-", ("a", "b", "c", "d", "f"), stream=io.BytesIO(text))
    assert list(named) == [(b"x y", b"1.5", b"", '{"e":[1,"ä"]}'.encode(), b"true")]
    assert list(JsonLines("-", stream=io.BytesIO(b'["a", 2]\n"x"\n3\n'))) == [(b"a", b"2"), (b"x",), (b"3",)]


@pytest.mark.parametrize(
    ("text", "reason"), [("{]\n", "line 1: not JSON"), ('{"b": 1}\n', "no 'a'"), ("3\n", "not an object")]
)
def test_bad_json_lines_are_told_at_once(tmp_path: Path, text: str, reason: str) -> None:
    """The first line is looked at when the source is made."""
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        JsonLines(str(path), ("a",))


def test_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any depth, sorted, hidden files left out, names that are no text exact; matched in the folder of the first time."""
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in (b"d/b.x", b"d/e/a.x", b"d/.h.x", b"d/\xff.x"):
        (tmp_path / os.fsdecode(name)).touch()
    monkeypatch.chdir(tmp_path)
    source = Glob(["d/**/*.x"])
    assert list(source) == [(b"d/b.x",), (b"d/e/a.x",), (b"d/\xff.x",)]
    assert source.total == 3
    monkeypatch.chdir("/")
    assert list(again(source)) == list(source)
    with pytest.raises(InputError, match="no file matches"):
        Glob(["nothing*"])


def test_products() -> None:
    """Every combination; the first varies slowest; names side by side."""
    source = Product([Args.each("t=a,b"), Args.each("cc=x,y")])
    assert source.columns == ("t", "cc")
    assert source.total == 4
    assert list(again(source)) == [(b"a", b"x"), (b"a", b"y"), (b"b", b"x"), (b"b", b"y")]
    with pytest.raises(InputError, match="same column"):
        Product([Args.each("t=a"), Args.each("t=b")])
    with pytest.raises(InputError, match="cannot be the name"):
        Args.each("a b!=c")


@pytest.mark.parametrize("make", [Lines, Csv, JsonLines])
def test_files_that_cannot_be_read(make: type, tmp_path: Path) -> None:
    """Missing files and folders are told when the source is made."""
    with pytest.raises(InputError, match="no such file"):
        make(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="is a folder"):
        make(str(tmp_path))


@given(st.lists(st.lists(st.binary(), min_size=1, max_size=3), max_size=5))
def test_rows_of_a_program_are_kept_exactly(rows: list[list[bytes]]) -> None:
    """Whatever bytes they are, through JSON and back; a NUL does not blow them up."""
    spec = Rows(rows).spec()
    assert list(open_source(json.loads(json.dumps(spec)))) == [tuple(row) for row in rows]
    large = json.dumps(Rows([(b"\0" * 3000,)]).spec())
    assert len(large) < 4300


# -- lists from other systems ----------------------------------------------------------------------------------------------


def read(source: Source) -> list[tuple[bytes, ...]]:
    return list(source)


def test_a_byte_order_mark_is_no_part_of_the_first_input(tmp_path: Path) -> None:
    """Once, at the beginning; with NULs everything is taken as it is."""
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert read(Lines(str(path))) == [(b"a",), (b"\xef\xbb\xbfb",)]
    path.write_bytes(b"\xef\xbb\xbfa\0")
    assert read(Lines(str(path), null=True)) == [(b"\xef\xbb\xbfa",)]
    path.write_bytes(b'\xef\xbb\xbf{"x": 1}\n')
    assert read(JsonLines(str(path), whole=True)) == [(b'{"x": 1}',)]
    path.write_bytes(b"\xef\xbb\xbfx,y\n1,2\n")
    assert Csv(str(path)).columns == ("x", "y")


@pytest.mark.parametrize("make", [Lines, Csv, JsonLines])
def test_utf_16_is_refused_with_the_way_out(make: Callable[[str], Source], tmp_path: Path) -> None:
    """As a spreadsheet saves it."""
    path = tmp_path / "list"
    path.write_text("a;b\r\nc;d\r\n", encoding="utf-16")
    with pytest.raises(InputError, match="iconv"):
        read(make(str(path)))


def test_a_list_of_cr_lf_lines(tmp_path: Path) -> None:
    """The first line decides: then no CR at an end is meant, which is said once; else each is kept."""
    path = tmp_path / "list"
    path.write_bytes(b"a b\r\n\r\nc\r\nd\rd\ne\r\n")
    with pytest.warns(InputWarning, match="CR LF") as warned:
        assert read(Lines(str(path))) == [(b"a b",), (b"c",), (b"d\rd",), (b"e",)]
    assert len(warned) == 1
    path.write_bytes(b"a\nb\r\n")
    assert read(Lines(str(path))) == [(b"a",), (b"b\r",)]


def test_null_where_it_is_missing_and_where_it_is_too_much(tmp_path: Path) -> None:
    """Each mistake names the option; a single name without an end is none."""
    path = tmp_path / "list"
    path.write_bytes(b"a\0b\n\0c\0")
    with pytest.raises(InputError, match=r"line 1: holds a NUL byte.*--null"):
        read(Lines(str(path)))
    assert read(Lines(str(path), null=True)) == [(b"a",), (b"b\n",), (b"c",)]
    path.write_bytes(b"a\nb\n")
    with pytest.raises(InputError, match="leave out --null"):
        read(Lines(str(path), null=True))
    path.write_bytes(b"a")
    assert read(Lines(str(path), null=True)) == [(b"a",)]


@pytest.mark.parametrize(("text", "delimiter"), [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("|", "|")])
def test_csv_with_another_delimiter(text: str, delimiter: str, tmp_path: Path) -> None:
    """Named, or given as it is; the source can be opened again."""
    path = tmp_path / "table"
    path.write_text(f'a{delimiter}b\r\n1{delimiter}"2{delimiter}3"\r\n')
    source = Csv(str(path), delimiter=text)
    assert source.columns == ("a", "b")
    assert read(source) == read(open_source(source.spec())) == [(b"1", f"2{delimiter}3".encode())]


@given(st.lists(st.tuples(values.filter(is_line), values.filter(is_line))))
def test_linked_sources_come_back_exactly(rows: list[tuple[bytes, bytes]]) -> None:
    """The n-th of each together, from lists and from a stream."""
    left, right = ([row[place] for row in rows] for place in (0, 1))
    linked = Zip([Args(left, name="x"), Args(right, name="y")])
    assert list(linked) == list(again(linked)) == rows
    assert (linked.columns, linked.width, linked.total) == (("x", "y"), 2, len(rows))
    spec = {"kind": "zip", "sources": [Args(left).spec(), Lines("-", stream=io.BytesIO()).spec() | {"streamed": True}]}
    assert list(open_source(spec, stream=io.BytesIO(b"\n".join(right)))) == rows
    assert streamed_part(spec)["kind"] == "lines"


def test_linked_sources_are_equally_long(tmp_path: Path) -> None:
    """Nobody can guess what belongs to the rest: said at once where they can be counted, else where one ends."""
    (tmp_path / "list").write_text("a\nb\n")
    with pytest.raises(InputError, match="not equally long: they have 2, 3 inputs"):
        Zip([Lines(str(tmp_path / "list")), Args(["1", "2", "3"])])
    unequal = iter(Zip([Lines("-", stream=io.BytesIO(b"a\n")), Args(["1", "2"])], streamed=True))
    assert next(unequal) == (b"a", b"1")
    with pytest.raises(InputError, match="source 1 has ended after 1 inputs"):
        next(unequal)


def test_comments_in_a_list_of_commands() -> None:
    """They are left out where that is asked for, as are lines of blanks; a line is an input otherwise."""
    text = b"# x\na\n  \n  # y\nb # c\n"
    assert list(Lines("-", comments=False, stream=io.BytesIO(text))) == [(b"a",), (b"b # c",)]
    assert len(list(Lines("-", stream=io.BytesIO(text)))) == 5


def test_a_table_with_tabs_is_known_by_its_name(tmp_path: Path) -> None:
    """Also by a run that is taken up again; another delimiter can still be given."""
    path = tmp_path / "x.TSV"
    path.write_text("a\tb\n1,2\t3\n")
    assert list(Csv(str(path))) == list(again(Csv(str(path)))) == [(b"1,2", b"3")]
    with pytest.warns(InputWarning, match="--delimiter tab"):
        assert Csv(str(path), delimiter=",").columns == ("a\tb",)


def test_a_field_may_be_large(tmp_path: Path) -> None:
    """Larger than the csv module would have it by itself."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "x" * 300_000 + ",1\n")
    assert [len(row[0]) for row in Csv(str(path))] == [300_000]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    """It is found by its name where that matches nothing else, as in a shell; else there is a word about it."""
    (tmp_path / "a[1].txt").touch()
    assert list(Glob(["a[1].txt"], folder=str(tmp_path))) == [(b"a[1].txt",)]
    (tmp_path / "a1.txt").touch()
    with pytest.warns(InputWarning, match=r"'a\[\[\]1\].txt'"):
        assert list(Glob(["a[1].txt"], folder=str(tmp_path))) == [(b"a1.txt",)]
    assert list(Glob(["a[[]1].txt"], folder=str(tmp_path))) == [(b"a[1].txt",)]


def test_a_delimiter_that_was_forgotten_or_cannot_be_one(tmp_path: Path) -> None:
    """One column whose name holds it is said; what divides lines or quotes is refused."""
    path = tmp_path / "table"
    path.write_text("a;b\n1;2\n")
    with pytest.warns(InputWarning, match="--delimiter ';'"):
        assert read(Csv(str(path))) == [(b"1;2",)]
    for text in ("", "ab", "\n", '"'):
        with pytest.raises(InputError, match="--delimiter"):
            Csv(str(path), delimiter=text)


def test_a_long_field(tmp_path: Path) -> None:
    """Longer than Python's csv takes by itself; a BOM may come in pieces before it."""
    path = tmp_path / "table"
    long = b"x" * 1_000_000
    path.write_bytes(b"a,b\n" + long + b",2\n")
    assert read(Csv(str(path))) == [(long, b"2")]
