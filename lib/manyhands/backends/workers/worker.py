"""A process that calls a function for one input after another, as the coordinator sends them.

    coordinator --[(job, attempt, values), ...]--> worker: decode, call, collect what was printed --one record each--> coordinator

It leads a session of its own, so that all processes that a job starts can be found and ended with it. TERM raises an exception inside
the job, so that its `finally` and `with` blocks are executed; a job that does not end then is killed from outside
(`manyhands.backends.processes`). The output of a job goes to the files of its slot, at the level of descriptors.
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
from manyhands.backends.workers.signal_page import Entry
from manyhands.backends.workers.surroundings import Surroundings
from manyhands.backends.workers.worker_output import WorkerOutput
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Values

_REMEMBERED: Final = 2.0
"""Seconds that results are kept; they are committed far sooner (`manyhands.engine.recording.GROUP_COMMIT`), unless a disk hangs."""
_MOST_REMEMBERED: Final = 1 << 22
"""Bytes of results that are kept at most; jobs with older ones are done again after a kill."""
_EACH: Final = 700
"""Bytes that a result takes without its data."""
_LARGE: Final = 1 << 16
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)


class Stopped(BaseException):
    """TERM has arrived: the job has to end. Not an Exception, so that no ``except Exception`` of a job catches it."""


def main(sock: socket.socket, config: dict[str, Any], page: Any, keep_open: tuple[object, ...]) -> None:  # noqa: ARG001
    """Run a worker. ``page``: the descriptor of `manyhands.backends.workers.signal_page`; ``keep_open``: inherited descriptors to keep open."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # do not inherit what the program has blocked
    try:
        worker = Worker(sock, config, Entry.there(page.descriptor, config["slot"]))
        _settle(config, worker)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        framing.send(sock, (framing.BROKEN, why, error.errno in _SCARCE))
        return
    try:
        worker.serve()
    except (ConnectionError, Stopped):  # the coordinator is gone, or has stopped us
        worker.remember()


def _settle(config: dict[str, Any], worker: Worker) -> None:
    """Set streams, environment, folder and signals for the jobs."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # output of an initializer or an imported module is not a result
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

    def __init__(self, sock: socket.socket, config: dict[str, Any], entry: Entry) -> None:
        self._sock, self._config, self._entry = sock, config, entry
        self._slot = Slot(config["slot"], config["outputs"])
        self._ending = False
        """Whether TERM has arrived."""
        self._orphan = False
        """Whether the coordinator is gone: the watchdog signals it by HUP, perhaps before our socket shows it."""
        self._thrown = False
        """Whether `Stopped` was raised in the job, or in the wait for one."""
        self._interruptible = False
        self._used: tuple[float, float, int] | None = None
        self._latest: deque[tuple[float, int, orphan_results.OrphanResult]] = deque()
        self._remembered = 0
        """Bytes of these results."""
        self._news = poll()
        self._news.register(sock, POLLIN)

    def serve(self) -> None:
        """Prepare, then do jobs until there are no more. Raises ConnectionError if the coordinator is gone."""
        try:
            call = pickle.loads(self._config["call"])  # noqa: S301 - our own parent made it
            maker = ChunkPerformer if call.chunked else Performer
            performer = maker(call, self._config["columns"], Path(os.fsdecode(self._config["outputs"])), self._ours)
            call.prepare()
            for text in (sys.stdout, sys.stderr):
                text.flush()
            self._output = WorkerOutput(self._slot, self._config["cap"])
            self._surroundings = Surroundings(JobNames(self._config["token"]))
        except BaseException as error:  # an initializer may raise anything
            why = str(error) if isinstance(error, ManyhandsError) else failed(error).error
            scarce = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SCARCE)
            framing.send(self._sock, (framing.BROKEN, why, scarce))
            return
        framing.send(self._sock, (framing.READY,))
        try:
            while message := self._receive():
                if message == framing.DROP:  # too late: all jobs have been done
                    framing.send(self._sock, (framing.DROPPED,))
                else:
                    self._do(performer, message)
        finally:
            self._slot.close()

    def on_term(self, _number: int, _frame: FrameType | None) -> None:
        """End the current job if the signal is for it, and then this process."""
        if self._entry.signalled():
            self._end()

    def _end(self) -> None:
        """Raise `Stopped`, but only inside a job or a wait for one; everywhere else `_ending` is checked."""
        self._ending = True
        if self._interruptible:
            self._interruptible, self._thrown = False, True
            raise Stopped

    def on_hup(self, _number: int, _frame: FrameType | None) -> None:
        """End whatever is being done: the coordinator is gone, so nothing is reported."""
        self._orphan = True
        self._end()

    def _ours(self, error: BaseException) -> bool:
        return isinstance(error, Stopped) and self._thrown

    def remember(self) -> None:
        """If the coordinator is gone, store the results that may not have reached its journal."""
        orphan = self._orphan or any(
            event & POLLHUP for _, event in self._news.poll(0)
        )  # also when there is something left to read
        if orphan and self._latest:
            orphan_results.write(self._config["outputs"], self._slot.number, [end for _, _, end in self._latest])

    def _receive(self) -> Any:
        """The next message. Raises ConnectionError if there will be none: a coordinator that ends properly sends an empty list."""
        self._interruptible = True
        message = None if self._ending else framing.receive(self._sock)
        self._interruptible = False
        if message is None:
            raise ConnectionResetError
        return message

    def _do(self, performer: Performer | ChunkPerformer, chunk: list[tuple[int, int, Values]]) -> None:
        """Do jobs one after another; when the coordinator sends a message, return those that have not begun."""
        framing.send(self._sock, (framing.STARTED, time.monotonic()))
        for left, (job, attempt, values) in zip(range(len(chunk) - 1, -1, -1), chunk, strict=True):
            goes_on = self._one(performer, job, attempt, values, more=left > 0)
            if left and not goes_on:
                self._receive()
                framing.send(self._sock, (framing.DROPPED,))
                return

    def _one(self, performer: Performer | ChunkPerformer, job: int, attempt: int, values: Values, *, more: bool) -> bool:
        """Do a job and report it; return, and report, whether the next job of the chunk begins at once."""
        name, key = b"%d.%d" % (job, attempt), (job, attempt)
        self._surroundings.named(job, attempt)
        at, started, before = time.monotonic(), time.time(), self._used or _usage()
        found = self._perform(performer, key, name, values)
        now, after = time.monotonic(), _usage()
        stopped = found is None or self._thrown  # raised, and yet here: the job has caught `Stopped`
        out, err, problem = self._output.collect(name)
        done = found or CallResult(0)
        done = lost_output(problem) if problem and not done.exit else done
        if not self._surroundings.restore(now - at, more=more) or self._entry.stop_requested(key):
            self._ending = True
        exit_, number = None if stopped else done.exit, signal.SIGTERM.value if stopped else None
        times = (started, now - at, after[0] - before[0], after[1] - before[1])
        memory, slot, leftovers = after[2] * _RSS_UNIT, self._slot.number, 0
        measured = Measured(
            exit_, number, done.error, *times, memory, out, err, slot, leftovers, done.result, done.traceback
        )
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
        """The result of the job; None if it was stopped."""
        found = None
        try:
            if self._entry.begin(key):
                self._ending = True
            self._interruptible = True
            if not self._ending:
                found = performer.perform(name, values)
            self._interruptible = False
        except Stopped:
            found = None
        self._entry.rest()
        return found

    def _note(self, now: float, end: orphan_results.OrphanResult) -> None:
        """Keep a result until it must have reached the journal. A large one would take too much memory: its job would be done again."""
        latest = self._latest
        one = end.measured
        size = _EACH + len(one.stdout[0]) + len(one.stderr[0]) + len(one.result or b"") + len(one.traceback or "")
        while latest and (latest[0][0] < now - _REMEMBERED or self._remembered + size > _MOST_REMEMBERED):
            self._remembered -= latest.popleft()[1]
        if one.result is None or len(one.result) <= _LARGE:
            latest.append((now, size, end))
            self._remembered += size

    def _leave(self) -> NoReturn:
        """Exit: a job that was stopped may leave anything unfinished, so the next one gets a fresh process."""
        self.remember()
        self._slot.close()
        os._exit(0)


def _usage() -> tuple[float, float, int]:
    """(user seconds, system seconds, peak memory) of this process and the children that it has reaped."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + below.ru_utime, own.ru_stime + below.ru_stime, own.ru_maxrss
