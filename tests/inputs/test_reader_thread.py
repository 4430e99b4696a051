"""Inputs that come slowly: handed to the engine as they come, never in its way."""

from __future__ import annotations

import threading

import pytest

from conftest import wait_for
from manyhands.core.errors import InputError
from manyhands.core.job import Values
from manyhands.inputs.reader_thread import ReaderThread

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_nothing_there_is_none_and_a_wake_up_follows() -> None:
    """The engine gets what has come, None while nothing has, and is told when to look again."""
    go, woken = threading.Event(), threading.Event()

    def slow() -> object:
        yield (b"1",)
        go.wait(10)
        yield (b"2",)

    feed = ReaderThread(slow(), woken.set)  # type: ignore[arg-type]
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

    feed = ReaderThread(broken(), lambda: None)  # type: ignore[arg-type]
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

    feed = ReaderThread(endless(), lambda: None)  # type: ignore[arg-type]
    feed.start()
    wait_for(lambda: count >= 96)
    threading.Event().wait(0.1)
    assert count == 96
    feed.close()


def test_more_is_read_for_who_takes_much_at_once() -> None:
    """What keeps a quick engine waiting grows, within a bound; a slow source makes nothing grow."""
    given, woken = iter(range(100_000)), threading.Event()
    feed = ReaderThread(((b"%d" % number,) for number in given), woken.set)
    feed.start()
    inputs, taken, longest, at_once = iter(feed), 0, 0, 0
    while taken < 40_000:
        woken.clear()
        value = next(inputs)
        taken, at_once = (taken, 0) if value is None else (taken + 1, at_once + 1)
        longest = max(longest, at_once)
        if value is None:
            assert woken.wait(20)
            wait_for(lambda: feed._full)  # the worst case: all that may be read has been read
    feed.close()
    assert longest > 96
    assert next(given) - taken < 10_000
