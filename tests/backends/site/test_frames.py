"""Frames: whatever is sent arrives, however the stream cuts it; what is no frame is refused at once."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.backends.site import frames
from manyhands.backends.site.frames import BrokenFrameError, Frame, Unpacker, as_bytes, as_text, packed

HEADS = st.dictionaries(
    st.text(max_size=5), st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=3), max_size=3
)
FRAMES = st.tuples(st.integers(0, 255), HEADS, st.binary(max_size=50))


@given(st.lists(FRAMES, max_size=6), st.data())
def test_frames_arrive_however_they_are_cut(sent: list[tuple[int, dict[str, Any], bytes]], data: st.DataObject) -> None:
    """In their order, each once and whole."""
    stream = b"".join(packed(*one) for one in sent)
    unpacker, found = Unpacker(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += unpacker.feed(stream[:size])
        stream = stream[size:]
    assert found == [Frame(*one) for one in sent]


@given(st.binary(max_size=40))
def test_any_bytes_survive_as_text(value: bytes) -> None:
    """Arguments that are no UTF-8 arrive as they were."""
    sent = Unpacker().feed(packed(frames.START, {"argument": as_text(value)}))
    assert as_bytes(sent[0].head["argument"]) == value


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">IBI", 5, 1, 1) + b"{}",
        struct.pack(">IBI", 4, 1, 0) + b"x" * 9,
        struct.pack(">IBI", frames.LARGEST + 1, 1, 2),
        struct.pack(">IBI", 7, 1, 2) + b"[]",
        struct.pack(">IBI", 7, 1, 2) + b"{x",
        struct.pack(">IBI", 7, 1, 2) + b"\xff\xff",
        b"Welcome to this host!",
        packed(1, {"a": 1})[:9] + b"[" * 100_000,
    ],
)
def test_what_is_no_frame_is_refused(stream: bytes) -> None:
    """Whoever speaks something else does not keep us waiting, and no length makes us keep gigabytes."""
    with pytest.raises(BrokenFrameError):
        Unpacker().feed(stream + b"x" * 200)
