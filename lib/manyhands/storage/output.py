"""Passing on what an attempt printed, whether it is held in memory or in a file of the run. Nothing here holds more than 1 MiB of it."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import Final, Literal, get_args

from manyhands.core.errors import UsageError
from manyhands.core.job import Output
from manyhands.core.kept_file import opened

_BLOCK: Final = 1 << 20

# sendfile(2) needs a kernel that has it, for this pair of files: not O_APPEND on Linux, only sockets on macOS.
_CANNOT_SEND: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.ENOTSUP})


Printed = Literal["pass", "keep"]
"""Whether the output of jobs, besides being stored, is also passed on to where the program prints."""


def check_printed(output: str | None) -> bool:
    """Whether ``output`` was given. Raises UsageError if it is given and not one of `Printed`."""
    if output is not None and output not in get_args(Printed):
        raise UsageError(f"output={output!r}: choose one of {', '.join(get_args(Printed))}")
    return output is not None


def pass_on(out: Output, err: Output) -> None:
    """Write the output of a job to where this program prints. Raises ManyhandsError if a file of it is gone."""
    for stream, printed in ((sys.stdout, out), (sys.stderr, err)):
        if printed.size and stream is not None:
            for block in printed.chunks():
                stream.write(block.decode("utf-8", "replace"))
            stream.flush()


def tail(output: Output, lines: int, limit: int = 1 << 16) -> list[bytes]:
    """Its last ``lines`` lines without line ends, from its last ``limit`` bytes; a carriage return also ends a line.

    Raises ManyhandsError if its file is gone.
    """
    if output.path is None:
        found = output.data[-limit:]
    else:
        with opened(output.path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            found = file.read(limit)
    return found.splitlines()[-lines:] if lines > 0 else []


def copy(output: Output, to: int) -> None:
    """Write all of it to descriptor ``to``, which may be non-blocking. Raises BrokenPipeError; ManyhandsError if its file is gone."""
    if output.path is None:
        write(to, output.data)
        return
    with opened(output.path) as file:
        file.seek(_send(to, file.fileno()))
        while block := file.read(_BLOCK):
            write(to, block)


def write(to: int, data: bytes) -> None:
    """Write all of ``data`` to descriptor ``to``; if another process made it non-blocking, wait until it is writable. An OSError
    names the stream."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(to, rest) :]
        except BlockingIOError:
            _wait(to)
        except OSError as error:
            raise named(error, to) from None


def named(error: OSError, descriptor: int) -> OSError:
    """The error with the name of the stream, if it is one of our own."""
    names = {1: "standard output", 2: "standard error"}
    if error.filename is None and descriptor in names:
        error.filename = names[descriptor]
    return error


def _send(to: int, file: int) -> int:
    """Let the kernel copy ``file``; return how many bytes it copied, which may be none if it cannot."""
    offset = 0
    while True:
        try:
            sent = os.sendfile(to, file, offset, _BLOCK)
        except BlockingIOError:
            _wait(to)
            continue
        except OSError as error:
            if error.errno not in _CANNOT_SEND:
                raise
            return offset
        if not sent:
            return offset
        offset += sent


def _wait(to: int) -> None:
    """Wait until ``to`` is writable again, or broken, which the next write will show."""
    poll = select.poll()
    poll.register(to, select.POLLOUT)
    poll.poll()
