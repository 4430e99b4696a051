"""What the far end of a site has yet to write to its stream: a thread writes, so that a slow stream holds up nothing else."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Any, Final

from manyhands.backends.site.frames import packed

UNWRITTEN: Final = 1 << 23
"""Bytes that may wait for the stream; beyond it no further output is read from its file."""


class Outbox:
    """Frames on their way out, written by a thread of their own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._more = threading.Condition()
        self.broken = threading.Event()
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def send(self, kind: int, head: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Queue a frame."""
        frame = packed(kind, head, body)
        with self._more:
            self._waiting.append(frame)
            self._size += len(frame)
            self._more.notify_all()

    def has_room(self) -> bool:
        """Whether little waits."""
        return self._size < UNWRITTEN

    def wait_until_written(self, seconds: float) -> None:
        """Wait until nothing waits, at most so long."""
        with self._more:
            self._more.wait_for(lambda: not self._size or self.broken.is_set(), seconds)

    def _write(self) -> None:
        try:
            while True:
                with self._more:
                    self._more.wait_for(lambda: self._waiting)
                    piece = b"".join(self._waiting)
                    self._waiting.clear()
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._descriptor, view) :]
                with self._more:
                    self._size -= len(piece)
                    self._more.notify_all()
        except OSError:  # nobody reads any more
            self.broken.set()
            with self._more:
                self._more.notify_all()
