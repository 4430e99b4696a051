"""The coordinator's side of worker processes: how one is made, told, signalled, and what it leaves behind is ended.

    WorkerPool.make(slot) --multiprocessing--> a process in `manyhands.backends.workers.worker_main.main`, with a socket of its own

Separate from `manyhands.backends.processes`, which decides who gets which job.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.util import get_temp_dir
from typing import Any, Final

from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.slot import Slot
from manyhands.backends.workers import fork_server, worker_main
from manyhands.backends.workers.handle import Handle
from manyhands.backends.workers.signal_page import Page
from manyhands.backends.workers.watchdog import end_trees
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.places import LIBRARY
from manyhands.posix import linux
from manyhands.runtime import at_fork
from manyhands.runtime.main_guard import WORKER
from manyhands.work.function import Call

_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.backends.workers.watchdog import main; main(sys.argv[2])"
)


_SPARE: Final = 20
"""Descriptors that must be free before one more worker is made: it takes four, and the coordinator needs some for what it does."""
_LEAST: Final = 10
"""The same before the first, without which nothing would be done at all."""


class WorkerPool:
    """Makes workers for one run, and ends them. Raises UsageError for a function that cannot be sent to another process."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._context: Any = mp.get_context(settings.workers.start_method)
        if settings.workers.start_method == "forkserver":
            fork_server.preload(worker_main.WORKER)
        self._config: dict[str, Any] = {
            "call": packed(settings.call), "columns": settings.columns, "outputs": bytes(settings.outputs),
            "workdir": bytes(settings.workdir), "nice": settings.nice, "token": settings.token.encode(), "cap": settings.output_cap,
        }  # fmt: skip
        self._page = Page(settings.slots)
        self.warden = Watchdog(settings)
        if settings.workers.start_method == "forkserver":
            self.warden.folder(get_temp_dir())  # where multiprocessing has the socket of its fork server
        if settings.disposable:
            self.warden.folder(str(settings.outputs))

    def make(self, number: int, *, first: bool) -> Handle:
        """Start a worker for slot ``number``; ``first``: there is no other. Raises ManyhandsError when the system will not have one more."""
        try:
            _have_spare_descriptors(_LEAST if first else _SPARE)
            return self._make(number)
        except (OSError, EOFError) as error:  # EOF: the fork server has met the same limit, and died of it
            why = error.strerror or str(error) if isinstance(error, OSError) else "the fork server has died"
            raise ManyhandsError(f"cannot start a worker process: {why}") from error

    def _make(self, number: int) -> Handle:
        settings = self._settings
        ours, theirs = socket.socketpair()
        at_fork.note(ours)
        environment = dict(settings.environment) | {b"MH_SLOT": b"%d" % number, b"MH_WORKER": self._mark(b"%d" % number)}
        config = self._config | {"slot": number, "environment": environment}
        kept = tuple(map(Inherited, settings.keep_open))
        place = self._page.place(number)
        arguments = (theirs, config, Inherited(self._page.file), kept)
        try:
            process = self._start(arguments, number)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        hand = Handle(Slot(number, bytes(settings.outputs)), process, ours, place)
        self.warden.add(hand.pid, hand.start)
        return hand

    def _start(self, arguments: tuple[Any, ...], number: int) -> Any:
        """A process; tried twice, because the fork server may have died in between."""
        for _ in range(2):
            process = self._context.Process(target=worker_main.main, args=arguments, name=f"{WORKER}{number}")
            try:
                fork_server.start(process)
                return process
            except (EOFError, ConnectionError) as error:
                died = error
        raise died

    def clear(self, hand: Handle) -> int:
        """End what a worker that is gone has left behind; how many processes. Raises ManyhandsError if one will not go."""
        try:
            left = end_trees({hand.pid: hand.start}, b"MH_WORKER=" + self._mark(b"%d" % hand.slot.number))
        except TimeoutError as error:
            raise ManyhandsError(f"what a worker has left cannot be ended: {error}") from error
        self.warden.remove(hand.pid)
        return left

    def clear_all(self, hands: Iterable[Handle]) -> None:
        """The same for all of them, whether they are gone or not; what will not go is left alone."""
        with suppress(TimeoutError):
            end_trees({hand.pid: hand.start for hand in hands}, b"MH_WORKER=" + self._mark(b""), prefix=True)

    def close(self) -> None:
        """Let the warden go. May be called twice."""
        self.warden.close()
        self._page.close()

    def drop(self) -> None:
        """Close our copies, in a process that was forked: all of it belongs to another one."""
        self.warden.drop()
        self._page.close()

    def _mark(self, number: bytes) -> bytes:
        """What everything that a worker starts has in its environment."""
        return b"%s.%s" % (self._config["token"], number)


class Watchdog:
    """The coordinator's end of `manyhands.backends.workers.watchdog`, which is in a session of its own, where no terminal can signal it."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._token, self._keep_open = settings.token, settings.keep_open
        self._workers: dict[int, int] = {}
        self._folders: set[str] = set()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, LIBRARY, self._token], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, pass_fds=self._keep_open, start_new_session=True, bufsize=0, cwd="/",
            )  # fmt: skip
        except OSError as error:
            raise ManyhandsError(f"cannot start a warden for the workers: {error}") from error
        assert process.stdin  # noqa: S101 - it is a pipe
        os.set_blocking(process.stdin.fileno(), False)
        at_fork.note(process.stdin)
        return process

    def add(self, pid: int, start: int) -> None:
        """A worker is there."""
        self._workers[pid] = start
        self._say(b"+ %d %d\n" % (pid, start))

    def folder(self, path: str) -> None:
        """Something that has to be removed if the coordinator cannot do it any more."""
        if "\n" not in path and path not in self._folders:
            self._folders.add(path)
            self._say(b"folder %s\n" % os.fsencode(path))

    def remove(self, pid: int) -> None:
        """A worker is gone, and what it had started with it."""
        self._workers.pop(pid, None)
        self._say(b"- %d\n" % pid)

    def look_after(self) -> None:
        """Replace it if a job has stopped or killed it: only a second fault would make that matter, but that may come."""
        stat = linux.read_stat(self._process.pid)
        if self._process.poll() is None and stat is not None and stat.state != "T":
            return
        self.close()
        with suppress(ManyhandsError):  # again the next time
            self._process = self._start()
            for pid, start in self._workers.items():
                self._say(b"+ %d %d\n" % (pid, start))
            for path in self._folders:
                self._say(b"folder %s\n" % os.fsencode(path))

    def close(self) -> None:
        """All is in order: nobody needs it any more, even if it has hardly begun. May be called twice."""
        self._process.kill()
        self.drop()
        self._process.wait()

    def drop(self) -> None:
        """Close our end, and leave it alone: it is another process's."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]  # it is a pipe

    def _say(self, line: bytes) -> None:
        with suppress(OSError, ValueError):  # somebody has stopped or killed it, which `look_after` will find out
            self._process.stdin.write(line)  # type: ignore[union-attr]  # it is a pipe


def packed(call: Call, *, main_by_value: bool = False) -> bytes:
    """A call for another process of this machine: by name where it has one, else by value, if cloudpickle is installed.

    ``main_by_value``: that process is none of multiprocessing's, and does not import the main script.

    Raises UsageError for a function that has neither (https://docs.python.org/3/library/pickle.html#what-can-be-pickled-and-unpickled).
    """
    by_name = getattr(call.live, "__module__", None) != "__main__" or (_main_can_be_imported() and not main_by_value)
    if by_name:
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


def _main_can_be_imported() -> bool:
    """Whether a process of multiprocessing imports our main script (`multiprocessing.spawn.get_preparation_data`).

    Not a package that is run (``python -m package``), a zip file, a session, or what is read from standard input.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name != "__main__" and not spec.name.endswith(".__main__")
    file = getattr(main, "__file__", None)
    return file is not None and os.path.splitext(os.path.basename(file))[0] != "ipython" and os.path.isfile(file)


def _have_spare_descriptors(number: int) -> None:
    """Raise OSError unless there are enough: multiprocessing leaks some when they run out in the middle."""
    spare: list[int] = []
    try:
        spare.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(number))
    finally:
        for one in spare:
            os.close(one)


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
