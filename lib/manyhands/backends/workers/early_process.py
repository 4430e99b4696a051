"""Starts the interpreter of the fork server before it is known what is to be called: it imports what workers need while we import what a
batch needs.

    boot --exec--> `manyhands.backends.workers.early_main`: imports, waits --code, descriptors--> fork server

It is called where hardly anything is imported yet. Until its code has come, the process holds nothing that is kept on disk, and it ends as
soon as we do; without it, the same process is started later.
"""

from __future__ import annotations

import atexit
import marshal
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from manyhands.core.lean import socket
from manyhands.core.package_location import LIBRARY
from manyhands.runtime.at_fork import abandon_in_child

PRELOADED: Final = (
    "manyhands.backends.workers.worker_main",
    "manyhands.backends.workers.worker",
    "multiprocessing.popen_forkserver",
    "pkgutil",  # with which `runpy` reads the main script
)
"""What every worker needs."""
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from manyhands.backends.workers.early_main import main; "
    "main(int(sys.argv[2]), sys.argv[3:])"
)


class EarlyProcess:
    """An interpreter that waits for what it is to run. It is killed when the program ends, unless it has got that."""

    def __init__(self, flags: Sequence[str], imported: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        self._owner = os.getpid()
        self._sock, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        command = [sys.executable, *flags, "-c", _BOOT, LIBRARY, str(descriptor), *imported]
        try:
            self._process = subprocess.Popen(command, pass_fds=[descriptor])
        except BaseException:
            self._sock.close()
            raise
        finally:
            theirs.close()
        abandon_in_child(self)
        atexit.register(self.close)

    def run(self, code: str, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
        """Have it run ``code``, which finds ``descriptors`` under the same numbers. Raises OSError if it has ended."""
        packed = b"".join(one.to_bytes(4, sys.byteorder) for one in descriptors)
        message = marshal.dumps((code, [*descriptors]))
        flags = getattr(socket, "MSG_NOSIGNAL", 0)
        sent = self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)], flags)
        self._sock.sendall(message[sent:], flags)
        self._sock.close()
        atexit.unregister(self.close)
        return self._process

    def close(self) -> None:
        """Kill it."""
        atexit.unregister(self.close)
        if os.getpid() == self._owner:
            self._sock.close()
            self._process.kill()
            self._process.wait()

    def abandon(self) -> None:
        """See `manyhands.runtime.at_fork`; nothing can be run by it there."""
        self._sock.close()


_waiting: Final[list[EarlyProcess]] = []


def boot() -> None:
    """Start it, if that is possible."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing has them
    with suppress(OSError):
        _waiting.append(EarlyProcess([*flags, "-P"], ["multiprocessing.forkserver", *PRELOADED]))


def run_early(code: str, descriptors: Sequence[int]) -> subprocess.Popen[bytes] | None:
    """The process that `boot` has started, running ``code``, which can be had once; None if there is none."""
    if _waiting:
        early = _waiting.pop()
        try:
            return early.run(code, descriptors)
        except OSError:  # it has died, or we are a forked child of the process that it belongs to
            early.close()
    return None


def end_unused() -> None:
    """End what `boot` has started if nothing was run by it: the batch has ended before, or there was a fork server."""
    while _waiting:
        _waiting.pop().close()
