"""One launcher as the coordinator sees it: started, commanded, watched, ended. `manyhands.backends.commands` decides what it runs."""

from __future__ import annotations

import marshal
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from manyhands.backends.launchers import wire
from manyhands.backends.shared.slot import WIDE
from manyhands.core.lean import socket
from manyhands.core.package_location import LIBRARY
from manyhands.posix import linux

if TYPE_CHECKING:
    from manyhands.backends.settings import CommandSettings

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.backends.launchers.main import main; main(*map(int, sys.argv[2:]))"
_IDS: Final = 8192
"""Ids in one message: at most five bytes each."""
_STOPPED: Final = 3
"""Checks in a row that find it stopped: longer than it takes a user to continue one process after the other."""
_SILENT: Final = 120
"""Checks in a row without an answer. A launcher answers within milliseconds, on an overloaded machine within seconds. Checks are
counted, not seconds, so that a coordinator that was itself stopped does not kill its launchers."""
_STUBBORN: Final = 10
"""Checks that it may take to die of KILL; it takes longer only if it waits for a disk or a server that does not answer."""
_RESERVE: Final = 16
"""Descriptors that the coordinator keeps for itself: the journal, files of output, /proc."""
_LEAVING: Final = 10.0
"""Seconds that launchers have to end their jobs and exit."""


def end_strays(sessions: Collection[int], tags: Collection[bytes]) -> bool:
    """Kill all processes in one of the ``sessions`` or with one of the ``tags``; return whether one could not be killed."""
    try:
        linux.end_all(lambda one: one.session in sessions or linux.tag_of(one.pid) in tags)
    except TimeoutError:
        return True
    return False


def config_of(settings: CommandSettings, slots: list[int], ahead: int) -> wire.Config:
    """The settings that a launcher gets at its start."""
    return {
        "slots": slots,
        "memory": settings.slots > WIDE,
        "outputs": bytes(settings.outputs),
        "workdir": bytes(settings.workdir),
        "stdin": bytes(settings.stdin) if settings.stdin else None,
        "grace": settings.grace,
        "cap": settings.output_cap,
        "nice": settings.nice,
        "allow_daemons": settings.allow_daemons,
        "token": settings.token.encode(),
        "remembered": settings.slots + ahead,
        "disposable": settings.disposable,
        "warm": settings.warm.to_wire() if settings.warm else None,
    }


def how_many(wanted: int) -> int:
    """The number of launchers: ``wanted``, or as many as there are descriptors for, but at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or not os.path.isdir("/proc/self/fd"):
        return wanted
    return max(1, min(wanted, (soft - len(os.listdir("/proc/self/fd")) - _RESERVE) // 2))


class LauncherProcess:
    """See the module's first lines. Raises OSError if it cannot be started."""

    def __init__(self, index: int, slots: list[int], settings: CommandSettings, shared: Iterable[int]) -> None:
        self.index, self.slots = index, slots
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self.process, self.life = _start(index, settings, (*shared, theirs.fileno()))
        except OSError:
            self.control.close()
            raise
        finally:
            theirs.close()
        self.pid = self.process.pid
        self.refused: str | None = None
        """Why it cannot work."""
        self.why: str | None = None
        """Why it was killed."""
        self.heard = True
        self._worked = False
        """Whether it has ever reported anything."""
        self._outbox: deque[tuple[int, list[int]]] = deque()
        self._stopped = self._silent = self._dying = 0

    def send_config(self, config: wire.Config) -> None:
        """Send the settings, once, before anything else."""
        with suppress(OSError):  # it is dead, which its pidfd says
            self.control.send(marshal.dumps(config), socket.MSG_DONTWAIT)

    # -- commanding ------------------------------------------------------------------------------------------------------

    def tell(self, verb: int, ids: Collection[int] = ()) -> None:
        """Queue a message (`manyhands.backends.launchers.wire`) and send it as soon as there is room; never waits."""
        if self._outbox and self._outbox[-1][0] == verb and ids:
            self._outbox[-1][1].extend(ids)
            return
        self._outbox.append((verb, list(ids)))
        if len(self._outbox) == 1:
            self.flush()

    def flush(self) -> None:
        """Send queued messages, as far as the socket takes them."""
        try:
            while self._outbox:
                verb, ids = self._outbox[0]
                self.control.send(marshal.dumps((verb, ids[:_IDS])), socket.MSG_DONTWAIT)
                del ids[:_IDS]
                if not ids:
                    self._outbox.popleft()
        except BlockingIOError:
            return
        except OSError:  # it is dead, which its pidfd says
            self._outbox.clear()

    def share(self, width: int, slots: Mapping[int, Collection[int]]) -> None:
        """Limit it to its share of ``width`` jobs at once; ``slots``: those of all launchers."""
        self.tell(wire.WIDTH, [shares(width, slots)[self.index]])

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` is needed."""
        return bool(self._outbox)

    def leave(self, *, idle: bool) -> None:
        """Let it exit; ``idle``: no attempt is in flight. Then one that has never reported anything has begun nothing: it may still be
        importing, and is not waited for."""
        if idle and not self._worked:
            self.kill("", with_jobs=False)
        else:
            self.tell(wire.QUIT)
        self.control.close()

    # -- watching --------------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """It has reported something."""
        self.heard = self._worked = True

    def look(self) -> str | None:
        """Check whether it works; call this once a second. Returns why it must be killed, once."""
        if self.why:
            self._dying += 1
            return None
        if self.heard:
            self.heard, self._stopped, self._silent = False, 0, 0
            return None
        stat = linux.read_stat(self.pid)
        self._stopped = self._stopped + 1 if stat and stat.state in "Tt" else 0
        self._silent += 1
        if self._silent == 1:
            self.tell(wire.SYNC, [0])
        if self._stopped >= _STOPPED:
            return "its launcher was stopped"
        return f"its launcher did not answer for {_SILENT} s" if self._silent >= _SILENT else None

    @property
    def unkillable(self) -> bool:
        """Whether it was killed but does not die."""
        return self._dying >= _STUBBORN

    def kill(self, why: str, *, with_jobs: bool) -> None:
        """Kill it. ``with_jobs``: kill all its descendants first, while they can still be identified by their parent."""
        self.why = self.why or why
        if with_jobs:
            for found in linux.descendants([self.pid]):
                linux.send_signal_exact(found.pid, found.start, signal.SIGKILL)
        with suppress(OSError):
            signal.pidfd_send_signal(self.life, signal.SIGKILL)

    # -- the end ---------------------------------------------------------------------------------------------------------

    def bury(self) -> str:
        """Close what is open, and return how it ended. It is dead, or cannot be killed."""
        self.control.close()
        os.close(self.life)
        code = self.process.poll() if self.unkillable else self.process.wait()
        return self.why or f"its launcher died (status {code})"

    def abandon(self) -> None:
        """Close what is open, in a forked child: the launcher belongs to the parent."""
        self.process.returncode = 0  # not ours to wait for
        self.control.close()
        os.close(self.life)


def _start(index: int, settings: CommandSettings, descriptors: tuple[int, ...]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a launcher in a session of its own, where no terminal can signal it; return it and its pidfd."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, LIBRARY, str(index), str(os.getpid()), *map(str, descriptors)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=dict(settings.environment),
        pass_fds=(*descriptors, *settings.keep_open),
        start_new_session=True,
    )
    try:
        return process, os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        raise


def shares(width: int, slots: Mapping[int, Collection[int]]) -> dict[int, int]:
    """How many of ``width`` jobs at once each launcher gets, in proportion to its ``slots``; at most as many as these."""
    every, before, found = sum(map(len, slots.values())), 0, {}
    for index, mine in slots.items():
        found[index] = width * (before + len(mine)) // every - width * before // every
        before += len(mine)
    return found


def wait_for_all(launchers: Collection[LauncherProcess], *, with_jobs: bool) -> None:
    """Wait until all launchers that got QUIT have exited; kill those that are stopped, or do not exit in time."""
    poll = select.poll()
    there = {launcher.life: launcher for launcher in launchers}
    for life in there:
        poll.register(life, select.POLLIN)
    deadline = time.monotonic() + _LEAVING
    while there:
        for life, _ in poll.poll(500):
            poll.unregister(life)
            del there[life]
        overdue = time.monotonic() > deadline
        for launcher in there.values():
            stat = linux.read_stat(launcher.pid)
            if overdue or (stat and stat.state in "Tt"):
                launcher.kill("its launcher did not leave", with_jobs=with_jobs)
        if overdue and time.monotonic() > deadline + _LEAVING:
            return
