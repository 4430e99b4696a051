"""Waiting for what happens elsewhere: processes to end, a port to answer, a file to be there, a line to be logged.

Every function returns whether it came; False means that ``timeout`` seconds were over first.
"""

from __future__ import annotations

import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from manyhands import kernel

_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks at what cannot be waited for."""
_CONNECT: Final = 2.0
"""Seconds after which a connection is tried anew."""
_LONGEST_LINE: Final = 1 << 20
"""Bytes; a longer line is taken for several."""


def wait_for_processes(pids: Sequence[int], *, timeout: float | None = None) -> list[int]:
    """Wait until all these processes have ended, also such as are not ours; those that have not. One that is not there has
    ended; a zombie, too."""
    deadline = _deadline(timeout)
    with ExitStack() as stack:
        pidfds = {pid: _pidfd(pid, stack) for pid in pids}
        starts = {pid: stat.start if (stat := kernel.read_stat(pid)) else 0 for pid in pids}
        left = list(pids)
        while left := [pid for pid in left if not _has_ended(pid, starts[pid], pidfds[pid])]:
            rest = deadline - time.monotonic()
            if rest <= 0:
                return left
            poll = select.poll()
            for pid in left:
                if (descriptor := pidfds[pid]) is not None:
                    poll.register(descriptor, select.POLLIN)
            if any(pidfds[pid] is None for pid in left):
                rest = min(rest, _LOOK_AGAIN)
            poll.poll(None if rest == float("inf") else int(rest * 1000) + 1)
    return []


def _pidfd(pid: int, stack: ExitStack) -> int | None:
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
            stack.callback(os.close, descriptor)
            return descriptor
    return None


def _has_ended(pid: int, start: int, pidfd: int | None) -> bool:
    if pidfd is None:
        return not kernel.process_alive(pid, start)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def wait_for_port(port: int, host: str = "127.0.0.1", *, gone: bool = False, timeout: float | None = None) -> bool:
    """Wait until a TCP port takes a connection; ``gone``: until it takes none any more. Raises OSError for a host without
    an address."""
    address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    deadline = _deadline(timeout)

    def came() -> bool:
        with socket.socket(address[0], address[1]) as client:
            client.settimeout(max(0.001, min(_CONNECT, deadline - time.monotonic())))
            try:
                client.connect(address[4])
            except OSError:
                return gone
            return not gone

    return _look_until(came, deadline)


def wait_for_file(path: str | os.PathLike[str], *, gone: bool = False, timeout: float | None = None) -> bool:
    """Wait until something is at ``path``; ``gone``: until nothing is any more."""
    return _look_until(lambda: os.path.exists(path) != gone, _deadline(timeout))


def wait_for_line(
    path: str | os.PathLike[str], pattern: re.Pattern[str], *, new: bool = False, timeout: float | None = None
) -> str | None:
    """Wait until a file, which may not be there yet, has a line in which ``pattern`` is found; that line, None when the time
    was up. ``new``: only lines that are written from now on. The file may be replaced or emptied meanwhile (logrotate(8)).
    """
    log, found = _Log(Path(path), at_end=new), ""

    def came() -> bool:
        nonlocal found
        for line in log.new_lines():
            if pattern.search(line):
                found = line
                return True
        return False

    return found if _look_until(came, _deadline(timeout)) else None


class _Log:
    """A file that grows, and is begun anew now and then."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path, self._rest = path, b""
        self._inode, self._at = 0, 0
        with suppress(OSError):
            if at_end:
                status = path.stat()
                self._inode, self._at = status.st_ino, status.st_size

    def new_lines(self) -> Iterator[str]:
        """What has been written since the last look. A last line without an end is one when nothing is added to it."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._at:
                    self._inode, self._at = status.st_ino, 0
                    yield from self._unended()
                if status.st_size == self._at:
                    yield from self._unended()
                file.seek(self._at)
                while block := file.read(_LONGEST_LINE):
                    self._at += len(block)
                    *lines, self._rest = (self._rest + block).split(b"\n")
                    yield from map(_text, lines)
                    if len(self._rest) >= _LONGEST_LINE:
                        yield from self._unended()
        except FileNotFoundError:
            yield from self._unended()

    def _unended(self) -> Iterator[str]:
        line, self._rest = self._rest, b""
        if line:
            yield _text(line)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _look_until(came: Callable[[], bool], deadline: float) -> bool:
    while not came():
        rest = deadline - time.monotonic()
        if rest <= 0:
            return False
        time.sleep(min(rest, _LOOK_AGAIN))
    return True
