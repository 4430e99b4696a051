"""Reading what an attempt printed, whether it is held in memory or in a file of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from manyhands.errors import ManyhandsError
from manyhands.job import Output

_BLOCK: Final = 1 << 20


def chunks(output: Output) -> Iterator[bytes]:
    """All of it, in pieces of at most 1 MiB."""
    if output.path is None:
        if output.data:
            yield output.data
        return
    try:
        with open(output.path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                yield block
    except FileNotFoundError:
        raise ManyhandsError(f"the output kept in {output.path} is gone") from None


def read(output: Output, limit: int | None = None) -> bytes:
    """All of it, or its first ``limit`` bytes."""
    found = b""
    for chunk in chunks(output):
        found += chunk
        if limit is not None and len(found) >= limit:
            return found[:limit]
    return found


def tail(output: Output, lines: int, limit: int = 1 << 16) -> list[bytes]:
    """Its last lines, looked for in its last ``limit`` bytes."""
    if output.path is None:
        return output.data[-limit:].splitlines()[-lines:]
    try:
        with open(output.path, "rb", buffering=0) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            return file.read(limit).splitlines()[-lines:]
    except FileNotFoundError:
        return []
