"""One launcher as the coordinator sees it: started, told, watched, ended. What it runs is `manyhands.backends.commands`' business."""

from __future__ import annotations

import marshal
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

from manyhands.backends.launchers import wire
from manyhands.backends.settings import CommandSettings
from manyhands.backends.shared.slot import WIDE
from manyhands.core.places import LIBRARY
from manyhands.posix import linux

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.backends.launchers.main import main; main(*map(int, sys.argv[2:]))"
_IDS: Final = 8192
"""Ids in one message: at most five bytes each."""
_STOPPED: Final = 3
"""Looks in a row that find it stopped: more than somebody needs who continues one process after the other."""
_SILENT: Final = 120
"""Looks in a row without an answer. The loop of a launcher answers within milliseconds, on a machine that hardly moves within
seconds; looks are counted, not seconds, so that a coordinator that was itself held up suspects nobody."""
_STUBBORN: Final = 10
"""Looks that it may take to die of KILL; more takes only what waits for a disk or a server that is not there."""
_RESERVE: Final = 16
"""Descriptors that the coordinator keeps for itself: the journal, files of output, a look at /proc."""
_LEAVING: Final = 10.0
"""Seconds that launchers have to end their jobs and leave."""


def end_strays(sessions: Collection[int], tags: Collection[bytes]) -> bool:
    """Kill everything that lives in one of the ``sessions`` or carries one of the ``tags``; whether something will not go."""
    try:
        linux.end_all(lambda one: one.session in sessions or linux.tag_of(one.pid) in tags)
    except TimeoutError:
        return True
    return False


def config_of(settings: CommandSettings, slots: list[int], ahead: int) -> wire.Config:
    """What a launcher is told at its start."""
    return {
        "slots": slots, "memory": settings.slots > WIDE, "outputs": bytes(settings.outputs), "workdir": bytes(settings.workdir),
        "stdin": bytes(settings.stdin) if settings.stdin else None, "grace": settings.grace, "cap": settings.output_cap,
        "nice": settings.nice, "allow_daemons": settings.allow_daemons, "token": settings.token.encode(),
        "remembered": settings.slots + ahead,
    }  # fmt: skip


def how_many(wanted: int) -> int:
    """So many launchers as there are descriptors for, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or not os.path.isdir("/proc/self/fd"):
        return wanted
    return max(1, min(wanted, (soft - len(os.listdir("/proc/self/fd")) - _RESERVE) // 2))


class LauncherProcess:
    """See the module's first lines. Raises OSError when it cannot be started."""

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
        self._outbox: deque[tuple[int, list[int]]] = deque()
        self._stopped = self._silent = self._dying = 0

    def send_config(self, config: wire.Config) -> None:
        """Say how to work, once, before anything else."""
        with suppress(OSError):  # it is dead, which its pidfd says
            self.control.send(marshal.dumps(config), socket.MSG_DONTWAIT)

    # -- telling ---------------------------------------------------------------------------------------------------------

    def tell(self, verb: int, ids: Collection[int] = ()) -> None:
        """Say something as soon as there is room for it; never waits. See `manyhands.backends.launchers.wire`."""
        if self._outbox and self._outbox[-1][0] == verb and ids:
            self._outbox[-1][1].extend(ids)
            return
        self._outbox.append((verb, list(ids)))
        if len(self._outbox) == 1:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as the socket takes it."""
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

    def share(self, width: int, count: int) -> None:
        """Let it use its share of the ``width`` that it has together with the others, ``count`` launchers in all."""
        share, more = divmod(width, count)
        self.tell(wire.WIDTH, [share + (self.index < more)])

    @property
    def has_more_to_say(self) -> bool:
        """Whether `flush` is needed."""
        return bool(self._outbox)

    # -- watching --------------------------------------------------------------------------------------------------------

    def look(self) -> str | None:
        """Look whether it works; to be called once a second. Returns why it must be given up, once."""
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
    def beyond_help(self) -> bool:
        """Whether it was killed, and does not die."""
        return self._dying >= _STUBBORN

    def kill(self, why: str, *, with_jobs: bool) -> None:
        """End it at once. ``with_jobs``: everything below it first, while it can still be known by its parent."""
        self.why = self.why or why
        if with_jobs:
            for found in linux.descendants([self.pid]):
                linux.send_signal_exact(found.pid, found.start, signal.SIGKILL)
        with suppress(OSError):
            signal.pidfd_send_signal(self.life, signal.SIGKILL)

    # -- the end ---------------------------------------------------------------------------------------------------------

    def bury(self) -> str:
        """Close what is open, and say how it ended. It is dead, or beyond help."""
        self.control.close()
        os.close(self.life)
        code = self.process.poll() if self.beyond_help else self.process.wait()
        return self.why or f"its launcher died (status {code})"

    def abandon(self) -> None:
        """Close what is open in a process that was forked: the launcher belongs to its parent."""
        self.process.returncode = 0  # not ours to wait for
        self.control.close()
        os.close(self.life)


def _start(index: int, settings: CommandSettings, descriptors: tuple[int, ...]) -> tuple[subprocess.Popen[bytes], int]:
    """Start one in a session of its own, where no terminal can signal it; returns it and its pidfd."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, LIBRARY, str(index), str(os.getpid()), *map(str, descriptors)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(settings.environment),
        pass_fds=(*descriptors, *settings.keep_open), start_new_session=True,
    )  # fmt: skip
    try:
        return process, os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        raise


def wait_for_all(launchers: Collection[LauncherProcess], *, with_jobs: bool) -> None:
    """Wait until those that were told to leave have left; kill those that are stopped, or do not leave in time."""
    poll = select.poll()
    there = {launcher.life: launcher for launcher in launchers}
    for life in there:
        poll.register(life, select.POLLIN)
    deadline = time.monotonic() + _LEAVING
    while there:
        for life, _ in poll.poll(500):
            poll.unregister(life)
            del there[life]
        late = time.monotonic() > deadline
        for launcher in there.values():
            stat = linux.read_stat(launcher.pid)
            if late or (stat and stat.state in "Tt"):
                launcher.kill("its launcher did not leave", with_jobs=with_jobs)
        if late and time.monotonic() > deadline + _LEAVING:
            return
