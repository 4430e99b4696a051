"""A launcher's reports: gathered into one message per pass, and queued while the coordinator does not read."""

from __future__ import annotations

import errno
import marshal
from collections import deque

from manyhands.backends.launchers import wire
from manyhands.core.lean import Any, socket


class ReportQueue:
    """``records``: reports of this pass; ``waiting``: messages for which there was no room yet. No send waits. Raises
    ConnectionError if the coordinator is gone."""

    def __init__(self, index: int, sock: socket.socket) -> None:
        self._index, self.sock = index, sock
        self.records: list[tuple[Any, ...]] = []
        self.waiting: deque[bytes] = deque()
        self.refused = False
        """The kernel had no memory for the last message; it does not notify us when it has."""

    def flush(self) -> None:
        """Send the reports as one message, so that the end of one attempt and the beginning of the next cost one wake-up."""
        if self.records:
            message = marshal.dumps((self._index, self.records))
            if len(message) <= wire.MESSAGE:
                self.waiting.append(message)
            else:
                self.waiting.extend(marshal.dumps((self._index, [record])) for record in self.records)
            self.records.clear()
        self.refused = False
        waiting, send = self.waiting, self.sock.send
        try:
            while waiting:
                send(waiting[0], socket.MSG_DONTWAIT)
                waiting.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.ENOMEM):
                raise
            self.refused = True
