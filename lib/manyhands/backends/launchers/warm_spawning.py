"""How a launcher starts a Python script warm: as a child of a zygote that has imported what the script imports.

spawn --> the zygote's child          what it cannot do is done as for any other command (`manyhands.backends.launchers.spawning`)
wait  --> the zygote reaps it, and says how it ended
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.launchers import wire
from manyhands.backends.launchers.spawning import Spawner
from manyhands.backends.launchers.zygote_process import Lost, Zygote
from manyhands.backends.shared.slot import Slot
from manyhands.posix import linux

_LONGEST: Final = 32 * 4096 - 1
"""Bytes of an argument that execve(2) takes (MAX_ARG_STRLEN)."""


class WarmSpawner(Spawner):
    """A `Spawner` whose commands all begin with the same interpreter and script. ``note``: tells the user why they run cold."""

    def __init__(self, config: wire.Config, note: Callable[[str], None]) -> None:
        super().__init__(config)
        self._warm: dict[str, Any] = config["warm"]
        self._note = note
        self._children: dict[int, int] = {}
        """The zygote that each was made by."""
        self._zygote = Zygote(self._warm, self._token, self._start)
        self._look()

    # -- the zygote ------------------------------------------------------------------------------------------------------

    def _start(self, arguments: list[bytes], environment: dict[bytes, bytes], file: int) -> int:
        """Start the zygote: its output goes to files in memory, by whose size it knows that something was printed."""
        outputs = [os.memfd_create("imports", os.MFD_CLOEXEC) for _ in range(2)]
        actions = [self._stdin, *((os.POSIX_SPAWN_DUP2, output, number) for number, output in enumerate(outputs, 1))]
        before = self._environment
        self._environment = before | environment
        try:
            pid = self._spawn(self._programs.find(arguments[0]), arguments, [*actions, (os.POSIX_SPAWN_DUP2, file, 3)])
        finally:
            self._environment = before
            for output in outputs:
                os.close(output)
        self._restore_limit(pid)
        self.spared.add(pid)
        return pid

    def hear(self) -> None:
        """The zygote is ready, or cannot be, or has died."""
        self._zygote.hear()
        self._look()

    def _look(self) -> None:
        """See what has become of the zygote."""
        self.spared.intersection_update({self._zygote.pid})
        self.news, self.until = self._zygote.socket, self._zygote.until
        self.awaited = self._zygote.awaited
        if (why := self._zygote.why) is not None:
            self._zygote.why = None
            self._note(f"the jobs run cold: {why}")

    def room(self, slots: int) -> int:
        """See `Spawner.room`; the jobs inherit the limit of the zygote."""
        number = super().room(slots)
        if self._zygote.pid:
            self._restore_limit(self._zygote.pid)
        return number

    def close(self) -> None:
        """Kill the zygote; its children become ours."""
        self._zygote.close()
        self._look()

    # -- jobs ------------------------------------------------------------------------------------------------------------

    def spawn(self, name: bytes, number: bytes, arguments: list[bytes], slot: Slot) -> int:
        """See `Spawner.spawn`. Raises Lost, too."""
        if self._zygote.state == "booting":
            self._look()
        if self._zygote.state == "ready" and (pid := self._fork(name, number, arguments, slot)) is not None:
            self._children[pid] = self._zygote.pid
            return pid
        return super().spawn(name, number, arguments, slot)

    def _fork(self, name: bytes, number: bytes, arguments: Sequence[bytes], slot: Slot) -> int | None:
        """Let the zygote make a job; None if it is dead, and the job has not begun."""
        _check(arguments)
        out, err = slot.ready()
        job, _, attempt = name.partition(b".")
        tag = b"%s.%s" % (self._token, name)
        given = self._open_stdin()
        try:
            pid = self._zygote.fork([tag, job, attempt, number], arguments[self._warm["words"] :], (given, out, err))
        except Lost:
            slot.close()  # it may still write to its files
            with suppress(TimeoutError):
                linux.end_all(lambda one: linux.tag_of(one.pid) in (tag, self._token + b".zygote"))
            raise
        finally:
            if given != self._null:
                os.close(given)
            self._look()
        return pid

    def _open_stdin(self) -> int:
        return self._null if self._given is None else os.open(self._given, os.O_RDONLY | os.O_CLOEXEC)

    def wait(self, pid: int) -> tuple[int | None, float, float, int]:
        """See `Spawner.wait`; the peak of a child of a zygote is its own, which what is imported is a part of."""
        if pid not in self._children:
            return super().wait(pid)
        status, (user, system, peak) = self._zygote.reap(pid, self._children.pop(pid))
        self._look()
        return None if status is None else os.waitstatus_to_exitcode(status), user, system, peak * 1024

    def explain(self, error: OSError | ValueError, name: bytes) -> tuple[int | None, str, bool]:
        """See `Spawner.explain`."""
        if isinstance(error, Lost):
            return None, "the process that makes the jobs died while it made this one", False
        return super().explain(error, name)


def _check(arguments: Sequence[bytes]) -> None:
    """Raise what exec would: a job is the same, warm or cold."""
    if any(b"\0" in argument for argument in arguments):
        raise ValueError("embedded null byte")
    if max(map(len, arguments), default=0) >= _LONGEST:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
