"""A local backend in a thread of its own, for work that comes from elsewhere: other threads give it attempts, and its thread reports.

    start, stop, recall, pause --inbox--> our thread: backend --Started, Ended, Noted--> `_tell`, then `_send`

What becomes of the reports is the matter of a subclass.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from manyhands.backends.protocol import Backend, Report
from manyhands.core.attempt import Attempt, AttemptId

Verb = Callable[[Backend], None]


class HostedBackend(ABC):
    """See the module's first lines. The thread begins with `_begin`."""

    who = "the consumer"
    """What hosts it, in words."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[AttemptId, Attempt] = {}
        """The attempts that are ours, until their end is on its way. Changed with the mutex held."""
        self.failure: str | None = None
        """Why it cannot do any attempts."""
        self._mutex = threading.Lock()
        self._inbox: deque[Verb] = deque()
        self._stops: dict[AttemptId, float] = {}
        """When attempts were first asked to end."""
        self._backend: Backend | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"manyhands-run-{name}", daemon=True)

    def _begin(self) -> None:
        self._thread.start()

    # -- called by other threads -----------------------------------------------------------------------------------------

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Do attempts."""
        with self._mutex:
            self.held.update((one.id, one) for one in attempts)
        self._do(partial(_start, attempts))

    def stop(self, ids: Sequence[AttemptId], *, kill: bool) -> None:
        """End attempts."""
        self._do(partial(self._stop, ids, kill))

    def recall(self, ids: Sequence[AttemptId]) -> None:
        """Give back attempts that have not begun."""
        self._do(lambda backend: backend.recall(self._known(ids)))

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts."""
        self._do(lambda backend: backend.pause(paused))

    def drop(self, ids: Sequence[AttemptId]) -> None:
        """Kill attempts that are nobody's, or another's, now; what they report is no longer of interest."""
        gone = self._known(ids)
        with self._mutex:
            for one in ids:
                self.held.pop(one, None)
        self._do(lambda backend: backend.stop(gone, kill=True))

    def close(self) -> None:
        """Kill everything, and report nothing more."""
        self._closing.set()
        if self._backend:
            self._backend.wake()

    def join(self) -> None:
        """Wait until it is closed."""
        if self.has_begun:
            self._thread.join()

    @property
    def has_begun(self) -> bool:
        """Whether its thread was started."""
        return self._thread.ident is not None

    def _known(self, ids: Sequence[AttemptId]) -> list[Attempt]:
        with self._mutex:
            return [self.held[id] for id in ids if id in self.held]

    def _do(self, verb: Verb) -> None:
        self._inbox.append(verb)
        if self._backend:
            self._backend.wake()

    # -- our thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        folder = tempfile.mkdtemp(prefix="manyhands-")
        try:
            self._backend = self._opened(Path(folder))
            while not self._closing.is_set():
                self._turn(self._backend)
            self._last_turn(self._backend)
        except Exception as error:  # whatever it is, nobody may wait for these attempts for ever
            self._fail(f"{self.who} cannot do its attempts: {error}")
        finally:
            if self._backend:
                self._backend.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _turn(self, backend: Backend) -> None:
        while self._inbox:
            self._inbox.popleft()(backend)
        for report in backend.reports(self._patience()):
            self._tell(report)
        self._send()

    def _last_turn(self, backend: Backend) -> None:  # noqa: B027 - most have nothing to do
        """Before the backend is closed, which kills what runs."""

    def _stop(self, ids: Sequence[AttemptId], kill: bool, backend: Backend) -> None:
        attempts, now = self._known(ids), time.monotonic()
        for one in attempts:
            self._stops.setdefault(one.id, now)
        backend.stop(attempts, kill=kill)

    # -- of a subclass ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _opened(self, folder: Path) -> Backend:
        """The backend, whose outputs are in ``folder``."""

    @abstractmethod
    def _patience(self) -> float:
        """Seconds that may be waited for reports."""

    @abstractmethod
    def _tell(self, report: Report) -> None:
        """Handle a report."""

    @abstractmethod
    def _send(self) -> None:
        """Do what is due after each round."""

    @abstractmethod
    def _fail(self, why: str) -> None:
        """The backend is broken: end what is held, so that nobody waits for it."""


def _start(attempts: Sequence[Attempt], backend: Backend) -> None:
    for one in attempts:
        backend.start(one)
