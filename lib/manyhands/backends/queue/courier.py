"""Speaks with the broker, so that the engine's thread never waits for it: what is to be done there, in order, and what came of it.

    engine's thread --do(act)--> courier thread --> broker        reader thread <-- reports of consumers
                    <----------- events: Done, Beaten, Heard, Down ----------------'

Whatever fails because the broker does not answer is tried again until it does.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from manyhands.backends.queue.carrier import Arrived, Beat, BrokerLostError, Sender
from manyhands.core.lean import NamedTuple

_AGAIN: Final = 0.25
"""Seconds after which a broker that does not answer is tried again."""
_LISTEN: Final = 1.0
_UNTAKEN: Final = 8
"""Readings of reports, of some hundred each, that may wait for the engine's thread."""
_PAUSE: Final = 0.005
"""Seconds until it is looked again whether more reports may be read."""


class Done(NamedTuple):
    """What an act has given is passed to ``then``, in the engine's thread."""

    then: Callable[[Any], None]
    found: Any


class Beaten(NamedTuple):
    """The lease was renewed."""

    beat: Beat


class Heard(NamedTuple):
    """What consumers have reported."""

    arrived: Sequence[Arrived]


class Down(NamedTuple):
    """The broker does not answer."""

    why: str


Event = Done | Beaten | Heard | Down
Act = tuple[Callable[[], Any], Callable[[Any], None] | None]


class Courier:
    """See the module's first lines. ``post`` takes events, from both threads; ``period``: seconds between two renewals."""

    def __init__(self, sender: Sender, post: Callable[[Event], None], period: float) -> None:
        self._sender, self._post, self._period = sender, post, period
        self._acts: deque[Act] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._down = self._leaving = False
        self._held = False
        self._read_count = self._taken_count = 0  # each is written by one thread only
        self._settled_count = 0
        self._unsettled = False
        self._next_beat = 0.0
        self._threads = [
            threading.Thread(target=work, name=f"manyhands-{name}", daemon=True)
            for name, work in (("courier", self._carry), ("reader", self._read))
        ]
        for one in self._threads:
            one.start()

    def do(self, act: Callable[[], Any], then: Callable[[Any], None] | None = None) -> None:
        """Have ``act`` done after all that came before it; ``then`` gets its result."""
        self._acts.append((act, then))
        self._bell.put(None)

    def taken(self) -> None:
        """Note that the reports of a `Heard` have been handled."""
        self._taken_count += 1

    def returned(self, *, ends: bool) -> None:
        """Note that all that was taken has been reported; ``ends``: with ends, which have to be in the journal before they are forgotten."""
        self._unsettled = self._unsettled or ends
        if not self._unsettled:
            self.settled()

    def settled(self) -> None:
        """Have the broker forget what was reported."""
        self._unsettled = False
        if (more := self._taken_count - self._settled_count) > 0:
            self._settled_count = self._taken_count
            self.do(partial(self._sender.forget, more))

    def hold(self, held: bool) -> None:
        """Read no more reports while it is ``held``."""
        self._held = held

    def close(self, *, leave: bool = False) -> None:
        """End both threads; if the broker answers, after all that is to be done. ``leave``: what is in the broker stays there."""
        self._leaving = leave
        self._closing.set()
        self._bell.put(None)
        for one in self._threads:
            one.join()

    # -- the courier thread ----------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        while not self._closing.is_set():
            with suppress(queue.Empty):
                self._bell.get(timeout=max(0.0, self._next_beat - time.monotonic()))
            self._try()
        if not self._down:
            self._try()
        self._last()

    def _try(self) -> None:
        try:
            now = time.monotonic()
            if now >= self._next_beat or self._down:
                self._next_beat = now + self._period
                self._post(Beaten(self._sender.renew(again=self._down)))
                self._down = False
            while self._acts:
                act, then = self._acts[0]
                found = act()
                self._acts.popleft()
                if then is not None:
                    self._post(Done(then, found))
        except BrokerLostError as error:
            self._down = True
            self._post(Down(str(error)))
            self._next_beat = time.monotonic() + _AGAIN
            self._closing.wait(_AGAIN)

    def _last(self) -> None:
        """Leave nothing in the broker, if it can be reached."""
        try:
            self._sender.interrupt()
            if not self._leaving:
                self._sender.finish()
        except BrokerLostError:
            return

    # -- the reader thread -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closing.is_set():
            if self._held or self._read_count - self._taken_count >= _UNTAKEN:
                self._closing.wait(_PAUSE)
                continue
            try:
                if arrived := self._sender.receive(_LISTEN):
                    self._read_count += 1
                    self._post(Heard(arrived))
            except BrokerLostError:  # the courier tells of it
                self._closing.wait(_AGAIN)
