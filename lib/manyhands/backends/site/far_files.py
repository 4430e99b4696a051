"""The files of attempts at the far end: those that are sent before an attempt begins, and those that are fetched when it went well.

near end --FILE_BEGIN, FILE_PIECE ..., FILE_END, START--> the file is there before the attempt
near end <--FETCH_BEGIN, FETCH_PIECE ..., FETCH_END, the report of the end-- the file has arrived before the end is known
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from manyhands.backends.site import frames
from manyhands.backends.site.frames import Frame, as_bytes
from manyhands.backends.site.moved_files import Incoming, NotMovedError, Outgoing, remove
from manyhands.core.attempt import Attempt, AttemptId


class FarFiles:
    """See the module's first lines; all paths are below ``folder``. ``cleanup``: what was sent or fetched is removed when no attempt
    uses it any more; ``mark`` is in temporary names."""

    def __init__(self, folder: bytes, mark: str, *, cleanup: bool) -> None:
        self._folder, self._mark, self._cleanup = folder, mark.encode(), cleanup
        self._arriving: dict[AttemptId, Incoming] = {}
        self._failures: dict[AttemptId, str] = {}
        self._fetch: dict[AttemptId, list[bytes]] = {}
        self._used: dict[AttemptId, set[bytes]] = {}
        self._users: Counter[bytes] = Counter()
        self._aborted: set[AttemptId] = set()

    # -- sent ------------------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """A part of a file that is sent."""
        id = _id(frame.head)
        if frame.kind == frames.FILE_DROP:
            self._drop(id)
            self.over(id)
        elif id not in self._failures:
            try:
                self._take(id, frame)
            except NotMovedError as error:
                self._failures[id] = f"cannot send a file: {error}"
                self._arriving.pop(id, None)

    def _take(self, id: AttemptId, frame: Frame) -> None:
        if frame.kind == frames.FILE_BEGIN:
            path = as_bytes(frame.head["path"])
            self._use(id, path)
            self._arriving[id] = Incoming(self._folder, path, b"%s-%d" % (self._mark, id[0]), durable=False)
        elif frame.kind == frames.FILE_PIECE:
            self._arriving[id].add(frame.body)
        else:
            self._arriving.pop(id).finish(frame.head)

    def _use(self, id: AttemptId, path: bytes) -> None:
        used = self._used.setdefault(id, set())
        if path not in used:
            used.add(path)
            self._users[path] += 1

    def _drop(self, id: AttemptId) -> None:
        if arriving := self._arriving.pop(id, None):
            arriving.drop()

    def begin(self, id: AttemptId, fetch: Iterable[str]) -> str | None:
        """An attempt is to begin, after which ``fetch`` is wanted; returns why it cannot."""
        if (why := self._failures.get(id)) is not None:
            self.over(id)
            return why
        if paths := [as_bytes(one) for one in fetch]:
            self._fetch[id] = paths
            for path in paths:
                self._use(id, path)
        return None

    # -- fetched ---------------------------------------------------------------------------------------------------------

    def wanted(self, id: AttemptId) -> bool:
        """Whether something is to be fetched after this attempt."""
        return id in self._fetch

    def abort(self, attempts: Iterable[Attempt]) -> None:
        """They are to be stopped: of those that have ended the files are fetched no further."""
        self._aborted.update(one.id for one in attempts if one.id in self._fetch)

    def fetched(self, id: AttemptId) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        """What is to be sent of the files of an attempt that went well: (kind of frame, head, body). Raises NotMovedError."""
        for number, path in enumerate(self._fetch[id]):
            file = Outgoing(self._folder, path, follow=False)
            yield frames.FETCH_BEGIN, {"id": id, "file": number}, b""
            for piece in file.pieces():
                if id in self._aborted:
                    raise NotMovedError("the job was stopped before its files were fetched")
                yield frames.FETCH_PIECE, {"id": id}, piece
            yield frames.FETCH_END, {"id": id, **file.trailer()}, b""

    # -- the end ---------------------------------------------------------------------------------------------------------

    def over(self, id: AttemptId) -> None:
        """An attempt is over: remove what nobody uses any more, if that is wanted."""
        self._failures.pop(id, None)
        self._fetch.pop(id, None)
        self._aborted.discard(id)
        for path in self._used.pop(id, ()):
            self._users[path] -= 1
            if not self._users[path]:
                del self._users[path]
                if self._cleanup:
                    remove(self._folder, path)

    def close(self) -> None:
        """Leave nothing that is not whole; and, if that is wanted, nothing at all."""
        for id in [*self._arriving]:
            self._drop(id)
        for id in [*self._used]:
            self.over(id)


def _id(head: dict[str, Any]) -> AttemptId:
    return int(head["id"][0]), int(head["id"][1])
