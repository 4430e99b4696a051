"""A process in which gevent has patched all blocking calls, and jobs are greenlets (https://www.gevent.org/api/gevent.monkey.html).

    coordinator --("go", job, attempt, values, slot) | ("stop", job, attempt)--> host --STARTED, ENDED--> coordinator

Only this process is patched, before anything else is imported; the process that started it is not. This module imports gevent, so
only that process imports it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import Semaphore

from manyhands.backends.shared.call_function import CallResult, Performer, failed
from manyhands.backends.shared.job_printing import CURRENT, Printing, Switched
from manyhands.backends.shared.measured import Measured
from manyhands.backends.shared.slot import Slot
from manyhands.backends.shared.standard_streams import Streams
from manyhands.backends.workers import framing
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import AttemptId, Output, Values


def main(descriptor: int) -> None:
    """Serve until the coordinator closes its end."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # do not inherit what the program blocks or ignores
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(2, 1)  # output outside of jobs is not a result
    sock = socket.socket(fileno=descriptor)
    with suppress(ConnectionError):
        Host(sock, framing.receive(sock)).serve()
    os._exit(0)


class Host:
    """See the module's first lines."""

    def __init__(self, sock: socket.socket, config: dict[str, Any]) -> None:
        self._sock, self._config = sock, config
        self._sending = Semaphore()
        self._streams = Streams()
        self._running: dict[AttemptId, Any] = {}
        self._stopped: set[Any] = set()
        """Greenlets that we have stopped: only in these a GreenletExit is ours."""
        self._slots: dict[int, Slot] = {}

    def serve(self) -> None:
        """Prepare, then make a greenlet for each job. Raises ConnectionError if the coordinator is gone."""
        config = self._config
        os.chdir(config["workdir"])
        if config["nice"]:
            os.nice(config["nice"])
        sys.path[:] = config["path"]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            call = pickle.loads(config["call"])  # noqa: S301 - our own parent made it
            performer = Performer(call, config["columns"], Path(os.fsdecode(config["outputs"])), self._ours)
            call.prepare()
        except BaseException as error:  # an initializer may raise anything
            self._send((framing.BROKEN, str(error) if isinstance(error, ManyhandsError) else failed(error).error))
            return
        switched = Switched()
        gevent.get_hub().SYSTEM_ERROR = ()  # else sys.exit() in a greenlet made by a job would end all others, too
        self._send((framing.READY,))
        while message := framing.receive(self._sock):
            verb, job, attempt, *more = message
            if verb == "go":
                self._running[job, attempt] = gevent.spawn(self._guarded, performer, (job, attempt), *more)
            elif greenlet := self._running.get((job, attempt)):
                gevent.sleep(0)  # a greenlet that has not begun would end without a report
                self._stopped.add(greenlet)
                greenlet.kill(block=False)
        switched.close()
        for slot in self._slots.values():
            slot.close()

    def _guarded(self, *arguments: Any) -> None:
        """Run a job. If our own code fails, its end would never be reported: so exit, and the host is replaced."""
        try:
            self._run(*arguments)
        except BaseException:
            os._exit(1)

    def _run(self, performer: Performer, key: AttemptId, values: Values, number: int) -> None:
        slot = self._slots.get(number) or self._slots.setdefault(number, Slot(number, self._config["outputs"]))
        name, printing = b"%d.%d" % key, Printing(slot)
        CURRENT.set(printing)
        at, started = time.monotonic(), time.time()
        stopped = False
        self._streams.hold()
        try:
            self._send((framing.STARTED, *key, at))
            done = performer.perform(name, values)
        except gevent.GreenletExit:
            stopped, done = True, CallResult(1)
        except BaseException as error:  # an error outside of the call
            done = failed(error)
        now = time.monotonic()
        self._streams.release()
        printed = printing.collect(name, self._config["cap"])
        done = printed.checked(done)
        CURRENT.set(None)
        self._stopped.discard(self._running.pop(key))
        measured = Measured(
            exit=None if stopped else done.exit,
            signal=signal.SIGTERM.value if stopped else None,
            error=done.error,
            started=started,
            wall=now - at,
            stdout=_plain(printed.stdout),
            stderr=_plain(printed.stderr),
            result=done.result,
            traceback=done.traceback,
        )
        self._send((framing.ENDED, *key, now, tuple(measured)))

    def _ours(self, error: BaseException) -> bool:
        return isinstance(error, gevent.GreenletExit) and gevent.getcurrent() in self._stopped

    def _send(self, record: tuple[Any, ...]) -> None:
        with self._sending:
            framing.send(self._sock, record)


def _plain(printed: Output) -> tuple[bytes, bytes | None, int, int]:
    """As `manyhands.backends.shared.slot.Captured`, which marshal can carry."""
    return printed.data, None if printed.path is None else os.fsencode(printed.path), printed.size, printed.dropped
