"""Ends that a launcher or worker could not tell, because the coordinator was killed: kept in the run's folder for the next one.

    launcher, worker --coordinator is gone--> RUN/outputs/.late-N --resume--> journal

Results travel and are committed in groups; what was on its way when the coordinator died has ended all the same, and must not
run again. So each of them remembers its latest results, and writes them down before it leaves. JSON, because whoever resumes
may run another version of Python; imported where it is used, because every launcher imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from manyhands.backends.slot import Captured

if TYPE_CHECKING:
    from pathlib import Path


class Late(NamedTuple):
    """One end, as it came from the kernel; fields as in `manyhands.backend.Ended`."""

    job: int
    attempt: int
    exit: int | None
    signal: int | None
    error: str | None
    began: bool
    started: float
    wall: float
    user: float
    system: float
    max_rss: int
    stdout: Captured
    stderr: Captured
    slot: int
    leftovers: int
    result: bytes | None = None
    traceback: str | None = None


def write(folder: bytes, index: int, ends: list[Late]) -> None:
    """Keep ``ends`` for whoever resumes the run; durable when it returns. A full disk only means that they run again."""
    import json

    path = b"%s/.late-%d" % (folder, index)
    with (
        suppress(OSError),
        open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as file,
    ):
        for end in ends:
            result: Any = None if end.result is None else end.result.decode()
            plain = end._replace(stdout=_plain(end.stdout), stderr=_plain(end.stderr), result=result)
            file.write(json.dumps(plain) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Iterator[Late]:
    """What the launchers or workers of a killed coordinator have kept. A line that was cut off or damaged is left out, with
    what follows it in its file: those jobs run again."""
    for path in sorted(folder.glob(".late-*")):
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                end = _end(line)
            except (ValueError, TypeError, RecursionError):
                break
            yield end


def _end(line: bytes) -> Late:
    """The end that a line tells. Raises ValueError or TypeError for what `write` cannot have written."""
    import json

    end = Late(*json.loads(line))
    numbers = (end.started, end.wall, end.user, end.system)
    if not (
        all(type(one) is int for one in (end.job, end.attempt, end.max_rss, end.slot, end.leftovers))
        and all(one is None or type(one) is int for one in (end.exit, end.signal))
        and all(isinstance(one, str | None) for one in (end.error, end.result, end.traceback))
        and all(type(one) in (int, float) for one in numbers)
        and type(end.began) is bool
    ):
        raise TypeError("not an end")
    result: Any = end.result
    return end._replace(
        stdout=_captured(end.stdout), stderr=_captured(end.stderr), result=None if result is None else result.encode()
    )


def forget(folder: Path) -> None:
    """Remove what has been read, once it is in the journal."""
    for path in folder.glob(".late-*"):
        path.unlink()


def _plain(captured: Captured) -> Any:
    import base64

    data, path, size, dropped = captured
    return [base64.b64encode(data).decode(), os.fsdecode(path) if path else None, size, dropped]


def _captured(plain: Any) -> Captured:
    import base64

    data, path, size, dropped = plain
    if not (isinstance(data, str) and isinstance(path, str | None) and type(size) is int and type(dropped) is int):
        raise TypeError("not an output")
    return base64.b64decode(data), os.fsencode(path) if path else None, size, dropped
