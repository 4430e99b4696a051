"""A process that calls a function for one input after another, as the coordinator hands them to it.

    coordinator --[(job, attempt, values), ...]--> worker: decode, call, collect what was printed --one record each--> coordinator

The leader of a session of its own, so that everything a job starts can be found and ended with it. TERM is an exception inside
the job, so that its `finally` and `with` are carried out; whoever does not obey is killed from outside
(`manyhands.backends.processes`). What the job prints goes to the files of its slot, at the level of descriptors.
"""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from select import POLLHUP, POLLIN, poll
from types import FrameType
from typing import Any, Final, NoReturn

from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.call_function import CallResult, Performer, failed, lost_output
from manyhands.backends.shared.job_environment import JobNames
from manyhands.backends.shared.measured import Measured
from manyhands.backends.shared.slot import Slot
from manyhands.backends.workers import framing
from manyhands.backends.workers.chunk_calls import ChunkPerformer
from manyhands.backends.workers.signal_page import Place
from manyhands.backends.workers.surroundings import Surroundings
from manyhands.backends.workers.worker_output import WorkerOutput
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Values

_REMEMBERED: Final = 2.0
"""Seconds; results are committed far sooner (`manyhands.engine.recording.GROUP_COMMIT`), unless a disk is stuck."""
_MOST_REMEMBERED: Final = 1 << 22
"""Bytes of them, at most; what is older is done again after a kill."""
_EACH: Final = 700
"""Bytes that an end takes by itself."""
_LARGE: Final = 1 << 16
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)


class Stopped(BaseException):
    """TERM has come: the job is to end. Not an Exception, so that no ``except Exception`` of a job swallows it."""


def main(sock: socket.socket, config: dict[str, Any], page: Any, keep_open: tuple[object, ...]) -> None:  # noqa: ARG001
    """The life of a worker. ``page``: the descriptor of `manyhands.backends.workers.signal_page`; ``keep_open``: what came along and stays open."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the program that started us blocks
    try:
        worker = Worker(sock, config, Place.there(page.descriptor, config["slot"]))
        _settle(config, worker)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        framing.send(sock, (framing.BROKEN, why, error.errno in _SCARCE))
        return
    try:
        worker.serve()
    except (ConnectionError, Stopped):  # the coordinator is gone, or has given us up
        worker.remember()


def _settle(config: dict[str, Any], worker: Worker) -> None:
    """Streams, environment, folder and signals as jobs are to find them."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # what an initializer or an imported module prints is no result
    os.environb.clear()
    os.environb.update(config["environment"])
    os.chdir(config["workdir"])
    if config["nice"]:
        os.nice(config["nice"])
    signal.signal(signal.SIGTERM, worker.on_term)
    signal.signal(signal.SIGHUP, worker.on_hup)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


class Worker:
    """See the module's first lines."""

    def __init__(self, sock: socket.socket, config: dict[str, Any], place: Place) -> None:
        self._sock, self._config, self._place = sock, config, place
        self._slot = Slot(config["slot"], config["outputs"])
        self._ending = False
        """TERM has come."""
        self._orphan = False
        """The coordinator is gone: the warden says so, by HUP, and may know it before our socket does."""
        self._thrown = False
        """It was thrown into the job, or the wait for one."""
        self._interruptible = False
        self._used: tuple[float, float, int] | None = None
        self._latest: deque[tuple[float, int, orphan_results.OrphanResult]] = deque()
        self._remembered = 0
        """Bytes of them."""
        self._news = poll()
        self._news.register(sock, POLLIN)

    def serve(self) -> None:
        """Prepare, then do what comes until there is nothing more. Raises ConnectionError when the coordinator is gone."""
        try:
            call = pickle.loads(self._config["call"])  # noqa: S301 - our own parent made it
            maker = ChunkPerformer if call.chunked else Performer
            performer = maker(call, self._config["columns"], Path(os.fsdecode(self._config["outputs"])), self._ours)
            call.prepare()
            for text in (sys.stdout, sys.stderr):
                text.flush()
            self._output = WorkerOutput(self._slot, self._config["cap"])
            self._surroundings = Surroundings(JobNames(self._config["token"]))
        except BaseException as error:  # whatever an initializer raises
            why = str(error) if isinstance(error, ManyhandsError) else failed(error).error
            scarce = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SCARCE)
            framing.send(self._sock, (framing.BROKEN, why, scarce))
            return
        framing.send(self._sock, (framing.READY,))
        try:
            while message := self._receive():
                if message == framing.DROP:  # it comes too late: all has been done
                    framing.send(self._sock, (framing.DROPPED,))
                else:
                    self._do(performer, message)
        finally:
            self._slot.close()

    def on_term(self, _number: int, _frame: FrameType | None) -> None:
        """End the job that it is meant for, and then ourselves."""
        if self._place.signalled():
            self._end()

    def _end(self) -> None:
        """Never in the middle of what we do ourselves, which `_ending` is for."""
        self._ending = True
        if self._interruptible:
            self._interruptible, self._thrown = False, True
            raise Stopped

    def on_hup(self, _number: int, _frame: FrameType | None) -> None:
        """The same, whatever is being done, and there is nobody to tell."""
        self._orphan = True
        self._end()

    def _ours(self, error: BaseException) -> bool:
        return isinstance(error, Stopped) and self._thrown

    def remember(self) -> None:
        """If the coordinator is gone, keep what may not have reached its journal."""
        orphan = self._orphan or any(
            event & POLLHUP for _, event in self._news.poll(0)
        )  # also when there is something left to read
        if orphan and self._latest:
            orphan_results.write(self._config["outputs"], self._slot.number, [end for _, _, end in self._latest])

    def _receive(self) -> Any:
        """The next message. Raises ConnectionError when there will be none: nobody leaves without a word."""
        self._interruptible = True
        message = None if self._ending else framing.receive(self._sock)
        self._interruptible = False
        if message is None:
            raise ConnectionResetError
        return message

    def _do(self, performer: Performer | ChunkPerformer, chunk: list[tuple[int, int, Values]]) -> None:
        """Do jobs one after another; what has not begun when the coordinator speaks is given back."""
        framing.send(self._sock, (framing.STARTED, time.monotonic()))
        for left, (job, attempt, values) in zip(range(len(chunk) - 1, -1, -1), chunk, strict=True):
            goes_on = self._one(performer, job, attempt, values, more=left > 0)
            if left and not goes_on:
                self._receive()
                framing.send(self._sock, (framing.DROPPED,))
                return

    def _one(self, performer: Performer | ChunkPerformer, job: int, attempt: int, values: Values, *, more: bool) -> bool:
        """Do a job and tell of it; returns, and tells, whether the next of its chunk begins at once."""
        name, key = b"%d.%d" % (job, attempt), (job, attempt)
        self._surroundings.named(job, attempt)
        at, started, before = time.monotonic(), time.time(), self._used or _usage()
        found = self._perform(performer, key, name, values)
        now, after = time.monotonic(), _usage()
        stopped = found is None or self._thrown  # thrown, and yet here: it has swallowed what was to end it
        out, err, problem = self._output.collect(name)
        done = found or CallResult(0)
        done = lost_output(problem) if problem and not done.exit else done
        if not self._surroundings.restore(now - at, more=more) or self._place.meant(key):
            self._ending = True
        measured = Measured(
            None if stopped else done.exit, signal.SIGTERM.value if stopped else None, done.error, started, now - at,
            after[0] - before[0], after[1] - before[1], after[2] * _RSS_UNIT, out, err, self._slot.number, 0, done.result,
            done.traceback,
        )  # fmt: skip
        if not stopped:
            self._note(now, orphan_results.OrphanResult(job, attempt, True, measured))
        self._used = after if more else None  # the next job begins where this one ends
        goes_on = more and not self._ending and not self._news.poll(0)
        framing.send(self._sock, (framing.ENDED, goes_on, self._ending, now, tuple(measured)))
        if self._ending:
            self._leave()
        return goes_on

    def _perform(
        self, performer: Performer | ChunkPerformer, key: tuple[int, int], name: bytes, values: Values
    ) -> CallResult | None:
        """What came of the job; None if it was stopped."""
        found = None
        try:
            if self._place.begin(key):
                self._ending = True
            self._interruptible = True
            if not self._ending:
                found = performer.perform(name, values)
            self._interruptible = False
        except Stopped:
            found = None
        self._place.rest()
        return found

    def _note(self, now: float, end: orphan_results.OrphanResult) -> None:
        """Remember an end until it must have reached the journal; a large one would cost too much, and is done again."""
        latest = self._latest
        one = end.measured
        size = _EACH + len(one.stdout[0]) + len(one.stderr[0]) + len(one.result or b"") + len(one.traceback or "")
        while latest and (latest[0][0] < now - _REMEMBERED or self._remembered + size > _MOST_REMEMBERED):
            self._remembered -= latest.popleft()[1]
        if one.result is None or len(one.result) <= _LARGE:
            latest.append((now, size, end))
            self._remembered += size

    def _leave(self) -> NoReturn:
        """A job that was stopped may have left anything undone: the next one gets a fresh process."""
        self.remember()
        self._slot.close()
        os._exit(0)


def _usage() -> tuple[float, float, int]:
    """(user seconds, system seconds, peak memory) of this process and what it has waited for."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + below.ru_utime, own.ru_stime + below.ru_stime, own.ru_maxrss
