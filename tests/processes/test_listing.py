"""What is told of processes is what ps, pstree, ss and /proc say."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conftest import wait_for
from manyhands.core.errors import UsageError
from manyhands.posix import linux
from manyhands.processes import listing
from manyhands.processes.listing import (
    Branch,
    ProcessInfo,
    Selector,
    ancestors,
    list_processes,
    listeners,
    orphans,
    process_info,
    process_tree,
    user_name,
    zombies,
)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of which everything is known."""
    with subprocess.Popen(["sleep", "61.25"], start_new_session=True) as running:
        yield running
        running.kill()


def info_of(pid: int) -> ProcessInfo:
    found = process_info(pid)
    assert found
    return found


def ps(pid: int, *columns: str) -> list[str]:
    done = subprocess.run(
        ["ps", "-o", "=,".join(columns) + "=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return done.stdout.split(maxsplit=len(columns) - 1)


@needs_linux
def test_a_process_is_what_ps_says(sleeper: subprocess.Popen[bytes]) -> None:
    """Pid, parent, user, state, name, age, memory, command line (scenario I3)."""
    info = info_of(sleeper.pid)
    wait_for(lambda: info_of(sleeper.pid).state == "S")
    info = info_of(sleeper.pid)
    pid, ppid, user, state, comm, etimes, args = ps(sleeper.pid, "pid", "ppid", "user", "s", "comm", "etimes", "args")
    assert (info.pid, info.ppid, info.user, info.state, info.name) == (int(pid), int(ppid), user, state, comm)
    assert info.command == args.strip() == "sleep 61.25"
    assert (
        float(etimes) > 1e9 or abs(info.age - float(etimes)) < 2
    )  # procps at times takes a new process for one from the future
    assert info.memory == int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    stat = linux.read_stat(sleeper.pid)
    assert stat
    assert info.start == stat.start


@needs_linux
def test_everything_that_runs_is_listed() -> None:
    """The same pids as in /proc, but for those that come and go meanwhile; each with the parent that ps names."""
    before = {stat.pid for stat in linux.processes()}
    listed = {one.pid: one for one in list_processes()}
    after = {stat.pid for stat in linux.processes()}
    assert before & after <= set(listed) <= before | after
    assert listed[os.getpid()].ppid == os.getppid()
    assert listed[os.getpid()].argv == tuple(
        os.fsdecode(Path("/proc/self/cmdline").read_bytes()).rstrip("\0").split("\0")
    )
    assert list(listed) == sorted(listed)


def test_choosing(sleeper: subprocess.Popen[bytes]) -> None:
    """By name or pattern, user, command line, age: all that is given must hold."""
    pid = sleeper.pid
    wait_for(lambda: info_of(pid).name == "sleep")
    me = user_name(os.geteuid(), {})

    def chosen(**by: object) -> bool:
        return pid in [one.pid for one in list_processes(Selector(**by))]  # type: ignore[arg-type]

    assert chosen(names=["sleep"])
    assert chosen(names=["nothing", "sl*p"])
    assert not chosen(names=["slee"])
    assert chosen(cmdline=[re.compile("sleep 61"), re.compile(r"\.25$")])
    assert not chosen(cmdline=[re.compile("sleep 61"), re.compile("^61")])
    assert chosen(users=[me], names=["sleep"])
    assert chosen(pids=[pid, 1])
    assert not chosen(pids=[1])
    assert not chosen(pids=[pid], older_than=3600.0)
    time.sleep(0.05)
    assert chosen(pids=[pid], older_than=0.01)
    assert not Selector()
    assert Selector(older_than=0.0)
    with pytest.raises(UsageError, match="no such user"):
        list_processes(Selector(users=["no-such-user"]))


def test_choosing_by_port_and_who_listens() -> None:
    """As ss(8) tells it: TCP sockets that listen, UDP sockets that are bound."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as client:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        client.connect(tcp.getsockname())
        port, other = tcp.getsockname()[1], udp.getsockname()[1]
        (one,) = listeners(port)
        assert (one.protocol, one.address, one.port, one.pid) == ("tcp", "127.0.0.1", port, os.getpid())
        assert (one.name, one.user) == (info_of(os.getpid()).name, user_name(os.geteuid(), {}))
        assert [(one.protocol, one.pid) for one in listeners(other)] == [("udp", os.getpid())]
        assert [one.pid for one in list_processes(Selector(ports=[port]))] == [os.getpid()]
        if shutil.which("ss"):
            said = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
            assert f"127.0.0.1:{port}" in said
            assert f"pid={os.getpid()}," in said
    assert listeners(port) == []


def test_where_only_root_sees_all_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS: what can be seen process by process is shown."""

    def denied(**_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        assert [one.pid for one in listeners(tcp.getsockname()[1])] == [os.getpid()]


@needs_linux
def test_the_tree_is_that_of_pstree() -> None:
    """Pids in the same order, as deep."""
    script = "sleep 62 & sh -c 'sleep 63 & wait' & wait"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as root:
        wait_for(lambda: len(pids(process_tree(root.pid)[0])) == 4)
        (branch,) = process_tree(root.pid)
        drawn = subprocess.run(["pstree", "-p", str(root.pid)], capture_output=True, text=True, check=True).stdout
        assert sorted(pids(branch)) == sorted(map(int, re.findall(r"\((\d+)\)", drawn)))
        assert branch.info.pid == root.pid
        for child in branch.children:
            assert child.info.ppid == root.pid
            assert ancestors(child.info.pid)[:2] == [root.pid, os.getpid()]
        os.killpg(root.pid, 9)
    with pytest.raises(UsageError, match=f"there is no process {root.pid}"):
        process_tree(root.pid)


def pids(branch: Branch) -> list[int]:
    return [branch.info.pid, *(pid for child in branch.children for pid in pids(child))]


def test_all_trees_hold_every_process_once() -> None:
    """Whatever its parent is."""
    everyone = [pid for root in process_tree() for pid in pids(root)]
    assert len(everyone) == len(set(everyone))
    assert os.getpid() in everyone


def test_a_child_that_is_not_collected_is_a_zombie_until_it_is() -> None:
    """Scenario B6; psutil says the same."""
    child = subprocess.Popen(["true"])
    wait_for(lambda: info_of(child.pid).state == "Z")
    (zombie,) = [one for one in zombies() if one.pid == child.pid]
    assert (zombie.ppid, zombie.command) == (os.getpid(), "[true]")
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert child.wait() == 0
    assert child.pid not in [one.pid for one in zombies()]
    assert process_info(child.pid) is None


@needs_linux
def test_an_orphan_is_known_by_its_session() -> None:
    """Its parent has ended; one with its parent is none, and neither is who leads a session."""
    script = "(sleep 64 >/dev/null & echo $!); sleep 65 >/dev/null & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout
        orphan, child = (int(shell.stdout.readline()) for _ in range(2))
        wait_for(lambda: info_of(orphan).ppid != shell.pid)
        found = [one.pid for one in orphans()]
        assert orphan in found
        assert child not in found
        assert shell.pid not in found
        os.killpg(shell.pid, 9)


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, psutil tells of families and sessions."""
    monkeypatch.setattr(linux, "processes", list)
    assert ancestors(os.getpid())[0] == os.getppid()
    assert os.getpid() not in [one.pid for one in orphans()]
    assert listing._sessions()[os.getpid()] == (os.getsid(0), os.getppid())


def test_kernel_threads_and_nameless_commands() -> None:
    """A kernel thread is a child of kthreadd without a command line; it is shown by its name."""
    us = info_of(os.getpid())
    thread = replace(us, pid=17, ppid=2, argv=(), name="kworker/0:1")
    assert thread.is_kernel_thread
    assert thread.command == "[kworker/0:1]"
    assert not us.is_kernel_thread
    assert not replace(thread, ppid=1).is_kernel_thread
    assert user_name(54321, {}) == "54321"
