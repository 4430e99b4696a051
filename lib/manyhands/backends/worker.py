"""A process that calls a function for one input after another, as the coordinator hands them to it.

    coordinator --[(job, attempt, values), ...]--> worker: decode, call, collect what was printed --one record each--> coordinator

The leader of a session of its own, so that everything a job starts can be found and ended with it. TERM is an exception inside
the job, so that its `finally` and `with` are carried out; whoever does not obey is killed from outside
(`manyhands.backends.processes`). What the job prints goes to the files of its slot, at the level of descriptors.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from select import POLLHUP, POLLIN, poll
from types import FrameType
from typing import Any, Final, NoReturn

from manyhands.backends import framing, late
from manyhands.backends.chunks import ChunkPerformer
from manyhands.backends.performing import Performed, Performer, failed
from manyhands.backends.slot import NOTHING, Captured, Slot
from manyhands.errors import ManyhandsError
from manyhands.job import Values

_REMEMBERED: Final = 2.0
"""Seconds; results are committed far sooner (`manyhands.engine.recording.GROUP_COMMIT`), unless a disk is stuck."""
_LARGE: Final = 1 << 16
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)


class Stopped(BaseException):
    """TERM has come: the job is to end. Not an Exception, so that no ``except Exception`` of a job swallows it."""


def main(sock: socket.socket, config: dict[str, Any], keep_open: tuple[object, ...]) -> None:  # noqa: ARG001
    """The life of a worker. ``keep_open``: descriptors that came along and stay open."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environb.clear()
    os.environb.update(config["environment"])
    os.chdir(config["workdir"])
    if config["nice"]:
        os.nice(config["nice"])
    worker = Worker(sock, config)
    signal.signal(signal.SIGTERM, worker.on_term)
    signal.signal(signal.SIGHUP, worker.on_hup)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
    try:
        worker.serve()
    except (ConnectionError, Stopped):  # the coordinator is gone, or has given us up
        worker.remember()


class Worker:
    """See the module's first lines."""

    def __init__(self, sock: socket.socket, config: dict[str, Any]) -> None:
        self._sock, self._config = sock, config
        self._slot = Slot(config["slot"], config["outputs"])
        self._ending = False
        """TERM has come."""
        self._orphan = False
        """The coordinator is gone: the warden says so, by HUP, and may know it before our socket does."""
        self._thrown = False
        """It was thrown into the job, or the wait for one."""
        self._interruptible = False
        self._attempt = 0
        self._used: tuple[float, float, int] | None = None
        self._latest: deque[tuple[float, late.Late]] = deque()
        self._news = poll()
        self._news.register(sock, POLLIN)
        self._token = config["token"].decode()

    def serve(self) -> None:
        """Prepare, then do what comes until there is nothing more. Raises ConnectionError when the coordinator is gone."""
        try:
            call = pickle.loads(self._config["call"])  # noqa: S301 - our own parent made it
            maker = ChunkPerformer if call.chunked else Performer
            performer = maker(call, self._config["columns"], Path(os.fsdecode(self._config["outputs"])))
            call.prepare()
        except (Exception, SystemExit) as error:
            why = str(error) if isinstance(error, ManyhandsError) else failed(error).error
            framing.send(self._sock, (framing.BROKEN, why))
            return
        self._redirect()
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
        """End the job, and then ourselves; never in the middle of what we do ourselves, which `_ending` is for."""
        self._ending = True
        if self._interruptible:
            self._interruptible, self._thrown = False, True
            raise Stopped

    def on_hup(self, number: int, frame: FrameType | None) -> None:
        """The same, and there is nobody to tell."""
        self._orphan = True
        self.on_term(number, frame)

    def remember(self) -> None:
        """If the coordinator is gone, keep what may not have reached its journal."""
        orphan = self._orphan or any(
            event & POLLHUP for _, event in self._news.poll(0)
        )  # also when there is something left to read
        if orphan and self._latest:
            late.write(self._config["outputs"], self._slot.number, [end for _, end in self._latest])

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
        name = b"%d.%d" % (job, attempt)
        environ, number = os.environ, str(job)
        environ["MH_TAG"] = f"{self._token}.{number}.{attempt}"
        environ["MH_JOB"] = number
        if attempt != self._attempt:  # most are the first
            environ["MH_ATTEMPT"], self._attempt = str(attempt), attempt
        at, started, before = time.monotonic(), time.time(), self._used or _usage()
        found: Performed | None = None
        try:
            self._interruptible = True
            if not self._ending:
                found = performer.perform(name, values)
            self._interruptible = False
        except Stopped:
            found = None
        stopped = found is None or self._thrown  # thrown, and yet here: it has swallowed what was to end it
        done = found or Performed(0)
        now, after = time.monotonic(), _usage()
        out, err = self._printed(name)
        end = late.Late(
            job, attempt, None if stopped else done.exit, signal.SIGTERM.value if stopped else None, done.error, True, started,
            now - at, after[0] - before[0], after[1] - before[1], after[2] * _RSS_UNIT, out, err, self._slot.number, 0,
            done.result, done.traceback,
        )  # fmt: skip
        if not stopped:
            self._note(now, end)
        self._used = after if more else None  # the next job begins where this one ends
        goes_on = more and not self._ending and not self._news.poll(0)
        framing.send(self._sock, (framing.ENDED, goes_on, now, *end[2:]))
        if self._ending:
            self._leave()
        return goes_on

    def _note(self, now: float, end: late.Late) -> None:
        """Remember an end until it must have reached the journal; a large one would cost too much, and is done again."""
        latest = self._latest
        while latest and latest[0][0] < now - _REMEMBERED:
            latest.popleft()
        if end.result is None or len(end.result) <= _LARGE:
            latest.append((now, end))

    def _leave(self) -> NoReturn:
        """A job that was stopped may have left anything undone: the next one gets a fresh process."""
        self.remember()
        self._slot.close()
        os._exit(0)

    def _redirect(self) -> None:
        """Send descriptors 1 and 2 to the slot's files, and Python's streams with them."""
        for stream, file in enumerate(self._slot.ready()):
            os.dup2(file, stream + 1)
        sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115

    def _printed(self, name: bytes) -> list[Captured]:
        """What both streams hold, as `Slot.collect` gives it; they are empty again."""
        captured = []
        for stream, text in enumerate((sys.stdout, sys.stderr)):
            with suppress(OSError, ValueError, AttributeError):  # a full disk costs output; the job may have closed it
                text.flush()
            try:
                captured.append(self._slot.collect(stream, name, self._config["cap"]))
            except OSError:
                captured.append(NOTHING)
            if captured[-1][1] is not None:  # it was large, and its file given away
                os.dup2(self._slot.files[stream], stream + 1)
        return captured


def _usage() -> tuple[float, float, int]:
    """(user seconds, system seconds, peak memory) of this process and what it has waited for."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + below.ru_utime, own.ru_stime + below.ru_stime, own.ru_maxrss
