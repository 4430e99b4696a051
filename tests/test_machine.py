"""The machine, this process and fork: what is told is what the system's own programs say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from manyhands.cores import cgroup_quota, usable_cores
from manyhands.errors import UsageError
from manyhands.forks import ForkEvent, fork_demo
from manyhands.host import host_info, identity
from manyhands.render.machine import fork_verdict, identity_lines, info_lines

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_linux
def test_the_host_is_what_the_system_says() -> None:
    """uname, nproc, /proc/loadavg, /proc/meminfo (scenario I1)."""
    info = host_info()
    assert [info.system, info.node, info.kernel, info.machine] == [
        said("uname", flag) for flag in ("-s", "-n", "-r", "-m")
    ]
    assert info.cores == int(said("nproc", "--all"))
    assert info.load is not None
    assert abs(info.load[0] - float(Path("/proc/loadavg").read_text().split()[0])) < 1
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert info.memory.total == int(total.split()[1]) * 1024
    assert {disk.mount for disk in info.disks} <= {
        line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
    }


@needs_linux
def test_usable_cores_are_those_of_nproc() -> None:
    """nproc looks at the affinity, and so do we; a quota can only lower it."""
    assert 1 <= usable_cores() <= int(said("nproc"))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.cores import usable_cores; print(usable_cores())"
    )
    lib = str(Path(__file__).parents[1] / "lib")
    assert said("taskset", "-c", "0", sys.executable, "-c", script, lib) == "1"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/\n", {}, None),
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000", "cpu/x/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, None),
        ("3:memory:/x\n", {}, None),
    ],
)
def test_quotas_of_both_kinds_of_cgroup(tmp_path: Path, own: str, files: dict[str, str], quota: float | None) -> None:
    """The tightest of the process's own group and those above it."""
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert cgroup_quota(tmp_path / "root", tmp_path / "own") == quota
    assert cgroup_quota(tmp_path / "root", tmp_path / "missing") is None


@needs_linux
def test_the_identity_is_what_id_and_pwd_say() -> None:
    """Scenario B9."""
    who = identity()
    assert (who.pid, who.ppid) == (os.getpid(), os.getppid())
    assert [str(who.uid), str(who.gid), who.user] == [said("id", "-u"), said("id", "-g"), said("id", "-un")]
    assert set(who.groups) == set(map(int, said("id", "-G").split()))
    assert who.cwd == said("pwd", "-P")
    assert f"pid      {who.pid}" in list(identity_lines(who))


def test_what_is_not_there_says_so() -> None:
    """A line for everything, absent or not, and stable keys in JSON (scenario I2)."""
    info = host_info()
    lines = list(info_lines(info))
    labels = {line.split()[0] for line in lines}
    assert labels >= {
        "host",
        "system",
        "cores",
        "load",
        "memory",
        "swap",
        "sensors",
        "battery",
        "booted",
        "users",
        "python",
    }
    if info.battery_percent is None:
        assert "battery  not available" in lines
    assert next(iter(info.to_json())) == "schema"


@pytest.mark.usefixtures("nothing_left")
def test_fork_returns_twice() -> None:
    """The child gets 0, the parent the child's pid; the child's parent is the parent, which reaps it (scenario B1)."""
    events: list[ForkEvent] = []
    report = fork_demo(children=3, exit_code=7, emit=events.append)
    assert report.as_expected
    assert set(report.exits.values()) == {7}
    assert len(report.exits) == 3
    children = [event for event in events if event.who == "child"]
    assert [event.returned for event in children] == [0, 0, 0]
    assert {event.ppid for event in children} == {os.getpid()}
    told = [event.returned for event in events if event.who == "parent" and "I am the parent" in event.text]
    assert told == [event.pid for event in children] == list(report.exits)
    assert "3 children" in fork_verdict(report)
    mine = [
        event.elapsed for event in events if event.who == "parent"
    ]  # a child runs beside us: its moments may come first
    assert mine == sorted(mine)


@pytest.mark.parametrize("wrong", [{"children": 0}, {"children": 65}, {"exit_code": -1}, {"exit_code": 256}])
def test_numbers_that_make_no_sense(wrong: dict[str, int]) -> None:
    """Are refused before anything is forked."""
    with pytest.raises(UsageError, match="expected"):
        fork_demo(**wrong)  # type: ignore[arg-type]


def test_fork_with_threads_is_refused() -> None:
    """A lock that another thread holds would stay locked in the child (row 42)."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    try:
        with pytest.raises(UsageError, match="threads"):
            fork_demo()
    finally:
        go.set()
        thread.join()


def test_without_fork_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear line where fork does not exist."""
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="no fork"):
        fork_demo()
