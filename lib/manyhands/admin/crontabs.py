"""The jobs of cron and anacron, as their files tell (crontab(5), anacrontab(5)), and when they are due."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from manyhands.core.records import dataclass, replace

_NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@reboot": "@reboot",
}
_VARIABLE: Final = re.compile(r"""\s*["']?([A-Za-z_]\w*)["']?\s*=\s*["']?(.*?)["']?\s*$""")
_SPOOLS: Final = ("var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron", "etc/crontabs")
"""Where users' crontabs lie: Debian, SUSE, Red Hat, Alpine."""
_DAYS: Final = {"@daily": 1, "@weekly": 7, "@monthly": 31, "@yearly": 366}


@dataclass(frozen=True, slots=True)
class CronJob:
    """A line of a crontab. ``schedule``: its five fields, or ``@reboot``; ``command``: as cron logs it; ``changed``: when the file was
    modified, in seconds since the epoch; ``zone``: that of CRON_TZ; ``problem``: why cron does not run it."""

    file: str
    line: int
    user: str
    schedule: str
    command: str
    changed: float = 0.0
    zone: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class AnacronJob:
    """A line of anacrontab(5). ``days``: its period; ``last``: the day when it was last run, as midnight."""

    name: str
    days: int
    command: str
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Crontabs:
    """``unread``: files and folders that may not be read."""

    jobs: list[CronJob]
    unread: list[str]


def crontabs(root: Path) -> Crontabs:
    """All jobs of the system below ``root``, which is / unless that of another system is looked at."""
    jobs: list[CronJob] = []
    unread: list[str] = []
    for path, user in _files(root, unread):
        try:
            text, changed = path.read_text(encoding="utf-8", errors="surrogateescape"), path.stat().st_mtime
        except OSError:
            unread.append(str(path))
            continue
        problem = _not_read_by_cron(path, root) if path.parent == root / "etc/cron.d" else None
        found = [_understood(job) for job in jobs_in(text, str(path), user, changed, problem)]
        jobs += _of_debian(found) if (root / "etc/debian_version").exists() else found
    return Crontabs(jobs, unread)


def _files(root: Path, unread: list[str]) -> Iterator[tuple[Path, str | None]]:
    """Each file, and the user that its jobs run as; None: each line says so."""
    if (root / "etc/crontab").exists():
        yield root / "etc/crontab", None
    for path in _listed(root / "etc/cron.d", unread):
        if not path.name.startswith(".") and not re.search(r"~$|\.(?:dpkg|rpm|ucf)[-.\w]*$", path.name):
            yield path, None
    for spool in _SPOOLS:
        for path in _listed(root / spool, unread):
            if path.is_file() and not path.name.startswith("."):
                yield path, path.name


def _listed(folder: Path, unread: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        unread.append(str(folder))
        return []


def _not_read_by_cron(path: Path, root: Path) -> str | None:
    """Why cron ignores a file of cron.d: cron(8) of Debian."""
    if (root / "etc/debian_version").exists() and not re.fullmatch(r"[A-Za-z0-9_-]+", path.name):
        return "ignored: the file's name"
    found = path.stat()
    if found.st_mode & 0o022:
        return "ignored: others may write the file"
    return None if found.st_uid in (0, os.stat(root).st_uid) else "ignored: the file is not root's"


def jobs_in(
    text: str, file: str, user: str | None, changed: float = 0.0, problem: str | None = None
) -> Iterator[CronJob]:
    """The jobs of one crontab. ``user``: whose it is; None: each line has a column for that."""
    zone = None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if variable := _VARIABLE.match(line):
            zone = variable[2] or None if variable[1] == "CRON_TZ" else zone
            continue
        fields = line.split(None, 1 if line.lstrip().startswith("@") else 5)
        schedule, rest = " ".join(fields[:-1]), fields[-1]
        whose, command = (user, rest) if user is not None else _split(rest)
        why = problem
        if schedule.startswith("@"):
            schedule = _NAMES.get(schedule.lower(), schedule)
        if not command or len(schedule.split()) not in (1, 5) or (schedule[0] == "@" and schedule != "@reboot"):
            why = why or "no line of cron"
            schedule, command = schedule, command or line.strip()
        yield CronJob(file, number, whose or "?", schedule, _without_input(command), changed, zone, why)


def _understood(job: CronJob) -> CronJob:
    """With what is wrong with its schedule, as far as that is known."""
    if job.problem or job.schedule == "@reboot":
        return job
    try:
        due(job.schedule, 0.0, None)
    except ScheduleError as error:
        return replace(job, problem=str(error).lower())
    except ImportError:  # cronsim is not installed
        pass
    return job


def _of_debian(jobs: list[CronJob]) -> list[CronJob]:
    """Its cron ignores a file with one line that it does not understand."""
    bad = next((job for job in jobs if job.problem and not job.problem.startswith("ignored")), None)
    if bad is None:
        return jobs
    return [job if job.problem else replace(job, problem=f"ignored: line {bad.line} is bad") for job in jobs]


def _split(rest: str) -> tuple[str, str]:
    user, *command = rest.split(None, 1)
    return user, command[0] if command else ""


def _without_input(command: str) -> str:
    """What is run: behind the first ``%`` without a backslash comes what the command reads (crontab(5))."""
    return re.split(r"(?<!\\)%", command, maxsplit=1)[0].replace("\\%", "%").strip()


def anacron_jobs(root: Path) -> list[AnacronJob]:
    """Those of /etc/anacrontab; none if it is not there. Raises OSError if it cannot be read."""
    path = root / "etc/anacrontab"
    found = []
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.exists() else ():
        fields = line.split(None, 3)
        if len(fields) == 4 and not line.lstrip().startswith("#") and not _VARIABLE.match(line):
            period, _, name, command = fields
            if days := _DAYS.get(period) or (int(period) if period.isdigit() else 0):
                found.append(AnacronJob(name, days, command, _stamp(root / "var/spool/anacron" / name)))
    return found


def _stamp(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.read_text().strip(), "%Y%m%d")
    except (OSError, ValueError):
        return None


# -- when they are due ---------------------------------------------------------------------------------------------------


class ScheduleError(ValueError):
    """Cron would not understand it."""


def due(schedule: str, at: float, zone: str | None) -> tuple[float | None, float | None]:
    """The last time when it was due before ``at``, and the next one after it, in seconds since the epoch. ``zone``: None is that of
    this machine; None: there is no such day. Raises ScheduleError, and ImportError without cronsim."""
    from cronsim import CronSim, CronSimError

    moment = datetime.fromtimestamp(at, _zone(zone))
    try:
        before, after = CronSim(schedule, moment, reverse=True), CronSim(schedule, moment)
    except CronSimError as error:
        fields = schedule.split()
        try:
            for place, field in enumerate(fields):
                CronSim(" ".join(["*"] * place + [field] + ["*"] * (4 - place)), moment)
        except CronSimError:
            raise ScheduleError(str(error)) from None
        return None, None  # such as the 31st of February: cron takes that, and it never comes
    last, following = next(before, None), next(after, None)
    return last.timestamp() if last else None, following.timestamp() if following else None


def _zone(name: str | None) -> ZoneInfo | None:
    """The rules of a time zone, which the clock is changed by; None: no name of it is known, and a day has 24 hours."""
    known = (
        name
        or os.environ.get("TZ", "").removeprefix(":")
        or os.path.realpath("/etc/localtime").rpartition("zoneinfo/")[2]
    )
    try:
        return ZoneInfo(known)
    except (ValueError, OSError, KeyError):  # a ZoneInfoNotFoundError is a KeyError
        return None
