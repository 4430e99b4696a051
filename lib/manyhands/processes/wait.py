"""Waits for events elsewhere: the end of processes, a port that answers, a file that appears, a line in a log.

A function returns False, or what it says, if ``timeout`` seconds are over first.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, overload

from manyhands.core.errors import UsageError
from manyhands.core.terminal_escapes import plain
from manyhands.posix import linux
from manyhands.processes.log_follower import Log

_LOOK_AGAIN: Final = 0.05
"""Seconds between two checks of what the kernel cannot notify."""
_RESOLVE: Final = 0.5
"""Seconds between two look-ups of a host's address."""
_CONNECT: Final = 2.0
"""Seconds after which a connection is tried again."""


@overload
def wait(*, pid: int | Sequence[int], timeout: float | None = ...) -> bool: ...
@overload
def wait(*, port: int, host: str = ..., gone: bool = ..., timeout: float | None = ...) -> bool: ...
@overload
def wait(*, file: str | os.PathLike[str], gone: bool = ..., timeout: float | None = ...) -> bool: ...
@overload
def wait(
    *, file: str | os.PathLike[str], log: str | re.Pattern[str], new: bool = ..., timeout: float | None = ...
) -> str | None: ...


def wait(
    *,
    pid: int | Sequence[int] | None = None,
    port: int | None = None,
    host: str | None = None,
    file: str | os.PathLike[str] | None = None,
    log: str | re.Pattern[str] | None = None,
    new: bool = False,
    gone: bool = False,
    timeout: float | None = None,
) -> bool | str | None:
    """Wait until something happens elsewhere, for ``timeout`` seconds at most; whether it came.

        wait(port=8080, timeout=30)                  # until a connection is taken; with ``gone`` until none is; of another ``host``
        wait(pid=4711)                               # until a process, or each of several, has ended, also such as are not ours
        wait(file="/run/ready", gone=False)          # until something is there, or ``gone``
        wait(file="server.log", log="listening on")  # until a line matches a pattern; that line. ``new``: only lines from now on

    Raises UsageError for arguments that do not belong together, OSError for a ``host`` that cannot be the name of one.
    """
    if sum([pid is not None, port is not None, file is not None]) != 1:
        raise UsageError("say what to wait for: pid, port, file, or file and log")
    unused = {
        "host": host is not None and port is None,
        "log": log is not None and file is None,
        "new": new and log is None,
        "gone": gone and (pid is not None or log is not None),
    }
    if names := [name for name, is_unused in unused.items() if is_unused]:
        raise UsageError(f"{names[0]} has no effect with the other arguments")
    if pid is not None:
        return not wait_for_processes([pid] if isinstance(pid, int) else pid, timeout=timeout)
    if port is not None:
        return wait_for_port(port, host or "localhost", gone=gone, timeout=timeout)
    assert file is not None  # noqa: S101 - see above
    if log is None:
        return wait_for_file(file, gone=gone, timeout=timeout)
    return wait_for_line(file, re.compile(log), new=new, timeout=timeout)


def wait_for_processes(pids: Sequence[int], *, timeout: float | None = None) -> list[int]:
    """Wait until all these processes have ended, also if they are not ours; return those that have not. A missing process and a
    zombie count as ended."""
    deadline = _deadline(timeout)
    with ExitStack() as stack:
        pidfds = {pid: _pidfd(pid, stack) for pid in pids}
        starts = {pid: stat.start if (stat := linux.read_stat(pid)) else 0 for pid in pids}
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
        return not linux.process_alive(pid, start)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def wait_for_port(port: int, host: str = "localhost", *, gone: bool = False, timeout: float | None = None) -> bool:
    """Wait until a TCP port accepts a connection at one of the host's addresses; ``gone``: until it accepts none at any. A host
    without an address is looked up again. Raises OSError for an invalid host name."""
    deadline = _deadline(timeout)
    addresses: list[Address] = []

    def came() -> bool:
        nonlocal addresses
        addresses = addresses or _addresses(host, port)
        if not addresses:
            time.sleep(max(0.0, min(_RESOLVE, deadline - time.monotonic())))
        return _takes_connections(addresses, max(0.001, min(_CONNECT, deadline - time.monotonic()))) != gone

    return _look_until(came, deadline)


Address = tuple[socket.AddressFamily, tuple[str, int]]


def _addresses(host: str, port: int) -> list[Address]:
    """All addresses; for this machine those of IPv4 and IPv6, whatever hosts(5) says: a server may listen on only one."""
    if host == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:  # unknown host, or no name server: both may change
        return []
    except UnicodeError:  # a label that is empty or too long for a name
        raise OSError(errno.EINVAL, "cannot be the name of a host") from None
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # (host, port, ...)


def _takes_connections(addresses: Sequence[Address], seconds: float) -> bool:
    """Whether one accepts a connection within ``seconds``; all are tried at once, because one may not answer at all."""
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        poll, trying = select.poll(), {}
        for family, address in addresses:
            with suppress(OSError):  # a machine without IPv6
                client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                client.setblocking(False)
                if (error := client.connect_ex(address)) == 0:
                    return True
                if error == errno.EINPROGRESS:
                    trying[client.fileno()] = client
                    poll.register(client, select.POLLOUT)
        while trying and (left := until - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(int(left * 1000) + 1):
                if trying.pop(descriptor).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return True
                poll.unregister(descriptor)
    return False


def wait_for_file(path: str | os.PathLike[str], *, gone: bool = False, timeout: float | None = None) -> bool:
    """Wait until ``path`` exists; ``gone``: until it does not exist any more."""
    return _look_until(lambda: os.path.exists(path) != gone, _deadline(timeout))


def wait_for_line(
    path: str | os.PathLike[str], pattern: re.Pattern[str], *, new: bool = False, timeout: float | None = None
) -> str | None:
    """Wait until a file, which may not exist yet, has a line in which ``pattern`` is found; return that line, None if the time is
    over. ``new``: only lines written from now on. The file may be renamed, replaced or truncated meanwhile (logrotate(8)).
    """
    found = ""
    with Log(Path(path), at_end=new) as log:

        def came() -> bool:
            nonlocal found
            for line in log.new_lines():
                if pattern.search(shown := plain(line)):
                    found = shown
                    return True
            return False

        return found if _look_until(came, _deadline(timeout)) else None


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _look_until(came: Callable[[], bool], deadline: float) -> bool:
    while not came():
        rest = deadline - time.monotonic()
        if rest <= 0:
            return False
        time.sleep(min(rest, _LOOK_AGAIN))
    return True
