"""What other threads ask of the engine: its own thread does it, between two waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from manyhands.core.errors import NotRunningError

Answer = TypeVar("Answer")


class Requests:
    """Between `begin` and `end` only the thread that called `begin` does what is asked for. ``wake`` makes it look."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._asked: deque[_Request] = deque()
        self._thread: int | None = None

    def begin(self) -> None:
        """Note that the current thread is the engine's."""
        self._thread = threading.get_ident()

    def end(self) -> None:
        """The engine's thread does nothing more that is asked for."""
        self._thread = None

    def ask(self, what: Callable[[], Answer]) -> Answer:
        """Have ``what`` done, and return its answer when that has happened. Raises what it raises, and NotRunningError if the engine has
        not begun, or ends before it is done."""
        if self._thread == threading.get_ident():
            return what()
        request = _Request(what)
        self._asked.append(request)
        self._wake()
        while not request.done.wait(0.1):
            if self._thread is None:
                raise NotRunningError("the run is just beginning or ending: try again")
        if request.error is not None:
            raise request.error
        answer: Answer = request.answer
        return answer

    def obey(self) -> None:
        """Do what other threads have asked for."""
        while self._asked:
            self._asked.popleft().carry_out()


class _Request:
    """Something to be done once, and what came of it."""

    answer: Any = None
    error: Exception | None = None

    def __init__(self, what: Callable[[], object]) -> None:
        self._what, self.done = what, threading.Event()

    def carry_out(self) -> None:
        try:
            self.answer = self._what()
        except Exception as error:  # it is raised where it was asked for
            self.error = error
        finally:
            self.done.set()
