"""Showing the same thing again and again: in place on a terminal, as watch(1) does; one after another elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from manyhands.render.words import duration

Look = Callable[[], Iterable[str]]
"""What gives the lines of one look, harmless already."""


def repeat(look: Look, *, every: float, times: int | None = None, in_place: bool = True) -> None:
    """Show what ``look`` gives, every ``every`` seconds from start to start, ``times`` times, or until an exception such as
    KeyboardInterrupt, which passes through. ``in_place`` False: one after another also on a terminal."""
    if in_place and sys.stdout.isatty():
        _in_place(look, every, times)
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


def _in_place(look: Look, every: float, times: int | None) -> None:
    """On the terminal's second page; when it is over the first comes back, with the last look."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    lines: list[str] = []
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for _ in _paced(every, times):
                lines = list(look())
                clock = f"{time.strftime('%H:%M:%S')}  every {duration(every)}"
                shown = [clock.rjust(console.width), *lines[: console.height - 1]]
                live.update(Text("\n".join(shown), no_wrap=True, overflow="crop"), refresh=True)
    finally:
        sys.stdout.writelines(line + "\n" for line in lines)
        sys.stdout.flush()
