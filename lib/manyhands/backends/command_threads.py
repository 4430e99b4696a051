"""Commands on this machine, one thread per slot: the fall-back if launchers are not supported (macOS, Linux before 5.3).

It keeps the promises of `manyhands.backends.commands` as far as the system allows: every command has its own session, its output goes
to files, a stop reaches its whole process group (and, with /proc, its whole tree), and in a shortage attempts wait until others have
ended. Not promised here: jobs outlive a coordinator that is killed with -9, and daemons of a job are not found.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.settings import CommandSettings
from manyhands.backends.shared.captured import output_of
from manyhands.backends.shared.child_signal import ChildSignal
from manyhands.backends.shared.heartbeat import Pulse
from manyhands.backends.shared.mailbox import Mailbox
from manyhands.backends.shared.measured import exit_and_signal
from manyhands.backends.shared.shortage import PATIENCE, Shortage
from manyhands.backends.shared.slot import Slot, not_kept
from manyhands.backends.shared.slot_threads import SlotThreads
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Ending
from manyhands.posix import linux
from manyhands.posix.which import SHORTAGES, Programs, why_not_started
from manyhands.runtime.gevent_patch import threads_are_patched

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)
_AGAIN: Final = 0.1
"""Seconds until an attempt that could not begin is tried again, if no other ends meanwhile."""


class _Running:
    """One running command. ``signalled``: we have sent a signal that may have ended it."""

    def __init__(self, attempt: Attempt, process: subprocess.Popen[bytes]) -> None:
        self.attempt, self.process = attempt, process
        self.lock = threading.Lock()
        self.reaped = self.signalled = False
        self.grace: threading.Timer | None = None
        self.at, self.started = time.monotonic(), time.time()

    def signal(self, *numbers: int) -> None:
        """Signal the whole tree, unless the leader has been reaped."""
        with self.lock:
            if self.reaped:
                return
            below = linux.descendants([self.process.pid])
            self.signalled = self.signalled or self._lives()
            for number in numbers:
                linux.signal_group(self.process.pid, number)
                for found in below:
                    if found.pgid != self.process.pid:
                        linux.send_signal_exact(found.pid, found.start, number)

    def _lives(self) -> bool:
        """Whether the leader is still running, according to the kernel."""
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
        except ChildProcessError:
            return False


class CommandThreads:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "command-threads"
    can_stop = True
    reports_start = True
    ahead = 0

    def __init__(self, settings: CommandSettings) -> None:
        self.settings = settings
        self._pid = os.getpid()
        self._mailbox = Mailbox()
        self._running: dict[tuple[int, int], _Running] = {}
        self._mutex = threading.Lock()
        self._threads = SlotThreads(settings.slots, self._serve, self._mailbox.put, self._mutex)
        self._stdin = str(settings.stdin or os.devnull)
        self._room = threading.Condition(self._mutex)
        """Notified when an attempt has ended."""
        self._shortage = Shortage(settings.slots)
        self._unwanted: set[tuple[int, int]] = set()
        """Attempts that were recalled, or stopped, before they began."""
        self._idle: set[Slot] = set()
        """Slots whose thread waits for an attempt, or for the end of a shortage."""
        self._programs = Programs(settings.environment.get(b"PATH", os.defpath.encode()))
        self._pulse = Pulse()
        self._child_signal = ChildSignal()
        if settings.warm:
            self._mailbox.put(
                Noted("the jobs run cold: only launchers can fork them from a warm process, and this system has none")
            )

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Give the attempt to the next free thread."""
        self._check_ours()
        self._threads.start(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """All reports so far; waits for the first one."""
        self._check_ours()
        return self._mailbox.take(timeout)

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what no thread has taken, or what waits in a shortage."""
        if not self._is_ours():
            return
        self._threads.recall(attempts)
        with self._room:
            keys = {attempt.id for attempt in attempts}
            self._unwanted |= keys - self._running.keys()
            self._room.notify_all()

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Send TERM and CONT, and KILL after the grace; or KILL at once."""
        if not self._is_ours():
            return
        self.recall(attempts)
        for attempt in attempts:
            with self._mutex:
                running = self._running.get(attempt.id)
            if running is None:
                continue
            if kill:
                running.signal(signal.SIGKILL)
            elif running.grace is None:
                running.grace = threading.Timer(self.settings.grace, running.signal, (signal.SIGKILL,))
                running.grace.start()
                running.signal(signal.SIGTERM, signal.SIGCONT)

    def pause(self, paused: bool) -> None:
        """Send SIGSTOP or SIGCONT to everything that runs."""
        if not self._is_ours():
            return
        self._threads.pause(paused)
        with self._mutex:
            running = list(self._running.values())
        for one in running:
            one.signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def grow(self, slots: int) -> int:
        """See `manyhands.backends.protocol.Growing`."""
        return self._threads.grow(slots)

    def wake(self) -> None:
        """Make `reports` return."""
        self._mailbox.wake()

    def close(self) -> None:
        """Kill what runs and join the threads."""
        if not self._is_ours():
            return
        self._threads.shut()
        with self._mutex:
            running = list(self._running.values())
            self._room.notify_all()
        for one in running:
            one.signal(signal.SIGKILL)
        self._threads.join()
        self._pulse.close()
        self._child_signal.close()

    def _is_ours(self) -> bool:
        """Whether this is not a forked child, which has no threads, and whose parent has the jobs."""
        return os.getpid() == self._pid

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise ManyhandsError("this backend belongs to the process that this one was forked from")

    # -- a slot ----------------------------------------------------------------------------------------------------------

    def _serve(self, take: Callable[[], Attempt | None], number: int) -> None:
        """Run one thread: take an attempt, run it, report it."""
        slot = Slot(number, bytes(self.settings.outputs))
        if sys.platform == "linux":  # niceness is per thread here, and its children inherit it
            os.nice(self.settings.nice)
        try:
            while (attempt := take()) is not None:
                self._run(attempt, slot)
        finally:
            with self._mutex:
                self._idle.discard(slot)
                slot.close()

    def _run(self, attempt: Attempt, slot: Slot) -> None:
        at, started = time.monotonic(), time.time()
        name = attempt.name
        number = b"%d" % slot.number
        arguments = [number.join(part) if isinstance(part, tuple) else part for part in attempt.argv]
        try:
            running = self._spawn_when_possible(attempt, arguments, slot, name)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ECANCELED:
                self._mailbox.put(Ended(attempt, time.monotonic(), began=False))
                return
            failure, reason, lasting = self._explain(error, arguments[0] if arguments else b"")
            self._mailbox.put(Ended(attempt, at, Ending(failure, error=reason, started=started), began=not lasting))
            return
        at, started = running.at, running.started
        self._mailbox.put(Started(attempt, at, slot.number, running.process.pid))
        code, usage = self._reap(running)
        now = self._pulse.moment(at, caused=running.signalled)
        out, err = (output_of(slot.collect(stream, name, self.settings.output_cap)) for stream in (0, 1))
        incomplete = self._output_error(attempt, slot)
        with self._room:
            del self._running[attempt.id]
            self._idle.add(slot)
            self._room.notify_all()
        why = "another part of the program took its exit status" if code is None else incomplete
        user, system, peak = usage.ru_utime, usage.ru_stime, _peak_of(usage.ru_maxrss)
        ending = Ending(*exit_and_signal(code), why, started, now - at, user, system, peak, out, err, slot.number)
        self._mailbox.put(Ended(attempt, now, ending))

    def _output_error(self, attempt: Attempt, slot: Slot) -> str | None:
        """Why an output is not complete; the user is warned, too."""
        failure, slot.failure = slot.failure, None
        if failure is None:
            return None
        self._mailbox.put(Noted(f"job {attempt.job.number}: {not_kept(failure)}"))
        return not_kept(failure)

    def _explain(self, error: OSError | ValueError, name: bytes) -> tuple[int, str, bool]:
        """(exit status, reason, whether it will be the same next time)."""
        if isinstance(error, OSError) and error.filename is not None:
            for what, path in (("work in", self.settings.workdir), ("read the standard input", self._stdin)):
                if os.fspath(error.filename) == os.fspath(path):
                    return 126, f"cannot {what} {path}: {error.strerror}", True
        place = None
        with suppress(OSError):
            place = self._programs.find(name)
        if place is not None and b"/" in name:
            place = os.path.join(bytes(self.settings.workdir), place)
        return why_not_started(error, name, place)

    def _spawn_when_possible(self, attempt: Attempt, arguments: list[bytes], slot: Slot, name: bytes) -> _Running:
        """Spawn the command; in a shortage, wait for others to end, and give up only after nothing has run for long."""
        alone_since: float | None = None
        while True:
            try:
                return self._spawn(attempt, arguments, slot, name)
            except OSError as error:
                if error.errno not in SHORTAGES:
                    raise
                now = time.monotonic()
                with self._room:
                    self._idle.add(slot)
                    alone_since = None if self._running else alone_since or now
                    if self._threads.closed or (alone_since is not None and now - alone_since > PATIENCE):
                        raise
                    for note in self._shortage.note(error.errno or 0):
                        self._mailbox.put(note)
                    for idle in self._idle:  # release the descriptors that we lack
                        idle.close()
                    self._room.wait(_AGAIN)

    def _spawn(self, attempt: Attempt, arguments: list[bytes], slot: Slot, name: bytes) -> _Running:
        settings = self.settings
        environment = dict(settings.environment) | {
            b"MH_TAG": self._tag(name),
            b"MH_JOB": b"%d" % attempt.job.number,
            b"MH_ATTEMPT": b"%d" % attempt.number,
            b"MH_SLOT": b"%d" % slot.number,
        }
        with self._mutex, open(self._stdin, "rb") as stdin:
            if self._threads.closed or attempt.id in self._unwanted:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            out, err = slot.ready()
            self._idle.discard(slot)
            process = subprocess.Popen(
                arguments,
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=settings.workdir,
                env=environment,
                start_new_session=True,
                restore_signals=True,
            )
            running = self._running[attempt.id] = _Running(attempt, process)
            self._pulse.beat()
        if settings.nice and sys.platform != "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, settings.nice)
        return running

    def _tag(self, name: bytes) -> bytes:
        return self.settings.token.encode() + b"." + name

    def _reap(self, running: _Running) -> tuple[int | None, resource.struct_rusage]:
        """Wait for the leader without reaping it, end the rest of its group, then take its status (wait4(2)).

        The status, as `subprocess` has it, is None if it was lost (SIGCHLD is ignored, or other code in this process called
        waitpid(-1)). In a process that gevent has patched its loop may be the one that takes it, and tells it to its own Popen.
        """
        process = running.process
        # not a global: at exit the type may be cleared first, which CPython 3.11 reports as a SystemError
        usage = resource.struct_rusage((0.0, 0.0, *(0,) * 14))
        code: int | None
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with running.lock:
                if not self.settings.allow_daemons:
                    linux.signal_group(process.pid, signal.SIGKILL)
                running.reaped = True
                _, status, usage = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
        except ChildProcessError:  # the pid may already be another's, so the rest of its group is found by its tag
            running.reaped = True
            code = process.wait() if threads_are_patched() else None
            process.returncode = 0
            if not self.settings.allow_daemons:
                tag = self._tag(running.attempt.name)
                with suppress(TimeoutError):
                    linux.end_all(lambda one: linux.tag_of(one.pid) == tag)
        if running.grace:
            running.grace.cancel()
        return code, usage


def _peak_of(maxrss: int) -> int:
    """Peak memory of a command in bytes; 0: not known, because it was less than ours, which the kernel counts, too."""
    if sys.platform == "linux" and maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        return 0
    return maxrss * _RSS_UNIT
