"""Cron jobs and timers: what ran last, what failed or did not begin, what is next; of systemd, cron and anacron.

systemctl --> timers, and how their services ended
crontabs  --> cron jobs --cronsim--> when they are due; the log --> when they began, and which failed
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from manyhands.admin.cron_log import Began, CronLog, cron_log
from manyhands.admin.crontabs import AnacronJob, CronJob, Crontabs, anacron_jobs, crontabs, due, jobs_in
from manyhands.admin.programs import ProgramError, program
from manyhands.admin.report import counted, report
from manyhands.admin.system_logs import journal_is_hidden
from manyhands.admin.systemd import called, how_it_ended, listed_units, shown_units, systemctl_here
from manyhands.core.encoding import iso
from manyhands.core.extras import install_line
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass
from manyhands.options.admin import TimersOptions
from manyhands.processes.listing import Selector, list_processes

_DAEMONS: Final = ("cron", "crond")
_GRACE: Final = 120.0
"""Seconds after which a job that has not begun is missed: cron looks once a minute."""
_PROPERTIES: Final = "Id,ActiveState,Result,ExecMainCode,ExecMainStatus"


@dataclass(frozen=True, slots=True)
class Timer:
    """A job that runs by itself. ``kind``: systemd, cron or anacron; ``name``: the timer, the file and line, the job of anacron;
    ``schedule``: of cron its five fields; ``command``: what is run, of systemd a unit; ``last``: when it last began, as far as is
    known; ``next``: when it will; ``problem``: what is wrong with it."""

    kind: str
    name: str
    schedule: str | None
    command: str
    user: str | None
    last: str | None
    next: str | None
    problem: str | None
    level: Level


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon of cron. ``started``: since when it runs, None: it does not; ``installed``: it is here."""

    started: float | None
    installed: bool


def timers(options: TimersOptions) -> int:
    """Print all jobs that run by themselves."""
    now = time.time()
    since = now - parse_duration(options.since, "--since")
    here = os.path.samefile(options.root, "/")
    systemctl = systemctl_here() if here else None
    tables = crontabs(Path(options.root))
    rows = _of_systemd(systemctl) if systemctl else []
    daemon = Daemon(0.0, True)
    if tables.jobs or tables.unread:
        if here:
            tables, daemon = _with_own(tables), _daemon()
        log = cron_log(since, now, root=options.root, journal=systemctl is not None)
        rows += [_of_cron(job, log, daemon, now) for job in tables.jobs]
    rows += [_of_anacron(job, now) for job in anacron_jobs(Path(options.root))]
    rows.sort(key=lambda row: row.next or "~")
    return report(
        rows,
        schema="timer",
        summary="; ".join([_counts(rows), *_notes(rows, tables, daemon, systemd=systemctl is not None, here=here)]),
        header=("last", "next", "problem", "user", "job"),
        cells=lambda row: (_short(row.last), _short(row.next), row.problem or "", row.user or "", _job(row)),
        json=options.json,
    )


def _counts(rows: Sequence[Timer]) -> str:
    failed, warned = (sum(row.level is level for row in rows) for level in (Level.CRITICAL, Level.WARNING))
    said = f"{failed} of {counted(len(rows), 'job')} failed"
    said += f", {warned} more with a problem" if warned else ""
    return said + (f", the next begins {_short(rows[0].next)}" if rows and rows[0].next else "")


def _notes(rows: Sequence[Timer], tables: Crontabs, daemon: Daemon, *, systemd: bool, here: bool) -> Iterator[str]:
    if here and not systemd:
        yield "there is no systemd here"
    if tables.jobs and daemon.started is None:
        yield f"no cron runs, so {len(tables.jobs)} of them never begin"
    if tables.jobs and systemd and journal_is_hidden():
        yield "when jobs of cron began is not known: the journal may not be read"
    if tables.unread:
        yield f"{counted(len(tables.unread), 'crontab or folder', 'crontabs or folders')} may not be read"
    if any(row.kind == "cron" for row in rows) and not find_spec("cronsim"):
        yield f"for the next times of cron: {install_line('timers')}"


def _short(moment: str | None) -> str:
    """``11-26 06:00``"""
    return (moment or "")[5:16].replace("T", " ")


def _job(row: Timer) -> str:
    same = row.kind == "systemd" and row.command == row.name.removesuffix(".timer") + ".service"
    return row.name if same else f"{row.name}: {row.command}"


# -- systemd -------------------------------------------------------------------------------------------------------------


def _of_systemd(systemctl: Any) -> list[Timer]:
    """Its timers, and how what they start has ended."""
    listed = listed_units(called(systemctl, "list-timers", "--all", "--output=json", "--no-pager"))
    units = list(dict.fromkeys(str(one["activates"]) for one in listed if one.get("activates")))
    shown = dict(zip(units, shown_units(systemctl, units, _PROPERTIES), strict=True))
    rows = []
    for one in listed:
        command = str(one.get("activates") or "")
        service = shown.get(command, {})
        problem = how_it_ended(service) if service.get("ActiveState") == "failed" else None
        last, following = (iso(one[key] / 1e6) if one.get(key) else None for key in ("last", "next"))
        level = Level.CRITICAL if problem else Level.OK
        rows.append(Timer("systemd", str(one["unit"]), None, command, None, last, following, problem, level))
    return rows


# -- cron ----------------------------------------------------------------------------------------------------------------


def _with_own(tables: Crontabs) -> Crontabs:
    """With the own crontab, which its owner may list, but not read."""
    jobs: list[CronJob] = []
    if tables.unread:
        import sh

        with suppress(ProgramError, sh.ErrorReturnCode):  # it fails if there is none
            text = program("crontab", package="cron")("-l")
            jobs = list(jobs_in(text, "crontab -l", pwd.getpwuid(os.geteuid()).pw_name))
    return Crontabs(tables.jobs + jobs, tables.unread)


def _daemon() -> Daemon:
    for process in list_processes(Selector(names=_DAEMONS)):
        return Daemon(process.started, True)
    for name in _DAEMONS:
        with suppress(ProgramError):
            program(name, package="cron")
            return Daemon(None, True)
    return Daemon(None, False)


def _of_cron(job: CronJob, log: CronLog, daemon: Daemon, now: float) -> Timer:
    began = log.began.get((job.user, job.command))
    following, problem = None, job.problem
    level = Level.WARNING if problem else Level.OK
    if problem is None and daemon.started is None:
        problem, level = "no cron", Level.WARNING if daemon.installed else Level.OK
    elif problem is None:
        before, following = _due(job, now)
        if began and began.failure:
            problem, level = began.failure, Level.CRITICAL
        elif before is not None and _is_missed(before, job, began, log, daemon):
            problem, level = f"not begun {_short(iso(before))}", Level.WARNING
    last = iso(began.at) if began else None
    name = f"{job.file}:{job.line}"
    return Timer("cron", name, job.schedule, job.command, job.user, last, iso(following), problem, level)


def _due(job: CronJob, now: float) -> tuple[float | None, float | None]:
    """When it should have begun last, and when it is next; None, if that is not known."""
    if job.schedule == "@reboot":
        return None, None
    try:
        return due(job.schedule, now - _GRACE, job.zone)[0], due(job.schedule, now, job.zone)[1]
    except ImportError:  # cronsim is not installed
        return None, None


def _is_missed(before: float, job: CronJob, began: Began | None, log: CronLog, daemon: Daemon) -> bool:
    """Whether it was due when cron ran, and logged, and had this line, and it has not begun since."""
    if log.first is None or before <= max(log.first, daemon.started or 0.0, job.changed):
        return False
    return began is None or began.at < before - 1


# -- anacron -------------------------------------------------------------------------------------------------------------


def _of_anacron(job: AnacronJob, now: float) -> Timer:
    last = following = problem = None
    if job.last:
        last, days = iso(job.last.timestamp()), (datetime.fromtimestamp(now) - job.last).days
        following = None if days >= job.days else iso((job.last + timedelta(days=job.days)).timestamp())
        problem = f"not run for {days} days" if days > job.days + 1 else None
    level = Level.WARNING if problem else Level.OK
    return Timer("anacron", job.name, None, job.command, "root", last, following, problem, level)
