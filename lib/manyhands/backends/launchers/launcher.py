"""The launcher: a small process that spawns commands, watches, ends and reaps them. It decides nothing.

    take a job --posix_spawn--> its own session, output to the slot's two files
    pidfd readable --> end its leftover processes --> wait4 (exact status and usage) --> result

Why a process of its own: posix_spawn(3) suspends the calling thread until the child has called exec, and CPython holds the
GIL meanwhile; two tiny launchers keep two cores busy, and the cost does not depend on how large the user's process is.
Why files for output: nothing to read while a job runs, no deadlock, and no wait for a process that keeps a pipe open.
Why the launcher does the killing: it is the parent (no pid of a child can be reused before it is reaped) and a child
subreaper (prctl(2): daemons of jobs become its children), and it watches the coordinator. So no job outlives it, even
after kill -9 of the coordinator: whatever makes the launcher exit, it ends its jobs first.
The loop waits in one place only: everything that is due is done in one pass, and no send blocks (see `wire`).
"""

from __future__ import annotations

import errno
import heapq
import marshal
import os
import select
import time
from collections import deque

from manyhands.backends.launchers import wire
from manyhands.backends.launchers.job_processes import PATIENCE, JobProcesses, Running
from manyhands.backends.launchers.report_queue import ReportQueue
from manyhands.backends.launchers.slots import Slots
from manyhands.backends.launchers.spawning import Spawner
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.measured import Measured, exit_and_signal
from manyhands.backends.shared.slot import Slot, not_kept
from manyhands.core.lean import Any, Final, signal, socket, suppress
from manyhands.posix import linux
from manyhands.posix.which import SHORTAGES

_AT_ONCE: Final = 32
"""Most jobs begun in one pass: even with many free slots the loop must handle ends and requests in between."""
_NEVER: Final = float("inf")
_SWEEPING: Final = (0.001, 0.02)
"""Seconds until the next check after leftover processes were killed: the first time, and at most."""
_REAPING: Final = (0.02, 1.0)
"""Seconds until adopted processes are reaped again: after at least `_MANY` were, and after fewer."""
_MANY: Final = 16
_BLIND: Final = 0.02
"""Seconds until the next check if the kernel had no resources to notify us."""


class Gone(Exception):
    """The coordinator is gone: its end of a socket is closed, or its pidfd says so."""


class Quit(Exception):
    """The coordinator wants us to exit."""


class Launcher:
    """The loop of one launcher process and its handling of the coordinator's verbs."""

    def __init__(self, index: int, jobs: socket.socket, results: socket.socket, control: socket.socket) -> None:
        self.index, self.jobs, self.control = index, jobs, control
        self.outbox = ReportQueue(index, results)
        self.records = self.outbox.records
        self.buffer = bytearray(wire.MESSAGE)
        self.running: dict[int, Running] = {}  # by id
        self.watched: dict[int, Running] = {}  # by pidfd
        self.unwatched: list[Running] = []  # for which there was no pidfd
        self.over: list[Running] = []
        """Attempts whose leaders have ended; processes that they left behind may still live."""
        self.to_signal: dict[Running, int] = {}
        self.kills: list[tuple[float, int]] = []  # (when the grace is over, id)
        self.sweep, self.sweep_at = _SWEEPING[0], _NEVER
        self.reap_at = self.due = 0.0
        self.paused = self.listening = self.writing = self.blind = False
        self.hearing: socket.socket | None = None

    # -- setting up ------------------------------------------------------------------------------------------------------

    def configure(self, config: wire.Config, coordinator: int, spawner: Spawner) -> None:
        """Apply the settings of the run; raises OSError if that fails."""
        self.spawner = spawner
        self.family = JobProcesses(config["token"], spawner.spared, allow_daemons=config["allow_daemons"])
        self.grace: float = config["grace"]
        self.cap: int | None = config["cap"]
        self.allow_daemons: bool = config["allow_daemons"]
        self.folder: bytes = config["outputs"]
        self.disposable: bool = config["disposable"]
        self.latest: deque[tuple[bytes, Measured]] = deque(maxlen=config["remembered"])  # see `orphan_results`
        self.poll = select.epoll()
        self.life = os.pidfd_open(coordinator)
        if os.getppid() != coordinator:  # it died before pidfd_open, and another process may have its pid
            raise Gone
        self.poll.register(self.life, select.EPOLLIN)
        self.poll.register(self.control, select.EPOLLIN)
        numbers = config["slots"]
        room = self.spawner.room(len(numbers))
        if room < len(numbers):
            self.records.append((wire.NARROWED, errno.EMFILE))
        self.slots = Slots(Slot(number, self.folder, memory=config["memory"]) for number in reversed(numbers[:room]))

    def note(self, text: str) -> None:
        """Tell the user something."""
        self.records.append((wire.NOTED, text))

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the coordinator says Quit or is gone: raises Quit, Gone or ConnectionError."""
        while True:
            self.finish()  # ended attempts free slots, and are reported together with those that begin there
            self.take()
            self.outbox.flush()
            self.wait()
            self.do_what_is_due()

    def take(self) -> None:
        """Begin jobs while there are free slots and jobs waiting."""
        for _ in range(_AT_ONCE):
            if not self.slots.free or self.outbox.waiting or self.spawner.awaited:
                return
            self.obey()  # requests that were sent before a job are handled before it
            if self.paused or self.to_signal or not self.slots.free:
                return
            try:
                size = self.jobs.recv_into(self.buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not size:  # the other end is closed: the coordinator is leaving, and has sent QUIT, or it was killed
                self.obey()
                raise Gone
            message = marshal.loads(memoryview(self.buffer)[:size])
            if len(message) == 2:
                message = self.read_job(*message)
            if message:
                self.begin(*message)

    def read_job(self, id: int, path: bytes) -> tuple[Any, ...] | None:
        """Read a job that was too large for a message; None if it cannot be read, which is reported."""
        try:
            with open(path, "rb") as file:
                job: tuple[Any, ...] = marshal.load(file)
            os.unlink(path)
        except OSError as error:
            if error.errno in SHORTAGES:
                self.give_back(id, error.errno or 0)
            else:
                self.fail(
                    id, time.monotonic(), time.time(), 126, f"cannot read its arguments: {error.strerror}", began=True
                )
            return None
        return (id, *job)

    def wait(self) -> None:
        """Sleep until an attempt ends, a request comes, or something is due."""
        want = bool(self.slots.free) and not (self.paused or self.outbox.waiting or self.spawner.awaited)
        if want is not self.listening:
            self.listening = self._watch(self.jobs, want, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        want = bool(self.outbox.waiting) and not self.outbox.refused
        if want is not self.writing:
            self.writing = self._watch(self.outbox.sock, want, select.EPOLLOUT)
        news = self.spawner.news
        if news is not self.hearing:  # a new process has replaced the one whose socket was watched; that watch has ended
            self.hearing = news if news and self._watch(news, True, select.EPOLLIN) else None
        patience, self.blind = self.patience(), False
        for file, _ in self.poll.poll(patience):
            if (running := self.watched.get(file)) is not None:
                self.ended(running, time.monotonic())
            elif file == self.control.fileno():
                self.obey()
            elif self.hearing and file == self.hearing.fileno():
                self.spawner.hear()
            elif file == self.life:
                raise Gone

    def _watch(self, sock: socket.socket, want: bool, events: int) -> bool:
        """Begin or stop watching a socket; return whether it is watched. If the kernel cannot, it is checked often."""
        if not want:
            self.poll.unregister(sock)
            return False
        try:
            self.poll.register(sock, events)
        except OSError:
            self.blind = True
            return False
        return True

    def patience(self) -> float:
        """Seconds until something is due; -1 if nothing is."""
        due = self.reap_at if self.running or self.allow_daemons else _NEVER
        if self.kills:
            due = min(due, self.kills[0][0])
        if self.over:
            due = min(due, self.sweep_at)
        if self.spawner.awaited:
            due = min(due, self.spawner.until)
        if (tried := self.slots.due()) is not None:
            due = min(due, tried)
        now = time.monotonic()
        if self.to_signal or self.blind or self.unwatched or self.outbox.refused:
            due = now if self.to_signal else min(due, now + _BLIND)
        self.due = due
        return -1 if due is _NEVER else max(0.0, due - now)

    def do_what_is_due(self) -> None:
        """Do everything that is due, in one pass."""
        now = time.monotonic()
        if now < self.due and not self.to_signal:
            return
        for running in [one for one in self.unwatched if linux.has_ended(one.pid)]:
            self.ended(running, now)
        while self.kills and self.kills[0][0] <= now:
            due_one = self.running.get(heapq.heappop(self.kills)[1])
            if due_one is not None and due_one.ended is None:
                self.to_signal[due_one] = signal.SIGKILL
        if self.to_signal:
            self.send_signals()
        self.slots.wake(now)
        if self.reap_at <= now:
            self.reap_at = now + _REAPING[self.family.reap() < _MANY]

    # -- one attempt -----------------------------------------------------------------------------------------------------

    def begin(self, id: int, job: int, attempt: int, argv: tuple[bytes | tuple[bytes, ...], ...]) -> None:
        """Spawn one command in a free slot, and report that it started, or why it could not be started."""
        slot = self.slots.free.pop()
        number, name = b"%d" % slot.number, b"%d.%d" % (job, attempt)
        arguments = [number.join(part) if isinstance(part, tuple) else part for part in argv]
        at, started = time.monotonic(), time.time()
        try:
            pid = self.spawner.spawn(name, number, arguments, slot)
        except (OSError, ValueError, MemoryError) as error:
            self.slots.put(slot)
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES):
                self.give_back(id, errno.ENOMEM if isinstance(error, MemoryError) else error.errno or 0)
            else:
                code, reason, lasting = self.spawner.explain(error, arguments[0] if arguments else b"")
                self.fail(id, at, started, code, reason, began=not lasting)
            return
        running = Running(id, name, pid, slot, at, started)
        self.running[id] = running
        self.family.add(running)
        self.watch(running)
        self.slots.used()
        self.records.append((wire.STARTED, id, at, slot.number, pid))

    def watch(self, running: Running) -> None:
        """Watch for the end of an attempt by a pidfd; if none can be had, check regularly whether it has ended."""
        try:
            running.file = os.pidfd_open(running.pid)
            self.poll.register(running.file, select.EPOLLIN)
        except OSError as error:
            self.unwatch(running)
            self.unwatched.append(running)
            self.records.append((wire.NARROWED, error.errno))
        else:
            self.watched[running.file] = running

    def unwatch(self, running: Running) -> None:
        """End the watch and close the pidfd: closing alone does not end it while a child in the making has a copy."""
        if running.file >= 0:
            with suppress(OSError):  # it could not be watched
                self.poll.unregister(running.file)
            os.close(running.file)
            running.file = -1

    def fail(self, id: int, at: float, started: float, code: int | None, reason: str, *, began: bool) -> None:
        """Report that an attempt could not be started; ``began``: whether another try might succeed."""
        self.records.append((wire.ENDED, id, at, began, tuple(Measured(code, None, reason, started))))

    def give_back(self, id: int, code: int) -> None:
        """Return an attempt to the coordinator because of a shortage, and begin no others for a while."""
        self.records.append((wire.RETURNED, id, code))
        self.slots.rest()

    def ended(self, running: Running, now: float) -> None:
        """Note that the leader of an attempt has ended: its leftover processes are next."""
        running.ended = now
        if running.file < 0:
            self.unwatched.remove(running)
        else:
            del self.watched[running.file]
        self.over.append(running)
        self.sweep, self.sweep_at = _SWEEPING[0], now

    def finish(self) -> None:
        """End the leftover processes of ended attempts, in one pass; report and reap attempts that have none any more.

        A leader is not reaped, and so keeps its pid, until all processes that are identified by this pid have been ended.
        """
        if not self.over or self.sweep_at > (now := time.monotonic()):
            return
        strangers, over, self.over = self.family.may_have_left(), self.over, []
        waiting = self.family.sweep(over) if strangers else ()
        for running in over:
            if running in waiting and now - (running.ended or now) < PATIENCE:
                self.unwatch(running)  # else it would wake us again and again
                self.over.append(running)
            else:
                self.report(running)
                self.release(running, renew=strangers and self.allow_daemons)
        self.sweep_at, self.sweep = now + self.sweep, min(2 * self.sweep, _SWEEPING[1])

    def report(self, running: Running) -> None:
        """Reap one leader and note its status, usage and output."""
        self.family.remove(running)
        code, user, system, memory = self.spawner.wait(running.pid)
        at, slot = running.ended or time.monotonic(), running.slot
        out, err = slot.collect(0, running.name, self.cap), slot.collect(1, running.name, self.cap)
        end = (*exit_and_signal(code), self.output_error(running) if slot.failure else None)
        times = (running.started, at - running.at, user, system)
        measured = Measured(*end, *times, memory, out, err, slot.number, len(running.gone))
        self.records.append((wire.ENDED, running.id, at, True, tuple(measured)))
        if not running.signalled:
            self.latest.append((running.name, measured))

    def release(self, running: Running, *, renew: bool) -> None:
        """Free the slot of an attempt; ``renew``: with new files, because a daemon may still write to the old ones."""
        del self.running[running.id]
        self.unwatch(running)
        if renew:
            running.slot.close()
        self.slots.put(running.slot)

    def output_error(self, running: Running) -> str | None:
        """Why the output of an attempt is not complete, of which the user is warned, too; None if it is."""
        failure, running.slot.failure = running.slot.failure, None
        if failure is None:
            return None
        self.note(f"job {running.name.partition(b'.')[0].decode()}: {not_kept(failure)}")
        return not_kept(failure)

    # -- ending things ---------------------------------------------------------------------------------------------------

    def send_signals(self) -> None:
        """Send the requested TERM or KILL; attempts that get TERM get KILL after the grace."""
        self.family.end(self.to_signal)
        due = time.monotonic() + self.grace
        for running, number in self.to_signal.items():
            if number == signal.SIGTERM:
                heapq.heappush(self.kills, (due, running.id))
        self.to_signal.clear()

    def obey(self) -> None:
        """Carry out all requests of the coordinator; end of file means that the coordinator is gone."""
        try:
            while size := self.control.recv_into(self.buffer, 0, socket.MSG_DONTWAIT):
                self.carry_out(*marshal.loads(memoryview(self.buffer)[:size]))
        except BlockingIOError:
            return
        raise Gone

    def carry_out(self, verb: int, ids: list[int]) -> None:
        """Carry out one verb of `manyhands.backends.launchers.wire`."""
        if verb in (wire.STOP, wire.KILL):
            for id in ids:
                self.request_signal(id, signal.SIGKILL if verb == wire.KILL else signal.SIGTERM)
        elif verb in (wire.PAUSE, wire.RESUME):
            self.paused = verb == wire.PAUSE
            for running in self.running.values():
                linux.signal_group(running.pid, signal.SIGSTOP if self.paused else signal.SIGCONT)
        elif verb == wire.SYNC:
            self.records.extend((wire.SYNCED, number) for number in ids)
        elif verb == wire.WIDTH:
            self.slots.limit(ids[-1])
        elif verb == wire.QUIT:
            raise Quit

    def request_signal(self, id: int, number: int) -> None:
        """Request a signal for an attempt; it is sent in the next pass, together with all other requests."""
        running = self.running.get(id)
        if running is not None and running.ended is None and running.signalled not in (number, signal.SIGKILL):
            self.to_signal[running] = number if self.to_signal.get(running) != signal.SIGKILL else signal.SIGKILL

    # -- leaving ---------------------------------------------------------------------------------------------------------

    def leave(self, *, gone: bool) -> None:
        """End everything that runs, and remove our files. May be called at any moment.

        If the coordinator is ``gone``, write down the results that it may not have recorded, or remove a disposable folder.
        """
        with suppress(OSError):
            for file, _ in self.poll.poll(0):
                if (running := self.watched.get(file)) is not None:
                    self.ended(running, time.monotonic())
        self.family.kill_leaders()
        self.spawner.close()
        self.poll.close()  # a full table of descriptors must not keep us from reading /proc
        self.family.end_everything()
        if gone and not self.disposable:
            for running in self.over:  # these have ended by themselves
                self.report(running)
            known = [(*map(int, name.split(b".")), True, measured) for name, measured in self.latest]
            ends = [orphan_results.OrphanResult(*one) for one in known]  # type: ignore[arg-type]  # a name is JOB.ATTEMPT
            orphan_results.write(self.folder, self.index, ends)
        for slot in [*self.slots, *(running.slot for running in self.running.values())]:
            slot.close()
        if gone and self.disposable:
            import shutil

            shutil.rmtree(self.folder, ignore_errors=True)
