"""The files of attempts at the near end: what is sent before an attempt, and what is fetched after it (`far_files` is the other side)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from manyhands.backends.site import frames
from manyhands.backends.site.frames import Frame, as_text, packed
from manyhands.backends.site.moved_files import Incoming, NotMovedError, Outgoing
from manyhands.core.attempt import Attempt, AttemptId, Job
from manyhands.core.records import dataclass

_AT_ONCE: Final = 16
"""Pieces that are read before the other hosts are served again."""

Paths = Callable[[Job], list[bytes]]
"""The files of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMoves:
    """Which files travel; all are below ``folder`` here, and have the same path below the working folder there."""

    folder: bytes
    send: Paths
    fetch: Paths
    cleanup: bool = False


class NearFiles:
    """The files that go to one host, and come from it. ``mark`` is in temporary names."""

    def __init__(self, moves: FileMoves, mark: str) -> None:
        self._moves, self._mark = moves, os.fsencode(mark)
        self._sending: deque[tuple[Attempt, Iterator[bytes]]] = deque()
        self._arriving: dict[AttemptId, Incoming] = {}
        self._arrived: dict[AttemptId, int] = {}
        self._failures: dict[AttemptId, str] = {}

    # -- sent ------------------------------------------------------------------------------------------------------------

    def send(self, attempt: Attempt, start: dict[str, Any]) -> None:
        """Send the files of an attempt, and then the frame that starts it, whose head is ``start``."""
        start["attempts"][0].append([as_text(path) for path in self._moves.fetch(attempt.job)])
        self._sending.append((attempt, self._frames(attempt, start)))

    def _frames(self, attempt: Attempt, start: dict[str, Any]) -> Iterator[bytes]:
        for path in self._moves.send(attempt.job):
            file = Outgoing(self._moves.folder, path, follow=True)
            yield packed(frames.FILE_BEGIN, {"id": attempt.id, "path": as_text(path)})
            for piece in file.pieces():
                yield packed(frames.FILE_PIECE, {"id": attempt.id}, piece)
            yield packed(frames.FILE_END, {"id": attempt.id, **file.trailer()})
        yield packed(frames.START, start)

    @property
    def has_more(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._sending)

    def is_sent(self, id: AttemptId) -> bool:
        """Whether all of an attempt has been given to the stream."""
        return all(attempt.id != id for attempt, _ in self._sending)

    def pump(self, put: Callable[[bytes], bool]) -> list[tuple[Attempt, str]]:
        """Give frames to ``put`` as long as it returns True, in turns, so that no file holds up another. Returns the attempts whose
        files cannot be sent, and why."""
        failed = []
        for _ in range(_AT_ONCE):
            if not self._sending:
                break
            attempt, rest = self._sending.popleft()
            try:
                frame = next(rest, None)
            except NotMovedError as error:
                failed.append((attempt, f"cannot send a file: {error}"))
                frame = packed(frames.FILE_DROP, {"id": attempt.id})
            else:
                if frame is not None:
                    self._sending.append((attempt, rest))
            if frame is not None and not put(frame):
                break
        return failed

    def cancel(self, id: AttemptId) -> bytes | None:
        """Stop sending the files of an attempt, which has not begun then: returns the frame that says so, None if it was sent."""
        for one in self._sending:
            if one[0].id == id:
                self._sending.remove(one)
                return packed(frames.FILE_DROP, {"id": id})
        return None

    # -- fetched ---------------------------------------------------------------------------------------------------------

    def take(self, attempt: Attempt, frame: Frame) -> None:
        """A part of a file of ``attempt``. Why it cannot be written is said by `over`."""
        if attempt.id in self._failures:
            return
        try:
            self._take(attempt, frame)
        except NotMovedError as error:
            self._failures[attempt.id] = f"cannot fetch a file: {error}"
            self._arriving.pop(attempt.id, None)

    def _take(self, attempt: Attempt, frame: Frame) -> None:
        if frame.kind == frames.FETCH_BEGIN:
            path = self._moves.fetch(attempt.job)[frame.head["file"]]
            mark = b"%s-%d" % (self._mark, attempt.job.number)
            self._arriving[attempt.id] = Incoming(self._moves.folder, path, mark, durable=True)
        elif frame.kind == frames.FETCH_PIECE:
            self._arriving[attempt.id].add(frame.body)
        else:
            self._arriving.pop(attempt.id).finish(frame.head)
            self._arrived[attempt.id] = self._arrived.get(attempt.id, 0) + 1

    def over(self, attempt: Attempt, *, well: bool) -> str | None:
        """An attempt has ended: returns why its files are not here, if it went well there."""
        if arriving := self._arriving.pop(attempt.id, None):
            arriving.drop()
        why, arrived = self._failures.pop(attempt.id, None), self._arrived.pop(attempt.id, 0)
        if not well:
            return None
        missing = len(self._moves.fetch(attempt.job)) - arrived
        return why or (f"cannot fetch a file: {missing} did not come" if missing else None)

    def close(self) -> None:
        """Drop what is not whole."""
        self._sending.clear()
        for one in self._arriving.values():
            one.drop()
        self._arriving.clear()
