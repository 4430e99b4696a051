"""A process that calls a function for one input after another, as the coordinator sends them.

    coordinator --[(job, attempt, values), ...]--> worker: decode, call, collect what was printed --one record each--> coordinator

It leads a session of its own, so that all processes that a job starts can be found and ended with it. TERM raises an exception inside
the job, so that its `finally` and `with` blocks are executed; a job that does not end then is killed from outside
(`manyhands.backends.processes`). The output of a job goes to the files of its slot, at the level of descriptors.
"""

from __future__ import annotations

import errno
import math
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
from manyhands.backends.shared.slot import NOTHING, Slot
from manyhands.backends.workers import framing
from manyhands.backends.workers.chunk_calls import ChunkPerformer
from manyhands.backends.workers.notes import LARGEST
from manyhands.backends.workers.shared_page import Entry
from manyhands.backends.workers.surroundings import Surroundings, open_null
from manyhands.backends.workers.worker_output import WorkerOutput
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import AttemptId, Values
from manyhands.inputs.value_file import mapped

_REMEMBERED: Final = 2.0
"""Seconds that results are kept; they are committed far sooner (`manyhands.engine.recording.GROUP_COMMIT`), unless a disk hangs."""
_MOST_REMEMBERED: Final = 1 << 22
"""Bytes of results that are kept at most; jobs with older ones are done again after a kill."""
_EACH: Final = 700
"""Bytes that a result takes without its data."""
_LARGE: Final = 1 << 16
_LONG: Final = 0.005
"""Seconds of a job whose end the coordinator is told at once; it looks for those of shorter ones by itself."""
_BRIEF: Final = 0.001
"""Seconds in which no job can have started a program and waited for it."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)


class Stopped(BaseException):
    """TERM has arrived: the job has to end. Not an Exception, so that no ``except Exception`` of a job catches it."""


def main(sock: socket.socket, config: dict[str, Any], page: Any, keep_open: tuple[object, ...]) -> None:  # noqa: ARG001
    """Run a worker. ``page``: the descriptor of `manyhands.backends.workers.shared_page`; ``keep_open``: inherited descriptors to keep open."""
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
    open_null()
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
        self._notes = entry.writer()
        self._used = self._children = 0.0, 0.0
        """(user, system) seconds of all jobs so far, and those of the children that they have reaped."""
        self._files = False
        """Whether results are kept in files, which are named after their attempts."""
        self._latest: deque[tuple[float, int, tuple[int, int], tuple[Any, ...]]] = deque()
        self._remembered = 0
        """Bytes of these results."""
        self._before, self._last = math.inf, 0.0
        """When the last two notes say that they were written. The coordinator looks for others until the last that it has seen is
        `_GATHER` old, twice; what was written later it is told of, at the beginning of the next job."""
        self._news = poll()
        self._news.register(sock, POLLIN)

    def serve(self) -> None:
        """Prepare, then do jobs until there are no more. Raises ConnectionError if the coordinator is gone."""
        try:
            call = pickle.loads(self._config["call"])  # noqa: S301 - our own parent made it
            maker = ChunkPerformer if call.chunked else Performer
            performer = maker(call, self._config["columns"], Path(os.fsdecode(self._config["outputs"])), self._ours)
            self._files = call.result == "pickle-file"
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
                    self._dropped()
                elif self._entry.drop_requested():
                    self._drop()
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
            ends = [orphan_results.OrphanResult(*key, True, self._measured(note)) for _, _, key, note in self._latest]
            orphan_results.write(self._config["outputs"], self._slot.number, ends)

    def _receive(self) -> Any:
        """The next message. Raises ConnectionError if there will be none: a coordinator that ends properly sends an empty list."""
        self._interruptible = True
        message = None if self._ending else framing.receive(self._sock)
        self._interruptible = False
        if message is None:
            raise ConnectionResetError
        return message

    def _do(self, performer: Performer | ChunkPerformer, chunk: list[tuple[int, int, Any]]) -> None:
        """Do jobs one after another; when the coordinator requests it, return those that have not begun."""
        self._last = begun = time.monotonic()
        self._note(begun)
        self._before = math.inf
        self._measure(children=True)
        left = len(chunk)
        for job, attempt, values in chunk:
            left -= 1
            found = mapped(*values) if type(values[0]) is str else values
            goes_on = self._one(performer, (job, attempt), found, more=left > 0)
            if left and not goes_on:
                self._drop()
                return
        self._ring()

    def _ring(self) -> None:
        """Let the coordinator look at the notes."""
        framing.send(self._sock, (framing.NOTED, self._notes.position))

    def _drop(self) -> None:
        """Obey a request to return jobs: what has not begun, and what came before the request was read, is not done."""
        while self._receive() != framing.DROP:
            pass
        self._dropped()

    def _dropped(self) -> None:
        """Tell that a request to return jobs was obeyed."""
        self._entry.dropped()
        framing.send(self._sock, (framing.DROPPED, self._notes.position))

    def _one(self, performer: Performer | ChunkPerformer, key: AttemptId, values: Values, *, more: bool) -> bool:
        """Do a job and report it; return, and report, whether the next job of the chunk begins at once."""
        self._surroundings.named(*key)
        started, at = time.time(), time.monotonic()
        if at - self._before > _LONG:
            self._ring()
        found = self._perform(performer, key, values)
        now = time.monotonic()
        wall = now - at
        user, system, peak = self._measure(children=wall > _BRIEF or not more)
        stopped = found is None or self._thrown  # raised, and yet here: the job has caught `Stopped`
        out, err, problem = self._output.collect(key)
        done = found or CallResult(0)
        done = lost_output(problem) if problem and not done.exit else done
        if not self._surroundings.restore(wall, more=more) or self._entry.stop_requested():
            self._ending = True
        goes_on = more and not self._ending and not self._entry.drop_requested()
        exit_, error, trace, result = done
        note: tuple[Any, ...]
        if out is err is NOTHING and error is None and not (exit_ or stopped or self._ending) and goes_on == more:
            note = now, started, wall, user, system, peak, result
        else:
            how = (None, signal.SIGTERM.value) if stopped else (exit_, None)
            times, slot, leftovers = (started, wall, user, system, peak), self._slot.number, 0
            note = goes_on, self._ending, now, (*how, error, *times, out, err, slot, leftovers, result, trace)
        if not stopped:
            self._keep(now, key, note, result, len(out[0]) + len(err[0]) + len(trace or ""))
        self._note(note, large=result is not None and len(result) > LARGEST)
        if self._ending:
            self._leave()
        self._before, self._last = self._last, now
        return goes_on

    def _note(self, note: Any, *, large: bool = False) -> None:
        """Note that a job has begun or ended; if the note is large, or there is no room for it, send it."""
        if large or not self._notes.put(note):
            framing.send(self._sock, (framing.NOTE, self._notes.position, note))

    def _perform(self, performer: Performer | ChunkPerformer, key: AttemptId, values: Values) -> CallResult | None:
        """The result of the job; None if it was stopped."""
        found = None
        try:
            if self._entry.begin(key):
                self._ending = True
            self._interruptible = True
            if not self._ending:
                found = performer.perform(b"%d.%d" % key if self._files else b"", values)
            self._interruptible = False
        except Stopped:
            found = None
        self._entry.rest()
        return found

    def _measure(self, *, children: bool) -> tuple[float, float, int]:
        """(user seconds, system seconds, peak memory) of this process since the last call; of its ``children``, those that it has
        reaped, if that is asked for."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        if children:
            self._children = resource.getrusage(resource.RUSAGE_CHILDREN)[:2]
        user, system = self._used
        self._used = used = own[0] + self._children[0], own[1] + self._children[1]
        return used[0] - user, used[1] - system, own[2] * _RSS_UNIT

    def _keep(self, now: float, key: AttemptId, note: tuple[Any, ...], result: bytes | None, size: int) -> None:
        """Keep a result until it must have reached the journal. A large one would take too much memory: its job would be done again."""
        latest = self._latest
        size += _EACH if result is None else _EACH + len(result)
        while latest and (latest[0][0] < now - _REMEMBERED or self._remembered + size > _MOST_REMEMBERED):
            self._remembered -= latest.popleft()[1]
        if result is None or len(result) <= _LARGE:
            latest.append((now, size, key, note))
            self._remembered += size

    def _measured(self, note: tuple[Any, ...]) -> Measured:
        """The end that is in a note, which is a short one for what most jobs are."""
        if len(note) == framing.WHOLE:
            return Measured(*note[-1])
        _, started, wall, user, system, peak, result = note
        return Measured(0, None, None, started, wall, user, system, peak, slot=self._slot.number, result=result)

    def _leave(self) -> NoReturn:
        """Exit: a job that was stopped may leave anything unfinished, so the next one gets a fresh process."""
        self.remember()
        self._slot.close()
        os._exit(0)
