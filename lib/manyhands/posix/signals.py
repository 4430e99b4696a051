"""Handles signals while a batch runs, as Unix users expect.

    INT TERM HUP  end the run (once: TERM to the jobs; twice: KILL; three times: exit at once)    USR1  show what is running
    TSTP          suspend the jobs, stop ourselves, continue after CONT

One registry has the handlers for all batches that run at once, in whatever order they end. A stop does not wait for the main thread,
which may be busy in C code or in a blocked write: Python's C handler writes the signal to a descriptor (signal.set_wakeup_fd), and a
thread that waits there passes it on. A signal that was ignored when we were started (nohup(1)) stays ignored. If other code has set
the wake-up descriptor (asyncio in the main thread), it keeps it.
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
    """Raised by a second signal, to leave a blocked write (see `Watched.writing`)."""


class Watched:
    """A context in which signals become calls and flags. Outside the main thread it does nothing (signal(7)).

    ``stop`` is not called from the main thread, ``wake`` is. ``talkative``: handle USR1 and TSTP, too.
    """

    def __init__(self, stop: Callable[[int], None], wake: Callable[[], None], *, talkative: bool = True) -> None:
        self.stop, self.wake, self.talkative = stop, wake, talkative
        self.asked_what_runs = self.asked_to_pause = False
        self.writing = False
        """Set while the main thread writes something that may be abandoned: a second signal then raises `GivenUp` there."""

    def __enter__(self) -> Watched:
        _registry.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _registry.remove(self)


class _Registry:
    """The contexts that get signals, and the former handlers."""

    def __init__(self) -> None:
        self._watchers: list[Watched] = []
        self._before: dict[int, Any] = {}
        self._bell: _Bell | None = None
        # Both the handler in the main thread and the bell's thread get each signal: the first one passes it on.
        self._mutex = threading.RLock()  # reentrant: a handler runs in the main thread, which may hold it
        self._handled, self._rung, self._passed = Counter[int](), Counter[int](), Counter[int]()

    def add(self, watched: Watched) -> None:
        """Pass signals on to ``watched``; install the handlers if necessary. Does nothing outside the main thread."""
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
        """Stop passing signals on to ``watched``. The last one removes the handlers, if it does so in the main thread."""
        with self._mutex:
            if watched in self._watchers:
                self._watchers.remove(watched)
            if self._watchers or threading.current_thread() is not threading.main_thread():
                return
            self._restore()

    def forked(self) -> None:
        """In a forked child: forget the bell, whose thread exists only in the parent, and the parent's batches."""
        self._mutex = threading.RLock()
        self._watchers.clear()
        if self._bell:
            signal.set_wakeup_fd(-1)
            self._bell.drop()
            self._bell = None
        self._restore()

    def _ring(self) -> bool:
        """Begin to wait for signals in a thread; return False if other code has the wake-up descriptor."""
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
            ):  # not replaced by other code meanwhile
                signal.signal(number, signal.default_int_handler if _has_outlived_its_loop(handler) else handler)
        self._before.clear()
        if self._bell:
            current = signal.set_wakeup_fd(-1)
            if current not in (self._bell.descriptor, -1):  # other code has set it meanwhile
                signal.set_wakeup_fd(current)
            self._bell.close()
            self._bell = None

    def _hear(self, number: int) -> None:
        """Called in the bell's thread when a signal has arrived."""
        if number in STOPPING and number in self._before:
            self._rung[number] += 1
            self._pass_on(number, self._rung[number])

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if not self._watchers:  # all were removed in other threads, which may not restore the handlers
            self._as_before(number, frame)
            return
        self._handled[number] += 1
        self._pass_on(number, self._handled[number])
        stops = sum(self._passed.values())
        if stops > 2:  # the run does not end: perhaps a function blocks this very thread
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
        """End the thread. The descriptor must not be in use any more."""
        os.close(self.descriptor)
        if sys.is_finalizing():  # then a daemon thread does not run any more, and Python 3.13 would wait for it for ever
            return
        self._thread.join()
        os.close(self._reading)

    def drop(self) -> None:
        """Close the descriptors in a forked child, where there is no thread."""
        os.close(self.descriptor)
        os.close(self._reading)

    def _listen(self) -> None:
        while numbers := os.read(self._reading, 64):
            for number in numbers:
                self._hear(number)


def _has_outlived_its_loop(handler: object) -> bool:
    """Whether it is the one with which asyncio.run cancels its task, and that has ended: asyncio leaves it, because it found ours there."""
    task = getattr(handler, "keywords", {}).get("main_task")
    return task is not None and task.done()


_registry: Final = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.forked)


def in_foreground() -> bool:
    """Whether the terminal's Ctrl-C reaches us, because our process group is in its foreground (tcgetpgrp(3))."""
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
    (https://www.cons.org/cracauer/sigint.html). Pid 1 of a container cannot (kill(2)), and exits with a shell's status for it."""
    if multiprocessing := sys.modules.get("multiprocessing.util"):
        with suppress(Exception):
            multiprocessing._run_finalizers()  # removes its temporary folder: a process that dies by a signal runs no atexit functions
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.raise_signal(number)
    os._exit(128 + number)
