"""Calls a function in greenlets of one patched child process: for blocking code that waits, hundreds at once.

    start(attempt) --socket--> `manyhands.backends.greenlet_host` --socket--> reports()

The user's own process is never patched. A greenlet that is stopped gets GreenletExit where it waits. One that does not wait blocks
all others: if it does not end, the whole host is killed with all jobs in it.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.captured import ending_of, output_of
from manyhands.backends.shared.slot import Slot
from manyhands.backends.shared.wake_up import Alarm
from manyhands.backends.workers import framing
from manyhands.backends.workers.pool import Watchdog, packed
from manyhands.backends.workers.watchdog import end_trees
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, AttemptId, Ending
from manyhands.core.package_location import LIBRARY
from manyhands.posix import linux
from manyhands.runtime import at_fork
from manyhands.runtime.at_exit import close_at_exit

_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from gevent import monkey; monkey.patch_all(); "
    "from manyhands.backends.greenlet_host import main; main(int(sys.argv[2]))"
)
_MOST_FAILED_STARTS: Final = 3
_LOOK: Final = 1.0
"""Seconds between two checks of host and watchdog, which may have been stopped."""
_AT_ONCE: Final = 0.5
"""Seconds that greenlets have to end when they are killed."""


class Greenlets:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "gevent"
    can_stop = True
    reports_start = True
    ahead = 64

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._owner = os.getpid()
        self._looked, self._found_stopped = time.monotonic(), 0
        self._call = packed(settings.call, main_by_value=True)
        self._waiting: deque[Attempt] = deque()
        self._running: dict[AttemptId, tuple[Attempt, int, float]] = {}  # (attempt, slot, began or 0)
        self._free = list(range(settings.slots, 0, -1))
        self._kill_at: dict[AttemptId, float] = {}
        self._overdue: set[AttemptId] = set()
        self._ready: list[Report] = []
        self._prepared = self._paused = self._closed = False
        self._failed_starts = 0
        self._alarm = Alarm()
        self._watchdog = Watchdog(settings)
        self._launch()
        close_at_exit(self)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Send the attempt to the host as soon as there is a slot."""
        self._waiting.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if no host can be started."""
        if os.getpid() != self._owner or self._closed:  # in a forked child, the host's messages are the parent's
            ready, self._ready = self._ready, []
            time.sleep(0.0 if ready else timeout or 0.0)
            return ready
        deadline = None if timeout is None else time.monotonic() + timeout
        woken = False
        self._dispatch()
        while not self._ready:
            for file, event in self._poll.poll(self._milliseconds(deadline)):
                if file == self._alarm.descriptor:
                    self._alarm.hush()
                    woken = True
                else:
                    self._hear(event)
            now = time.monotonic()
            self._kill_overdue()
            self._look_after(now)
            self._dispatch()
            if woken or (deadline is not None and now >= deadline):
                break
        ready, self._ready = self._ready, []
        return ready

    def _milliseconds(self, deadline: float | None) -> int:
        """Milliseconds until something is due."""
        due = [self._looked + _LOOK, *self._kill_at.values(), *([] if deadline is None else [deadline])]
        return max(0, math.ceil((min(due) - time.monotonic()) * 1000))

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what has not been sent."""
        for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
            self._waiting.remove(attempt)
            self._ready.append(Ended(attempt, time.monotonic(), began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End greenlets, or the whole host if one does not end."""
        if os.getpid() != self._owner:
            return
        self.recall(attempts)
        due = time.monotonic() + (_AT_ONCE if kill else self.settings.grace)
        for attempt in attempts:
            key = attempt.id
            if key in self._running:
                self._kill_at[key] = min(due, self._kill_at.get(key, due))
                self._tell(("stop", *key))

    def pause(self, paused: bool) -> None:
        """Send SIGSTOP or SIGCONT to the host, and so to all its greenlets."""
        self._paused = paused
        linux.send_signal_exact(self._host.pid, self._started_at, signal.SIGSTOP if paused else signal.SIGCONT)

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """Let the host exit, or kill it if it is busy; end what it has started."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner:
            self._sock.close()
            self._watchdog.drop()
            self._alarm.close()
            return
        lost = [attempt for attempt, _, _ in self._running.values()]
        self._ready += [Ended(attempt, time.monotonic(), Ending(error="the program has ended")) for attempt in lost]
        if self._running:
            self._host.kill()
            self._running.clear()
        self._sock.close()
        try:
            self._host.wait(_AT_ONCE)
        except subprocess.TimeoutExpired:
            self._host.kill()
        self._clear()
        self._watchdog.close()
        self._alarm.close()

    # -- the host --------------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        settings = self.settings
        self._sock, theirs = socket.socketpair()
        at_fork.note(self._sock)
        environment = dict(settings.environment) | {b"MH_WORKER": settings.token.encode() + b".host"}
        try:
            self._host = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, LIBRARY, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=(theirs.fileno(), *settings.keep_open),
                start_new_session=True,
            )
        except OSError as error:
            raise ManyhandsError(f"cannot start a process for greenlets: {error}") from error
        finally:
            theirs.close()
        stat = linux.read_stat(self._host.pid)
        self._started_at = stat.start if stat else 0
        self._watchdog.add(self._host.pid, self._started_at)
        self._inbox, self._outbox, self._prepared = framing.Inbox(self._sock), framing.Outbox(self._sock), False
        self._poll = select.poll()
        self._poll.register(self._alarm.descriptor, select.POLLIN)
        self._poll.register(self._sock, select.POLLIN)
        self._tell(
            {
                "call": self._call,
                "columns": settings.columns,
                "outputs": bytes(settings.outputs),
                "workdir": bytes(settings.workdir),
                "nice": settings.nice,
                "cap": settings.output_cap,
                "path": list(sys.path),
            }
        )

    def _dispatch(self) -> None:
        while self._prepared and not self._paused and self._waiting and self._free:
            attempt, slot = self._waiting.popleft(), self._free.pop()
            self._running[attempt.id] = (attempt, slot, 0.0)
            self._tell(("go", *attempt.id, attempt.job.values, slot))

    def _tell(self, message: Any) -> None:
        self._outbox.put(message)
        if self._outbox.waiting:
            self._poll.modify(self._sock, select.POLLIN | select.POLLOUT)

    def _hear(self, event: int) -> None:
        if event & select.POLLOUT:
            self._outbox.flush()
            if not self._outbox.waiting:
                self._poll.modify(self._sock, select.POLLIN)
        for record in self._inbox.records():
            self._record(record)
        if self._inbox.ended:
            self._bury()

    def _record(self, record: tuple[Any, ...]) -> None:
        kind, *fields = record
        if kind == framing.STARTED:
            key, at = (fields[0], fields[1]), fields[2]
            attempt, slot, _ = self._running[key]
            self._running[key] = (attempt, slot, at)
            self._ready.append(Started(attempt, at, slot, self._host.pid))
        elif kind == framing.ENDED:
            job, number, at, measured = fields
            attempt, slot = self._let_go((job, number))
            self._ready.append(Ended(attempt, at, ending_of(measured)._replace(slot=slot)))
        elif kind == framing.READY:
            self._prepared, self._failed_starts = True, 0
        else:
            raise ManyhandsError(f"the process for greenlets cannot start: {fields[0]}")

    def _let_go(self, key: AttemptId) -> tuple[Attempt, int]:
        attempt, slot, _ = self._running.pop(key)
        self._kill_at.pop(key, None)
        self._overdue.discard(key)
        self._free.append(slot)
        return attempt, slot

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        if any(due <= now for due in self._kill_at.values()):
            linux.send_signal_exact(self._host.pid, self._started_at, signal.SIGKILL)
            overdue = [key for key, due in self._kill_at.items() if due <= now]
            self._overdue.update(overdue)
            for key in overdue:
                del self._kill_at[key]

    def _look_after(self, now: float) -> None:
        """Kill a host that is found stopped twice in a row; replace a stopped watchdog."""
        if now - self._looked < _LOOK or self._paused:
            return
        self._looked = now
        self._watchdog.look_after()
        stat = linux.read_stat(self._host.pid)
        self._found_stopped = self._found_stopped + 1 if stat is not None and stat.state == "T" else 0
        if self._found_stopped > 1:
            linux.send_signal_exact(self._host.pid, self._started_at, signal.SIGKILL)

    def _bury(self) -> None:
        """The host is gone: report all attempts that ran in it, and start another."""
        self._sock.close()
        code = self._host.wait()
        self._clear()
        self._watchdog.remove(self._host.pid)
        if not self._prepared:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise ManyhandsError(f"the process for greenlets dies before it begins (status {code}): giving up")
        now, alone = time.monotonic(), len(self._running) == 1  # with several, we do not know which one it was
        for key in list(self._running):
            overdue = key in self._overdue
            _, _, began = self._running[key]
            attempt, slot = self._let_go(key)
            if not began:  # it was on its way
                self._waiting.appendleft(attempt)
                continue
            name, room = b"%d.%d" % key, Slot(slot, bytes(self.settings.outputs))
            out, err = (output_of(room.salvage(stream, name, self.settings.output_cap)) for stream in (0, 1))
            room.close()
            why = "it did not end, and was killed" if overdue else "the process that it shared with others died"
            started, wall = time.time() - (now - began), now - began
            status, number = (None, -code) if code < 0 else (1, None)
            ending = Ending(status, number, why, started, wall, stdout=out, stderr=err, slot=slot)
            self._ready.append(Ended(attempt, now, ending, died=alone and not overdue))
        self._launch()

    def _clear(self) -> None:
        """End what the host has left behind."""
        with suppress(TimeoutError):
            end_trees({self._host.pid: self._started_at}, b"MH_WORKER=" + self.settings.token.encode() + b".host")
        self._host.wait()
        if self._closed:
            for number in range(1, self.settings.slots + 1):
                Slot(number, bytes(self.settings.outputs)).close()
