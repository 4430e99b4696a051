"""Streams: kept as they come, followed while they grow, never in the way of the engine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from conftest import wait_for
from manyhands.errors import InputError
from manyhands.feed import Feed, Spool, spooled
from manyhands.job import Values

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_stream_is_kept_to_its_end(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """A reader follows while it is written; when it has ended the file gets its final name."""
    reading, writing = pipe
    spool = Spool(reading, tmp_path)
    follower = spool.follow(lambda: None)
    os.write(writing, b"one\n")
    assert follower.readline() == b"one\n"
    os.write(writing, b"two\nthree")
    os.close(writing)
    assert follower.read() == b"two\nthree"
    assert spool.complete
    spool.close()
    spool.close()
    follower.close()
    os.close(reading)
    assert spooled(tmp_path) == (tmp_path / "inputs", True)
    assert (tmp_path / "inputs").read_bytes() == b"one\ntwo\nthree"
    assert (tmp_path / "inputs").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "kept"),
    [(b"a\nb\nhalf", b"a\nb\n"), (b"a\0b\0half", b"a\0b\0"), (b"half", b""), (b"", b""), (b"a\n", b"a\n")],
)
def test_what_was_cut_in_the_middle_is_taken_off(tmp_path: Path, text: bytes, kept: bytes) -> None:
    """The last input of a stream that was not copied to its end is not mistaken for a whole one."""
    (tmp_path / "inputs.part").write_bytes(text)
    assert spooled(tmp_path) == (tmp_path / "inputs.part", False)
    assert (tmp_path / "inputs.part").read_bytes() == kept


def test_closing_ends_a_reader_that_waits(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Nobody waits for a stream that nobody reads any more."""
    spool = Spool(pipe[0], tmp_path)
    got: list[bytes] = []
    with spool.follow(lambda: None) as follower:
        thread = threading.Thread(target=lambda: got.append(follower.read()))
        thread.start()
        os.write(pipe[1], b"x")
        wait_for(lambda: (tmp_path / "inputs.part").read_bytes())
        spool.close()
        thread.join()
    assert got == [b"x"]
    close(*pipe)


def test_cancelling_needs_no_lock(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """A signal handler can end a wait that the main thread is in."""
    spool = Spool(pipe[0], tmp_path)
    threading.Timer(0.1, spool.cancel).start()
    with spool.follow(lambda: None) as follower:
        assert follower.read() == b""
    spool.close()
    close(*pipe)


def test_nothing_there_is_none_and_a_wake_up_follows() -> None:
    """The engine gets what has come, None while nothing has, and is told when to look again."""
    go, woken = threading.Event(), threading.Event()

    def slow() -> object:
        yield (b"1",)
        go.wait(10)
        yield (b"2",)

    feed = Feed(slow(), woken.set)  # type: ignore[arg-type]
    feed.start()
    inputs = iter(feed)
    got: list[Values] = []

    def something_came() -> bool:
        value = next(inputs)
        got.extend([value] if value else [])
        return value is not None

    wait_for(something_came)
    assert got == [(b"1",)]
    assert next(inputs) is None
    woken.clear()
    go.set()
    assert woken.wait(10)
    wait_for(something_came)
    assert got == [(b"1",), (b"2",)]
    wait_for(lambda: next(inputs, "end") == "end")
    feed.close()


def test_an_error_of_the_source_comes_out_where_inputs_are_pulled() -> None:
    """After everything that came before it."""

    def broken() -> object:
        yield (b"1",)
        raise InputError("row 2 is wrong")

    feed = Feed(broken(), lambda: None)  # type: ignore[arg-type]
    feed.start()
    got: list[Values] = []
    with pytest.raises(InputError, match="row 2"):
        for value in feed:
            got += [value] if value else []
    assert got == [(b"1",)]
    feed.close()


def test_no_more_is_read_than_is_wanted() -> None:
    """A fast source waits for a slow engine."""
    count = 0

    def endless() -> object:
        nonlocal count
        while True:
            count += 1
            yield (b"x",)

    feed = Feed(endless(), lambda: None)  # type: ignore[arg-type]
    feed.start()
    wait_for(lambda: count >= 512)
    threading.Event().wait(0.1)
    assert count == 512
    feed.close()
