"""The end of the control socket that is in the run: a thread that takes one request after another, and has the batch do it.

    RUN/control --{"do": "pause"}--> Server --pause--> Batch --> its engine's thread --> {"ok": true}

The run does not depend on it: whoever connects, sends nothing or nonsense, or does not read, holds up the next client for two seconds, and
nothing else.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Any, Final, Protocol

from manyhands.control.endpoint import NAME, PATIENCE, address, is_trusted, read_line
from manyhands.core.errors import ManyhandsError, NotRunningError, UsageError
from manyhands.core.lean import socket
from manyhands.core.limits import MAX_JOBS, Halt
from manyhands.runtime import at_fork

_BACKLOG: Final = 64


class Steerable(Protocol):
    """What carries out a run; every method may be called from any other thread than the engine's (`manyhands.execution.batch.Batch`)."""

    def stop(self, number: int) -> None: ...
    def finish(self) -> None: ...
    def stop_job(self, number: int) -> bool: ...
    def pause(self, paused: bool) -> None: ...
    def set_jobs(self, jobs: Sequence[int]) -> list[int]: ...
    def set_halt(self, rule: Halt) -> None: ...


class _Listener(socket.socket):
    """A socket of the module in C, which is quick to import, that can be noted for forks."""

    __slots__ = ("__weakref__",)

    def next(self) -> Any:
        """The next connection, when there is one. Raises OSError."""
        accept: Any = getattr(self, "_accept")  # noqa: B009 - type checkers know only the socket of the module in Python
        return socket.socket(fileno=accept()[0])


class Server:
    """Listens in ``folder`` until `close`."""

    def __init__(self, folder: Path, batch: Steerable) -> None:
        self._folder, self._batch, self._pid = folder, batch, os.getpid()
        self._socket = _Listener(socket.AF_UNIX, socket.SOCK_STREAM)
        at_fork.note(self._socket)
        try:
            (folder / NAME).unlink(missing_ok=True)  # of an execution that was killed: we hold the lock of the run
            with address(folder) as path:
                self._socket.bind(path)
            (folder / NAME).chmod(0o600)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="manyhands-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more. Does nothing in a forked child."""
        if self._pid != os.getpid() or self._closing:
            return
        self._closing = True
        with suppress(OSError):
            (self._folder / NAME).unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the waiting accept(2)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                connection = self._socket.next()
            except OSError:  # it was shut down, or there are no descriptors: then this run cannot be told anything
                return
            with suppress(OSError):
                connection.settimeout(PATIENCE)
                if is_trusted(connection):
                    answer = self._answer(read_line(connection))
                    connection.sendall(dumps(answer).encode() + b"\n")
            connection.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True} | carried_out(self._batch, _request(line))
        except ManyhandsError as error:
            return {"ok": False, "error": str(error), "running": not isinstance(error, NotRunningError)}


def start(folder: Path, batch: Steerable) -> Callable[[], None]:
    """Listen in ``folder``, if that is possible; returns what ends it. A run that cannot be told anything is still a run."""
    try:
        return Server(folder, batch).close
    except (OSError, RuntimeError):  # RuntimeError: no more threads
        return lambda: None


def _request(line: bytes) -> Mapping[str, Any]:
    try:
        found = loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("that is no request: expected an object of JSON")
    return found


def carried_out(batch: Steerable, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked for; returns what there is to say of it. Raises UsageError, and NotRunningError."""
    match request:
        case {"do": "stop", "job": int(number)}:
            if not batch.stop_job(number):
                raise UsageError(f"job {number} does not run now, or cannot be stopped")
        case {"do": "stop", "how": "soon"}:
            batch.finish()
        case {"do": "stop", "how": "term" | "now" as how}:
            for _ in range(1 if how == "term" else 2):
                batch.stop(signal.SIGTERM)
        case {"do": "pause" | "continue" as what}:
            batch.pause(what == "pause")
        case {"do": "set", "jobs": [*jobs]} if jobs and all(type(n) is int and 1 <= n <= MAX_JOBS for n in jobs):
            return {"jobs": batch.set_jobs(jobs)}
        case {"do": "set", "halt": str(rule)}:
            batch.set_halt(Halt.parse(rule))
        case _:
            raise UsageError("this run does not know that request: another version of manyhands carries it out")
    return {}
