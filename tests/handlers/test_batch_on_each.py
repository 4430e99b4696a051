"""``batch --on-each``: a command once on every host. Most of it through pipes: ``ssh`` is a script that runs what it is given here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import Cli, wait_for, with_tag
from manyhands import run_batch
from manyhands.inputs.sources import Lines
from ssh_hosts import SshHosts

SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
host=$2; shift 2
if [ -e "$(dirname "$0")/down-$host" ]; then echo "ssh: connect to host $host: No route to host" >&2; exit 255; fi
exec sh -c "$*"
"""


@pytest.fixture
def ssh(tmp_path: Path) -> str:
    """Reaches every host but those for which there is a file ``down-HOST`` beside it."""
    path = tmp_path / "ssh"
    path.write_text(SSH)
    path.chmod(0o755)
    return str(path)


def test_the_command_once_on_every_host(cli: Cli, ssh_hosts: SshHosts) -> None:
    """Over ssh; without inputs nothing is read from standard input."""
    done = cli("batch", "echo {host} $MH_HOST", "--shell", "--on-each", "h1,h2:2", "--ssh", ssh_hosts.ssh, input="x\ny\n")
    assert (done.returncode, done.stdout) == (0, "h1 h1\nh2 h2\n"), done.stderr


def test_each_input_on_every_host(cli: Cli, ssh: str) -> None:
    """From a pipe, too; ``{}`` is the input without the host."""
    args = ["--on-each", "a,b", "--ssh", ssh, "--from", "-", "--json"]
    done = cli("batch", "echo {} {1} on {host}", *args, input="1\n2\n")
    ends = [one for line in done.stdout.splitlines() if (one := json.loads(line))["event"] == "finished"]
    assert [one["stdout"] for one in ends] == ["1 1 on a\n", "1 1 on b\n", "2 2 on a\n", "2 2 on b\n"]
    assert [one["host"] for one in ends] == ["a", "b", "a", "b"]
    assert ends[0]["input"] == "1\ta"
    assert json.loads(done.stdout.splitlines()[-1])["total"] == 4


def test_named_columns(cli: Cli, ssh: str, tmp_path: Path) -> None:
    """The host is one more; inputs with a column of that name are refused."""
    (tmp_path / "in.csv").write_text("name,size\nx,1\n")
    args = ["--on-each", "a,b", "--ssh", ssh]
    done = cli("batch", "echo {name} {size} {host}", *args, "--csv", str(tmp_path / "in.csv"), "--run-id", "r")
    assert done.stdout == "x 1 a\nx 1 b\n"
    assert cli("batch.export", "r", "--format", "csv").stdout.startswith("name,size,host,status,")
    done = cli("batch", "echo {host}", *args, "--each", "host=x")
    assert done.returncode == 2
    assert "name the same column" in done.stderr


def test_a_host_that_is_down_fails_its_jobs(cli: Cli, ssh: str, tmp_path: Path) -> None:
    """They say why; when it is up, a retry does them, and nothing else."""
    (tmp_path / "down-b").touch()
    args = ["--on-each", "a,b,c", "--ssh", ssh, "--run-id", "r"]
    done = cli("batch", "echo {} {host}", *args, "--", "1", "2")
    assert (done.returncode, done.stdout) == (1, "1 a\n1 c\n2 a\n2 c\n")
    why = "on b failed: the host cannot be used: ssh: connect to host b: No route to host"
    assert done.stderr.count(f"manyhands: job 2 {why}") == 1
    (tmp_path / "down-b").unlink()
    done = cli("batch.retry", "r")
    assert (done.returncode, done.stdout) == (0, "1 b\n2 b\n")


def test_a_retry_waits_for_a_host_to_come_up(ssh: str, tmp_path: Path) -> None:
    """It goes to the same host again."""
    (tmp_path / "down-b").touch()
    found = []
    with run_batch("echo {host}", None, on_each=["a", "b"], ssh=ssh, retries=2, backoff=0.5) as results:
        for outcome in results:
            found.append((outcome.input, outcome.host, outcome.attempt.number > 1, outcome.stdout.text))
            (tmp_path / "down-b").unlink(missing_ok=True)
    assert found == [(None, "a", False, "a\n"), (None, "b", True, "b\n")]


def test_a_rolling_change_stops_early(cli: Cli, ssh: str, tmp_path: Path) -> None:
    """Two at a time, and after the first that fails no further host is touched."""
    for number in (3, 4):
        (tmp_path / f"down-w{number}").touch()
    args = ["--on-each", "w[1-9]", "--ssh", ssh, "-j", "2", "--halt", "soon,fail=10%", "--run-id", "r"]
    done = cli("batch", "sh -c 'echo $MH_HOST'", *args)
    assert done.returncode == 1
    assert set(done.stdout.split()) <= {"w1", "w2", "w4", "w5"}
    assert "not run" in done.stderr
    for number in (3, 4):
        (tmp_path / f"down-w{number}").unlink()
    assert "w3" in cli("batch.retry", "r").stdout.split()
    assert "w9" in cli("batch.resume", "r").stdout.split()
    assert {json.loads(line)["status"] for line in cli("batch.show", "r", "--json").stdout.splitlines()} == {"ok"}


def test_more_hosts_or_inputs_under_the_same_name(cli: Cli, ssh: str) -> None:
    """Only the pairs that are new run; a run of other kind is refused."""
    args = ["--ssh", ssh, "--run-id", "r"]
    assert cli("batch", "echo {}", *args, "--on-each", "a,b", "--", "1").stdout == "1\n1\n"
    done = cli("batch", "echo {}", *args, "--on-each", "a,b,c:2", "--", "1", "2")
    assert done.returncode == 0
    records = [json.loads(line) for line in cli("batch.show", "r", "--json").stdout.splitlines()]
    assert Counter(one["input"] for one in records) == Counter(f"{n}\t{host}" for n in "12" for host in "abc")
    assert {one["attempts"] for one in records} == {1}
    done = cli("batch", "echo {}", *args, "--on", "a,b", "--", "1")
    assert done.returncode == 2
    assert "runs its command with --on-each" in done.stderr


def test_a_job_that_was_left_for_a_host_that_is_gone(cli: Cli, ssh: str, tmp_path: Path) -> None:
    """If the hosts are others when the run is continued, it fails with the reason."""
    (tmp_path / "down-b").touch()
    args = ["--ssh", ssh, "--run-id", "r", "--halt", "now,fail=1", "-j", "1"]
    assert cli("batch", "echo {host}", *args, "--on-each", "b,c").returncode == 1
    done = cli("batch", "echo {host}", *args, "--on-each", "c", "--retry-failed")
    assert "b is not one of the hosts of this run" in done.stderr


def test_resume_after_kill_9(cli: Cli, ssh: str, environment: dict[str, str], tmp_path: Path) -> None:
    """Each pair is done, at most twice, and on its own host."""
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    line = f"echo {{}} $MH_HOST {{host}} >>{ledger}; [ -e {go} ] || [ {{}} -lt 3 ] || sleep 60"
    args = ["batch", line, "--shell", "--on-each", "a:2,b:2", "--ssh", ssh, "--run-id", "r", "--quiet", "--from", "-"]
    command = [sys.executable, "-m", "manyhands", *args]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin
    process.stdin.write("".join(f"{number}\n" for number in range(9)).encode())
    process.stdin.close()
    wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") == 10)
    process.kill()
    process.wait()
    token = json.loads((Path(environment["XDG_STATE_HOME"]) / "manyhands/runs/r/run.json").read_text())["token"]
    wait_for(lambda: not any(with_tag(f"MH_TAG={token}.{job}.1") for job in range(1, 19)))
    go.touch()
    assert cli("batch.resume", "r").returncode == 0
    done = Counter(tuple(text.split()) for text in ledger.read_text().splitlines())
    assert set(done) == {(str(number), host, host) for number in range(9) for host in "ab"}
    assert max(done.values()) <= 2


def test_names_that_are_no_text(ssh: str, tmp_path: Path) -> None:
    """A newline, bytes that are not UTF-8: the input arrives as it is, on each host."""
    names = [b"a\nb", b"\xff\xfe", b"-n", b"'$(x)"]
    found = run_batch("printf %s,%s {} {host}", names, on_each=["h1", "h2:2"], ssh=ssh, ordered=True)
    assert [(one.input, one.stdout.data) for one in found] == [
        (name, b"%s,%s" % (name, host)) for name in names for host in (b"h1", b"h2")
    ]


def test_a_program_has_the_item_back(ssh: str, tmp_path: Path) -> None:
    """Of a list, of an iterator, of a source; the host is told apart."""
    items = [{"x": 1}, {"x": 2}]
    for inputs in (items, iter(items)):
        found = [
            (one.input, one.host) for one in run_batch("true {x}", inputs, on_each=["a", "b"], ssh=ssh, ordered=True)
        ]
        assert found == [(item, host) for item in items for host in "ab"]
        assert found[0][0] is items[0]
    (tmp_path / "lines").write_text("1\n")
    found = [
        (one.input, one.host) for one in run_batch("true", Lines(str(tmp_path / "lines")), on_each=["a", "b"], ssh=ssh)
    ]
    assert sorted(found) == [("1", "a"), ("1", "b")]


def test_stages_on_each_host(cli: Cli, ssh: str) -> None:
    """The second follows on the same host."""
    done = cli("batch", "true", "--then", "echo $MH_HOST {host}", "--shell", "--on-each", "a,b", "--ssh", ssh)
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, ["a a", "b b"]), done.stderr


def test_dry_run(cli: Cli) -> None:
    """Shows the pairs, and connects to nobody."""
    done = cli("batch", "do {} {host}", "--on-each", "a,b", "--dry-run", "--", "1")
    assert (done.returncode, done.stdout) == (0, "do 1 a\ndo 1 b\n")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["echo {host}", "--on", "a", "--", "x"], "with --on-each it is the host"),
        (["echo {}", "--on-each", "a"], "there are no inputs for this, only hosts"),
        (["echo", "--on-each", "a", "--on", "b"], "--on has no effect with --on-each"),
        (["echo", "--on-each", "a", "--max-args", "2", "--", "x"], "--max-args has no effect with --on-each"),
        (["echo", "--on-each", "a", "--null"], "--null is for inputs from a file or standard input"),
        (["echo", "--on-each", "a,-b"], "--on-each '-b': expected HOST"),
        (["echo", "--on-each", "a", "--jobs", "50%"], "--jobs 50%: with --on-each a number"),
        (["echo", "--on-each", "a", "--backend", "fake"], "--on-each names other hosts"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """Said before anything begins."""
    done = cli("batch", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


def test_ctrl_c_ends_what_runs_on_each(cli: Cli, ssh: str, environment: dict[str, str], tmp_path: Path) -> None:
    """And a resume does it on the same hosts."""
    line = f"touch {tmp_path}/begun-{{host}}; [ -e {tmp_path}/go ] || exec sleep 60"
    args = ["batch", line, "--shell", "--on-each", "a,b", "--ssh", ssh, "--run-id", "r"]
    command = [sys.executable, "-m", "manyhands", *args]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: (tmp_path / "begun-b").exists() and (tmp_path / "begun-a").exists())
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    shown = [json.loads(text) for text in cli("batch.show", "r", "--json").stdout.splitlines()]
    assert [(one["status"], one["host"]) for one in shown] == [("cancelled", "a"), ("cancelled", "b")]
    (tmp_path / "go").touch()
    assert cli("batch.resume", "r").returncode == 0
    shown = [json.loads(text) for text in cli("batch.show", "r", "--json").stdout.splitlines()]
    assert [(one["status"], one["host"]) for one in shown] == [("ok", "a"), ("ok", "b")]
