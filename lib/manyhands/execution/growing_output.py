"""What running commands print, as it grows: read from the files of their slots, line by line.

    Began --> RUN/outputs/.slot-3.out --look--> Printed(whole lines) ... Finished --rest--> Printed(what is left of it)

A slot is used by the next command as soon as one has ended, and this process hears of that later. So what was read counts only if the
command's process is still there afterwards: a launcher begins nothing in a slot before it has collected the process that had it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.core.events import Began, Finished, Printed
from manyhands.core.job import NOTHING, Output
from manyhands.core.kept_file import opened
from manyhands.posix import linux

_BLOCK: Final = 1 << 18
"""Bytes that are read of a stream at one look."""
_LONGEST: Final = 1 << 16
"""Bytes of a line that are held back until it ends."""


class GrowingOutput:
    """``folders``: the outputs of each stage of the run. Only commands on this machine print into files that can be read here."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._running: dict[tuple[int, int], _Growing] = {}

    def began(self, event: Began) -> None:
        """Look at this attempt from now on."""
        if event.host is None and event.pid:
            self._running[event.stage, event.attempt.job.number] = _Growing(event, self._folders[event.stage - 1])

    def look(self) -> Iterator[Printed]:
        """What has been printed since the last look."""
        for one in self._running.values():
            if more := one.look():
                yield more

    def rest(self, event: Finished) -> Iterator[Printed]:
        """What an attempt that has ended has printed since. Raises ManyhandsError if a file of it is gone."""
        one = self._running.pop((event.stage, event.outcome.attempt.job.number), None)
        if one is None or one.event.attempt.number != event.outcome.attempt.number:
            one = None
        done = one.done if one else [0, 0]
        for stream, printed in enumerate((event.outcome.stdout, event.outcome.stderr)):
            for block in _from(printed, done[stream]):
                pair = (_output(block), NOTHING) if stream == 0 else (NOTHING, _output(block))
                yield Printed(event.outcome.attempt, *pair, event.stage)


class _Growing:
    """One attempt that runs, and how much of its output has been passed on."""

    def __init__(self, event: Began, outputs: Path) -> None:
        self.event, self.done = event, [0, 0]
        self._paths = [outputs / f".slot-{event.slot}.{end}" for end in ("out", "err")]
        stat = linux.read_stat(event.pid)
        self._start = stat.start if stat else None

    def look(self) -> Printed | None:
        found = [_lines(_read(path, done)) for path, done in zip(self._paths, self.done, strict=True)]
        stat = linux.read_stat(self.event.pid)
        if not any(found) or stat is None or stat.start != self._start:
            return None
        self.done = [done + len(data) for done, data in zip(self.done, found, strict=True)]
        return Printed(self.event.attempt, _output(found[0]), _output(found[1]), self.event.stage)


def _output(data: bytes) -> Output:
    return Output(data, None, len(data)) if data else NOTHING


def _lines(data: bytes) -> bytes:
    """The whole lines at its beginning; all of it if a line is too long to wait for its end."""
    end = data.rfind(b"\n") + 1
    return data[:end] if end or len(data) < _LONGEST else data


def _read(path: Path, offset: int) -> bytes:
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(file, _BLOCK, offset)
        finally:
            os.close(file)
    return b""


def _from(printed: Output, offset: int) -> Iterator[bytes]:
    """An output from its byte ``offset`` on, piece by piece."""
    if printed.path is None:
        if len(printed.data) > offset:
            yield printed.data[offset:]
        return
    with opened(printed.path) as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            yield block
