"""``batch --on``: commands on other hosts, by a real sshd, as a user types it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from conftest import Cli, messages, wait_for
from manyhands import run_batch
from manyhands.posix import linux
from ssh_hosts import SshHosts


def test_commands_run_on_the_hosts(cli: Cli, ssh_hosts: SshHosts, tmp_path: Path) -> None:
    """Each on one of them, in its home, with slots over all; results come in the order of the inputs."""
    line = "echo {} ${SSH_CONNECTION##* } {%}; echo $PWD >&2"
    done = cli("batch", line, "--shell", "--on", "h1:2,h2:2", "--ssh", ssh_hosts.ssh, "--", *map(str, range(8)))
    assert done.returncode == 0, done.stderr
    said = [text.split() for text in done.stdout.splitlines()]
    assert [one[0] for one in said] == [str(number) for number in range(8)]
    assert {int(one[2]) for one in said} <= {1, 2, 3, 4}
    by_port = {one[1]: {int(other[2]) for other in said if other[1] == one[1]} for one in said}
    assert all(slots <= {1, 2} or slots <= {3, 4} for slots in by_port.values())


def test_the_host_of_each_attempt_is_told(cli: Cli, ssh_hosts: SshHosts) -> None:
    """By the run, by the job, in JSON, by every export and by a program."""
    done = cli("batch", "echo {}", "--on", "h1:1,h2:1", "--ssh", ssh_hosts.ssh, "--run-id", "r", "--", "a", "b", "c")
    assert done.returncode == 0, done.stderr
    hosts = [json.loads(text)["host"] for text in cli("batch.show", "r", "--json").stdout.splitlines()]
    assert len(hosts) == 3
    assert set(hosts) <= {"h1", "h2"}
    shown = cli("batch.show", "r").stdout.splitlines()
    assert "hosts    h1:1, h2:1" in shown
    assert [line.split()[-2:] for line in shown[-3:]] == [[host, name] for host, name in zip(hosts, "abc", strict=True)]
    assert f"         on {hosts[1]}" in cli("batch.show", "r", "--job", "2").stdout.splitlines()
    log = [line.split("\t") for line in cli("batch.export", "r", "--format", "joblog").stdout.splitlines()[1:]]
    assert {int(line[0]): line[1] for line in log} == dict(enumerate(hosts, 1))
    header, *rows = csv.reader(cli("batch.export", "r", "--format", "csv").stdout.splitlines())
    assert [row[header.index("host")] for row in rows] == hosts
    found = run_batch("echo {}", ["a"], on=["h1:1"], ssh=ssh_hosts.ssh, journal=False)
    assert [one.host for one in found] == ["h1"]
    assert [one.host for one in run_batch("echo {}", ["a"], journal=False)] == [None]


def test_exact_statuses_and_whole_outputs(cli: Cli, ssh_hosts: SshHosts) -> None:
    """As here: exit statuses, signals, time-outs, a large output, a folder."""
    commands = ["exit 3", "kill -9 $$", "sleep 60", "seq 100000", "pwd"]
    more = ["--workdir", "/", "--timeout", "3", "--grace", "0.2", "--json"]
    done = cli("batch", "sh -c {}", "--on", "h1:5", "--ssh", ssh_hosts.ssh, *more, "--", *commands)
    assert done.returncode == 1
    records = [json.loads(text) for text in done.stdout.splitlines()]
    jobs = {one["job"]: one for one in records if one.get("event") == "outcome" or ("status" in one and "job" in one)}
    assert [jobs[number]["status"] for number in range(1, 6)] == ["failed", "failed", "timeout", "ok", "ok"]
    assert (jobs[1]["exit"], jobs[2]["signal_name"]) == (3, "SIGKILL")
    assert jobs[5]["stdout"] == "/\n"
    shown = cli("batch.show", "--job", "4", "--output").stdout
    assert shown.count("\n") >= 100_000


def test_a_host_that_refuses_costs_only_itself(cli: Cli, ssh_hosts: SshHosts) -> None:
    """One line; with no other host that line is the error, and no run is left."""
    done = cli("batch", "echo {}", "--on", "gone,h1", "--ssh", ssh_hosts.ssh, "--", "a", "b")
    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    assert "gone is set aside: ssh: connect to host 127.0.0.1 port" in done.stderr
    done = cli("batch", "echo {}", "--on", "gone", "--ssh", ssh_hosts.ssh, "--", "a")
    assert done.returncode == 69
    assert len(messages(done.stderr)) == 1
    assert len(cli("batch.list", "--json").stdout.splitlines()) == 1
    assert "no host can be used: gone is set aside" in done.stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--on", "-oProxyCommand=x"], "expected HOST"),
        (["--on", "h1", "--ssh", "'"], "--ssh"),
        (["--on", "h1", "--backend", "fake"], "--on names other hosts"),
        (["--on", "h1", "--jobs", "50%"], "--jobs 50%: with --on a number"),
        (["--on", "h1", "--jobs", "auto"], "--jobs auto: with --on a number"),
        (["--on", "h1", "--stdin", "-"], "--stdin -"),
        (["--ssh", "ssh -4"], "--ssh has no effect without --on"),
        (["--backend", "ssh"], "--backend ssh needs hosts: give --on"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, status 2, and nothing has begun."""
    done = cli("batch", "echo {}", *args, "--", "a")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(messages(done.stderr)) == 1


def test_there_is_no_such_program(cli: Cli) -> None:
    """It is named."""
    done = cli("batch", "echo {}", "--on", "h1", "--ssh", "no-such-ssh", "--", "a")
    assert (done.returncode, done.stderr) == (69, "manyhands: cannot start no-such-ssh: No such file or directory\n")


def test_resume_after_kill_9(environment: dict[str, str], cli: Cli, ssh_hosts: SshHosts, tmp_path: Path) -> None:
    """The coordinator dies at any moment: nothing of it runs on, and a resume does the rest, each job once more at most."""
    ledger = tmp_path / "ledger"
    line = f"echo {{}} >>{ledger}; sleep 0.3; echo done {{}}"
    args = [
        "batch",
        line,
        "--shell",
        "--on",
        "h1:2,h2:2",
        "--ssh",
        ssh_hosts.ssh,
        "--run-id",
        "r",
        "--quiet",
        "--from",
        "-",
    ]
    inputs = "".join(f"{number}\n" for number in range(20))
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *args],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    process.stdin.write(inputs)
    process.stdin.close()
    wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") >= 6)
    process.kill()
    process.wait()
    wait_for(lambda: not [one for one in linux.processes() if f"{ledger}".encode() in _command_line(one.pid)])
    before = Counter(ledger.read_text().split())
    assert set(before.values()) == {1}
    done = cli("batch.resume", "r")
    assert done.returncode == 0, done.stderr
    after = Counter(ledger.read_text().split())
    assert set(after) == {str(number) for number in range(20)}
    assert max(after.values()) <= 2  # those that ran, or whose end had not arrived, when it was killed
    assert cli("batch.show", "r").stdout.count("lost") == 0


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_ssh_is_killed(environment: dict[str, str], ssh_hosts: SshHosts, tmp_path: Path) -> None:
    """What ran there is lost, and with --retries it is done again, over a new connection."""
    marker = f"59.{os.getpid()}"
    line = f": {{}}; test -e {tmp_path}/second && exec echo well; touch {tmp_path}/second; exec sleep {marker}"
    args = [
        "batch",
        line,
        "--shell",
        "--on",
        "h1:1",
        "--ssh",
        ssh_hosts.ssh,
        "--retries",
        "1",
        "--backoff",
        "0",
        "--",
        "x",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *args],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(_command_line(one.pid) == b"sleep\0%s\0" % marker.encode() for one in linux.processes()))
    carriers = [one.pid for one in linux.descendants([process.pid]) if _command_line(one.pid).startswith(b"ssh\0")]
    assert len(carriers) == 1
    os.kill(carriers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "well\n"), err
    assert "h1 was lost" in err


def test_a_program_names_its_hosts(ssh_hosts: SshHosts) -> None:
    """The same by `run_batch`; a function is refused by name."""
    found = list(run_batch("echo {}", ["a", "b"], on=["h1", "h2"], ssh=ssh_hosts.ssh, ordered=True))
    assert [one.stdout.text for one in found] == ["a\n", "b\n"]
    from manyhands import UsageError

    with pytest.raises(UsageError, match="on: only for commands"):
        run_batch(len, ["a"], on=["h1"])  # type: ignore[call-overload]


def test_nothing_is_slow_to_leave(cli: Cli, ssh_hosts: SshHosts) -> None:
    """Halting stops what runs elsewhere, too."""
    began = time.monotonic()
    done = cli(
        "batch",
        "sh -c {}",
        "--on",
        "h1:2",
        "--ssh",
        ssh_hosts.ssh,
        "--halt",
        "now,fail=1",
        "--",
        "sleep 50",
        "sleep 0.2; exit 1",
    )
    assert done.returncode == 1
    assert time.monotonic() - began < 45
