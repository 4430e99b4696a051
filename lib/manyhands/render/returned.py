"""What functions return and raise, as all ways of showing a run have it: a line of JSON, a traceback once for each kind of error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Output
from manyhands.core.patterns import pattern
from manyhands.core.safe_text import harmless, one_line
from manyhands.core.serialization import description, is_pickle
from manyhands.storage import output

_FRAME: Final = pattern(r'^  File "(.*)", line (\d+)', re.MULTILINE)
_KINDS: Final = 20
"""Kinds of errors whose traceback is shown; a function that has more has worse problems."""


def returned(outcome: Outcome) -> Output | None:
    """What a function returned as a line of output; None for commands, and for None, which says nothing.

    A value that is kept as a pickle is shown by its description, as a JSON string.
    """
    if outcome.result is None or outcome.result == b"null" or not outcome.ok:
        return None
    line = (json.dumps(description(outcome.result)).encode() if is_pickle(outcome.result) else outcome.result) + b"\n"
    if outcome.stdout.size:
        try:
            last = b"".join(output.tail(outcome.stdout, 1, 1)[-1:])
            line = line if last in (b"", b"\n") else b"\n" + line
        except ManyhandsError:  # its file was removed, which is reported elsewhere
            pass
    return Output(line, size=len(line))


class Raised:
    """Exceptions of a run, told apart by their type and place."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def traceback(self, outcome: Outcome) -> Iterator[str]:
        """The lines of the traceback, harmless, if this is the first of its kind; what was said before is left out."""
        if not outcome.traceback:
            return
        kind = _kind(outcome)
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] == 1 and len(self._seen) <= _KINDS:
            lines = outcome.traceback.splitlines()
            # The last line is the error, which has been shown; it is not the last one if notes or more lines follow.
            for line in lines[:-1] if outcome.error and lines[-1].endswith(outcome.error[-40:]) else lines:
                yield "  " + harmless(line)

    def told(self) -> Iterator[str]:
        """One line for each kind that came more than once."""
        for (name, place), number in self._seen.items():
            if number > 1:
                yield f"{number:,} times {name}{place}"


def _kind(outcome: Outcome) -> tuple[str, str]:
    """(name of the exception, where it was raised)."""
    name = (outcome.error or "").partition(":")[0]
    frames = _FRAME.findall(outcome.traceback or "")
    place = f" at {frames[-1][0].rpartition('/')[2]}, line {frames[-1][1]}" if frames else ""
    return one_line(name, 80), one_line(place, 120)
