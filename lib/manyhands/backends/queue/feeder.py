"""A consumer's feeder: the process of Celery or RQ beside it, started again if it dies, and the attempts that it has got from the broker.

    broker --> worker of Celery or RQ, a process --attempt--> arrived --take--> consumer
                                                 <--done, back, queues--

Apart from the consumer, because what such a worker does with a message must not be able to stop the jobs that run.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.queue.carrier import Taken
from manyhands.backends.queue.feeder_link import Link
from manyhands.core.errors import UnavailableError
from manyhands.core.lean import NamedTuple

_STARTING: Final = 60.0
"""Seconds until it must have reached its broker."""
_SHORTEST, _LONGEST = 0.25, 30.0
"""Seconds that are waited before it is started again, doubled each time."""
_STEADY: Final = 60.0
"""Seconds after which a feeder that dies is not one that cannot live."""
_ENDING: Final = 5.0


class Entry(NamedTuple):
    """An attempt that a feeder holds; it is void when that feeder is gone."""

    life: int
    number: int
    run: str


class Feeder:
    """See the module's first lines. ``module``: what is run as the process; ``settings``: what it needs, as JSON; secrets are in it."""

    def __init__(self, module: str, settings: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-P", "-m", module]
        self._settings, self._say = {**settings}, say
        self._kind = str(settings["kind"])
        self._changed = threading.Condition()
        self._arrived: deque[Taken] = deque()
        self._queues: tuple[str, ...] = ()
        self._ahead = 0
        self._life = 0
        self._link: Link | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._first: str | None = None
        """What came of the first start: empty if it is well, else why not."""
        self._thread = threading.Thread(target=self._keep, name="manyhands-feeder", daemon=True)

    def start(self) -> None:
        """Start it, and wait until it has reached its broker. Raises UnavailableError if it does not."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._first is not None, _STARTING)
        if self._first != "":
            why = self._first or f"no answer within {_STARTING:.0f} s"
            self.close()
            raise UnavailableError(f"the broker {self._settings['shown']} cannot be used: {why}")

    # -- called by the consumer ------------------------------------------------------------------------------------------

    def take(self, runs: Sequence[str], room: int, timeout: float) -> list[Taken]:
        """See `carrier.Receiver`."""
        self._want(runs)
        found: list[Taken] = []
        with self._changed:
            if runs and not self._arrived and timeout > 0:
                self._changed.wait(timeout)
            others = [one for one in self._arrived if one.run not in runs]
            if others:
                self._arrived = deque(one for one in self._arrived if one.run in runs)
            while self._arrived and len(found) < room:
                found.append(self._arrived.popleft())
        self.settle("back", [one.entry for one in others])
        return found

    def _want(self, runs: Collection[str]) -> None:
        """Have attempts of these executions, and no others, fetched from the broker."""
        wanted = tuple(sorted(runs))
        with self._changed:
            if wanted == self._queues:
                return
            self._queues = wanted
            link = self._link
        if link is not None:
            link.send({"type": "queues", "queues": wanted})

    def look_ahead(self, number: int) -> None:
        """How many attempts it may hold beyond those that fill the slots."""
        with self._changed:
            if number == self._ahead:
                return
            self._ahead, link = number, self._link
        if link is not None:
            link.send({"type": "ahead", "number": number})

    def settle(self, verb: str, entries: Iterable[object]) -> None:
        """Tell the broker that these attempts are ``done``, or are to go ``back`` to wait there."""
        with self._changed:
            link, life = self._link, self._life
        numbers = sorted({one.number for one in entries if isinstance(one, Entry) and one.life == life})
        if numbers and link is not None:
            link.send({"type": verb, "numbers": numbers})

    def forget(self, run: str) -> None:
        """An execution is over: nothing of it need be in the broker."""
        with self._changed:
            link = self._link
            self._arrived = deque(one for one in self._arrived if one.run != run)
        if link is not None:
            link.send({"type": "gone", "queue": run})

    def close(self) -> None:
        """Give back what it holds, and end it."""
        self.take((), 0, 0.0)
        self._closing.set()
        with self._changed:
            link, process = self._link, self._process
        if link is not None and process is not None and link.send({"type": "end"}):
            with suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING)
            process.kill()
        self._thread.join(_ENDING)

    # -- the thread that keeps one alive ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        pause = _SHORTEST
        while not self._closing.is_set():
            began = time.monotonic()
            why = self._live()
            if self._closing.is_set():
                break
            if self._first is None:
                self._report(why)
                break
            pause = _SHORTEST if time.monotonic() - began > _STEADY else min(2 * pause, _LONGEST)
            self._say(f"the {self._kind} worker beside this consumer has ended: {why}; it is started again")
            self._closing.wait(pause)

    def _live(self) -> str:
        """Run one until it ends; why it did."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C is for the consumer
            )
        link = Link(ours)
        failure = None
        try:
            with suppress(OSError), process.stdin as pipe:  # type: ignore[union-attr]  # it is a pipe
                pipe.write(json.dumps(self._settings).encode())
            self._begin(link, process)
            for message in link.messages():
                failure = self._hear(message) or failure
        finally:
            with self._changed:
                self._link = None
                self._arrived.clear()
            link.close()
            process.kill()
            process.wait()
        return failure or (
            f"exit status {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
        )

    def _begin(self, link: Link, process: subprocess.Popen[bytes]) -> None:
        with self._changed:
            self._life += 1
            self._link, self._process = link, process
            queues, ahead = self._queues, self._ahead
        link.send({"type": "queues", "queues": queues})
        link.send({"type": "ahead", "number": ahead})
        if self._closing.is_set():
            process.kill()

    def _hear(self, message: Mapping[str, Any]) -> str | None:
        """One message of it; why it is about to end, if that is what it says."""
        kind = message["type"]
        if kind == "attempt":
            entry = Entry(self._life, message["number"], message["run"])
            with self._changed:
                self._arrived.append(Taken(entry.run, entry, message["message"].encode("utf-8", "surrogatepass")))
                self._changed.notify_all()
        elif kind == "ready":
            self._report("")
        elif kind == "say":
            self._say(message["text"])
        elif kind == "failed":
            return str(message["why"])
        return None

    def _report(self, why: str) -> None:
        with self._changed:
            if self._first is None:
                self._first = why
                self._changed.notify_all()
