"""The socket in the folder of a run, by which it is told what to do: RUN/control, readable and writable by its owner only.

    client --one line of JSON--> RUN/control --one line of JSON--> client

The path of a socket has at most 107 bytes (unix(7)), and that of a folder may be longer: so the name is looked up in the open folder, by
/proc/self/fd. Where there is no /proc, a long path has no socket.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from manyhands.core.lean import socket

NAME: Final = "control"
MOST: Final = 1 << 16
"""Bytes of a request or an answer, with its newline."""
PATIENCE: Final = 2.0
"""Seconds that the server waits for a request, or for somebody to take its answer."""
_CREDENTIALS: Final = "3i"  # struct ucred: pid, uid, gid (unix(7))


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """The path of the socket in ``folder``, short enough for bind(2) and connect(2). Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        near = f"/proc/self/fd/{opened}"
        yield f"{near if os.path.isdir(near) else folder}/{NAME}"
    finally:
        os.close(opened)


def is_trusted(connection: Any) -> bool:
    """Whether the process at the other end is of our user, or root. Where a socket cannot tell, the folder's mode has to do."""
    peer = getattr(socket, "SO_PEERCRED", None)
    if peer is None:
        return True
    found = connection.getsockopt(socket.SOL_SOCKET, peer, struct.calcsize(_CREDENTIALS))
    return struct.unpack(_CREDENTIALS, found)[1] in (os.geteuid(), 0)


def read_line(connection: Any) -> bytes:
    """The line that the other end sends, without its newline; as much of it as came before the end. Raises OSError."""
    found = b""
    while b"\n" not in found and len(found) < MOST:
        if not (more := connection.recv(MOST - len(found))):
            break
        found += more
    return found.partition(b"\n")[0]
