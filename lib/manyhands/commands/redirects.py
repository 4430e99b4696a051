"""Opens the files that commands read and write, without waiting longer than they may run."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from contextlib import suppress
from typing import Final

from manyhands.commands.command_tree import Tree

_LOOK_AGAIN: Final = 0.05
"""Seconds between two checks whether a FIFO has a reader, which cannot be waited for."""


class Opener:
    """Opens files within a time limit: opening a FIFO waits until its other end is opened (fifo(7)), which may never happen."""

    def __init__(self, tree: Tree, timeout: float | None) -> None:
        self._tree, self._began = tree, time.monotonic()
        self._deadline = None if timeout is None else self._began + timeout

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def left(self) -> float | None:
        """Seconds until the limit; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def open(self, path: str, flags: int) -> int:
        """Open as a shell does: a new file has mode rw-rw-rw- minus the umask. Raises OSError; TimeoutError if the limit, or a call
        of ``tree.stop``, comes before the other end is opened."""
        flags |= os.O_CLOEXEC
        if not _is_fifo(path):
            return os.open(path, flags, 0o666)
        opened = self._end_of_fifo(path, flags | os.O_NONBLOCK)
        os.set_blocking(opened, True)
        return opened

    def _end_of_fifo(self, path: str, flags: int) -> int:
        if flags & os.O_WRONLY:
            while True:
                self._check(path)
                try:
                    return os.open(path, flags)
                except OSError as error:
                    if error.errno != errno.ENXIO:  # there is no reader yet
                        raise
                self._tree.look(self._moment(_LOOK_AGAIN))
        opened, poll = os.open(path, flags), select.poll()
        poll.register(opened, select.POLLIN)
        try:
            while not poll.poll(0):  # neither data nor the end: there was no writer yet
                self._check(path)
                self._tree.look(self._moment(None), [opened])
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _moment(self, seconds: float | None) -> float | None:
        found = [at for at in (self._deadline, None if seconds is None else time.monotonic() + seconds) if at is not None]
        return min(found) if found else None

    def _check(self, path: str) -> None:
        if self._tree.stopped_by is not None or self.left() == 0:
            raise TimeoutError(f"was not begun: no process has opened the other end of {path}")


def _is_fifo(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISFIFO(os.stat(path).st_mode)
    return False
