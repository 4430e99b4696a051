"""The doctor finds what is wrong when it is, and says what follows and what to do."""

from __future__ import annotations

import errno
import json
import os
import pty
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import LIB, Cli
from manyhands.host import doctor
from manyhands.host.finding import Finding, Health
from manyhands.posix import linux
from manyhands.render.checks import finding_lines, verdict

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs what only Linux has")


def refuse(number: int) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@needs_linux
@pytest.mark.usefixtures("nothing_left")
def test_this_machine_is_examined(cli: Cli, tmp_path: Path) -> None:
    """Every probe finds something, none leaves anything, and none is broken where our own tests pass."""
    findings = doctor.examine({"XDG_STATE_HOME": str(tmp_path)})
    assert [one.name for one in findings] == [
        "fork",
        "spawn",
        "semaphores",
        "shared memory",
        "pidfd",
        "memfd",
        "subreaper",
        "cgroups",
        "open files",
        "processes",
        "/proc",
        "journal",
        "clock",
        "terminal",
        "text",
    ]
    assert all(bool(one.so) == bool(one.fix) == (one.health is not Health.OK) for one in findings)
    assert [
        one for one in findings if one.name in ("fork", "spawn", "journal", "clock") and one.health is Health.BROKEN
    ] == []
    assert os.listdir(tmp_path) == []
    done = cli("host.doctor", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["name"] for record in records] == [one.name for one in findings]
    assert done.returncode == (1 if any(record["health"] == "broken" for record in records) else 0)


def test_no_semaphores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or full /dev/shm."""
    monkeypatch.setattr("multiprocessing.context.BaseContext.Semaphore", refuse(errno.ENOSPC))
    found = doctor.semaphores()
    assert found.health is Health.BROKEN
    assert "No space left" in found.seen
    assert found.fix is not None
    assert "--shm-size" in found.fix


@needs_linux
def test_little_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's 64 MiB, and none at all."""
    monkeypatch.setattr(doctor, "_SMALL_SHM", 1 << 60)
    found = doctor.shared_memory()
    assert (found.health, found.so) == (Health.LIMITED, "programs that share more than that die by SIGBUS")
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC))
    assert doctor.shared_memory().health is Health.BROKEN


@pytest.mark.parametrize(("function", "probe"), [("pidfd_open", doctor.pidfd), ("memfd_create", doctor.memfd)])
def test_calls_that_a_container_refuses(
    monkeypatch: pytest.MonkeyPatch, function: str, probe: Callable[[], Finding]
) -> None:
    """Absent, or forbidden by seccomp: it works with less."""
    monkeypatch.setattr(os, function, refuse(errno.EPERM), raising=False)
    assert probe().health is Health.LIMITED
    monkeypatch.delattr(os, function)
    found = probe()
    assert found.health is Health.LIMITED
    assert found.so


def test_programs_that_fail_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what a fresh interpreter says."""
    monkeypatch.setattr(doctor, "_FORK", "raise SystemExit('no child today')")
    assert (doctor.fork().health, doctor.fork().seen) == (Health.BROKEN, "no child today")
    monkeypatch.setattr(doctor, "_SPAWN", "raise OSError('too many')")
    assert (doctor.spawn().health, doctor.spawn().seen) == (Health.BROKEN, "OSError: too many")
    monkeypatch.setattr(doctor, "_SUBREAPER", "raise SystemExit(3)")
    assert (doctor.subreaper().health, doctor.subreaper().seen) == (Health.LIMITED, "it ended with 3")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "No such file" in doctor.fork().seen


@needs_linux
def test_few_descriptors(tmp_path: Path) -> None:
    """They are really opened, up to the limit."""
    script = (
        f"import sys; sys.path.insert(0, {str(LIB)!r})\n"
        "from manyhands.host.doctor import open_files\nfound = open_files()\nprint(found.health.value, found.seen, found.fix, sep='|')"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)),
    )
    health, seen, fix = done.stdout.strip().split("|")
    assert health == "limited"
    assert seen.endswith("were opened, then: Too many open files")
    assert fix.startswith("ulimit -n ")


def test_journals_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be written to, a disk that refuses, a file system without a write-ahead log."""
    found = doctor.journal(tmp_path / "not" / "there" / "yet")
    assert (found.health, found.seen.split(":")[0]) == (Health.OK, str(tmp_path))
    assert os.listdir(tmp_path) == []
    with monkeypatch.context() as patched:
        patched.setattr(doctor.tempfile, "mkdtemp", refuse(errno.EROFS))  # type: ignore[attr-defined]
        found = doctor.journal(tmp_path)
    assert (found.health, found.seen) == (Health.BROKEN, f"{tmp_path}: Read-only file system")
    connect = doctor.sqlite3.connect  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(doctor.sqlite3, "connect", lambda *_, **__: connect(":memory:"))  # type: ignore[attr-defined]
        found = doctor.journal(tmp_path)
    assert (found.health, "(memory)" in found.seen) == (Health.LIMITED, True)
    with monkeypatch.context() as patched:
        patched.setattr(doctor.sqlite3, "connect", lambda *_, **__: connect("/no/such/folder/x"))  # type: ignore[attr-defined]
        found = doctor.journal(tmp_path)
    assert found.health is Health.BROKEN
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("options_typed")
def test_runs_that_have_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No home folder is a finding, as is one that may not be looked into; the other probes are shown all the same."""
    monkeypatch.setattr(doctor, "fork", lambda: Finding("fork", Health.OK, ""))
    monkeypatch.setattr(doctor, "spawn", lambda: Finding("spawn", Health.OK, ""))
    monkeypatch.setattr("manyhands.storage.runs.home_folder", lambda _: None)
    (found,) = (one for one in doctor.examine({}) if one.name == "journal")
    assert (found.health, found.seen) == (Health.BROKEN, "there is no home folder to keep runs in")
    assert found.fix == "set HOME or XDG_STATE_HOME, or give --state-dir"
    monkeypatch.setattr(os.path, "isdir", lambda path: str(path) == str(tmp_path))  # as where stat(2) is not permitted
    assert doctor.journal(tmp_path / "locked" / "inside").seen.startswith(f"{tmp_path}: ")


def test_little_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """hidepid, not mounted, another system."""
    read = linux.read_stat
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(linux, "read_stat", lambda pid: None if pid == 1 else read(os.getpid()) or True)
    assert doctor.proc().health is Health.LIMITED
    monkeypatch.setattr(linux, "read_stat", lambda _: None)
    assert doctor.proc().health is Health.BROKEN
    monkeypatch.setattr(sys, "platform", "darwin")
    assert doctor.proc().health is Health.LIMITED


def test_no_cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A quota would not be seen."""
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert doctor.cgroups().health is Health.LIMITED


def test_clocks_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands still, one that thinks it is 1970."""
    with monkeypatch.context() as patched:
        patched.setattr(doctor.time, "monotonic", lambda: 5.0)  # type: ignore[attr-defined]
        assert doctor.clock().health is Health.BROKEN
    with monkeypatch.context() as patched:
        patched.setattr(doctor.time, "time", lambda: 0.0)  # type: ignore[attr-defined]
        assert doctor.clock().health is Health.LIMITED


def test_terminals(environment: dict[str, str]) -> None:
    """A dumb one shows no progress; a real one says its size; a pipe is no fault."""
    ours, theirs = pty.openpty()
    script = (
        "import os, sys; from manyhands.host.doctor import terminal\n"
        "found = terminal(os.environ)\nprint(found.health.value, found.seen)"
    )

    def seen(stderr: int, **settings: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=True,
            env={**environment, **settings},
        )
        return done.stdout.strip()

    try:
        assert seen(theirs, TERM="dumb") == "limited TERM is 'dumb'"
        assert seen(theirs, TERM="xterm", NO_COLOR="1").startswith("ok ")
        assert "without colours" in seen(theirs, TERM="xterm", NO_COLOR="1")
        assert seen(subprocess.DEVNULL) == "ok stderr is not a terminal: progress is shown in plain lines"
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_printed() -> None:
    """What is well in one line; what is not, with what follows and what to do; a verdict."""
    well = Finding("fork", Health.OK, "fine")
    less = Finding("memfd", Health.LIMITED, "none", "slower", "a newer kernel")
    broken = Finding("journal", Health.BROKEN, "read-only", "no batch", "another folder")
    assert list(finding_lines(well)) == ["ok       fork           fine"]
    assert [line.split() for line in finding_lines(less)][1:] == [["so:", "slower"], ["do:", "a", "newer", "kernel"]]
    assert verdict([well]) == "all that manyhands needs works here"
    assert verdict([well, less]) == "all that manyhands needs works here, 1 of 2 things with less than there could be"
    assert verdict([well, less, broken]) == "1 of 3 things that manyhands needs do not work here"
