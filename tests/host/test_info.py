"""The machine and this process on it: what is told is what the system's own programs say."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from conftest import LIB
from manyhands.host import info
from manyhands.host.info import clock, host_info, identity
from manyhands.posix.cgroup import cores_quota, memory_limit, processes_limit
from manyhands.posix.cores import usable_cores
from manyhands.render.host import clock_lines, identity_lines, info_lines

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_linux
def test_the_host_is_what_the_system_says() -> None:
    """uname, nproc, /proc/loadavg, /proc/uptime (scenario I1)."""
    info = host_info()
    assert [info.system, info.node, info.kernel, info.version, info.machine] == [
        said("uname", flag) for flag in ("-s", "-n", "-r", "-v", "-m")
    ]
    assert f"version    {said('uname', '-v')}" in list(info_lines(info))
    assert info.cores == int(said("nproc", "--all"))
    assert info.load is not None
    assert abs(info.load[0] - float(Path("/proc/loadavg").read_text().split()[0])) < 1
    assert abs(info.uptime - float(Path("/proc/uptime").read_text().split()[0])) < 5
    assert info.users == tuple(sorted(set(said("users").split())))


@needs_linux
def test_usable_cores_are_those_of_nproc() -> None:
    """nproc looks at the affinity, and so do we; a quota can only lower it."""
    nproc = said("env", "-u", "OMP_NUM_THREADS", "nproc")  # which it would believe
    assert 1 <= usable_cores() <= int(nproc)
    script = "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.posix.cores import usable_cores; print(usable_cores())"
    assert said("taskset", "-c", "0", sys.executable, "-c", script, str(LIB)) == "1"


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
    put(tmp_path, own, files)
    assert cores_quota(tmp_path / "root", tmp_path / "own") == quota
    assert cores_quota(tmp_path / "root", tmp_path / "missing") is None


def put(folder: Path, own: str, files: dict[str, str]) -> None:
    (folder / "own").write_text(own)
    for name, text in files.items():
        (folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / name).write_text(text)


def test_limits_of_both_kinds_of_cgroup(tmp_path: Path) -> None:
    """Memory and processes; the huge number of v1 is no limit."""
    put(tmp_path, "0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.max": "max", "a/b/pids.max": "77"})
    assert memory_limit(tmp_path / "root", tmp_path / "own") == 1000
    assert processes_limit(tmp_path / "root", tmp_path / "own") == 77
    put(tmp_path, "3:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712"})
    assert memory_limit(tmp_path / "root", tmp_path / "own") is None


@needs_linux
def test_the_identity_is_what_id_and_pwd_say() -> None:
    """Scenario B9."""
    who = identity()
    assert (who.pid, who.ppid) == (os.getpid(), os.getppid())
    assert [str(who.uid), str(who.gid), who.user, who.group] == [
        said("id", "-u"),
        said("id", "-g"),
        said("id", "-un"),
        said("id", "-gn"),
    ]
    assert set(who.groups) == set(map(int, said("id", "-G").split()))
    assert set(who.group_names) == set(said("id", "-Gn").split())
    assert who.cwd == said("pwd", "-P")
    assert f"{who.umask:04o}" == said("sh", "-c", "umask")
    assert (str(who.pgid), str(who.session)) == tuple(said("ps", "-o", "pgid=,sid=", "-p", str(who.pid)).split())
    assert f"pid        {who.pid}" in list(identity_lines(who))


@needs_linux
@needs_root
def test_the_identity_of_nobody_in_particular(tmp_path: Path) -> None:
    """A number without a name, another effective user, a folder that is gone: each is told, nothing fails."""
    script = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(LIB)!r})
        from manyhands.host.info import identity
        from manyhands.render.host import identity_lines
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        os.setgroups([54321]); os.setresgid(54321, 54321, 54321); os.setresuid(54321, 65534, 0)
        print(*identity_lines(identity()), sep="\\n")
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    nobody = pwd.getpwuid(65534).pw_name
    for line in (
        "folder     gone: it was removed",
        f"user       54321 (without a name), acting as 65534 ({nobody})",
        "groups     54321 (without a name)",
    ):
        assert line in done.stdout.splitlines()


def test_what_is_not_there_says_so() -> None:
    """A line for everything, absent or not (scenario I2)."""
    info = host_info()
    lines = list(info_lines(info))
    labels = {line.split()[0] for line in lines}
    assert labels >= {
        "host",
        "system",
        "virtual",
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
    bare = replace(info, load=None, swap=replace(info.swap, total=0), users=(), virtual=None, container=None)
    lines = list(info_lines(bare))
    for line in (
        "load       not available",
        "swap       not available",
        "users      nobody is logged in",
        "virtual    no hypervisor to be seen, no container to be seen",
    ):
        assert line in lines


def test_without_systemd_detect_virt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is easily seen is seen."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(info, "_CONTAINER_FILES", {"/": "docker"})
    monkeypatch.setattr(info, "read", lambda path: "QEMU" if path.name == "sys_vendor" else "")
    assert info._virtual_and_container() == ("qemu", "docker")
    monkeypatch.setattr(info, "_CONTAINER_FILES", {})
    monkeypatch.setattr(info, "read", lambda path: "flags : sse hypervisor" if path.name == "cpuinfo" else "")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert info._virtual_and_container() == ("unknown", "kubernetes")
    monkeypatch.setattr(info, "read", lambda _: "")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert info._virtual_and_container() == (None, None)


def test_the_clock_is_that_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local time as `mytime` of the tutorial prints it, in a zone that is not UTC, too (scenario I4)."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        now = clock()
        first, zone, *_ = clock_lines(now)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert (now.zone, now.offset) == ("IST", 19800)
    assert zone == "zone       IST, +5.5 h"
    assert datetime.fromisoformat(now.local) == datetime.fromisoformat(now.utc)
    assert first == "Local time is " + time.asctime(time.gmtime(int(now.epoch) + 19800))
    assert abs(now.epoch - float(said("date", "+%s"))) < 3
