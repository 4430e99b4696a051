"""The launcher: a small process that spawns commands, watches them, ends them and reaps them. It decides nothing.

    take a job --posix_spawn--> its own session, output to the slot's two files
    pidfd readable --> end what it left behind --> wait4 (exact status and usage) --> result

Why a process of its own: posix_spawn(3) suspends the calling thread until the child has called exec, and CPython holds the
GIL meanwhile; two tiny launchers keep two cores busy, and the cost does not depend on how large the user's process is.
Why files for output: nothing to read while a job runs, no deadlock, and nobody waits for a stranger that keeps a pipe open.
Why it is trusted with killing: it is the parent (no pid of its children can be recycled before it reaps them), a child
subreaper (prctl(2): daemons of its jobs come back to it), and it watches the coordinator through a pidfd, so that even
after kill -9 of the coordinator no job outlives it.
"""

from __future__ import annotations

import errno
import gc
import heapq
import marshal
import os
import select
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final, NoReturn

from manyhands import kernel
from manyhands.backends import late, wire
from manyhands.backends.slot import NOTHING, Slot, why_not_started
from manyhands.programs import Programs

# Python and nohup(1) change these; a command must find the defaults (posix_spawnattr_setsigdefault(3)).
_DEFAULT_SIGNALS: Final = [
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM,
    signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGXCPU, signal.SIGXFSZ,
]  # fmt: skip
_IGNORED: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGTSTP)
_SWEEPS: Final = 500
_REMEMBERED: Final = (
    256  # results, more than can be on their way to the journal (the backend's slots and what lies ready)
)


class Running:
    """One attempt that is running."""

    __slots__ = ("at", "id", "name", "pid", "slot", "started", "stopping")

    def __init__(self, id: int, name: bytes, pid: int, slot: Slot, at: float, started: float) -> None:
        self.id, self.name, self.pid, self.slot, self.at, self.started = id, name, pid, slot, at, started
        self.stopping = False


class Launcher:
    """The loop of one launcher process and the verbs it obeys."""

    def __init__(self, index: int, jobs: socket.socket, results: socket.socket, control: socket.socket) -> None:
        self.index, self.jobs, self.results, self.control = index, jobs, results, control
        self.poll = select.epoll()
        self.running: dict[int, Running] = {}  # by pidfd
        self.records: list[tuple[Any, ...]] = []
        self.latest: deque[tuple[bytes, tuple[Any, ...]]] = deque(maxlen=_REMEMBERED)  # see `manyhands.backends.late`
        self.folder = b""
        self.kills: list[tuple[float, int]] = []  # (when the grace is over, id)
        self.leaders: set[int] = set()
        self.buffer = bytearray(wire.MESSAGE)
        self.paused = self.exhausted = self.listening = False

    # -- setting up ------------------------------------------------------------------------------------------------------

    def configure(self, config: wire.Config, coordinator: int) -> None:
        """Take the settings of the run; raises OSError when they cannot be had."""
        self.environment = dict(os.environb)
        self.programs = Programs(self.environment.get(b"PATH", os.defpath.encode()))
        self.grace: float = config["grace"]
        self.cap: int | None = config["cap"]
        self.allow_daemons: bool = config["allow_daemons"]
        self.token: bytes = config["token"]
        os.chdir(config["workdir"])
        if config["nice"]:
            os.nice(config["nice"])
        self._raise_descriptor_limit(64 + 3 * len(config["slots"]))
        if config["stdin"] is None:
            self.stdin: tuple[Any, ...] = (os.POSIX_SPAWN_DUP2, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        else:  # opened anew for each command, which so reads it from its beginning
            self.stdin = (os.POSIX_SPAWN_OPEN, 0, config["stdin"], os.O_RDONLY, 0)
        self.free = [Slot(number, config["outputs"], memory=config["memory"]) for number in reversed(config["slots"])]
        kernel.become_subreaper()
        self.children = kernel.ChildrenFile.open()
        self.life = os.pidfd_open(coordinator)
        if os.getppid() != coordinator:  # it died before we looked
            raise SystemExit(1)
        self.coordinator, self.folder = coordinator, config["outputs"]
        self.poll.register(self.life, select.EPOLLIN)
        self.poll.register(self.control, select.EPOLLIN)

    def _raise_descriptor_limit(self, needed: int) -> None:
        """Make room for three descriptors a slot; the commands get the old limit back (see `spawn`)."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit: tuple[int, int] | None = None
        if soft != resource.RLIM_INFINITY and soft < needed:
            self.limit = (soft, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
        self.prlimit, self.nofile = resource.prlimit, resource.RLIMIT_NOFILE

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the jobs are exhausted or the coordinator says so or is gone."""
        while True:
            self.take()
            self.flush()
            if self.exhausted and not self.running:
                break
            self.wait()
        self.clean()

    def take(self) -> None:
        """Begin jobs while there are free slots and jobs waiting."""
        while self.free and not self.exhausted:
            self.obey()  # what was asked before a job was sent comes before that job
            if self.paused:
                return
            if os.getppid() != self.coordinator:  # nobody wants it any more
                self.die()
            try:
                size = self.jobs.recv_into(self.buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not size:
                self.exhausted = True
                return
            message = marshal.loads(memoryview(self.buffer)[:size])
            if len(message) == 2:
                with open(message[1], "rb") as file:
                    message = (message[0], *marshal.load(file))
                os.unlink(file.name)
            self.begin(*message)

    def flush(self) -> None:
        """Send what happened as one message: the end of one attempt and the beginning of the next cost one wake-up."""
        if not self.records:
            return
        message = marshal.dumps((self.index, self.records))
        if len(message) <= wire.MESSAGE:
            self.results.send(message)
        else:
            for record in self.records:
                self.results.send(marshal.dumps((self.index, [record])))
        self.records.clear()

    def wait(self) -> None:
        """Sleep until something ends, is asked, or is due."""
        want = bool(self.free) and not self.paused and not self.exhausted
        if want and not self.listening:
            self.poll.register(self.jobs, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        elif self.listening and not want:
            self.poll.unregister(self.jobs)
        self.listening = want
        timeout = max(0.0, self.kills[0][0] - time.monotonic()) if self.kills else -1
        ended = []
        for file, _ in self.poll.poll(timeout):
            if file in self.running:
                ended.append(file)
            elif file == self.control.fileno():
                self.obey()
            elif file == self.life:
                self.die()
        if ended:
            self.finish(ended)
        while self.kills and self.kills[0][0] <= time.monotonic():
            self.stop(heapq.heappop(self.kills)[1], kill=True)

    # -- one attempt -----------------------------------------------------------------------------------------------------

    def begin(self, id: int, job: int, attempt: int, argv: tuple[bytes | tuple[bytes, ...], ...]) -> None:
        """Spawn one command on a free slot, and report that it started or why it could not."""
        slot = self.free.pop()
        number = b"%d" % slot.number
        arguments = [number.join(part) if isinstance(part, tuple) else part for part in argv]
        environment, name = self.environment, b"%d.%d" % (job, attempt)
        environment[b"MH_TAG"] = b"%s.%s" % (self.token, name)
        environment[b"MH_JOB"] = b"%d" % job
        environment[b"MH_ATTEMPT"] = b"%d" % attempt
        environment[b"MH_SLOT"] = number
        at, started = time.monotonic(), time.time()
        try:
            pid = self.spawn(arguments, slot)
        except (OSError, ValueError) as error:
            self.free.append(slot)
            code, reason = why_not_started(error, os.fsdecode(arguments[0]) if arguments else "''")
            self.records.append(
                (wire.ENDED, id, at, code, None, reason, False, started, 0.0, 0.0, 0.0, 0, NOTHING, NOTHING, 0, 0)
            )
            return
        running = Running(id, name, pid, slot, at, started)
        self.leaders.add(pid)
        pidfd = os.pidfd_open(pid)
        self.running[pidfd] = running
        self.poll.register(pidfd, select.EPOLLIN)
        self.records.append((wire.STARTED, id, at, slot.number, pid))

    def spawn(self, arguments: list[bytes], slot: Slot) -> int:
        """posix_spawn in a new session with default signals and nothing but descriptors 0, 1 and 2; returns the pid."""
        out, err = slot.ready()
        actions = [self.stdin, (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
        program = self.programs.find(arguments[0])
        for _ in range(50):
            try:
                pid = os.posix_spawn(
                    program, arguments, self.environment,
                    file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULT_SIGNALS,
                )  # fmt: skip
                break
            except BlockingIOError:  # EAGAIN: too many processes just now; others will end (fork(2))
                time.sleep(0.02)
            except FileNotFoundError:
                if not self.programs.forget(arguments[0]):
                    raise
                program = self.programs.find(arguments[0])  # it has moved since it was found
        else:
            raise OSError(errno.EAGAIN, "no more processes may be started")
        if self.limit:
            with suppress(OSError):  # it has ended already
                self.prlimit(pid, self.nofile, self.limit)
        return pid

    def finish(self, ended: list[int]) -> None:
        """The leaders of some attempts are zombies: end what they left behind, then report and reap them.

        A leader stays unreaped, and so keeps its pid, until everything that is known by this pid has been ended.
        """
        strangers = self.strangers()
        for pidfd in ended:
            running = self.running[pidfd]
            left = 0
            if self.children is None and not self.allow_daemons:
                kernel.signal_group(running.pid, signal.SIGKILL)
            elif strangers and (running.stopping or not self.allow_daemons):
                left = self.sweep(running)
            self.report(running, left)
            del self.running[pidfd]
            self.leaders.discard(running.pid)
            self.poll.unregister(pidfd)
            os.close(pidfd)
            if strangers and self.allow_daemons:  # a daemon may still write to the slot's files
                running.slot.renew(0)
                running.slot.renew(1)
            self.free.append(running.slot)
        if strangers:
            self.reap_strangers()

    def report(self, running: Running, left: int) -> None:
        """Reap one leader and note its status, usage and output."""
        _, status, usage = os.wait4(running.pid, 0)
        at = time.monotonic()
        code = os.waitstatus_to_exitcode(status)
        out = running.slot.collect(0, running.name, self.cap)
        err = running.slot.collect(1, running.name, self.cap)
        record = (
            wire.ENDED, running.id, at, code if code >= 0 else None, -code if code < 0 else None, None, True,
            running.started, at - running.at, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024,
            out, err, running.slot.number, left,
        )  # fmt: skip
        self.records.append(record)
        if not running.stopping:
            self.latest.append((running.name, record))

    # -- ending things ---------------------------------------------------------------------------------------------------

    def strangers(self) -> set[int]:
        """Children that are no leaders: what jobs left behind and the kernel gave to us as their subreaper."""
        return self.children.read() - self.leaders if self.children else set()

    def has_strangers(self) -> bool:
        """Whether there may be any: always so where the kernel cannot tell."""
        return self.children is None or bool(self.strangers())

    def reap_strangers(self) -> None:
        """Reap what has ended, each by its pid: waitpid(-1) would steal the status of a leader."""
        for pid in self.strangers():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def sweep(self, running: Running) -> int:
        """Kill what one ended attempt left behind until there is nothing; returns how many processes there were.

        Its own are known by their session or by the tag in their environment; when no other attempt is running here,
        whatever is left must be its own.
        """
        gone: set[int] = set()
        for _ in range(_SWEEPS):
            self.reap_strangers()
            strangers = self.strangers()
            if not strangers:
                break
            below = kernel.descendants(strangers) + [found for pid in strangers if (found := kernel.read_stat(pid))]
            alone, tag = len(self.running) == 1, b"MH_TAG=%s.%s" % (self.token, running.name)
            mine = [found for found in below if alone or found.session == running.pid or kernel.has_tag(found.pid, tag)]
            if not mine:
                break
            for found in mine:
                if found.state != "Z":
                    kernel.send_signal_exact(found.pid, found.start, signal.SIGKILL)
                    gone.add(found.pid)
            time.sleep(0.001)
        return len(gone)

    def stop(self, id: int, *, kill: bool) -> None:
        """TERM (and CONT, or a stopped process would not see it) to a whole tree, KILL after the grace or at once."""
        running = next((running for running in self.running.values() if running.id == id), None)
        if running is None or (running.stopping and not kill):
            return
        running.stopping = True
        below = kernel.descendants([running.pid])
        for number in (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGCONT):
            kernel.signal_group(running.pid, number)
            for found in below:
                if found.pgid != running.pid:
                    kernel.send_signal_exact(found.pid, found.start, number)
        heapq.heappush(self.kills, (time.monotonic() + (0.1 if kill else self.grace), id))

    def pause(self, paused: bool) -> None:
        """Hold or continue every running attempt; begin none while held."""
        self.paused = paused
        for running in self.running.values():
            kernel.signal_group(running.pid, signal.SIGSTOP if paused else signal.SIGCONT)

    def obey(self) -> None:
        """Do everything that the coordinator has asked; end of file means that it is gone."""
        try:
            while message := self.control.recv(64, socket.MSG_DONTWAIT):
                self.carry_out(*marshal.loads(message))
        except BlockingIOError:
            return
        self.die()

    def carry_out(self, verb: int, id: int) -> None:
        """One verb of `manyhands.backends.wire`."""
        if verb in (wire.STOP, wire.KILL):
            self.stop(id, kill=verb == wire.KILL)
        elif verb in (wire.PAUSE, wire.RESUME):
            self.pause(verb == wire.PAUSE)
        elif verb == wire.SYNC:
            self.records.append((wire.SYNCED,))
        elif verb == wire.QUIT:
            self.die()

    def die(self) -> NoReturn:
        """End everything at once and leave: the coordinator is gone, or wants us gone.

        If it is gone, what it may not have recorded is written down: nobody else knows how these attempts ended.
        """
        for _ in range(_SWEEPS if self.leaders or self.has_strangers() else 0):
            roots = self.leaders if self.allow_daemons else {os.getpid()}
            below = [found for found in kernel.descendants(roots) if found.state != "Z"]
            for pid in self.leaders:  # none of them is reaped yet: these pids are ours
                kernel.signal_group(pid, signal.SIGKILL)
            if not below:
                break
            for found in below:
                kernel.send_signal_exact(found.pid, found.start, signal.SIGKILL)
            time.sleep(0.001)
        if os.getppid() != self.coordinator:
            ends = [late.Late(*map(int, name.split(b".")), *end[3:]) for name, end in self.latest]  # type: ignore[arg-type]
            late.write(self.folder, self.index, ends)
        self.clean()
        raise SystemExit(0)

    def clean(self) -> None:
        """Leave no stray and no slot file behind."""
        if not self.allow_daemons and self.has_strangers():
            for found in kernel.descendants([os.getpid()]):
                kernel.send_signal_exact(found.pid, found.start, signal.SIGKILL)
        for slot in [*self.free, *(running.slot for running in self.running.values())]:
            slot.close()


def main(index: int, coordinator: int, jobs: int, results: int, control: int) -> None:
    """Run launcher number ``index`` on three inherited sockets until the work or the coordinator is gone."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, the kernel would reap for us and lose every status
    launcher = Launcher(index, *(socket.socket(fileno=number) for number in (jobs, results, control)))
    gc.disable()  # nothing here makes cycles
    for name in os.listdir("/proc/self/fd"):  # our sockets and the run's lock are ours, not the commands'
        with suppress(OSError):  # the folder itself
            os.set_inheritable(int(name), int(name) < 3)
    config = marshal.loads(launcher.control.recv(wire.MESSAGE))
    try:
        launcher.configure(config, coordinator)
        launcher.run()
    except BrokenPipeError:  # the coordinator went away while we were telling it something
        launcher.die()
    except SystemExit:
        os._exit(0)  # there is nothing to tidy up, and somebody waits for us
