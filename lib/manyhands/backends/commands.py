"""Commands on this machine, by launchers: the coordinator's side (the other side is `manyhands.backends.launcher`).

    start(attempt) --jobs socket--> whichever launcher has a free slot
    reports()      <--results------ all launchers

The jobs socket is shared, so a short job never waits behind a long one, and a few attempts lie ready in it, so that a freed
slot never waits for the coordinator. What lies there has not begun: it can be taken back (`stop`).
A launcher that dies costs the attempts it was running, which are reported as lost after everything of theirs is dead; another
takes its place.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from manyhands import kernel
from manyhands.backend import Ended, Report, Started
from manyhands.backends import wire
from manyhands.backends.alarm import Alarm
from manyhands.backends.outputs import output_of
from manyhands.backends.settings import CommandSettings
from manyhands.backends.slot import WIDE
from manyhands.errors import ManyhandsError
from manyhands.job import Attempt

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.backends.launcher import main; main(*map(int, sys.argv[2:]))"
_MOST_DEATHS: Final = 20
_GATHER: Final = 0.004
"""Seconds to let results gather while enough attempts lie ready: one wake-up then serves several of them."""


@dataclass(slots=True)
class _Launcher:
    process: subprocess.Popen[bytes]
    control: socket.socket
    life: int
    slots: list[int]


class Commands:
    """See the module's first lines; a `manyhands.backend.Backend`. Linux 5.3 or later (pidfd_open(2))."""

    name = "commands"
    can_stop = True
    reports_start = True
    ahead = 64
    """Enough to bridge the coordinator's commits: at 2,500 jobs a second, half of it lasts for 13 ms."""

    def __init__(self, settings: CommandSettings) -> None:
        self.settings = settings
        self._flying: dict[int, Attempt] = {}
        self._began: dict[int, tuple[int, int]] = {}  # id -> (launcher index, pid)
        self._ids: dict[tuple[int, int], int] = {}  # (job, attempt) -> id
        self._last = self._deaths = 0
        self._backlog: deque[bytes] = deque()  # written when the socket has room
        self._ready: list[Report] = []
        self._unsettled: set[int] = set()  # launchers that have not answered a SYNC
        self._paused = self._closed = False
        kind = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        self._jobs, self._jobs_end = socket.socketpair(socket.AF_UNIX, kind)
        self._results, self._results_end = socket.socketpair(socket.AF_UNIX, kind)
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._results, select.POLLIN)
        self._poll.register(self._alarm.descriptor, select.POLLIN)
        self._buffer = bytearray(wire.MESSAGE)
        self._view = memoryview(self._buffer)
        self._launchers: dict[int, _Launcher] = {}
        count = max(1, min(settings.launchers, settings.slots))
        for index in range(count):
            self._launch(index, list(range(index + 1, settings.slots + 1, count)))

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Lay the attempt ready for the next free slot."""
        self._last = id = self._last + 1
        job = attempt.job.number
        self._flying[id] = attempt
        self._ids[job, attempt.number] = id
        message = marshal.dumps((id, job, attempt.number, attempt.argv))
        if len(message) > wire.MESSAGE:
            path = bytes(self.settings.outputs) + b"/.job-%d" % id
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                marshal.dump((job, attempt.number, attempt.argv), file)
            message = marshal.dumps((id, path))
        self._backlog.append(message)
        if len(self._backlog) == 1:
            self._send()

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits for it up to ``timeout`` seconds."""
        self._receive()
        if not self._ready:
            if self._backlog:
                self._poll.register(self._jobs, select.POLLOUT)
            for file, _ in self._poll.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))):
                self._handle(file)
            if len(self._flying) > 2 * self.settings.slots:
                time.sleep(_GATHER)
            if self._backlog:
                self._poll.unregister(self._jobs)
                self._send()
            self._receive()
        ready, self._ready = self._ready, []
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back what still lies in the jobs socket; the others that lie there are laid ready again."""
        ids = [id for id in map(self._id, attempts) if id is not None and id not in self._began]
        if not ids:
            return
        waiting = self._recall()
        for id in ids:
            if waiting.pop(id, None) is not None:
                self._over(id, Ended(self._flying[id], time.monotonic(), began=False))
        self._backlog.extend(waiting.values())
        self._send()

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Take back what has not begun, end the rest."""
        self.recall(attempts)
        for id in map(self._id, attempts):
            if id is not None:
                self._tell((wire.KILL if kill else wire.STOP, id))

    def pause(self, paused: bool) -> None:
        """Hold all commands (SIGSTOP) or let them go on (SIGCONT)."""
        self._paused = paused
        self._tell((wire.PAUSE if paused else wire.RESUME, 0))

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """Kill what runs, wait for the launchers to leave, close everything."""
        if self._closed:
            return
        self._closed = True
        self._tell((wire.QUIT, 0))
        for launcher in self._launchers.values():
            launcher.control.close()
        for launcher in self._launchers.values():
            launcher.process.wait()
            os.close(launcher.life)
        for end in (self._jobs, self._jobs_end, self._results, self._results_end):
            end.close()
        self._alarm.close()
        for path in self.settings.outputs.glob(".job-*"):
            path.unlink()

    # -- launchers -------------------------------------------------------------------------------------------------------

    def _launch(self, index: int, slots: list[int]) -> None:
        """Start one launcher process in a session of its own, where no terminal can signal it."""
        settings = self.settings
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        descriptors = (self._jobs_end.fileno(), self._results_end.fileno(), theirs.fileno())
        library = str(Path(__file__).parents[2])
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, library, str(index), str(os.getpid()), *map(str, descriptors)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(settings.environment),
                pass_fds=(*descriptors, *settings.keep_open), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ManyhandsError(f"cannot start a launcher: {error}") from error
        theirs.close()
        config: wire.Config = {
            "slots": slots, "memory": settings.slots > WIDE, "outputs": bytes(settings.outputs), "workdir": bytes(settings.workdir),
            "stdin": bytes(settings.stdin) if settings.stdin else None, "grace": settings.grace, "cap": settings.output_cap,
            "nice": settings.nice, "allow_daemons": settings.allow_daemons, "token": settings.token.encode(),
        }  # fmt: skip
        ours.send(marshal.dumps(config))
        if self._paused:
            ours.send(marshal.dumps((wire.PAUSE, 0)))
        launcher = _Launcher(process, ours, os.pidfd_open(process.pid), slots)
        self._launchers[index] = launcher
        self._poll.register(launcher.life, select.POLLIN)

    def _tell(self, message: tuple[int, int]) -> None:
        """Say something to every launcher; each ignores what is not its own."""
        for launcher in self._launchers.values():
            with suppress(OSError):  # it is gone, which `reports` will find out
                launcher.control.send(marshal.dumps(message))

    def _handle(self, file: int) -> None:
        if file == self._alarm.descriptor:
            self._alarm.hush()
        for index, launcher in list(self._launchers.items()):
            if file == launcher.life:
                self._bury(index, launcher)

    def _bury(self, index: int, launcher: _Launcher) -> None:
        """A launcher has died: make sure that its jobs are dead, report them as lost, and start another.

        What it had taken without saying so is found by elimination: neither lying in the socket, nor known to another.
        """
        self._poll.unregister(launcher.life)
        os.close(launcher.life)
        launcher.control.close()
        code = launcher.process.wait()
        del self._launchers[index]
        self._deaths += 1
        waiting = self._recall()
        self._settle()
        alive = {id for id, (owner, _) in self._began.items() if owner != index} | waiting.keys()
        lost = [id for id in self._flying if id not in alive]
        self._end_strays(lost)
        for id in lost:
            self._over(id, Ended(self._flying[id], time.monotonic(), error=f"its launcher died (status {code})"))
        if self._deaths > _MOST_DEATHS:
            raise ManyhandsError(f"{self._deaths} launchers have died (the last with status {code}): giving up")
        self._launch(index, launcher.slots)
        self._backlog.extendleft(reversed(waiting.values()))
        self._send()

    def _settle(self) -> None:
        """Wait until every living launcher has reported all that it has begun."""
        self._tell((wire.SYNC, 0))
        self._unsettled = set(self._launchers)
        deadline = time.monotonic() + 5
        while self._unsettled and time.monotonic() < deadline:
            select.select([self._results], [], [], 0.05)
            self._receive()
            self._unsettled -= {i for i, other in self._launchers.items() if other.process.poll() is not None}

    def _end_strays(self, ids: Iterable[int]) -> None:
        """Kill everything that carries the tag or lives in the session of the given attempts."""
        ids = list(ids)
        sessions = {self._began[id][1] for id in ids if id in self._began}
        names = ((self._flying[id].job.number, self._flying[id].number) for id in ids)
        tags = [b"MH_TAG=%s.%d.%d" % (self.settings.token.encode(), *name) for name in names]
        kernel.end_all(lambda one: one.session in sessions or any(kernel.has_tag(one.pid, tag) for tag in tags))

    # -- messages --------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Write what waits in the backlog, as far as the socket takes it."""
        backlog, send = self._backlog, self._jobs.send
        try:
            while backlog:
                send(backlog[0], socket.MSG_DONTWAIT)
                backlog.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise

    def _recall(self) -> dict[int, bytes]:
        """Take back everything that no launcher has taken: {id: message}."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._jobs_end.recv(wire.MESSAGE, socket.MSG_DONTWAIT))
        messages.extend(self._backlog)
        self._backlog.clear()
        return {marshal.loads(message)[0]: message for message in messages}

    def _id(self, attempt: Attempt) -> int | None:
        return self._ids.get((attempt.job.number, attempt.number))

    def _receive(self) -> None:
        """Read all results that are there."""
        results, view = self._results, self._view
        try:
            while True:
                size = results.recv_into(view, 0, socket.MSG_DONTWAIT)
                index, records = marshal.loads(view[:size])
                for record in records:
                    self._record(index, record)
        except BlockingIOError:
            return

    def _record(self, index: int, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == wire.ENDED:
            (_, id, at, code, number, error, began, started, wall, user, system, rss, out, err, slot, left) = record
            if id in self._flying:
                self._over(id, Ended(self._flying[id], at, code, number, error, began, started, wall, user, system, rss,
                                     output_of(out), output_of(err), slot, left))  # fmt: skip
        elif kind == wire.STARTED:
            _, id, at, slot, pid = record
            if id in self._flying:
                self._began[id] = (index, pid)
                self._ready.append(Started(self._flying[id], at, slot, pid))
        else:
            self._unsettled.discard(index)

    def _over(self, id: int, ended: Ended) -> None:
        attempt = self._flying.pop(id)
        self._began.pop(id, None)
        del self._ids[attempt.job.number, attempt.number]
        self._ready.append(ended)
