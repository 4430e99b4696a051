"""The coordinator's side of worker processes: how one is made, told, signalled, and what it leaves behind is ended.

    Hands.make(slot) --multiprocessing--> a process in `manyhands.backends.worker.main`, with a socket of its own

Separate from `manyhands.backends.processes`, which decides who gets which job.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import forkserver, reduction
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any, Final

from manyhands import kernel
from manyhands.backends import framing, worker
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.slot import Slot
from manyhands.call import Call
from manyhands.errors import ManyhandsError, UsageError
from manyhands.job import Attempt
from manyhands.warden import end_trees

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.warden import main; main(sys.argv[2])"


class Hand:
    """One worker process, and the attempts that it holds: the first of them runs, if it has ``began``."""

    def __init__(self, slot: Slot, process: Any, sock: socket.socket) -> None:
        self.slot, self.process, self.sock = slot, process, sock
        self.inbox = framing.Inbox(sock)
        self.pid: int = process.pid
        stat = kernel.read_stat(self.pid)
        self.start = stat.start if stat else 0
        self.held: deque[Attempt] = deque()
        self.began: float | None = None
        """When the first of them began, in seconds of the monotonic clock."""
        self.ready = False
        """It has prepared itself, and takes jobs."""
        self.asked = False
        """It was asked to end."""
        self.dropping = False
        """It was asked to hand back what it has not begun."""
        self.done = 0
        self.kill_at: float | None = None

    def tell(self, message: Any) -> None:
        """Send a record."""
        with suppress(OSError):  # it is dead, which will be found out
            framing.send(self.sock, message)

    def signal(self, *numbers: int) -> None:
        """Signal it and its whole tree, one signal after the other."""
        below = kernel.descendants([self.pid])
        for number in numbers:
            kernel.send_signal_exact(self.pid, self.start, number)
            for stat in below:
                kernel.send_signal_exact(stat.pid, stat.start, number)


class Hands:
    """Makes workers for one run, and ends them. Raises UsageError for a function that cannot be sent to another process."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._context: Any = mp.get_context(settings.workers.start_method)
        if settings.workers.start_method == "forkserver":
            _preload()
        self._config: dict[str, Any] = {
            "call": packed(settings.call), "columns": settings.columns, "outputs": bytes(settings.outputs),
            "workdir": bytes(settings.workdir), "nice": settings.nice, "token": settings.token.encode(), "cap": settings.output_cap,
        }  # fmt: skip
        self._warden = Warden(settings)
        if settings.disposable:
            self._warden.folder(str(settings.outputs))

    def make(self, number: int) -> Hand:
        """Start a worker for slot ``number``. Raises ManyhandsError when the system will not have one more."""
        settings = self._settings
        ours, theirs = socket.socketpair()
        environment = dict(settings.environment) | {b"MH_SLOT": b"%d" % number, b"MH_WORKER": self._mark(b"%d" % number)}
        config = self._config | {"slot": number, "environment": environment}
        kept = tuple(map(Inherited, settings.keep_open))
        process = self._context.Process(target=worker.main, args=(theirs, config, kept), name=f"manyhands-{number}")
        try:
            process.start()
        except OSError as error:
            ours.close()
            raise ManyhandsError(f"cannot start a worker process: {error}") from error
        finally:
            theirs.close()
        hand = Hand(Slot(number, bytes(settings.outputs)), process, ours)
        self._warden.add(hand.pid, hand.start)
        if settings.workers.start_method == "forkserver":
            self._warden.folder(get_temp_dir())  # where multiprocessing has the socket of its fork server
        return hand

    def clear(self, hand: Hand) -> int:
        """End what a worker that is gone has left behind; how many processes. Raises ManyhandsError if one will not go."""
        try:
            left = end_trees({hand.pid: hand.start}, b"MH_WORKER=" + self._mark(b"%d" % hand.slot.number))
        except TimeoutError as error:
            raise ManyhandsError(f"what a worker has left cannot be ended: {error}") from error
        self._warden.remove(hand.pid)
        return left

    def clear_all(self, hands: Iterable[Hand]) -> None:
        """The same for all of them, whether they are gone or not; what will not go is left alone."""
        with suppress(TimeoutError):
            end_trees({hand.pid: hand.start for hand in hands}, b"MH_WORKER=" + self._mark(b""), prefix=True)

    def close(self) -> None:
        """Let the warden go."""
        self._warden.close()

    def _mark(self, number: bytes) -> bytes:
        """What everything that a worker starts has in its environment."""
        return b"%s.%s" % (self._config["token"], number)


class Warden:
    """The coordinator's end of `manyhands.warden`, which is in a session of its own, where no terminal can signal it."""

    def __init__(self, settings: FunctionSettings) -> None:
        library = str(Path(__file__).parents[2])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, library, settings.token], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, pass_fds=settings.keep_open, start_new_session=True, bufsize=0, cwd="/",
            )  # fmt: skip
        except OSError as error:
            raise ManyhandsError(f"cannot start a warden for the workers: {error}") from error

    def add(self, pid: int, start: int) -> None:
        """A worker is there."""
        self._say(b"+ %d %d\n" % (pid, start))

    def folder(self, path: str) -> None:
        """Something that has to be removed if the coordinator cannot do it any more."""
        if "\n" not in path:
            self._say(b"folder %s\n" % os.fsencode(path))

    def remove(self, pid: int) -> None:
        """A worker is gone, and what it had started with it."""
        self._say(b"- %d\n" % pid)

    def close(self) -> None:
        """All is in order: nobody needs it any more, even if it has hardly begun."""
        self._process.kill()
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        self._process.wait()

    def _say(self, line: bytes) -> None:
        with suppress(OSError):  # somebody has killed it: only a second fault would make that matter
            self._process.stdin.write(line)  # type: ignore[union-attr]  # it is a pipe


def packed(call: Call, *, main_by_value: bool = False) -> bytes:
    """A call for another process of this machine: by name where it has one, else by value, if cloudpickle is installed.

    ``main_by_value``: that process is none of multiprocessing's, and does not import the main script.

    Raises UsageError for a function that has neither (https://docs.python.org/3/library/pickle.html#what-can-be-pickled-and-unpickled).
    """
    main = getattr(sys.modules["__main__"], "__file__", None)
    if main_by_value and getattr(call.live, "__module__", None) == "__main__":
        main = None
    elif main == "<stdin>":  # multiprocessing takes it for a file
        raise UsageError(
            "a program that is read from standard input cannot be imported by worker processes: put it in a file"
        )
    elsewhere = getattr(call.live, "__module__", None) != "__main__"
    if elsewhere or main:  # else a session, whose names nobody can import
        with suppress(Exception):  # whatever a __reduce__ may raise
            return pickle.dumps(call)
    try:
        import cloudpickle

        data: bytes = cloudpickle.dumps(call)
        return data
    except Exception as error:
        why = "cloudpickle is not installed" if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{call.name} cannot be sent to another process ({why}): define it at the top of a module, or choose threads"
        ) from None


def _preload() -> None:
    """Have the fork server import what every worker needs, once, unless the program has said what it is to import."""
    if getattr(getattr(forkserver, "_forkserver", None), "_preload_modules", None) == ["__main__"]:
        forkserver.set_forkserver_preload(["__main__", worker.__name__])


class Inherited:
    """A descriptor that another process gets a copy of when this is pickled for it (`multiprocessing.reduction`)."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherit, (reduction.DupFd(self.descriptor),)


def _inherit(handle: Any) -> Inherited:
    descriptor = handle.detach()
    os.set_inheritable(descriptor, False)
    return Inherited(descriptor)
