"""``batch --on ... --send --fetch --cleanup``: files that travel with their jobs, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli, wait_for
from handlers.test_batch_on_each import SSH, ssh
from manyhands import run_batch
from ssh_hosts import SshHosts

__all__ = ["ssh"]


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jobs; `tmp_path`/ours is the working folder."""
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    return tmp_path / "theirs"


def test_over_ssh(cli: Cli, ssh_hosts: SshHosts, theirs: Path) -> None:
    """A file for each job, and one for all; results come back with their modes, and nothing stays there."""
    for name in ("a", "b c", "-n", "x\ny"):
        Path(name).write_text(name)
    Path("tool.sh").write_text('#!/bin/sh\ntr a-z A-Z <"./$1" >"./$1.up"\nchmod 640 "./$1.up"\n')
    Path("tool.sh").chmod(0o755)
    args = ["--on", "h1:3", "--ssh", ssh_hosts.ssh, "--workdir", str(theirs), "--cleanup"]
    files = ["--send", "{}", "--send", "tool.sh", "--fetch", "{}.up"]
    done = cli(
        "batch", "./tool.sh {}", *args, *files, "--from", "-", "--null", input="a\0b c\0-n\0x\ny\0", cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert {name: Path(name + ".up").read_text() for name in ("a", "b c", "-n", "x\ny")} == {
        "a": "A",
        "b c": "B C",
        "-n": "-N",
        "x\ny": "X\nY",
    }
    assert Path("a.up").stat().st_mode & 0o777 == 0o640
    assert not [*theirs.iterdir()]


def test_names_that_are_not_utf8(ssh: str, theirs: Path) -> None:
    """They are the same on both sides."""
    name = b"\xff\xfe"
    Path(os.fsdecode(name)).write_text("x")
    run = run_batch("mv {} {}.out", [name], on=["a"], ssh=ssh, workdir=theirs, send=["{}"], fetch=["{}.out"])
    assert [one.ok for one in run] == [True]
    assert Path(os.fsdecode(name + b".out")).read_text() == "x"


def test_from_every_host(cli: Cli, ssh: str, theirs: Path) -> None:
    """Each host's file has its name."""
    args = ["--on-each", "a,b", "--ssh", ssh, "--workdir", str(theirs)]
    done = cli("batch", "sh -c 'echo $MH_HOST >log-$MH_HOST'", *args, "--fetch", "log-{host}", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert [Path(f"log-{host}").read_text() for host in "ab"] == ["a\n", "b\n"]


@pytest.mark.sampled
def test_resume_after_kill_9_in_the_middle_of_a_file(
    cli: Cli, ssh: str, theirs: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Whole files only; what was half fetched is replaced, and what was half sent is gone. From another folder, too."""
    for number in range(6):
        Path(f"{number}.in").write_bytes(bytes([number]) * (200_000_000 if number == 3 else 1000))
    args = ["--on", "a:1,b:1", "--ssh", ssh, "--workdir", str(theirs), "--cleanup", "--run-id", "r"]
    command = [
        sys.executable,
        "-m",
        "manyhands",
        "batch",
        "cp {} {.}.out",
        *args,
        "--send",
        "{}",
        "--fetch",
        "{.}.out",
        "--",
    ]
    inputs = [f"{number}.in" for number in range(6)]
    process = subprocess.Popen([*command, *inputs], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: [*Path().glob(".3.out.*.part")])
    process.kill()
    process.wait()
    wait_for(lambda: not [*theirs.iterdir()])
    assert not Path("3.out").exists()
    os.chdir(tmp_path)
    done = cli("batch.resume", "r")
    assert done.returncode == 0, done.stderr
    ours = tmp_path / "ours"
    for number in range(6):
        assert (ours / f"{number}.out").read_bytes() == (ours / f"{number}.in").read_bytes()
    assert len([*ours.iterdir()]) == 12
    wait_for(lambda: not [*theirs.iterdir()])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_host_whose_disk_is_full(cli: Cli, ssh_hosts: SshHosts, theirs: Path) -> None:
    """What has no room there fails its job, and says so; nothing half is left; when there is room, a retry does the rest."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", theirs], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        names = [f"{number}" for number in range(6)]
        for name in names:
            Path(name).write_bytes(bytes(300_000))
        args = ["--on", "h1:1", "--ssh", ssh_hosts.ssh, "--workdir", str(theirs), "--send", "{}", "--run-id", "r"]
        done = cli("batch", "wc -c {}", *args, "--", *names, cwd=Path.cwd())
        assert (done.returncode, done.stdout) == (1, "300000 0\n300000 1\n300000 2\n")
        shown = [json.loads(line) for line in cli("batch.show", "r", "--json").stdout.splitlines()]
        assert [one["error"] for one in shown[3:]] == [
            f"cannot send a file: {name}: No space left on device" for name in names[3:]
        ]
        assert sorted(one.name for one in theirs.iterdir()) == names[:3]
        subprocess.run(["mount", "-o", "remount,size=4m", theirs], check=True)
        again = cli("batch.retry", "r", cwd=Path.cwd())
        assert (again.returncode, again.stdout) == (0, "300000 3\n300000 4\n300000 5\n")
    finally:
        subprocess.run(["umount", theirs], check=True)


@pytest.mark.sampled
def test_many_files_and_a_host_that_is_killed(
    cli: Cli, ssh: str, theirs: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Every result is right, and recorded once; what was lost is tried again."""
    (tmp_path / "ssh").write_text(SSH.replace("exec sh", f"echo $$ >{tmp_path}/pid-$host\nexec sh"))
    for number in range(300):
        Path(f"{number}").write_text(f"{number}\n")
    args = ["--on", "a:2,b:2", "--ssh", ssh, "--workdir", str(theirs), "--cleanup", "--retries", "3", "--backoff", "0.1"]
    files = ["--send", "{}", "--fetch", "{}.out", "--run-id", "r", "--quiet"]
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'sed s/^/x/ $0 >$0.out' {}", *args, *files]
    names = [str(number) for number in range(300)]
    process = subprocess.Popen([*command, "--", *names], env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: len([*Path().glob("*.out")]) > 40)
    os.kill(int((tmp_path / "pid-a").read_text()), signal.SIGKILL)
    assert process.wait() == 0
    assert all(Path(f"{number}.out").read_text() == f"x{number}\n" for number in range(300))
    records = [json.loads(line) for line in cli("batch.show", "r", "--json").stdout.splitlines()]
    assert [one["status"] for one in records] == ["ok"] * 300
    assert {one["host"] for one in records} == {"a", "b"}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--send", "{}"], "--send has no effect without --on or --on-each"),
        (["--cleanup", "--on", "a"], "--cleanup has no effect without --send or --fetch"),
        (["--on", "a", "--send", "{nope"], "--send '{nope': "),
        (["--on", "a", "--send", ""], "--send '': the command is empty"),
        (["--on", "a", "--fetch", "{%}"], "--fetch '{%}': the slot is not known before the job begins"),
        (["--on-each", "a", "--fetch", "log"], "--fetch 'log': with --on-each it needs {host}"),
        (["--on", "a", "--then", "true", "--send", "{}"], "--send does not go with --then"),
        (["--on", "a", "--send", "{name}"], "there is no column 'name'"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli, ssh: str) -> None:
    """Said before anything begins."""
    more = ["--ssh", ssh] if "--on" in args or "--on-each" in args else []
    done = cli("batch", "true {}", *args, *more, "--", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
