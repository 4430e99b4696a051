"""Runs a program on another host for as long as its standard input is open: a program of Dask that ssh has started would otherwise go on when
its connection ends. ``python -m manyhands.backends.cluster.leash PROGRAM ARG...``

    ssh --> this process, which becomes PROGRAM
               '-- a watcher, in a session of its own: TERM, and then KILL, when standard input ends
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Final

_GRACE: Final = 10.0
"""Seconds between TERM and KILL."""
_LOOK: Final = 0.2


def main(command: list[str]) -> None:
    """Become the program."""
    program = os.getpid()
    if os.fork() == 0:
        os.setsid()  # what ends the group of the program leaves the watcher alone
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):  # ssh waits until nobody can write to it any more
            os.dup2(null, descriptor)
        _watch(program)
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.execvp(command[0], command)  # noqa: S606 - as it is, without a shell


def _watch(program: int) -> None:
    """Wait for the end of the input, or of the program, which is our parent: no other process can have its number meanwhile."""
    while os.getppid() == program:
        if select.select([0], [], [], _LOOK)[0] and not _received():
            break
    deadline = time.monotonic() + _GRACE
    with suppress(ProcessLookupError):
        if os.getppid() == program:
            os.kill(program, signal.SIGTERM)
        while os.getppid() == program and time.monotonic() < deadline:
            time.sleep(_LOOK)
        if os.getppid() == program:
            os.killpg(os.getpgid(program), signal.SIGKILL)


def _received() -> bytes:
    with suppress(OSError):
        return os.read(0, 4096)
    return b""


if __name__ == "__main__":
    main(sys.argv[1:])
