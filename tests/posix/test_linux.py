"""Finding and signalling processes exactly: the right one, or none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import LIB, wait_for
from manyhands.posix import linux

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.usefixtures("nothing_left"),
]


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    """Fields are counted from the last parenthesis."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], start_new_session=True) as process:
        stat = linux.read_stat(process.pid)
        assert stat is not None
        assert (stat.pid, stat.ppid, stat.pgid, stat.session) == (process.pid, os.getpid(), process.pid, process.pid)
        assert linux.process_alive(stat.pid, stat.start)
        process.kill()
    assert linux.read_stat(process.pid) is None
    assert not linux.process_alive(stat.pid, stat.start)


def test_a_recycled_pid_is_never_signalled() -> None:
    """Another start time means another process."""
    with subprocess.Popen(["sleep", "60"]) as process:
        stat = linux.read_stat(process.pid)
        assert stat is not None
        assert not linux.send_signal_exact(stat.pid, stat.start + 1, signal.SIGKILL)
        assert process.poll() is None
        assert linux.send_signal_exact(stat.pid, stat.start, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    assert not linux.send_signal_exact(stat.pid, stat.start, signal.SIGTERM)


def test_descendants_are_all_there() -> None:
    """Children and grandchildren, not the root, zombies marked."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & sh -c 'sleep 60; true' & wait"], start_new_session=True) as process:
        try:
            wait_for(lambda: len(linux.descendants([process.pid])) >= 3)
            below = linux.descendants([process.pid])
            assert process.pid not in {one.pid for one in below}
            assert all(one.session == process.pid for one in below)
        finally:
            assert linux.end_all(lambda one: one.session == process.pid) == 4


def test_a_tag_in_the_environment_is_found_exactly() -> None:
    """The whole entry, or its beginning when asked for."""
    with subprocess.Popen(["sleep", "60"], env={"MH_TAG": "abc.1.2"}) as process:
        wait_for(lambda: linux.has_tag(process.pid, b"MH_TAG=abc.1.2"))
        assert not linux.has_tag(process.pid, b"MH_TAG=abc.1")
        assert linux.has_tag(process.pid, b"MH_TAG=abc.1", prefix=True)
        assert not linux.has_tag(process.pid, b"TAG=abc.1.2")
        process.kill()
    assert not linux.has_tag(process.pid, b"MH_TAG=abc.1.2")


def test_a_subreaper_gets_orphans_and_sees_them_in_its_list() -> None:
    """A daemon of a child comes back to us, and the list of children shows it, however long the list is."""
    script = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); from manyhands.posix import linux\n"
        "assert linux.become_subreaper(); children = linux.ChildrenFile.open()\n"
        "if children is None: print('no file'); sys.exit()\n"
        "pids = [os.posix_spawn('/bin/sleep', ['sleep', '60'], {}) for _ in range(700)]\n"
        "assert children.read() == set(pids)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n os.setsid()\n"
        " if os.fork() == 0:\n  time.sleep(60)\n"
        " os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "while not (extra := children.read() - set(pids)): time.sleep(0.01)\n"
        "print(len(extra)); children.close()\n"
        "[(os.kill(p, 9), os.waitpid(p, 0)) for p in [*pids, *extra]]\n"
    )
    out = subprocess.run([sys.executable, "-c", script, str(LIB)], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() in ("1", "no file")


def test_who_we_are() -> None:
    """Process, start and boot: together they name a process for ever."""
    pid, start, boot = linux.own_identity()
    assert pid == os.getpid()
    assert linux.process_alive(pid, start)
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_what_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waiting for ever."""
    monkeypatch.setattr(linux, "send_signal_exact", lambda *_: False)
    with subprocess.Popen(["sleep", "60"]) as process:
        with pytest.raises(TimeoutError, match=str(process.pid)):
            linux.end_all(lambda one: one.pid == process.pid, patience=0.05)
        process.kill()
