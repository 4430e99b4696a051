"""The far end of a site: runs attempts by the backend `commands`, as it is told, and ends with its stream.

    stdin --reader thread--> frames --> Commands.start/stop/... --reports--> frames --writer thread--> stdout

No thread waits for another: what arrives wakes the main thread, and what cannot be written yet waits in memory, up to a limit
beyond which the outputs of ended attempts stay in their files. If the stream ends, or nothing is heard for the time of the lease, all
attempts are ended at once. Should that take too long, this process exits, and the launchers end them (`launchers/launcher.py`).
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from manyhands.backends.commands import Commands
from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.site import frames
from manyhands.backends.site.far_files import FarFiles
from manyhands.backends.site.frames import BrokenFrameError, Frame, Unpacker, as_bytes
from manyhands.backends.site.moved_files import FAILED, NotMovedError
from manyhands.backends.site.outbox import UNWRITTEN, Outbox
from manyhands.core.attempt import Attempt, AttemptId, Ending, Job, Output
from manyhands.core.errors import ManyhandsError

if TYPE_CHECKING:
    from manyhands.backends.settings import CommandSettings

_BLOCK: Final = 1 << 18
"""Bytes that are read at once, and in one frame of a large output: others pass between them."""
_LEAVING: Final = 1.0
"""Seconds to end all attempts in good order, when the stream has ended; then the launchers do it."""


class Settings(NamedTuple):
    """What CONFIG says, and where we are; the fields that `Commands` reads have the meaning of `CommandSettings`."""

    slots: int
    first_slot: int
    outputs: Path
    token: str
    environment: dict[bytes, bytes]
    workdir: Path
    grace: float
    output_cap: int | None
    nice: int
    keep_open: tuple[int, ...]
    stdin: Path | None
    allow_daemons: bool
    launchers: int
    disposable: bool = True
    warm: None = None
    """Jobs are not forked from a process that has imported what they need."""


class FarEnd:
    """See the module's first lines."""

    def __init__(self, receive: int, send: int, keep_open: tuple[int, ...] = ()) -> None:
        self._receive, self._keep_open = receive, keep_open
        self._outbox = Outbox(send)
        self._inbox: deque[Frame] = deque()
        self._arrived = threading.Condition()
        self._over: str | None = None
        """Why it is over."""
        self._heard = time.monotonic()
        self._lease = 60.0
        self._paused = False
        self._backend: Commands | None = None
        self._large: deque[Iterator[None]] = deque()
        """Ends whose outputs have yet to be sent, piece by piece."""
        self._folder: str | None = None
        self._files: FarFiles | None = None
        self._waiting = 0
        """Bytes in the inbox."""
        self._stops: dict[AttemptId, float] = {}
        """When attempts were first asked to end."""

    def run(self) -> None:
        """Serve until it is over; then nothing runs any more, and nothing is left on disk."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        try:
            self._outbox.send(frames.HELLO, _hello())
            self._serve()
        except (ManyhandsError, OSError, BrokenFrameError, LookupError, TypeError, ValueError) as error:
            self._outbox.send(frames.REFUSED, {"why": str(error)})
        finally:
            threading.Timer(_LEAVING, self._vanish).start()
            if self._backend:
                self._backend.close()
            self._clean_up()
            self._outbox.wait_until_written(_LEAVING)

    def _vanish(self) -> None:
        """Exit, so that the launchers end what runs."""
        self._clean_up()
        os._exit(1)

    def _clean_up(self) -> None:
        if self._files:
            self._files.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- what arrives ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """The reader thread: frames from the stream, until it ends or the lease is over."""
        unpacker = Unpacker()
        why = "the stream has ended"
        try:
            while piece := os.read(self._receive, _BLOCK):
                self._heard = time.monotonic()
                found = unpacker.feed(piece)
                with self._arrived:
                    self._inbox.extend(found)
                    self._waiting += sum(len(frame.body) for frame in found)
                    self._arrived.notify_all()
                self._wake()
                with self._arrived:  # files may come faster than they are written
                    self._arrived.wait_for(lambda: self._waiting < UNWRITTEN or self._over)
        except (OSError, BrokenFrameError) as error:
            why = str(error)
        self._end(why)

    def _end(self, why: str) -> None:
        with self._arrived:
            self._over = self._over or why
            self._arrived.notify_all()
        self._wake()

    def _wake(self) -> None:
        if backend := self._backend:
            backend.wake()

    # -- the main thread -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._over:
            for _ in range(len(self._inbox)):  # not until it is empty: files may fill it as fast as they are written
                frame = self._inbox.popleft()
                self._obey(frame)
                if frame.body:
                    with self._arrived:
                        self._waiting -= len(frame.body)
                        self._arrived.notify_all()
            if self._backend is None:
                with self._arrived:
                    self._arrived.wait_for(lambda: self._inbox or self._over, 1.0)
            else:
                self._tell(self._backend.reports(self._patience()))
            if not self._paused and time.monotonic() - self._heard > self._lease:
                self._end(f"nothing was heard for {self._lease:g} s")
            if self._outbox.broken.is_set():
                self._end("nobody reads")

    def _patience(self) -> float:
        """Seconds that may be waited for reports."""
        if self._inbox or (self._large and self._outbox.has_room()):
            return 0.0
        return 0.02 if self._large else 1.0

    def _obey(self, frame: Frame) -> None:
        kind, head = frame.kind, frame.head
        if kind == frames.PING:
            self._outbox.send(frames.PONG, {"number": head["number"], "at": time.monotonic()})
        elif kind == frames.QUIT:
            self._end("the near end has asked for it")
        elif kind == frames.CONFIG:
            self._configure(head)
        elif kind in frames.FILES and self._files:
            self._files.take(frame)
        elif self._backend is None:
            raise BrokenFrameError("attempts came before the settings")
        else:
            self._pass_on(self._backend, kind, head)

    def _pass_on(self, backend: Commands, kind: int, head: dict[str, Any]) -> None:
        """Do what is asked of the backend."""
        if kind == frames.START:
            for job, number, arguments, *fetch in head["attempts"]:
                attempt = Attempt(Job(job, b"", ()), number, tuple(map(_argument, arguments)))
                if self._files and (why := self._files.begin(attempt.id, *fetch)):
                    self._send([Ended(attempt, time.monotonic(), Ending(FAILED, error=why))])
                else:
                    backend.start(attempt)
        elif kind in (frames.STOP, frames.RECALL):
            attempts = [Attempt(Job(job, b"", ()), number, ()) for job, number in head["ids"]]
            if kind == frames.STOP:
                now = time.monotonic()
                for one in attempts:
                    self._stops.setdefault(one.id, now)
                if self._files:
                    self._files.abort(attempts)
                backend.stop(attempts, kill=head["kill"])
            else:
                backend.recall(attempts)
        elif kind == frames.PAUSE:
            self._paused = head["paused"]  # the near end may be stopped, too: its silence means nothing
            self._heard = time.monotonic()
            backend.pause(head["paused"])

    def _configure(self, head: dict[str, Any]) -> None:
        self._lease = float(head["lease"])
        self._folder = tempfile.mkdtemp(prefix="manyhands-")
        environment = dict(os.environb)
        environment.update({as_bytes(name): as_bytes(value) for name, value in head["environment"].items()})
        workdir = os.path.join(os.path.expanduser("~"), as_bytes(head["workdir"]).decode("utf-8", "surrogateescape"))
        settings = Settings(
            slots=head["slots"],
            first_slot=head["first_slot"],
            outputs=Path(self._folder),
            token=head["token"],
            environment=environment,
            workdir=Path(workdir),
            grace=head["grace"],
            output_cap=head["output_cap"],
            nice=head["nice"],
            keep_open=self._keep_open,
            stdin=None if head["stdin"] is None else Path(os.fsdecode(as_bytes(head["stdin"]))),
            allow_daemons=head["allow_daemons"],
            launchers=min(os.cpu_count() or 1, head["slots"]),
        )
        if head["files"]:
            self._files = FarFiles(os.fsencode(workdir), head["token"], cleanup=head["cleanup"])
        self._backend = Commands(cast("CommandSettings", settings))  # which has what it reads
        self._outbox.send(frames.READY)

    # -- what is told ----------------------------------------------------------------------------------------------------

    def _tell(self, reports: Sequence[Report]) -> None:
        """Send reports: all that need no file in one frame; large outputs in pieces, each before the report that tells of it."""
        plain: list[Report] = []
        for report in reports:
            if isinstance(report, Ended) and self._comes_in_pieces(report):
                self._large.append(self._in_pieces(report))
            else:
                plain.append(report)
        self._send(plain)
        while self._large and self._outbox.has_room() and not self._inbox:
            if next(self._large[0], "over") == "over":
                self._large.popleft()
            else:
                self._large.rotate(-1)  # in turns: a file of gigabytes holds up no other

    def _comes_in_pieces(self, ended: Ended) -> bool:
        """Whether something large comes before the report; if not, the files of the attempt are not needed any more."""
        ending, files = ended.ending, self._files
        if files and ending.exit == 0 and files.wanted(ended.attempt.id):
            return True
        if files:
            files.over(ended.attempt.id)
        return bool(ending.stdout.path or ending.stderr.path)

    def _send(self, reports: list[Report]) -> None:
        if not reports:
            return
        told, body = [], []
        ended = {report.attempt.id for report in reports if isinstance(report, Ended)}
        pids: dict[AttemptId, int] = {}
        for report in reports:
            if isinstance(report, Started) and report.attempt.id in ended:  # its end tells of it
                pids[report.attempt.id] = report.pid
            elif isinstance(report, Started):
                told.append(["started", *report.attempt.id, report.at, report.slot, report.pid])
            elif isinstance(report, Noted):
                told.append(["noted", report.text])
            elif isinstance(report, Ended):
                body += [report.ending.stdout.data, report.ending.stderr.data]
                stop = self._stops.pop(report.attempt.id, math.inf)
                pid = pids.get(report.attempt.id, report.pid)
                told.append(_ended(report, pid, stopped=report.at >= stop))
        self._outbox.send(frames.REPORTS, {"reports": told}, b"".join(body))

    def _in_pieces(self, ended: Ended) -> Iterator[None]:
        for stream, output in enumerate((ended.ending.stdout, ended.ending.stderr)):
            if output.path is None:
                continue
            with open(output.path, "rb", buffering=0) as file:
                os.unlink(output.path)
                while piece := file.read(_BLOCK):
                    self._outbox.send(frames.PIECE, {"id": ended.attempt.id, "stream": stream}, piece)
                    yield
        if self._files:
            try:
                if ended.ending.exit == 0 and self._files.wanted(ended.attempt.id):
                    for frame in self._files.fetched(ended.attempt.id):
                        self._outbox.send(*frame)
                        yield
            except NotMovedError as error:
                failed = ended.ending._replace(exit=FAILED, error=f"cannot fetch a file: {error}")
                ended = ended._replace(at=time.monotonic(), ending=failed)
            self._files.over(ended.attempt.id)
        self._send([ended])


def _ended(ended: Ended, pid: int, *, stopped: bool) -> list[Any]:
    """The report of an end, and whether a stop came first; ``pid``: of an attempt whose beginning was not reported. The outputs, or the
    rest of them, are in the body of its frame or in pieces before it."""
    one = ended.ending
    return [
        "ended",
        *ended.attempt.id,
        ended.at,
        ended.began,
        ended.died,
        stopped,
        pid,
        [one.exit, one.signal, one.error, one.wall, one.user, one.system, one.max_rss],
        [one.slot, one.leftovers, one.still_running],
        _output(one.stdout),
        _output(one.stderr),
    ]


def _output(output: Output) -> list[Any]:
    """[bytes in the body; None: it came in pieces, bytes that were printed, bytes that the cap has cut]"""
    return [None if output.path else len(output.data), output.size, output.dropped]


def _argument(given: Any) -> Any:
    return as_bytes(given) if isinstance(given, str) else tuple(map(as_bytes, given))


def _hello() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0))
    return {
        "version": frames.VERSION,
        "python": ".".join(map(str, sys.version_info[:3])),
        "cores": usable,
        "at": time.monotonic(),
    }


def main(receive: int = 0, send: int = 1, keep_open: tuple[int, ...] = ()) -> None:
    """Serve on two descriptors; what else would write to stdout, or read from stdin, finds the null device there."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the stream's end is what ends us
    inner, outer = os.dup(receive), os.dup(send)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    with suppress(KeyboardInterrupt):
        FarEnd(inner, outer, keep_open).run()
    os._exit(0)
