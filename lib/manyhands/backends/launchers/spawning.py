"""How a launcher starts a command: posix_spawn(3) in a new session, with the settings of the run.

Separate from the launcher's loop: this is all about what a command inherits.
"""

from __future__ import annotations

import os
import resource

from manyhands.backends.launchers import wire
from manyhands.backends.shared.slot import Slot
from manyhands.core.lean import Any, Final, signal, socket, suppress
from manyhands.posix.which import Programs, why_not_started

# Python and nohup(1) change these; a command must find the defaults (posix_spawnattr_setsigdefault(3)).
_DEFAULT_SIGNALS: Final = [
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGXCPU,
    signal.SIGXFSZ,
]
_MARGIN: Final = 6
"""Descriptors that must stay free: reading /proc and signalling take three, storing a large output or the last results one."""
_PER_SLOT: Final = 3
"""Descriptors of a slot: its two files, and the pidfd of its attempt."""


class Spawner:
    """Starts commands with the settings of the run. Raises OSError if the settings cannot be applied."""

    def __init__(self, config: wire.Config) -> None:
        self._environment = dict(os.environb)
        self._programs = Programs(self._environment.get(b"PATH", os.defpath.encode()))
        self._token: bytes = config["token"]
        self._given: bytes | None = config["stdin"]
        os.chdir(config["workdir"])
        if config["nice"]:
            os.nice(config["nice"])
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if self._given is None else -1
        if self._given is None:
            self._stdin: tuple[Any, ...] = (os.POSIX_SPAWN_DUP2, self._null, 0)
        else:  # opened again for each command, so each reads it from the beginning
            self._stdin = (os.POSIX_SPAWN_OPEN, 0, self._given, os.O_RDONLY, 0)
        self._limit: tuple[int, int] | None = None
        self._peak = 0
        self.spared: set[int] = set()
        """Children that are neither jobs nor left by jobs."""
        self.awaited = False
        """Whether no job may begin yet."""
        self.until = 0.0
        """When jobs begin nevertheless."""
        self.news: socket.socket | None = None
        """Has to be watched for `hear`."""

    def hear(self) -> None:
        """`news` is readable."""

    def room(self, slots: int) -> int:
        """For how many of ``slots`` there are descriptors, after raising the limit as far as allowed."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return slots
        used = len(os.listdir("/proc/self/fd")) + _MARGIN
        needed = used + _PER_SLOT * slots
        if soft < needed:
            self._limit = (soft, hard)  # the commands get the old limit back
            soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(slots, (soft - used) // _PER_SLOT))

    def spawn(self, name: bytes, number: bytes, arguments: list[bytes], slot: Slot) -> int:
        """Start attempt ``name`` in slot ``number`` with default signals and only descriptors 0, 1 and 2; return its pid."""
        out, err = slot.ready()
        environment = self._environment
        environment[b"MH_TAG"] = b"%s.%s" % (self._token, name)
        environment[b"MH_JOB"], _, environment[b"MH_ATTEMPT"] = name.partition(b".")
        environment[b"MH_SLOT"] = number
        actions = [self._stdin, (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
        program = self._programs.find(arguments[0])
        try:
            pid = self._spawn(program, arguments, actions)
        except FileNotFoundError:
            moved = self._programs.find_again(arguments[0], program)
            if moved is None:
                raise
            pid = self._spawn(moved, arguments, actions)
        self._restore_limit(pid)
        return pid

    def _restore_limit(self, pid: int) -> None:
        if self._limit:
            with suppress(OSError):  # it has ended already
                resource.prlimit(pid, resource.RLIMIT_NOFILE, self._limit)

    def _spawn(self, program: bytes, arguments: list[bytes], actions: list[tuple[Any, ...]]) -> int:
        return os.posix_spawn(
            program,
            arguments,
            self._environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )

    def wait(self, pid: int) -> tuple[int | None, float, float, int]:
        """Reap a command that has ended: (exit status or -signal, None if it is not known, user time, system time, peak memory in bytes, 0 if it is not known)."""
        _, status, usage = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime, usage.ru_stime, self._peak_of(usage.ru_maxrss)

    def _peak_of(self, kibibytes: int) -> int:
        """Peak memory of a command in bytes; 0: not known, because it was less than ours.

        The kernel also counts the process before exec(2), and posix_spawn(3) shares our memory until then.
        """
        if kibibytes > self._peak:
            self._peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kibibytes * 1024 if kibibytes > self._peak else 0

    def close(self) -> None:
        """End what is no job."""

    def explain(self, error: OSError | ValueError, name: bytes) -> tuple[int | None, str, bool]:
        """(exit status, None if it is not known; reason; whether it will be the same next time), see `manyhands.posix.which.why_not_started`."""
        if self._given is not None and isinstance(error, OSError) and not os.access(self._given, os.R_OK):
            return 126, f"cannot read the standard input {os.fsdecode(self._given)}: {error.strerror}", True
        return why_not_started(error, name, self._programs.place(name))
