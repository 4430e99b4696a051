"""The process that `manyhands.backends.workers.early_process` starts: imports, and becomes a fork server."""

from __future__ import annotations

import fcntl
import marshal
import os
import sys

from manyhands.core.lean import signal, socket, suppress


def main(descriptor: int, imported: list[str]) -> None:
    """Import modules, then wait for code on this socket; without any, the coordinator has ended, or does not need us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the coordinator
    # with SIGCHLD blocked, a fork server would never report the end of a worker
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    for name in imported:
        with suppress(ImportError):
            __import__(name)
    sock = socket.socket(fileno=descriptor)
    message, descriptors = _received(sock)
    sock.close()
    if not message:
        os._exit(0)
    code, numbers = marshal.loads(message)
    _place(descriptors, numbers)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what it has when it is not started early
    try:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - our own coordinator sent it
    except SystemExit:  # who waits for the end of our output does not wait until all modules are freed
        os._exit(0)


def _received(sock: socket.socket) -> tuple[bytes, list[int]]:
    """All that comes, and the descriptors with it."""
    data, ancillary, *_ = sock.recvmsg(1 << 16, socket.CMSG_SPACE(64))
    packed = ancillary[0][2] if ancillary else b""
    while data and (more := sock.recv(1 << 16)):
        data += more
    return data, [int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed) - 3, 4)]


def _place(descriptors: list[int], numbers: list[int]) -> None:
    """Give descriptors these numbers; nothing else is open but the standard streams."""
    free = max((*numbers, 2)) + 1
    moved = []
    for one in descriptors:
        moved.append(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, free))
        os.close(one)
    for one, number in zip(moved, numbers, strict=True):
        os.dup2(one, number)
        os.close(one)
