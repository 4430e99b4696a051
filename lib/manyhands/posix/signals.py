"""What Unix users expect of signals while a batch runs, for the time that it runs.

    INT TERM HUP  end the run (once: TERM to the jobs; twice: KILL; three times: leave at once)    USR1  say what is running
    TSTP          hold the jobs, stop ourselves, go on with CONT

One registry has the handlers, whatever runs at once and whatever order it ends in. A stop does not wait for the main thread,
which may be busy in C code or in a write that nobody reads: the kernel's signal is written to a descriptor by the C handler
(signal.set_wakeup_fd), and a thread that waits there passes it on. A signal that was ignored when we were started (nohup(1))
stays ignored. Where somebody else has the wake-up descriptor (asyncio in the main thread), signals are left to them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

from manyhands.runtime.gevent_patch import threads_are_patched

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GivenUp(BaseException):
    """Raised by a second signal out of a write that nobody reads (see `Watched.writing`)."""


class Watched:
    """A context in which signals are turned into calls and flags. Outside the main thread it does nothing (signal(7)).

    ``stop`` is called from another thread than the main one, ``wake`` from the main thread. ``talkative``: USR1 and TSTP, too.
    """

    def __init__(self, stop: Callable[[int], None], wake: Callable[[], None], *, talkative: bool = True) -> None:
        self.stop, self.wake, self.talkative = stop, wake, talkative
        self.asked_what_runs = self.asked_to_pause = False
        self.writing = False
        """Set while the main thread writes something that can be given up: a second signal then raises `GivenUp` there."""

    def __enter__(self) -> Watched:
        _registry.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _registry.remove(self)


class _Registry:
    """Who is to hear of signals, and what the handlers were before."""

    def __init__(self) -> None:
        self._watchers: list[Watched] = []
        self._before: dict[int, Any] = {}
        self._bell: _Bell | None = None
        # Each signal is seen by the handler in the main thread and by the bell's thread: the first one to see it passes it on.
        self._mutex = threading.RLock()  # reentrant: a handler runs in the main thread, whatever that holds
        self._handled, self._rung, self._passed = Counter[int](), Counter[int](), Counter[int]()

    def add(self, watched: Watched) -> None:
        """Pass signals on to ``watched``; installs the handlers if need be. Nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        with self._mutex:
            if not self._before and not self._ring():
                return
            self._watchers.append(watched)
            for number in STOPPING:
                self._install(number, self._on_stop)
            if watched.talkative:
                self._install(signal.SIGUSR1, self._on_usr1)
                self._install(signal.SIGTSTP, self._on_tstp)

    def remove(self, watched: Watched) -> None:
        """Leave ``watched`` alone. The handlers go with the last one, if this is the main thread; else with the next last one."""
        with self._mutex:
            if watched in self._watchers:
                self._watchers.remove(watched)
            if self._watchers or threading.current_thread() is not threading.main_thread():
                return
            self._restore()

    def forked(self) -> None:
        """In a forked child: nobody here waits for the parent's bell, and the parent's batches are not the child's."""
        self._mutex = threading.RLock()
        self._watchers.clear()
        if self._bell:
            signal.set_wakeup_fd(-1)
            self._bell.drop()
            self._bell = None
        self._restore()

    def _ring(self) -> bool:
        """Begin to wait for signals in a thread; False if somebody else does."""
        if threads_are_patched():
            return False
        bell = _Bell(self._hear)
        before = signal.set_wakeup_fd(bell.descriptor, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            bell.close()
            return False
        self._bell = bell
        self._handled, self._rung, self._passed = Counter(), Counter(), Counter()
        return True

    def _install(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(number)
        if number not in self._before and before is not signal.SIG_IGN and before is not None:
            self._before[number] = signal.signal(number, handler)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) in (
                self._on_stop,
                self._on_usr1,
                self._on_tstp,
            ):  # not replaced by somebody meanwhile
                signal.signal(number, handler)
        self._before.clear()
        if self._bell:
            current = signal.set_wakeup_fd(-1)
            if current not in (self._bell.descriptor, -1):  # somebody took it meanwhile
                signal.set_wakeup_fd(current)
            self._bell.close()
            self._bell = None

    def _hear(self, number: int) -> None:
        """In the bell's thread: a signal has come."""
        if number in STOPPING and number in self._before:
            self._rung[number] += 1
            self._pass_on(number, self._rung[number])

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if not self._watchers:  # they all left in other threads, which may not restore the handlers
            self._as_before(number, frame)
            return
        self._handled[number] += 1
        self._pass_on(number, self._handled[number])
        stops = sum(self._passed.values())
        if stops > 2:  # nobody obeys: a function in this very thread, perhaps
            die_by(number)
        if stops > 1 and any(watched.writing for watched in self._watchers):
            raise GivenUp

    def _pass_on(self, number: int, count: int) -> None:
        with self._mutex:
            if count <= self._passed[number]:
                return
            self._passed[number] += 1
            watchers = list(self._watchers)
        for watched in watchers:
            watched.stop(number)

    def _as_before(self, number: int, frame: FrameType | None) -> None:
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            die_by(number)

    def _on_usr1(self, _number: int, _: FrameType | None) -> None:
        for watched in self._watchers:
            watched.asked_what_runs = watched.talkative
            watched.wake()

    def _on_tstp(self, _number: int, _: FrameType | None) -> None:
        for watched in self._watchers:
            watched.asked_to_pause = watched.talkative
            watched.wake()


class _Bell:
    """A descriptor for signal.set_wakeup_fd, and a thread that calls ``hear`` with the number of each signal."""

    def __init__(self, hear: Callable[[int], None]) -> None:
        self._reading, self.descriptor = os.pipe()
        os.set_blocking(self.descriptor, False)
        self._hear = hear
        self._thread = threading.Thread(target=self._listen, name="manyhands-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the thread leave. The descriptor must not be in use any more."""
        os.close(self.descriptor)
        self._thread.join()
        os.close(self._reading)

    def drop(self) -> None:
        """In a forked child, where there is no thread."""
        os.close(self.descriptor)
        os.close(self._reading)

    def _listen(self) -> None:
        while numbers := os.read(self._reading, 64):
            for number in numbers:
                self._hear(number)


_registry: Final = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.forked)


def in_foreground() -> bool:
    """Whether the terminal's Ctrl-C reaches us: our process group is the one in its foreground (tcgetpgrp(3))."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def die_by(number: int) -> None:
    """End this process by signal ``number`` itself, so that a shell loop around it stops, too
    (https://www.cons.org/cracauer/sigint.html). Pid 1 of a container cannot (kill(2)), and exits as a shell would tell it."""
    if multiprocessing := sys.modules.get("multiprocessing.util"):
        with suppress(Exception):
            multiprocessing._run_finalizers()  # its temporary folder: what ends by a signal runs no atexit
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.raise_signal(number)
    os._exit(128 + number)
