"""What ``proc.top`` does: what uses most since the last look, again and again, with a title of sums; keys change the order."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from json import dumps
from typing import Final

from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_duration
from manyhands.core.records import replace
from manyhands.handlers.proc import ORDERS, count_of
from manyhands.options.proc import TopOptions
from manyhands.posix.cores import usable_cores
from manyhands.processes.listing import ProcessInfo, list_processes
from manyhands.render.processes import info_record, list_lines
from manyhands.render.refresh import repeat
from manyhands.render.words import duration, size

_KEYS: Final = {"c": "cpu", "m": "memory", "p": "pid", "a": "age"}


def show_top(options: TopOptions) -> int:
    """Show, again and again, what used most since the last look."""
    seconds, most, times = parse_duration(options.every, "--every"), count_of(options.top), options.times
    if not seconds:
        raise UsageError("--every 0: expected more than 0 seconds")
    if times is not None and times < 1:
        raise UsageError(f"--times {times}: expected 1 or more")
    shown = _Top(options.sort, most)
    if options.json:
        repeat(shown.records, every=seconds, times=times, in_place=False)
    else:
        repeat(shown.lines, every=seconds, times=times, key=shown.press)
    return 0


class _Top:
    """What is shown, and in which order."""

    def __init__(self, sort: str, most: int | None) -> None:
        self.sort, self._most = sort, most
        self._before: dict[tuple[int, float], tuple[float, float]] = {}

    def press(self, key: str) -> bool:
        """Take a key; False: it was the one that ends it."""
        self.sort = _KEYS.get(key.lower(), self.sort)
        return key not in ("q", "Q", "\x1b", "\x04")

    def look(self) -> list[ProcessInfo]:
        """All processes, with the CPU that each used since the last look."""
        found, before = [], self._before
        for one in list_processes():
            now = one.started + one.age
            cpu, at = before.get((one.pid, one.started), (one.cpu, one.started if not before else now))
            share = 100 * (one.cpu - cpu) / (now - at) if now > at else 0.0
            found.append(replace(one, percent=one.percent if not before else max(0.0, share)))
        self._before = {(one.pid, one.started): (one.cpu, one.started + one.age) for one in found}
        return sorted(found, key=ORDERS[self.sort])

    def records(self) -> Iterator[str]:
        """A look as JSON lines."""
        return (dumps(info_record(one)) for one in self.look()[: self._most])

    def lines(self) -> Iterator[str]:
        """A look as a title, a line of sums, and a table."""
        found = self.look()
        terminal = sys.stdout.isatty()
        if terminal:
            yield f"proc.top, by {self.sort}: c cpu, m memory, a age, p pid, q quit"
        yield _sums(found)
        yield from list_lines(found[: self._most], shutil.get_terminal_size((80, 24)).columns if terminal else None)


def _sums(found: list[ProcessInfo]) -> str:
    import psutil

    memory, running = psutil.virtual_memory(), sum(one.state == "R" for one in found)
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    up = duration(max((one.age for one in found), default=0.0))
    return (
        f"{len(found)} processes, {running} running; CPU {sum(one.percent for one in found):.0f}% of {100 * usable_cores()}%; "
        f"memory {size(memory.total - memory.available)} of {size(memory.total)}; load {load}; up {up}"
    )
