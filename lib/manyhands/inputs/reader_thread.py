"""Reads inputs from a stream that may be slow, endless or cut off, without ever making the engine wait.

    stream --Spool (`manyhands.inputs.spool`)--> RUN/inputs.part --> source --ReaderThread (thread)--> engine
                                              a program's iterator --ReaderThread (thread)--> engine

Separate from `sources` and `readers`, which know formats but not threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any, Final, Literal, get_args

from manyhands.core.errors import UsageError
from manyhands.core.job import Values

Pulling = Literal["thread", "caller"]
"""Which thread pulls the inputs of a program: one of its own, or the one that iterates the results."""

_MOST: Final = 96  # inputs that may wait for the engine; doubled whenever the engine has to wait, up to
_MOST_QUICK: Final = 3072
_MOST_BYTES: Final = 1 << 24
_LOOK: Final = 0.02
_END: Final = object()
_QUICKLY: Final = 0.02  # seconds for which the caller pulls inputs before it looks for results again
_BLOCK: Final = 1 << 16
_PATIENCE: Final = 0.2  # seconds between checks whether a waiting reader was cancelled (from a signal handler)


def check_pulling(pull: str) -> None:
    """Raise UsageError unless it is one of `Pulling`."""
    if pull not in get_args(Pulling):
        raise UsageError(f"pull={pull!r}: choose one of {', '.join(get_args(Pulling))}")


class _Arrivals:
    """Inputs that have arrived from another thread, for the engine's; iterating gives None if none is available just now."""

    def __init__(self, source: Iterable[Values], ask: Callable[[], None]) -> None:
        self._source, self._ask = source, ask
        self._items: deque[Values] = deque()
        # Each counter is written by one thread only, so none needs a lock.
        self._bytes_put = self._bytes_taken = 0
        self._hungry = self._ended = self._closed = False
        self._most, self._was_full = _MOST, False
        self._error: Exception | None = None
        self._first = threading.Event()

    def wait_first(self) -> bool:
        """Wait until the first input has arrived, or the inputs have ended; False if `cancel` was called before that."""
        self._hungry = True
        self._ask()
        self._first.wait()
        return bool(self._items) or self._ended

    def cancel(self) -> None:
        """Let a waiting `wait_first` return. May be called from any thread."""
        self._first.set()

    @property
    def rest(self) -> int | None:
        """How many inputs still have to be taken; None while more may arrive."""
        return len(self._items) if self._ended else None

    def __iter__(self) -> Iterator[Values | None]:
        items = self._items
        while True:
            if items:
                values = items.popleft()
                self._bytes_taken += sum(map(len, values))
                self._taken()
                yield values
            elif self._ended:
                if items:  # they arrived between the two checks
                    continue
                if self._error:
                    raise self._error
                return
            else:
                self._hungry = True
                if items or self._ended:
                    continue
                self._ask()
                if self._was_full:
                    self._most, self._was_full = min(2 * self._most, _MOST_QUICK), False
                yield None

    def _taken(self) -> None:
        """Called after an input has been taken."""

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._most or self._bytes_put - self._bytes_taken >= _MOST_BYTES

    def _put(self, values: Values) -> bool:
        """Add an input; return whether the engine was waiting for it."""
        self._bytes_put += sum(map(len, values))
        self._items.append(values)
        if not self._first.is_set():
            self._first.set()
        hungry, self._hungry = self._hungry, False
        return hungry

    def _end(self, error: Exception | None = None) -> None:
        self._error, self._ended = error, True
        self._first.set()


class ReaderThread(_Arrivals):
    """Iterates a source in a thread, some way ahead of the engine.

    ``wake`` is called (from the thread) when an awaited input has arrived. Iterating raises the source's exceptions.
    """

    def __init__(self, source: Iterable[Values], wake: Callable[[], None]) -> None:
        super().__init__(source, lambda: None)
        self._wake = wake
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._read, name="manyhands-feed", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def close(self, patience: float | None = None) -> None:
        """Let the thread end; wait for it up to ``patience`` seconds, because it may be inside the program's own iterator."""
        self._closed = True
        self._room.set()
        self._first.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _taken(self) -> None:
        if not self._room.is_set() and len(self._items) <= self._most // 2:
            self._room.set()

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for values in self._source:
                if self._put(values):
                    self._wake()
                while self._full and not self._closed:
                    self._was_full = True
                    self._room.clear()
                    if self._full:  # else there was room again before the event was cleared
                        self._room.wait(_PATIENCE)
                if self._closed:
                    return
        except Exception as caught:  # any error of the source is raised again where its inputs are taken
            error = caught
        finally:
            self._end(error)
            if not self._closed:
                self._wake()


class CallerFeed(_Arrivals):
    """Inputs that are pulled by the thread that iterates the results, when the engine requests some.

    ``ask`` is called (from the engine's thread) when it needs an input, ``wake`` (from the caller's) when one has arrived.
    """

    def __init__(self, source: Iterable[Values], ask: Callable[[], None], wake: Callable[[], None]) -> None:
        super().__init__(source, ask)
        self._wake = wake
        self._pulling: Iterator[Values] | None = None

    @property
    def wanted(self) -> bool:
        """Whether the engine waits for an input."""
        return self._hungry and not self._ended

    def pull(self) -> None:
        """Pull some inputs: at least one, and more as long as they come quickly."""
        until = time.monotonic() + _QUICKLY
        try:
            self._pulling = self._pulling or iter(self._source)
            for values in self._pulling:
                self._put(values)
                if self._full or time.monotonic() > until:
                    break
            else:
                self._end()
        except Exception as error:  # raised after the inputs before it have been done
            self._end(error)
        self._wake()

    def close(self, patience: float | None = None) -> None:  # noqa: ARG002 - as `ReaderThread.close`; there is no thread to wait for
        """End the inputs, so that the engine stops waiting."""
        self._first.set()


class Ahead:
    """Items of a program's iterator, pulled in a thread some way ahead, for a consumer that takes many at a time.

    It holds up to twice as many as are taken at once. It pulls as many at once as there is room for, which costs a few nanoseconds
    each; items that have arrived can be taken meanwhile.
    ``wake`` is called when items arrive after `take` found none.
    """

    def __init__(self, items: Iterable[Any], wake: Callable[[], None]) -> None:
        self._iterator = chain(items, (_END,))
        self._wake = wake
        self._items: deque[Any] = deque()
        self._error: BaseException | None = None
        self._hungry = self._single = self._closed = self._over = self.ended = False
        self._most = 2
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._pull, name="manyhands-feed", daemon=True)
        self._thread.start()

    def take(self, most: int) -> list[Any]:
        """Up to ``most`` items that have arrived; `ended` is True when there are no more. Raises what the iterator raised."""
        items, self._most = self._items, 2 * most
        take = items.popleft
        found = [take() for _ in repeat(None, min(most, len(items)))]
        if found and found[-1] is _END:
            found.pop()
            self._over = True
            self.ended = self._error is None
        if self._over and self._error and not found:
            raise self._error
        self._hungry = not found
        if len(items) <= most:
            self._room.set()
        return found

    @property
    def patience(self) -> float | None:
        """Seconds to wait before the next check: while many items are pulled at once, ``wake`` is not called for each."""
        return None if self.ended or self._single else _LOOK

    def close(self) -> None:
        """End the thread, unless it is inside the iterator."""
        self._closed = True
        self._room.set()
        self._thread.join(_PATIENCE)

    def _pull(self) -> None:
        items, iterator = self._items, self._iterator
        try:
            while not self._closed and not (items and items[-1] is _END) and not self._over:
                self._single = self._hungry
                room = 1 if self._single else self._most - len(items)
                if room > 0:
                    items.extend(islice(iterator, room))
                    self._tell()
                else:
                    self._room.clear()
                    if len(items) >= self._most:
                        self._room.wait(_PATIENCE)
        except BaseException as error:  # any error is raised again where the items are taken
            self._error = error
            items.append(_END)
            self._tell()

    def _tell(self) -> None:
        if self._hungry and not self._closed:
            self._hungry = False
            self._wake()
