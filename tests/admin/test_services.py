"""``admin.services``: what systemd 252 told in a container of its own, and what files of syslog daemons tell."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admin.pages import check_page
from admin.systemd import RECORDED, with_systemd, without_systemd
from conftest import Cli
from manyhands.admin import system_logs
from manyhands.admin.system_logs import journal_line, syslog_files, syslog_lines, text_of
from manyhands.admin.systemd import how_it_ended
from manyhands.core.errors import ManyhandsError

NOW = datetime(2026, 1, 2, 12, 0, 0)
SYSLOG = """\
Jan  1 06:59:59 web1 app[7]: failed long ago
Jan  2 10:00:00 web1 app[7]: started
Jan  2 10:00:01 web1 app[7]: FATAL: cannot open \x1b[2J/etc/app.conf
Jan  2 10:00:02 web1 sshd[9]: Failed password for root from 192.0.2.1
Jan  2 10:00:03 web1 daemon.err crond[3]: exit: job failed
Dec 31 23:59:59 web1 app[7]: failed last year
2026-01-02T10:00:04.123456+00:00 web1 kernel: app[7]: segfault at 0 ip 0
2026-01-02T10:00:05Z web1 app: out of memory
<3>Jan  2 10:00:06 web1 app[8]: aborted \udcff
Feb 30 10:00:06 web1 app[8]: failed on no day
not a line of syslog that failed
"""


@pytest.fixture
def syslog(tmp_path: Path) -> Path:
    path = tmp_path / "messages"
    path.write_text(SYSLOG, errors="surrogateescape")
    return path


# -- systemd -------------------------------------------------------------------------------------------------------------


def test_what_systemd_knows(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """Failed now is critical, failed and up again a warning; how it ended, and the last lines before."""
    there = with_systemd(environment, tmp_path / "bin")
    done = cli("admin.services", env=there)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("CRITICAL - 3 units failed, 1 more since ")
    assert "\x1b" not in done.stdout
    assert "    11-26 07:00 sh: bytes � and ^[[2J\n" in done.stdout
    found = [json.loads(line) for line in cli("admin.services", "--json", env=there).stdout.splitlines()]
    assert {one["schema"] for one in found} == {"manyhands.service/1"}
    assert [(one["unit"], one["state"], one["why"], one["failures"], one["level"]) for one in found] == [
        ("backup.service", "failed", "exit status 1", 1, "CRITICAL"),
        ("bad.service", "failed", "exit status 3", 1, "CRITICAL"),
        ("worse.service", "failed", "SIGSEGV", 1, "CRITICAL"),
        ("flaky.service", "active", "exit-code", 1, "WARNING"),
    ]
    texts = [[line["text"] for line in one["lines"]] for one in found]
    assert texts[1][-2:] == [
        "bad.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED",
        "bad.service: Failed with result 'exit-code'.",
    ]
    assert texts[3][-1] == "flaky.service: Failed with result 'exit-code'.", "it has been started again since"
    assert all(len(one["lines"]) <= 5 and one["since"] >= one["lines"][-2]["at"] for one in found)


def test_without_lines(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """Only the table."""
    done = cli("admin.services", "--lines", "0", env=with_systemd(environment, tmp_path / "bin"))
    assert len(done.stdout.splitlines()) == 6


def test_a_systemctl_that_writes_no_json(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """That of systemd 245 and earlier; and one that fails."""
    there = with_systemd(environment, tmp_path / "bin", tmp_path / "recorded")
    text = RECORDED.read_text().replace('"stdout": "[{\\"unit\\":\\"backup.service', '"stdout": "UNIT LOAD [{\\"unit')
    (tmp_path / "recorded").write_text(text)
    done = cli("admin.services", env=there)
    assert (done.returncode, done.stdout) == (
        3,
        "UNKNOWN - systemctl: it writes no JSON; that of systemd 246 or later does\n",
    )
    (tmp_path / "recorded").write_text("".join(line for line in text.splitlines(True) if "list-units" not in line))
    done = cli("admin.services", env=there)
    assert (done.returncode, done.stdout.count("\n")) == (3, 1)
    assert done.stdout.startswith("UNKNOWN - systemctl: not recorded: ")


def test_a_journal_that_may_not_be_read(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is known of earlier failures, and that is said by the programs; another failure of journalctl is an error."""
    there = with_systemd(environment, tmp_path / "bin", tmp_path / "recorded")
    (tmp_path / "recorded").touch()
    monkeypatch.setenv("PATH", there["PATH"])
    monkeypatch.setattr(system_logs, "_JOURNALS", [str(tmp_path / "journal")])
    with pytest.raises(ManyhandsError, match="journalctl: not recorded"):
        system_logs.journal_records("--unit=x", fields="MESSAGE")
    (tmp_path / "journal" / "machine").mkdir(parents=True)
    (tmp_path / "journal" / "machine" / "system.journal").touch()
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith(".journal"))
    assert system_logs.journal_is_hidden()
    assert system_logs.journal_records("--unit=x", fields="MESSAGE") == []


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (None, ""), ([97, 255, 98], "a�b"), (["first", "last"], "last"), ([[97]], "a")]
)
def test_what_a_field_of_the_journal_can_be(value: list[int] | str | None, text: str) -> None:
    """Text, bytes, several values, or left out because it is too long."""
    assert text_of(value) == text
    assert journal_line({"__REALTIME_TIMESTAMP": "1500000", "MESSAGE": value}).text == text


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "3"}, "exit status 3"),
        ({"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}, "SIGKILL"),
        ({"Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "11"}, "SIGSEGV, core dumped"),
        ({"Result": "timeout"}, "timeout"),
        ({}, "?"),
    ],
)
def test_how_it_ended(shown: dict[str, str], why: str) -> None:
    """Of a service its status or signal; of other units what systemd calls it."""
    assert how_it_ended(shown) == why


# -- syslog --------------------------------------------------------------------------------------------------------------


def test_the_lines_of_syslog_files(syslog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the formats of rsyslog, of RFC 3164, and of busybox; a day without a year is the last one of that name."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        now = NOW.replace(tzinfo=UTC).timestamp()
        found = list(syslog_lines([str(syslog)], now - 86400, now))
        assert [(one.program, one.pid) for one in found] == [
            ("app", 7),
            ("app", 7),
            ("sshd", 9),
            ("crond", 3),
            ("kernel", None),
            ("app", None),
            ("app", 8),
        ]
        assert found[4].at == now - 7195.876544
        assert found[6].text == "aborted \ufffd"
        assert len(list(syslog_lines([str(syslog)], now - 5 * 86400, now))) == 9
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_systemd(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """Programs that tell of failures, as many lines as grep finds; wrong passwords are none."""
    at = datetime.now(UTC).isoformat()
    texts = [
        "failed to start",
        "all well",
        "Failed password for x",
        "exited with code 1",
        "exited with code 0",
        "a \x1b[2J crash",
    ]
    log = tmp_path / "syslog"
    log.write_text("".join(f"{at} host app[1]: {text}\n" for text in texts) + f"{at} host other: panic\n")
    done = cli("admin.services", "--log", "syslog", "--lines", "2")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("WARNING - 2 programs told of failures in syslog\n")
    assert "app: a ^[[2J crash\n" in done.stdout
    found = [json.loads(line) for line in cli("admin.services", "-l", "syslog", "--json").stdout.splitlines()]
    grep = ["grep", "-ciE", "fail(ed)? to|with code [1-9]|crash|panic", "syslog"]
    said = subprocess.run(grep, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert sum(one["failures"] for one in found) == int(said)
    assert {one["unit"]: len(one["lines"]) for one in found} == {"app": 3, "other": 1}
    done = cli("admin.services", "--log", "syslog", "--since", "0")
    assert (done.returncode, done.stdout) == (0, "OK - 0 programs told of failures in syslog\n")


def test_there_is_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so; files that were not written to since are not looked at."""
    with pytest.raises(ManyhandsError, match="there is no systemd here, and no file of a syslog daemon"):
        syslog_files(0.0, str(tmp_path))
    (tmp_path / "var" / "log").mkdir(parents=True)
    for name in ("messages.1", "messages"):
        (tmp_path / "var" / "log" / name).touch()
    assert [Path(path).name for path in syslog_files(0.0, str(tmp_path))] == ["messages.1", "messages"]
    assert syslog_files(time.time() + 100, str(tmp_path)) == []


def test_systemd_does_not_run(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """It says so, whatever there is of syslog."""
    done = cli("admin.services", env=without_systemd(environment, tmp_path / "bin"))
    assert "there is no systemd here" in done.stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--since", "yesterday"], "--since 'yesterday': expected seconds"),
        (["--lines", "-1"], "--lines -1: expected 0 or more"),
        (["--log", "none"], "none: No such file or directory"),
        (["--log", "."], ".: Is a directory"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    done = cli("admin.services", *args)
    assert (done.returncode, done.stderr) == (3, "")
    assert text in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_page(environment: dict[str, str], tmp_path: Path) -> None:
    """Its commands print what it shows."""
    (tmp_path / "syslog").write_text(f"{datetime.now(UTC).isoformat()} host app[1]: failed\n")
    place = tmp_path / "place"
    place.mkdir()
    (place / "syslog").write_text("")
    check_page("services", place, with_systemd(environment, tmp_path / "bin"), {"/var/log/syslog": "syslog"})
