"""Which services have failed, with their last lines: as systemd knows them, else as syslog files tell."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from manyhands.admin.report import counted, report
from manyhands.admin.system_logs import (
    LogLine,
    journal_is_hidden,
    journal_line,
    journal_records,
    moment_of,
    syslog_files,
    syslog_lines,
    text_of,
)
from manyhands.admin.systemd import called, how_it_ended, listed_units, shown_units, since_boot, systemctl_here
from manyhands.core.encoding import iso
from manyhands.core.errors import UsageError
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass
from manyhands.options.admin import ServicesOptions

_FAILURE_RESULT: Final = "d9b373ed55a64feb8242e02dbe79a49c"
"""SD_MESSAGE_UNIT_FAILURE_RESULT of sd-messages(3): a unit has failed; UNIT says which, UNIT_RESULT how."""
_PROPERTIES: Final = "Id,Description,ActiveState,Result,ExecMainCode,ExecMainStatus,StateChangeTimestampMonotonic"
_AFTER: Final = 0.2
"""Seconds in which systemd tells of the failure, when it has noted it."""
_MORE: Final = 20
"""Lines that may follow within the same second."""
_TELLS: Final = re.compile(
    r"\b(?:fail(?:ed|ure|s)?(?! (?:password|publickey|none))|fatal|panic|segfault|core dumped|killed process|out of memory"
    r"|aborted|crash(?:ed)?|exited with (?:exit )?(?:status|code):? [1-9])\b",
    re.IGNORECASE,
)
"""What a line has that tells of a failure; wrong passwords are none of a service."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of its log."""

    at: str | None
    program: str
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit that has failed. ``state``: its present one, failed or that of one which was started again; ``since``: when it failed
    last; ``failures``: how often since ``--since``; ``why``: how it ended. Without systemd: a program whose lines tell of failures,
    ``failures`` counts them, and ``state``, ``why`` and ``description`` are not known."""

    unit: str
    description: str | None
    state: str | None
    since: str | None
    failures: int
    why: str | None
    lines: tuple[Line, ...]
    level: Level


def services(options: ServicesOptions) -> int:
    """Print what has failed."""
    now = time.time()
    since = now - parse_duration(options.since, "--since")
    if options.lines < 0:
        raise UsageError(f"--lines {options.lines}: expected 0 or more")
    systemctl = None if options.log else systemctl_here()
    if systemctl:
        rows = _units(systemctl, since, options.lines)
        failed = sum(row.level is Level.CRITICAL for row in rows)
        summary = f"{counted(failed, 'unit')} failed"
        summary += f", {len(rows) - failed} more since {_short(iso(since))}" if len(rows) > failed else ""
        summary += "; earlier ones are not known: the journal may not be read" if journal_is_hidden() else ""
    else:
        files = options.log or syslog_files(since)
        rows = _programs(syslog_lines(files, since, now), options.lines)
        summary = "" if options.log else "there is no systemd here; "
        summary += f"{counted(len(rows), 'program')} told of failures in {', '.join(files) or 'no file since'}"
    return report(
        rows,
        schema="service",
        summary=summary,
        header=("unit", "state", "since", "failures", "why"),
        cells=lambda row: (row.unit, row.state or "?", _short(row.since), row.failures, row.why or ""),
        notes=lambda row: [f"{_short(line.at)} {line.program}: {line.text}" for line in row.lines],
        right=("failures",),
        json=options.json,
    )


def _short(moment: str | None) -> str:
    """``11-26 06:00``"""
    return (moment or "")[5:16].replace("T", " ")


# -- systemd -------------------------------------------------------------------------------------------------------------


def _units(systemctl: Any, since: float, count: int) -> list[Failed]:
    """Those that are failed now, whenever that was, and those that have failed since."""
    records = journal_records(f"MESSAGE_ID={_FAILURE_RESULT}", fields="UNIT,UNIT_RESULT", since=since)
    ended = [(text_of(one.get("UNIT")), one) for one in records]  # those of a user's own systemd have no UNIT
    last, counts = {unit: record for unit, record in ended if unit}, Counter(unit for unit, _ in ended)
    listed = called(systemctl, "list-units", "--failed", "--all", "--output=json", "--no-pager")
    names = list(dict.fromkeys([*(str(one["unit"]) for one in listed_units(listed)), *last]))
    return [
        _unit(name, shown, last.get(name), counts[name], count)
        for name, shown in zip(names, shown_units(systemctl, names, _PROPERTIES), strict=True)
    ]


def _unit(name: str, shown: Mapping[str, str], record: dict[str, Any] | None, failures: int, count: int) -> Failed:
    state = shown.get("ActiveState", "?")
    when = moment_of(record) if record else since_boot(shown.get("StateChangeTimestampMonotonic", ""))
    why = how_it_ended(shown) if state == "failed" else text_of(record.get("UNIT_RESULT")) if record else None
    lines = _last_lines(name, when, count) if count else ()
    level = Level.CRITICAL if state == "failed" else Level.WARNING
    return Failed(name, shown.get("Description"), state, iso(when), failures, why, lines, level)


def _last_lines(unit: str, when: float | None, count: int) -> tuple[Line, ...]:
    """Up to the failure: what it says when it is up again is something else."""
    until = None if when is None else when + _AFTER
    wanted = f"--unit={unit}", f"--lines={count + _MORE}"
    lines = map(journal_line, journal_records(*wanted, fields="MESSAGE,SYSLOG_IDENTIFIER,_COMM", until=until))
    return tuple(_line(line) for line in lines if until is None or line.at <= until)[-count:]


def _line(line: LogLine) -> Line:
    return Line(iso(line.at), line.program, line.text)


# -- syslog --------------------------------------------------------------------------------------------------------------


def _programs(lines: Iterable[LogLine], count: int) -> list[Failed]:
    """Each program with lines that tell of failures, and the last of these."""
    last: dict[str, deque[LogLine]] = {}
    counts: Counter[str] = Counter()
    for line in lines:
        if _TELLS.search(line.text):
            counts[line.program] += 1
            last.setdefault(line.program, deque(maxlen=max(count, 1))).append(line)
    return [
        Failed(name, None, None, iso(found[-1].at), counts[name], None, tuple(map(_line, found))[:count], Level.WARNING)
        for name, found in sorted(last.items(), key=lambda one: -one[1][-1].at)
    ]
