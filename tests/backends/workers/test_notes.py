"""What a worker has noted is read once, in order, however the ring is filled and emptied, and also when the worker is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.backends.workers.notes import LARGEST, RING, NoteReader, NoteWriter
from manyhands.backends.workers.shared_page import Entry, Page


@pytest.fixture
def sides() -> Iterator[tuple[NoteReader, NoteWriter]]:
    """The coordinator's, and the worker's, in the file that it was given."""
    page = Page(3)
    entry, there = page.entry(2), Entry.there(page.file, 2)
    yield entry.reader(), there.writer()
    there.release()
    page.close()


@given(st.lists(st.tuples(st.integers(0, LARGEST - 100), st.integers(0, 3)), max_size=200))
def test_notes_come_once_and_in_order(steps: list[tuple[int, int]]) -> None:
    """Of any size, wherever the ring begins anew; one for which there is no room is refused, and nothing is lost by that."""
    words = memoryview(bytearray(64)).cast("Q")
    ring = memoryview(bytearray(RING))
    writer, reader = NoteWriter(ring, words, 3, 4), NoteReader(ring, words, 3, 4)
    put: list[Any] = []
    taken: list[Any] = []
    for number, (size, what) in enumerate(steps):
        note = (number, bytes(size))
        if writer.put(note):
            put.append(note)
        else:
            assert sum(len(data) for _, data in put[len(taken) :]) > RING - 2 * LARGEST - 100 * len(put)
        if not what:
            taken += reader.take(reader.head)
    assert taken + reader.take(reader.head) == put
    assert reader.take(reader.head) == []


def test_a_large_note_is_refused(sides: tuple[NoteReader, NoteWriter]) -> None:
    """It is sent instead."""
    reader, writer = sides
    assert not writer.put(bytes(LARGEST))
    assert writer.put(1)
    assert reader.take(reader.head) == [1]


def test_a_position_is_a_place_in_the_order(sides: tuple[NoteReader, NoteWriter]) -> None:
    """What is sent beside the notes says after which of them it comes."""
    reader, writer = sides
    writer.put("first")
    position = writer.position
    writer.put("second")
    assert reader.take(position) == ["first"]
    assert reader.take(position) == []
    assert reader.take(reader.head) == ["second"]


def test_a_new_worker_begins_with_an_empty_ring() -> None:
    """Whatever the one before it, in the same slot, has noted."""
    page = Page(1)
    first = Entry.there(page.file, 1)
    page.entry(1)
    first.writer().put("old")
    reader = page.entry(1).reader()
    assert reader.take(reader.head) == []
    first.writer().put("new")
    assert reader.take(reader.head) == ["new"]
    first.release()
    page.close()
