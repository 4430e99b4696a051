"""Attempts queued for the next free slot of any launcher: in a socket that all launchers read, and in memory behind it.

Separate from `manyhands.backends.commands`, because attempts in this queue have not begun, and can be taken back.
"""

from __future__ import annotations

import errno
import marshal
import os
from contextlib import suppress
from pathlib import Path

from manyhands.backends.launchers import wire
from manyhands.core.attempt import Attempt
from manyhands.core.lean import socket


class ReadyJobs:
    """See the module's first lines. ``sock`` is our end, ``theirs`` the one that launchers read."""

    def __init__(self, folder: Path) -> None:
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.waiting: dict[int, bytes] = {}
        """Messages by id, in order: written when the socket has room."""
        self._folder = folder

    def add(self, id: int, attempt: Attempt, *, first: bool = False) -> None:
        """Queue an attempt, last or ``first``. Raises OSError if it is too large for a message and no file can be written for it."""
        job = attempt.job.number, attempt.number, attempt.argv
        message = marshal.dumps((id, *job))
        if len(message) > wire.MESSAGE:
            path = bytes(self._folder) + b"/.job-%d" % id
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                marshal.dump(job, file)
            message = marshal.dumps((id, path))
        if first:
            self.waiting = {id: message, **self.waiting}
        else:
            self.waiting[id] = message

    def send(self) -> None:
        """Send queued attempts, as far as the socket takes them."""
        waiting, send = self.waiting, self.sock.send
        try:
            while waiting:
                id = next(iter(waiting))
                send(waiting[id], socket.MSG_DONTWAIT)
                del waiting[id]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.ENOMEM):
                raise

    def take_back(self) -> None:
        """Take all attempts that no launcher has read out of the socket, and queue them before all others."""
        back: dict[int, bytes] = {}
        with suppress(BlockingIOError):
            while True:
                message = self.theirs.recv(wire.MESSAGE, socket.MSG_DONTWAIT)
                back[marshal.loads(message)[0]] = message
        if back:
            self.waiting = back | self.waiting

    def close(self) -> None:
        """Close the sockets, and remove the files that launchers have not read."""
        self.sock.close()
        self.theirs.close()
        with suppress(OSError):
            for path in self._folder.glob(".job-*"):
                path.unlink()

    def abandon(self) -> None:
        """In a forked child: close the sockets only."""
        self.sock.close()
        self.theirs.close()
