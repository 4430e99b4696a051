"""What the log tells of cron: when each job last began, and which failed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from manyhands.admin.system_logs import LogLine, journal_line, journal_records, syslog_files, syslog_lines
from manyhands.core.errors import ManyhandsError

_LOGGERS: Final = ("CRON", "CROND", "cron", "crond")
_BEGAN: Final = re.compile(r"\((?P<user>[^()]*)\) CMD \((?:\[\d+\] )?(?P<command>.*)\)")
"""As Vixie's cron and cronie log it, with the pid of the command as their own."""
_BEGAN_BUSYBOX: Final = re.compile(r"USER (?P<user>\S+) pid +(?P<pid>\d+) cmd (?P<command>.*)")
_FAILED: Final = re.compile(
    r"grandchild #(?P<pid>\d+) (?:failed with (?P<status>exit status \d+)|terminated by (?P<signal>signal \d+))"
)
"""As Debian's cron logs it, if it is started with -L 4 or more of cron(8)."""


class Began(NamedTuple):
    """A job has begun; ``failure``: how it failed, if that is known."""

    at: float
    pid: int | None
    failure: str | None


class CronLog(NamedTuple):
    """``began``: the last start of each (user, command); ``first``: the oldest line of cron, None: there is none."""

    began: dict[tuple[str, str], Began]
    first: float | None


def cron_log(since: float, now: float, *, root: str, journal: bool) -> CronLog:
    """From the journal of systemd, or from files of a syslog daemon below ``root``; nothing if there are none. Raises OSError for a file
    that cannot be read, ProgramError for a journal."""
    if journal:
        wanted = [f"--identifier={name}" for name in _LOGGERS]
        records = journal_records(*wanted, fields="MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID", since=since)
        return told_by(map(journal_line, records))
    try:
        files = syslog_files(since, root)
    except ManyhandsError:
        return CronLog({}, None)
    return told_by(syslog_lines(files, since, now))


def told_by(lines: Iterable[LogLine]) -> CronLog:
    """What lines tell, in the order of time; those of other programs are left out."""
    began: dict[tuple[str, str], Began] = {}
    by_pid: dict[int, tuple[str, str]] = {}
    first = None
    for line in lines:
        if line.program not in _LOGGERS:
            continue
        first = line.at if first is None else first
        if match := _BEGAN.fullmatch(line.text) or _BEGAN_BUSYBOX.fullmatch(line.text):
            key = match["user"], match["command"].strip()
            pid = int(match["pid"]) if "pid" in match.re.groupindex else line.pid
            began[key] = Began(line.at, pid, None)
            if pid is not None:
                by_pid[pid] = key
        elif match := _FAILED.search(line.text):
            pid = int(match["pid"])
            key = by_pid.get(pid, ("", ""))
            if key in began and began[key].pid == pid:
                began[key] = began[key]._replace(failure=match["status"] or match["signal"])
    return CronLog(began, first)
