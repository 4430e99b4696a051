"""The launcher: a small process that spawns commands, watches them, ends them and reaps them. It decides nothing.

    take a job --posix_spawn--> its own session, output to the slot's two files
    pidfd readable --> end what it left behind --> wait4 (exact status and usage) --> result

Why a process of its own: posix_spawn(3) suspends the calling thread until the child has called exec, and CPython holds the
GIL meanwhile; two tiny launchers keep two cores busy, and the cost does not depend on how large the user's process is.
Why files for output: nothing to read while a job runs, no deadlock, and nobody waits for a stranger that keeps a pipe open.
Why it is trusted with killing: it is the parent (no pid of its children can be recycled before it reaps them), a child
subreaper (prctl(2): daemons of its jobs come back to it), and it watches the coordinator, so that even after kill -9 of the
coordinator no job outlives it: however it leaves, its jobs are ended first.
The loop never waits but in one place: all that is due is done in one pass, and no send blocks (see `wire`).
"""

from __future__ import annotations

import errno
import heapq
import marshal
import os
import resource
import select
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.launchers import wire
from manyhands.backends.launchers.job_processes import PATIENCE, JobProcesses, Running
from manyhands.backends.launchers.report_queue import ReportQueue
from manyhands.backends.launchers.slots import Slots
from manyhands.backends.launchers.spawning import Spawner
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.measured import Measured, exit_and_signal
from manyhands.backends.shared.slot import Slot, not_kept
from manyhands.posix import linux
from manyhands.posix.which import SHORTAGES

_AT_ONCE: Final = 32
"""Jobs that are begun in one pass: with many free slots the loop must still see what ends and what is asked."""
_NEVER: Final = float("inf")
_SWEEPING: Final = (0.001, 0.02)
"""Seconds to the next look after what a job left behind was killed: at first, at most."""
_REAPING: Final = (0.02, 1.0)
"""Seconds to the next look for orphans that have ended: when there were many, when there were none."""
_MANY: Final = 16
_BLIND: Final = 0.02
"""Seconds to the next look where the kernel has no room to tell us by itself."""


class Gone(Exception):
    """The coordinator is gone: its end of a socket is closed, or its pidfd says so."""


class Quit(Exception):
    """The coordinator wants us to leave."""


class Launcher:
    """The loop of one launcher process and the verbs it obeys."""

    def __init__(self, index: int, jobs: socket.socket, results: socket.socket, control: socket.socket) -> None:
        self.index, self.jobs, self.control = index, jobs, control
        self.outbox = ReportQueue(index, results)
        self.records = self.outbox.records
        self.buffer = bytearray(wire.MESSAGE)
        self.running: dict[int, Running] = {}  # by id
        self.watched: dict[int, Running] = {}  # by pidfd
        self.unwatched: list[Running] = []  # for which there was no pidfd
        self.over: list[Running] = []
        """Their leaders have ended; something that they left behind may live."""
        self.asked: dict[Running, int] = {}
        self.kills: list[tuple[float, int]] = []  # (when the grace is over, id)
        self.sweep, self.sweep_at = _SWEEPING[0], _NEVER
        self.reap_at = self.due = 0.0
        self.peak = 0
        self.paused = self.listening = self.writing = self.blind = False

    # -- setting up ------------------------------------------------------------------------------------------------------

    def configure(self, config: wire.Config, coordinator: int) -> None:
        """Take the settings of the run; raises OSError when they cannot be had."""
        self.spawner = Spawner(config)
        self.family = JobProcesses(config["token"], allow_daemons=config["allow_daemons"])
        self.grace: float = config["grace"]
        self.cap: int | None = config["cap"]
        self.allow_daemons: bool = config["allow_daemons"]
        self.folder: bytes = config["outputs"]
        self.latest: deque[tuple[bytes, Measured]] = deque(maxlen=config["remembered"])  # see `orphan_results`
        self.poll = select.epoll()
        self.life = os.pidfd_open(coordinator)
        if os.getppid() != coordinator:  # it died before we looked, and somebody else may have its pid
            raise Gone
        self.poll.register(self.life, select.EPOLLIN)
        self.poll.register(self.control, select.EPOLLIN)
        numbers = config["slots"]
        room = self.spawner.room(len(numbers))
        if room < len(numbers):
            self.records.append((wire.NARROWED, errno.EMFILE))
        self.slots = Slots(Slot(number, self.folder, memory=config["memory"]) for number in reversed(numbers[:room]))

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the coordinator says so or is gone: raises Quit, or Gone or ConnectionError."""
        while True:
            self.finish()  # what has ended makes room, and is told with what begins there
            self.take()
            self.outbox.flush()
            self.wait()
            self.do_what_is_due()

    def take(self) -> None:
        """Begin jobs while there are free slots and jobs waiting."""
        for _ in range(_AT_ONCE):
            if not self.slots.free or self.outbox.waiting:
                return
            self.obey()  # what was asked before a job was sent comes before that job
            if self.paused or self.asked or not self.slots.free:
                return
            try:
                size = self.jobs.recv_into(self.buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not size:  # its end is closed: it is leaving, and has said so, or was killed
                self.obey()
                raise Gone
            message = marshal.loads(memoryview(self.buffer)[:size])
            if len(message) == 2:
                message = self.read_job(*message)
            if message:
                self.begin(*message)

    def read_job(self, id: int, path: bytes) -> tuple[Any, ...] | None:
        """A job that was too large for a message; None, and that is reported, when it cannot be read."""
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
        """Sleep until something ends, is asked, or is due."""
        want = bool(self.slots.free) and not (self.paused or self.outbox.waiting)
        if want is not self.listening:
            self.listening = self._watch(self.jobs, want, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        want = bool(self.outbox.waiting) and not self.outbox.refused
        if want is not self.writing:
            self.writing = self._watch(self.outbox.sock, want, select.EPOLLOUT)
        patience, self.blind = self.patience(), False
        for file, _ in self.poll.poll(patience):
            if (running := self.watched.get(file)) is not None:
                self.ended(running, time.monotonic())
            elif file == self.control.fileno():
                self.obey()
            elif file == self.life:
                raise Gone

    def _watch(self, sock: socket.socket, want: bool, events: int) -> bool:
        """Begin or cease to watch a socket; returns whether it is watched. Without room to watch it we look often."""
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
        """Seconds until something is due; -1: nothing is."""
        due = self.reap_at if self.running or self.allow_daemons else _NEVER
        if self.kills:
            due = min(due, self.kills[0][0])
        if self.over:
            due = min(due, self.sweep_at)
        if (tried := self.slots.due()) is not None:
            due = min(due, tried)
        now = time.monotonic()
        if self.asked or self.blind or self.unwatched or self.outbox.refused:
            due = now if self.asked else min(due, now + _BLIND)
        self.due = due
        return -1 if due is _NEVER else max(0.0, due - now)

    def do_what_is_due(self) -> None:
        """Everything whose moment has come, in one pass."""
        now = time.monotonic()
        if now < self.due and not self.asked:
            return
        for running in [
            one for one in self.unwatched if os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        ]:
            self.ended(running, now)
        while self.kills and self.kills[0][0] <= now:
            late_one = self.running.get(heapq.heappop(self.kills)[1])
            if late_one is not None and late_one.ended is None:
                self.asked[late_one] = signal.SIGKILL
        if self.asked:
            self.end_asked()
        self.slots.wake(now)
        if self.reap_at <= now:
            self.reap_at = now + _REAPING[self.family.reap() < _MANY]

    # -- one attempt -----------------------------------------------------------------------------------------------------

    def begin(self, id: int, job: int, attempt: int, argv: tuple[bytes | tuple[bytes, ...], ...]) -> None:
        """Spawn one command on a free slot, and report that it started or why it could not."""
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
        """Be told when it ends; where there is no descriptor for that, look now and then."""
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
        """Close its pidfd, which ends the watch, too: nobody else has it."""
        if running.file >= 0:
            os.close(running.file)
            running.file = -1

    def fail(self, id: int, at: float, started: float, code: int, reason: str, *, began: bool) -> None:
        """Report that an attempt could not be started; ``began``: as one that might be another time."""
        self.records.append((wire.ENDED, id, at, began, tuple(Measured(code, None, reason, started))))

    def give_back(self, id: int, code: int) -> None:
        """Something is short: return the attempt, and begin no others for a while."""
        self.records.append((wire.RETURNED, id, code))
        self.slots.rest()

    def ended(self, running: Running, now: float) -> None:
        """Its leader has ended: what it left behind is next."""
        running.ended = now
        if running.file < 0:
            self.unwatched.remove(running)
        else:
            del self.watched[running.file]
        self.over.append(running)
        self.sweep, self.sweep_at = _SWEEPING[0], now

    def finish(self) -> None:
        """End what ended attempts left behind, all in one pass; report and reap those of which nothing is left.

        A leader stays unreaped, and so keeps its pid, until everything that is known by this pid has been ended.
        """
        if not self.over or self.sweep_at > (now := time.monotonic()):
            return
        strangers, over, self.over = self.family.may_have_left(), self.over, []
        waiting = self.family.sweep(over) if strangers else ()
        for running in over:
            if running in waiting and now - (running.ended or now) < PATIENCE:
                self.unwatch(running)  # else it would wake us for ever
                self.over.append(running)
            else:
                self.report(running)
                self.release(running, renew=strangers and self.allow_daemons)
        self.sweep_at, self.sweep = now + self.sweep, min(2 * self.sweep, _SWEEPING[1])

    def report(self, running: Running) -> None:
        """Reap one leader and note its status, usage and output."""
        self.family.remove(running)
        _, status, usage = os.wait4(running.pid, 0)
        at, slot = running.ended or time.monotonic(), running.slot
        code = os.waitstatus_to_exitcode(status)
        out, err = slot.collect(0, running.name, self.cap), slot.collect(1, running.name, self.cap)
        measured = Measured(
            *exit_and_signal(code), self.output_error(running) if slot.failure else None, running.started, at - running.at,
            usage.ru_utime, usage.ru_stime, self.peak_of(usage.ru_maxrss), out, err, slot.number, len(running.gone),
        )  # fmt: skip
        self.records.append((wire.ENDED, running.id, at, True, tuple(measured)))
        if not running.asked:
            self.latest.append((running.name, measured))

    def release(self, running: Running, *, renew: bool) -> None:
        """Its slot is free; ``renew``: a daemon may still write to the files."""
        del self.running[running.id]
        self.unwatch(running)
        if renew:
            running.slot.close()
        self.slots.put(running.slot)

    def output_error(self, running: Running) -> str | None:
        """Why its output is not whole, also for the user."""
        failure, running.slot.failure = running.slot.failure, None
        if failure is None:
            return None
        self.records.append((wire.NOTED, f"job {running.name.partition(b'.')[0].decode()}: {not_kept(failure)}"))
        return not_kept(failure)

    def peak_of(self, kibibytes: int) -> int:
        """Peak memory of a command in bytes; 0: it is not known, because it was less than ours.

        The kernel counts what the process was before exec(2), too, and that was us: posix_spawn(3) shares our memory until then.
        """
        if kibibytes > self.peak:
            self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kibibytes * 1024 if kibibytes > self.peak else 0

    # -- ending things ---------------------------------------------------------------------------------------------------

    def end_asked(self) -> None:
        """TERM or KILL to everything that was asked to end; what got TERM gets KILL after the grace."""
        self.family.end(self.asked)
        due = time.monotonic() + self.grace
        for running, number in self.asked.items():
            if number == signal.SIGTERM:
                heapq.heappush(self.kills, (due, running.id))
        self.asked.clear()

    def obey(self) -> None:
        """Do everything that the coordinator has asked; end of file means that it is gone."""
        try:
            while size := self.control.recv_into(self.buffer, 0, socket.MSG_DONTWAIT):
                self.carry_out(*marshal.loads(memoryview(self.buffer)[:size]))
        except BlockingIOError:
            return
        raise Gone

    def carry_out(self, verb: int, ids: list[int]) -> None:
        """One verb of `manyhands.backends.launchers.wire`."""
        if verb in (wire.STOP, wire.KILL):
            for id in ids:
                self.ask(id, signal.SIGKILL if verb == wire.KILL else signal.SIGTERM)
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

    def ask(self, id: int, number: int) -> None:
        """An attempt is to end, at once with everything else that is asked before the next pass."""
        running = self.running.get(id)
        if running is not None and running.ended is None and running.asked not in (number, signal.SIGKILL):
            self.asked[running] = number if self.asked.get(running) != signal.SIGKILL else signal.SIGKILL

    # -- leaving ---------------------------------------------------------------------------------------------------------

    def leave(self, *, gone: bool) -> None:
        """End everything that runs, and remove what is ours. May be called at any moment.

        If the coordinator is gone, what it may not have recorded is written down: nobody else knows how these attempts ended.
        """
        with suppress(OSError):
            for file, _ in self.poll.poll(0):
                if (running := self.watched.get(file)) is not None:
                    self.ended(running, time.monotonic())
        self.family.kill_leaders()
        self.poll.close()  # a full table of descriptors must not keep us from looking at /proc
        self.family.end_everything()
        if gone:
            for running in self.over:  # these have ended by themselves
                self.report(running)
            known = [(*map(int, name.split(b".")), True, measured) for name, measured in self.latest]
            ends = [orphan_results.OrphanResult(*one) for one in known]  # type: ignore[arg-type]  # a name is JOB.ATTEMPT
            orphan_results.write(self.folder, self.index, ends)
        for slot in [*self.slots, *(running.slot for running in self.running.values())]:
            slot.close()
