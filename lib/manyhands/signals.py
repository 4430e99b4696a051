"""What Unix users expect of signals while a batch runs, for the time that it runs.

    INT TERM HUP  end the run (once: TERM to the jobs; twice: KILL; three times: leave at once)    USR1  say what is running
    TSTP          hold the jobs, stop ourselves, go on with CONT

Handlers only set flags and wake the engine; whoever iterates the events looks at the flags between two of them. A signal that
was ignored when we were started (nohup(1)) stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Watched:
    """A context in which signals are turned into calls and flags. Outside the main thread it does nothing (signal(7))."""

    def __init__(self, stop: Callable[[int], None], wake: Callable[[], None], *, talkative: bool = True) -> None:
        self._stop, self._wake = stop, wake
        self._talkative = talkative
        self._before: dict[int, Any] = {}
        self.asked_what_runs = self.asked_to_pause = False
        self._stops = 0

    def __enter__(self) -> Watched:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in STOPPING:
            self._install(number, self._on_stop)
        if self._talkative:
            self._install(signal.SIGUSR1, self._on_usr1)
            self._install(signal.SIGTSTP, self._on_tstp)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _install(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(number)
        if before is not signal.SIG_IGN and before is not None:
            self._before[number] = signal.signal(number, handler)

    def _on_stop(self, number: int, _: FrameType | None) -> None:
        self._stops += 1
        if self._stops > 2:  # nobody obeys: a function in this very thread, perhaps
            die_by(number)
        self._stop(number)

    def _on_usr1(self, _number: int, _: FrameType | None) -> None:
        self.asked_what_runs = True
        self._wake()

    def _on_tstp(self, _number: int, _: FrameType | None) -> None:
        self.asked_to_pause = True
        self._wake()


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
        multiprocessing._run_finalizers()  # its temporary folder: what ends by a signal runs no atexit
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.raise_signal(number)
    os._exit(128 + number)
