"""How long the jobs of an earlier run took, from a file: JSON lines with an ``input`` and its ``wall`` in seconds, as ``batch.export``
writes them with ``--format times``, and with ``jsonl``, too."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from manyhands.core.errors import InputError
from manyhands.core.hints import given_as
from manyhands.core.job import Values

_COUNT: Final = frozenset({"ok", "failed", "timeout"})
"""A job that ended so took as long as it will take again."""


class RecordedTimes:
    """Seconds by input. ``digest``: the SHA-256 of the file."""

    def __init__(self, seconds: Mapping[bytes, float], digest: str) -> None:
        self._seconds, self.digest = seconds, digest

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RecordedTimes:
        """Of an input that is there more than once the last line counts. Raises InputError."""
        name = given_as("--times", os.fspath(path))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}") from None
        seconds: dict[bytes, float] = {}
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                seconds |= _one(line, f"{name}: line {number}")
        return cls(seconds, hashlib.sha256(data).hexdigest())

    def walls(self, jobs: Iterable[Values]) -> list[float]:
        """Seconds of each job; those that are not known count as the median of those that are."""
        found = [self._seconds.get(b"\t".join(values)) for values in jobs]
        known = [wall for wall in found if wall is not None]
        if not known:
            return [1.0] * len(found)
        from statistics import median

        usual = median(known)
        return [usual if wall is None else wall for wall in found]


def _one(line: bytes, where: str) -> dict[bytes, float]:
    """What a line says; nothing if it tells of a job that did not end by itself."""
    try:
        record: Any = json.loads(line)
        given, wall = record["input"], record["wall"]
        if "input_base64" in record:
            found = base64.b64decode(record["input_base64"])
        else:
            found = given.encode("utf-8", "surrogateescape")
        if record.get("status", "ok") not in _COUNT:
            return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{where} is not a JSON object with input and wall, as batch.export writes them") from None
    if type(wall) not in (int, float) or not math.isfinite(wall) or wall < 0:
        raise InputError(f"{where}: wall is {wall!r:.40}, not a number of seconds")
    return {found: float(wall)}
