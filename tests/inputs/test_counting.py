"""How many inputs there are, counted beside the run: the same number as the source gives, and never a wait."""

from __future__ import annotations

import codecs
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import wait_for
from manyhands.core.errors import InputError
from manyhands.inputs.counting import Counter
from manyhands.inputs.sources import Args, Csv, JsonLines, Lines, Product, Source
from manyhands.inputs.spool import Spool

PIECES = st.lists(
    st.sampled_from(
        [
            b"a",
            b"b c",
            b"\n",
            b"\n",
            b"\r\n",
            b"\r",
            b" ",
            b"\t",
            b"\x0b",
            b"\x0c",
            b"\x1c",
            b"\x85",
            b"\xc2\xa0",
            b"\xe2\x80\xa8",
            b"\0",
            b"1",
            b"#",
            b",",
            b";",
            b'"',
            b'""',
            b"[1, 2]",
            b'{"a": 1}',
            b"null",
            b"\xff",
            codecs.BOM_UTF8,
        ]
    )
).map(b"".join)
MAKERS = st.one_of(
    st.builds(
        partial,
        st.just(Lines),
        null=st.booleans(),
        separator=st.sampled_from([None, ",", r"\s+"]),
        comments=st.booleans(),
    ),
    st.builds(partial, st.just(Csv), delimiter=st.sampled_from([None, ";", "tab"])),
    st.builds(partial, st.just(JsonLines), names=st.sampled_from([(), ("a",)]), whole=st.booleans()),
)


def counted(source: Source) -> int | None:
    """What a counter finds out."""
    known = threading.Event()
    counter = Counter(source, known.set)
    counter.start()
    wait_for(lambda: known.is_set() or counter.number is not None)
    counter.close()
    return counter.number


@pytest.mark.filterwarnings("ignore::manyhands.core.errors.InputWarning")
@given(PIECES, st.sampled_from([b"", b"a", b"a;b\n", b"a,b\r\n"]), st.booleans(), st.booleans(), MAKERS)
def test_there_are_as_many_as_the_source_gives(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    header: bytes,
    marked: bool,
    mixed: bool,
    make: Callable[[str], Source],
) -> None:
    """Of every format, with a byte order mark or without, whatever ends its lines, names its columns, or is a blank or a comment."""
    data = header + data if mixed else (header + data).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    path = tmp_path_factory.mktemp("counting") / "list"
    path.write_bytes(codecs.BOM_UTF8 * marked + data)
    try:
        source = make(str(path))
        there = sum(1 for _ in source)
    except InputError:  # the run says so, and how many there are is not asked
        return
    assert counted(source) == there


def test_what_is_odd_about_a_list_is_said_once(tmp_path: Path) -> None:
    """By whoever takes the inputs, not by the one that counts them."""
    (tmp_path / "in").write_bytes(b"one\r\ntwo\r\n")
    assert counted(Lines(str(tmp_path / "in"))) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("data", "make", "number"),
    [
        (b'a,b\n1,2\n\n3,"x\ny"\n', Csv, 2),
        (b"a\r\n1\r\n2\r\n", Csv, 2),
        (b'{"a": 1}\n\n  \n[2]\n3', JsonLines, 3),
        (b"one\r\n\r\ntwo\r\n", Lines, 2),
        (b"", Lines, 0),
    ],
)
def test_formats(tmp_path: Path, data: bytes, make: type[Csv | JsonLines | Lines], number: int) -> None:
    """Rows over several lines, blank lines, no newline at the end."""
    (tmp_path / "in").write_bytes(data)
    source = make(str(tmp_path / "in"))
    assert counted(source) == number == sum(1 for _ in source)


def test_products_are_multiplied(tmp_path: Path) -> None:
    """Of what is counted and what was known."""
    (tmp_path / "in").write_bytes(b"a\nb\nc\n")
    source = Product([Lines(str(tmp_path / "in")), Args(["x", "y"])])
    assert counted(source) == 6


def test_what_can_be_read_only_once_is_not_touched(tmp_path: Path) -> None:
    """A FIFO, as a shell's <(...) is."""
    os.mkfifo(tmp_path / "fifo")
    held = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(held, b"a\nb\n")
    with open(held, "rb", buffering=0, closefd=False) as stream:
        counter = Counter(Lines(str(tmp_path / "fifo"), stream=stream), lambda: None)
        counter.start()
        counter.close()
    assert (counter.number, os.read(held, 9)) == (None, b"a\nb\n")
    os.close(held)


def test_what_is_wrong_is_left_to_the_run(tmp_path: Path) -> None:
    """Not counted, and no noise."""
    (tmp_path / "in").write_bytes(b'a,b\n1,"2')
    source = Csv(str(tmp_path / "in"))
    counter = Counter(source, lambda: None)
    counter.start()
    counter.close()
    assert counter.number is None


def test_a_pipe_is_counted_when_it_has_ended(tmp_path: Path) -> None:
    """And not before; whoever has read how much."""
    reader, writer = os.pipe()
    spool, known = Spool(reader, tmp_path), threading.Event()
    source = Lines("-", stream=spool.follow())
    counter = Counter(source, known.set, spool.whole, spool.nudge)
    counter.start()
    os.write(writer, b"a\nb\n")
    assert next(iter(source)) == (b"a",)
    assert counter.number is None
    os.close(writer)
    wait_for(known.is_set)
    assert counter.number == 2
    counter.close()
    spool.close()
    os.close(reader)


def test_nobody_waits_for_a_pipe_that_does_not_end(tmp_path: Path) -> None:
    """A run that is stopped lets go at once."""
    reader, writer = os.pipe()
    spool = Spool(reader, tmp_path)
    counter = Counter(Lines("-", stream=spool.follow()), lambda: None, spool.whole, spool.nudge)
    counter.start()
    counter.close()
    assert counter.number is None
    spool.close()
    os.close(reader)
    os.close(writer)
