"""Lines of the system's logs: of systemd's journal, or of the files that a syslog daemon writes."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from manyhands.admin.programs import failure, program
from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass

SYSLOG_FILES: Final = (
    "var/log/syslog",
    "var/log/messages",
    "var/log/daemon.log",
    "var/log/cron.log",
    "var/log/cron",
)
"""Where syslog daemons write what services and cron tell: of Debian and its descendants, of Red Hat, Alpine and SUSE."""
_JOURNALS: Final = ("/var/log/journal", "/run/log/journal")
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_LINE: Final = re.compile(
    r"(?:<\d+>)?(?:(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"
    rf"|(?P<month>{'|'.join(_MONTHS)}) (?P<day>[ \d]\d) (?P<clock>\d\d:\d\d:\d\d)) "
    r"\S+ (?:[a-z0-7]+\.[a-z]+ )?(?P<program>[^\s:\[]+)(?:\[(?P<pid>\d+)\])?: ?(?P<text>.*)"
)
"""As rsyslog writes it by default (RFC 3339 since version 8.2210), as RFC 3164 says, and as busybox does, with the priority."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """``at``: seconds since the epoch; ``program`` and ``pid``: who says so."""

    at: float
    program: str
    text: str
    pid: int | None = None


def syslog_lines(files: Iterable[str], since: float, now: float) -> Iterator[LogLine]:
    """What the files tell from ``since`` on. Raises OSError for one that cannot be read."""
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if (match := _LINE.match(line)) and (at := _moment(match, now)) is not None and at >= since:
                    pid = int(match["pid"]) if match["pid"] else None
                    yield LogLine(at, match["program"], match["text"], pid)


def syslog_files(since: float, root: str = "/") -> list[str]:
    """Those that are here, and that were written to since; with each the one before it, which was renamed when it began."""
    found = [Path(root, path) for name in SYSLOG_FILES for path in (f"{name}.1", name)]
    files = [path for path in found if path.is_file()]
    if not files:
        raise ManyhandsError(
            f"there is no systemd here, and no file of a syslog daemon ({Path(root, SYSLOG_FILES[0])}, ...)"
        )
    return [str(path) for path in files if path.stat().st_mtime >= since]


def _moment(match: re.Match[str], now: float) -> float | None:
    """A moment without a year is the last one of this name; None: there is no such day."""
    try:
        if match["iso"]:
            return datetime.fromisoformat(match["iso"]).timestamp()
        today = datetime.fromtimestamp(now)
        hour, minute, second = map(int, match["clock"].split(":"))
        month = _MONTHS.index(match["month"]) + 1
        found = datetime(today.year, month, int(match["day"]), hour, minute, second)
        if found > today + timedelta(days=1):  # a clock may be a little wrong
            found = found.replace(year=today.year - 1)
        return found.timestamp()
    except ValueError:
        return None


def journal_records(
    *wanted: str, fields: str, since: float | None = None, until: float | None = None
) -> list[dict[str, Any]]:
    """What journalctl has, in the order of time, as it writes it: systemd.journal-fields(7); the moment is always among the fields.
    Moments are rounded to whole seconds, to the outside. Nothing, if `journal_is_hidden`. Raises ProgramError."""
    import sh

    limits = [] if since is None else [f"--since=@{math.floor(since)}"]
    limits += [] if until is None else [f"--until=@{math.ceil(until)}"]
    journalctl = program("journalctl", package="systemd")
    try:
        said = journalctl("--output=json", "--no-pager", "--quiet", f"--output-fields={fields}", *limits, *wanted)
    except sh.ErrorReturnCode as error:
        if journal_is_hidden():
            return []
        raise failure(error) from None
    return [json.loads(line) for line in said.splitlines() if line.strip()]


def journal_is_hidden() -> bool:
    """Whether there is a journal of the system that we may not read: root and the group systemd-journal may."""
    return any(not os.access(path, os.R_OK) for folder in _JOURNALS for path in Path(folder).glob("*/system.journal"))


def journal_line(record: dict[str, Any]) -> LogLine:
    """The line of a record."""
    name = text_of(record.get("SYSLOG_IDENTIFIER")) or text_of(record.get("_COMM")) or "?"
    pid = text_of(record.get("SYSLOG_PID")) or text_of(record.get("_PID"))
    return LogLine(moment_of(record), name, text_of(record.get("MESSAGE")), int(pid) if pid.isdigit() else None)


def moment_of(record: dict[str, Any]) -> float:
    """When journald got it, in seconds since the epoch."""
    return int(record["__REALTIME_TIMESTAMP"]) / 1e6


def text_of(value: str | Sequence[Any] | None) -> str:
    """The value of a field: bytes that are no text are a list of numbers, a field that is there several times a list of values, and
    what is longer than 4096 bytes is null."""
    if isinstance(value, list):
        numbers = all(isinstance(one, int) for one in value)
        return bytes(value).decode(errors="replace") if numbers else text_of(value[-1])
    return value if isinstance(value, str) else ""
