"""Results that a launcher or worker could not report, because the coordinator was killed: stored in the run's folder for a resume.

    launcher, worker --coordinator is gone--> RUN/outputs/.late-N --resume--> journal

Results are sent and committed in groups. A job whose result was on its way when the coordinator died has ended, and must not run
again. So every launcher and worker keeps its latest results in memory, and writes them to a file before it exits. The file is JSON,
because the resume may use another version of Python; json is imported where it is used, because every launcher imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from manyhands.backends.shared.measured import Measured
from manyhands.backends.shared.slot import Captured
from manyhands.core.lean import TYPE_CHECKING, Any, Final, NamedTuple, suppress

if TYPE_CHECKING:
    from pathlib import Path


class OrphanResult(NamedTuple):
    """The result of one attempt, as the launcher or worker knows it."""

    job: int
    attempt: int
    began: bool
    measured: Measured


def write(folder: bytes, index: int, ends: list[OrphanResult]) -> None:
    """Store ``ends`` durably for a resume of the run. If the disk is full, these jobs only run again."""
    import json

    from manyhands.core.encoding import keep_bytes

    path = b"%s/.late-%d" % (folder, index)
    with (
        suppress(OSError),
        open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as file,
    ):
        for end in ends:
            one = end.measured
            result: Any = None if one.result is None else keep_bytes(one.result)
            plain = one._replace(stdout=_plain(one.stdout), stderr=_plain(one.stderr), result=result)
            file.write(json.dumps((end.job, end.attempt, *plain[:3], end.began, *plain[3:])) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Iterator[OrphanResult]:
    """The results that launchers or workers of a killed coordinator stored. Invalid lines are skipped: their jobs run again."""
    for path in sorted(folder.glob(".late-*")):
        if path.is_symlink() or not path.is_file():
            continue
        for line in path.read_bytes().splitlines():
            if (end := _parsed(line)) is not None:
                yield end


def _parsed(line: bytes) -> OrphanResult | None:
    import json

    from manyhands.core.encoding import kept_bytes

    try:
        job, attempt, exit_, signal, error, began, *more = json.loads(line)
        one = Measured(exit_, signal, error, *more)
        result: Any = one.result
        one = one._replace(
            stdout=_captured(one.stdout),
            stderr=_captured(one.stderr),
            result=None if result is None else kept_bytes(result),
        )
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    fields = {"job": job, "attempt": attempt, "began": began, **one._asdict()}
    right = all(type(value) in _TYPES.get(name, (type(value),)) for name, value in fields.items())
    small = all(abs(value) < 1 << 63 for value in fields.values() if isinstance(value, (int, float)))
    return OrphanResult(job, attempt, began, one) if right and small else None


_NUMBER = (int, float)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "job": (int,),
    "attempt": (int,),
    "exit": (int, type(None)),
    "signal": (int, type(None)),
    "error": (str, type(None)),
    "began": (bool,),
    "started": _NUMBER,
    "wall": _NUMBER,
    "user": _NUMBER,
    "system": _NUMBER,
    "max_rss": (int,),
    "slot": (int,),
    "leftovers": (int,),
    "traceback": (str, type(None)),
}


def forget(folder: Path) -> None:
    """Remove the files, once their results are in the journal."""
    for path in folder.glob(".late-*"):
        if path.is_symlink() or path.is_file():
            path.unlink()


def _plain(captured: Captured) -> Any:
    import base64

    data, path, size, dropped = captured
    return [base64.b64encode(data).decode(), os.fsdecode(path) if path else None, size, dropped]


def _captured(plain: Any) -> Captured:
    import base64

    data, path, size, dropped = plain
    if type(size) is not int or type(dropped) is not int or not 0 <= dropped <= size < 1 << 63:
        raise ValueError("the size of an output is invalid")
    return base64.b64decode(data), os.fsencode(path) if path else None, size, dropped
