"""Showing the same thing again and again: in place on a terminal, as watch(1) does; one after another elsewhere."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count

from manyhands.render.words import duration

Look = Callable[[], Iterable[str]]
"""What gives the lines of one look, harmless already."""


Key = Callable[[str], bool]
"""Takes a key that was pressed; False ends it."""


def repeat(look: Look, *, every: float, times: int | None = None, in_place: bool = True, key: Key | None = None) -> None:
    """Show what ``look`` gives, every ``every`` seconds from start to start, ``times`` times, or until an exception such as
    KeyboardInterrupt, which passes through. ``in_place`` False: one after another also on a terminal. On a terminal ``key`` is
    given each key, and the next look comes at once; without it, q ends it."""
    if in_place and sys.stdout.isatty():
        _in_place(look, every, times, key or (lambda pressed: pressed not in ("q", "Q")))
        return
    for number in _paced(every, times):
        if number > 1 and in_place:
            sys.stdout.write("\n")
        sys.stdout.writelines(line + "\n" for line in look())
        sys.stdout.flush()


def _paced(every: float, times: int | None) -> Iterator[int]:
    """1, 2, 3 ..., each when its time has come; a look that took too long does not make the next ones hurry."""
    number, due = 1, time.monotonic()
    while True:
        yield number
        if number == times:
            return
        due = max(due + every, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1


def _in_place(look: Look, every: float, times: int | None, key: Key) -> None:
    """On the terminal's second page; when it is over the first comes back, with the last look."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    lines: list[str] = []
    try:
        with _keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
            for number in count(1):
                due, lines = time.monotonic() + every, list(look())[: console.height - 1]
                clock = f"{time.strftime('%H:%M:%S')}  every {duration(every)}"
                shown = [clock.rjust(console.width), *lines]
                live.update(Text("\n".join(shown), no_wrap=True, overflow="crop"), refresh=True)
                if number == times or not all(map(key, _pressed(keyboard, due))):
                    return
    finally:
        sys.stdout.writelines(line + "\n" for line in lines)
        sys.stdout.flush()


@contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input so that each key comes at once and is not shown; None if it is no terminal, or not ours to change."""
    terminal = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
    if terminal is None or not _is_ours(terminal):
        yield None
        return
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _is_ours(terminal: int) -> bool:
    """Whether we are in the foreground; from the background, changing it would stop us (tcsetattr(3), SIGTTOU)."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not our controlling terminal: nobody else is in its foreground
        return True


def _pressed(keyboard: int | None, due: float) -> str:
    """What is typed until ``due``; empty when the time has come first."""
    rest = max(0.0, due - time.monotonic())
    if keyboard is None:
        time.sleep(rest)
        return ""
    if not select.select([keyboard], [], [], rest)[0]:
        return ""
    return os.read(keyboard, 64).decode("utf-8", "replace") or "q"  # nothing: the terminal is gone
