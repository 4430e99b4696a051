"""``admin.timers``: what systemd 252 and Debian's cron told in a container of their own, crontabs of every kind, anacron."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.pages import check_page
from admin.systemd import with_systemd, without_systemd
from conftest import Cli
from manyhands.admin import timers as program
from manyhands.admin.cron_log import Began, CronLog, told_by
from manyhands.admin.crontabs import CronJob, ScheduleError, crontabs, due, jobs_in
from manyhands.admin.system_logs import LogLine, syslog_lines
from manyhands.admin.timers import Daemon
from manyhands.core.level import Level
from manyhands.options.admin import TimersOptions

TOLD = """\
Nov 26 07:00:12 vm cron[86]: (CRON) INFO (Running @reboot jobs)
Nov 26 07:01:01 vm CRON[103]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)
Nov 26 07:01:01 vm CRON[104]: (root) CMD (kill -9 $$)
Nov 26 07:01:01 vm CRON[107]: (root) CMD (/bin/false # fails)
Nov 26 07:01:01 vm CRON[105]: (root) CMD (echo fine )
Nov 26 07:01:01 vm CRON[106]: (www) CMD (echo (mine))
Nov 26 07:01:01 vm CRON[100]: (CRON) error (grandchild #104 terminated by signal 9)
Nov 26 07:01:01 vm CRON[101]: (CRON) error (grandchild #107 failed with exit status 1)
Nov 26 07:02:01 vm CRON[116]: (root) CMD (echo fine )
Nov 26 07:02:01 vm CRON[115]: (root) CMD (/bin/false # fails)
Nov 26 07:02:01 vm CRON[110]: (CRON) error (grandchild #107 failed with exit status 1)
Nov 26 07:03:00 alpine cron.info crond[7]: USER root pid  12 cmd run-parts /etc/periodic/daily
Nov 26 07:03:00 vm app[7]: (root) CMD (no cron)
"""
"""As Debian's cron logged it with -L 5, with names changed; the last but one by busybox."""
CRONTAB = """\
# m h dom mon dow user command
SHELL=/bin/sh
PATH = "/usr/bin:/bin"
17 *\t* * *\troot\tcd / && run-parts /etc/cron.hourly
@Daily www  date +\\%F %first line%second
@reboot root /usr/bin/once
  */5 0-6,22 1 jan mon-fri root with blanks\x20
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with crontabs of every kind, of Debian."""
    place = tmp_path / "root"
    texts = {
        "etc/debian_version": "12.1\n",
        "etc/crontab": CRONTAB,
        "etc/cron.d/good": "0 0 31 2 * root never\n",
        "etc/cron.d/broken": "* * * * * root first\n61 * * * * root second\n",
        "etc/cron.d/dotted.name": "* * * * * root x\n",
        "etc/cron.d/loose": "* * * * * root x\n",
        "etc/cron.d/.placeholder": "* * * * * root x\n",
        "etc/cron.d/old.dpkg-old": "* * * * * root x\n",
        "var/spool/cron/crontabs/eve": "1 2 3 4 * \x1b[2J echo mine\n",
        "etc/anacrontab": "SHELL=/bin/sh\n1 5 cron.daily run-parts /etc/cron.daily\n@monthly 9 cron.monthly nice x\n7 9 new x\n",
        "var/spool/anacron/cron.daily": f"{datetime.now() - timedelta(days=4):%Y%m%d}\n",
        "var/spool/anacron/cron.monthly": f"{datetime.now():%Y%m%d}\n",
    }
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        (place / name).chmod(0o644)
    (place / "etc/cron.d/loose").chmod(0o666)
    return place


def records(cli: Cli, *args: str, **options: Any) -> dict[str, dict[str, Any]]:
    done = cli("admin.timers", "--json", *args, **options)
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["schema"] for one in found} <= {"manyhands.timer/1"}
    return {one["name"]: one for one in found}


def test_timers_of_systemd(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """When they began last and begin next, and whether what they start has failed."""
    there = with_systemd(environment, tmp_path / "bin")
    done = cli("admin.timers", env=there)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("CRITICAL - 1 of ")
    found = records(cli, env=there)
    backup, soon, idle = (found[f"{name}.timer"] for name in ("backup", "soon", "systemd-tmpfiles-clean"))
    assert (backup["command"], backup["problem"], backup["level"]) == ("backup.service", "exit status 1", "CRITICAL")
    assert backup["last"].startswith("2026-11-26T07:00:")
    assert backup["next"].startswith("2026-11-26T08:00:")
    assert (soon["last"], soon["next"]) == (None, "2026-11-27T00:00:00.000000+00:00")
    assert (idle["last"], idle["next"], idle["level"]) == (None, None, "OK")


def test_crontabs_of_every_kind(root: Path, cli: Cli) -> None:
    """Users, macros, input behind %, blanks and TABs; files that cron ignores, and why; each with its line."""
    found = {os.path.relpath(name, root): one for name, one in records(cli, "--root", str(root)).items()}
    jobs = {name: one for name, one in found.items() if one["kind"] == "cron"}
    assert {name: (one["user"], one["schedule"], one["command"], one["problem"]) for name, one in jobs.items()} == {
        "etc/crontab:4": ("root", "17 * * * *", "cd / && run-parts /etc/cron.hourly", None),
        "etc/crontab:5": ("www", "0 0 * * *", "date +%F", None),
        "etc/crontab:6": ("root", "@reboot", "/usr/bin/once", None),
        "etc/crontab:7": ("root", "*/5 0-6,22 1 jan mon-fri", "with blanks", None),
        "etc/cron.d/good:1": ("root", "0 0 31 2 *", "never", None),
        "etc/cron.d/broken:1": ("root", "* * * * *", "first", "ignored: line 2 is bad"),
        "etc/cron.d/broken:2": ("root", "61 * * * *", "second", "bad minute"),
        "etc/cron.d/dotted.name:1": ("root", "* * * * *", "x", "ignored: the file's name"),
        "etc/cron.d/loose:1": ("root", "* * * * *", "x", "ignored: others may write the file"),
        "var/spool/cron/crontabs/eve:1": ("eve", "1 2 3 4 *", "\x1b[2J echo mine", None),
    }
    assert all((one["level"] == "WARNING") == bool(one["problem"]) for one in found.values())
    assert {name for name, one in jobs.items() if one["next"]} == {
        *(f"etc/crontab:{number}" for number in (4, 5, 7)),
        "var/spool/cron/crontabs/eve:1",
    }
    said = cli("admin.timers", "--root", str(root)).stdout
    assert said.startswith("WARNING - 0 of 13 jobs failed, 5 more with a problem, the next begins ")
    assert "crontabs/eve:1: ^[[2J echo mine\n" in said


def test_another_cron_takes_the_other_lines(root: Path) -> None:
    """That of Debian ignores the whole file, and files with a dot in their name."""
    (root / "etc/debian_version").unlink()
    problems = {f"{os.path.basename(job.file)}:{job.line}": job.problem for job in crontabs(root).jobs}
    assert (problems["broken:1"], problems["broken:2"], problems["dotted.name:1"]) == (None, "bad minute", None)


def test_anacron(root: Path, cli: Cli) -> None:
    """By the days that it has noted; one that was never run is not late."""
    found = records(cli, "--root", str(root))
    daily, monthly, new = (found[name] for name in ("cron.daily", "cron.monthly", "new"))
    assert (daily["problem"], daily["next"], daily["level"]) == ("not run for 4 days", None, "WARNING")
    assert (monthly["problem"], monthly["last"][:10]) == (None, f"{datetime.now():%Y-%m-%d}")
    assert monthly["next"][:10] == f"{datetime.now() + timedelta(days=31):%Y-%m-%d}"
    assert (new["last"], new["next"], new["problem"]) == (None, None, None)


def test_what_cron_logs(tmp_path: Path) -> None:
    """The last start of each command, and whether that one failed; of busybox, too."""
    (tmp_path / "syslog").write_text(TOLD)
    now = datetime(2026, 11, 26, 8).timestamp()
    log = told_by(syslog_lines([str(tmp_path / "syslog")], 0.0, now))
    assert log.first == datetime(2026, 11, 26, 7, 0, 12).timestamp()
    minute = datetime(2026, 11, 26, 7, 1, 1).timestamp()
    assert log.began == {
        ("root", "kill -9 $$"): Began(minute, 104, "signal 9"),
        ("root", "/bin/false # fails"): Began(minute + 60, 115, None),
        ("root", "echo fine"): Began(minute + 60, 116, None),
        ("www", "echo (mine)"): Began(minute, 106, None),
        ("root", "run-parts /etc/periodic/daily"): Began(minute + 119, 12, None),
    }


def test_a_job_of_the_log(root: Path, cli: Cli) -> None:
    """Its last start and its failure, from the files of the system that is looked at."""
    (root / "var/log").mkdir()
    at = (datetime.now() - timedelta(minutes=1)).astimezone()
    lines = ["CRON[7]: (eve) CMD (\x1b[2J echo mine)", "CRON[6]: (CRON) error (grandchild #7 failed with exit status 2)"]
    (root / "var/log/syslog").write_text("".join(f"{at.isoformat()} host {line}\n" for line in lines))
    found = records(cli, "--root", str(root))[str(root / "var/spool/cron/crontabs/eve:1")]
    assert (found["last"], found["problem"], found["level"]) == (at.isoformat(), "exit status 2", "CRITICAL")


NOW = datetime(2026, 11, 26, 12, 0, 30).timestamp()
JOB = CronJob("f", 1, "root", "30 11 * * *", "x", changed=NOW - 90_000)
DUE = datetime(2026, 11, 26, 11, 30).timestamp()


@pytest.mark.parametrize(
    ("began", "first", "started", "changed", "problem"),
    [
        (DUE + 1, NOW - 99_999, 0.0, 0.0, None),
        (DUE - 86400, NOW - 99_999, 0.0, 0.0, "not begun 11-26 11:30"),
        (None, NOW - 99_999, 0.0, 0.0, "not begun 11-26 11:30"),
        (None, DUE + 5, 0.0, 0.0, None),
        (None, None, 0.0, 0.0, None),
        (None, NOW - 99_999, DUE + 5, 0.0, None),
        (None, NOW - 99_999, 0.0, DUE + 5, None),
    ],
    ids=["it began", "the day before", "never", "the log is younger", "no log", "cron is younger", "the line is younger"],
)
def test_a_job_that_did_not_begin(
    began: float | None, first: float | None, started: float, changed: float, problem: str | None
) -> None:
    """If cron ran, logged, and had the line when it was due."""
    log = CronLog({("root", "x"): Began(began, 1, None)} if began else {}, first)
    job = CronJob("f", 1, "root", "30 11 * * *", "x", changed=changed)
    row = program._of_cron(job, log, Daemon(started, True), NOW)
    assert (row.problem, row.level) == (problem, Level.WARNING if problem else Level.OK)


def test_a_job_that_is_just_due() -> None:
    """Cron has two minutes to begin it; one of every minute is missed after that."""
    log = CronLog({}, NOW - 99_999)
    for schedule, problem in (("0 12 * * *", None), ("59 11 * * *", None), ("* * * * *", "not begun 11-26 11:58")):
        job = CronJob("f", 1, "root", schedule, "x", changed=NOW - 3600)
        assert program._of_cron(job, log, Daemon(1.0, True), NOW).problem == problem


def test_no_cron_runs() -> None:
    """A warning where one is installed; a system without any only has the files."""
    for installed, level in ((True, Level.WARNING), (False, Level.OK)):
        row = program._of_cron(JOB, CronLog({}, None), Daemon(None, installed), NOW)
        assert (row.problem, row.next, row.level) == ("no cron", None, level)


def test_without_cronsim(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All else is told, and what to install."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    program.timers(TimersOptions(root=str(root)))
    said = capsys.readouterr().out
    assert "; for the next times of cron: " in said
    assert "install" in said.splitlines()[0]
    assert "run-parts /etc/cron.hourly" in said


def test_this_machine(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """As many lines as grep finds in its files."""
    files = [
        path for path in ["/etc/crontab", *map(str, Path("/etc/cron.d").glob("[a-zA-Z0-9]*"))] if os.path.isfile(path)
    ]
    if not all(os.access(path, os.R_OK) for path in files):
        pytest.skip("becomes another user")
    there = without_systemd(environment, tmp_path / "bin")
    grep = ["grep", "-hcvE", r"^\s*(#|$|[A-Za-z_]+\s*=)", "/dev/null", *files]
    said = subprocess.run(grep, capture_output=True, text=True, check=False).stdout
    found = records(cli, env=there)
    assert sum(one["kind"] == "cron" and one["name"].startswith("/etc/cr") for one in found.values()) == sum(
        map(int, said.split())
    )
    assert "there is no systemd here" in cli("admin.timers", env=there).stdout


def test_what_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted."""
    real = Path.read_text

    def read_text(path: Path, *args: Any, **options: Any) -> str:
        if path.name == "eve":
            raise PermissionError
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    found = crontabs(root)
    assert [Path(path).name for path in found.unread] == ["eve"]
    assert "1 crontab or folder may not be read" in program._notes([], found, Daemon(1.0, True), systemd=True, here=True)


def test_an_empty_system(tmp_path: Path, cli: Cli) -> None:
    """No job is no problem."""
    done = cli("admin.timers", "--root", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "OK - 0 of 0 jobs failed\n")


@pytest.mark.parametrize("line", ["x", "@often root x", "* * * * root x", "* * * * *", "* * * * * root", "@daily"])
def test_what_is_no_line_of_cron(line: str) -> None:
    """It is told with what is wrong, and nothing is guessed."""
    [found] = jobs_in(line, "f", None)
    assert found.problem == "no line of cron"


def test_a_line_of_another_zone() -> None:
    """CRON_TZ of cronie holds for the lines below it."""
    text = "0 3 * * * a\nCRON_TZ=Asia/Tokyo\n0 3 * * * b\nCRON_TZ=\n0 3 * * * c\n"
    first, second, third = jobs_in(text, "f", "eve")
    assert (first.zone, second.zone, third.zone) == (None, "Asia/Tokyo", None)
    at = datetime.fromisoformat("2026-11-26T00:00:00+09:00").timestamp()
    assert due(second.schedule, at, second.zone)[1] == at + 3 * 3600


def test_a_day_that_the_clock_is_changed() -> None:
    """A job in the hour that is left out runs when that is over, as cron(8) of Debian says."""
    at = datetime.fromisoformat("2026-03-29T00:00:00+01:00").timestamp()
    assert due("30 2 * * *", at, "Europe/Berlin")[1] == datetime.fromisoformat("2026-03-29T03:00:00+02:00").timestamp()
    assert due("0 4 * * *", at, "Europe/Berlin")[1] == at + 3 * 3600


numbers = st.sets(st.integers(0, 59), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(numbers, st.sets(st.integers(0, 23), min_size=1, max_size=4), st.integers(0, 6), st.integers(0, 10**6))
def test_due_is_what_a_look_at_each_minute_finds(minutes: set[int], hours: set[int], weekday: int, later: int) -> None:
    """The last such minute before, the next one after."""
    at = 1_700_000_000.0 + later
    schedule = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * {weekday}"
    before, after = due(schedule, at, "UTC")

    def fits(seconds: float) -> bool:
        moment = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(seconds=seconds)
        return moment.minute in minutes and moment.hour in hours and moment.isoweekday() % 7 == weekday

    first = at - at % 60
    earlier = first if first < at else first - 60
    assert before == next(one for one in (earlier - 60 * n for n in range(9 * 1440)) if fits(one))
    assert after == next(one for one in (first + 60 * n for n in range(1, 9 * 1440)) if fits(one))
    with pytest.raises(ScheduleError):
        due("0 24 * * *", at, None)


def test_lines_of_other_programs_are_not_those_of_cron() -> None:
    """Not even if they look like them."""
    assert told_by([LogLine(1.0, "app", "(root) CMD (x)", 1)]) == CronLog({}, None)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--root", "none"], "none: No such file or directory"),
        (["--since", "monday"], "--since 'monday': expected seconds"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    done = cli("admin.timers", *args)
    assert (done.returncode, done.stderr) == (3, "")
    assert text in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_page(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Its commands print what it shows."""
    there = with_systemd(environment, tmp_path / "bin")
    check_page("timers", tmp_path, there, {"/srv/image": str(root)})
