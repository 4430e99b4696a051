"""Waiting: it comes, or the time is up; what was there already counts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manyhands.posix import linux
from manyhands.processes import wait
from manyhands.processes.log_follower import Log
from manyhands.processes.wait import wait_for_file, wait_for_line, wait_for_port, wait_for_processes

SOON = 0.2
NEVER = 0.15
LONG = 30.0


@contextmanager
def soon(act: Callable[[], object]) -> Iterator[None]:
    """Something happens in a moment, while the block waits for it."""
    timer = threading.Timer(SOON, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.usefixtures("nothing_left")
def test_a_process_ends() -> None:
    """One of ours, and one that belongs to somebody else; its end is told, also as a zombie."""
    with subprocess.Popen(["sleep", "60"]) as child:
        assert wait_for_processes([child.pid], timeout=NEVER) == [child.pid]
        with soon(child.kill):
            assert wait_for_processes([child.pid], timeout=LONG) == []
        stat = linux.read_stat(child.pid)
        assert stat is None or stat.state == "Z"
    stranger = int(subprocess.check_output(["sh", "-c", "sleep 60 >/dev/null & echo $!"]))
    with soon(lambda: os.kill(stranger, signal.SIGKILL)):
        assert wait_for_processes([stranger, child.pid], timeout=LONG) == []


@pytest.mark.usefixtures("nothing_left")
def test_without_a_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old kernels, other systems: looked at again and again."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen(["sleep", "60"]) as child:
        assert wait_for_processes([child.pid], timeout=NEVER) == [child.pid]
        with soon(child.kill):
            assert wait_for_processes([child.pid], timeout=LONG) == []
    assert wait_for_processes([child.pid], timeout=0) == []


@pytest.mark.usefixtures("nothing_left")
def test_a_port_answers_and_is_gone() -> None:
    """TCP on this machine; a host without an address may get one."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not wait_for_port(port, timeout=NEVER)
        assert wait_for_port(port, gone=True, timeout=NEVER)
        with soon(server.listen):
            assert wait_for_port(port, timeout=LONG)
        assert not wait_for_port(port, gone=True, timeout=NEVER)
        with soon(server.close):
            assert wait_for_port(port, "localhost", gone=True, timeout=LONG)


def test_a_host_that_is_not_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for again until it has an address; never is a time-out, and gone is what it is without one."""
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, None, None, None, ("127.0.0.1", port))]

    monkeypatch.setattr(wait, "_RESOLVE", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert wait_for_port(port, "late.example", timeout=LONG)
    assert asked == ["late.example"] * 3
    asked.clear()
    assert wait_for_port(port, "late.example", gone=True, timeout=LONG)
    assert not wait_for_port(port, "late.example", timeout=NEVER)


def test_a_coloured_line_is_searched_as_it_is_seen(tmp_path: Path) -> None:
    """And returned without its control sequences."""
    (tmp_path / "log").write_text("\x1b[1;32mReady\x1b[0m now\n")
    assert wait_for_line(tmp_path / "log", re.compile("^Ready now$"), timeout=LONG) == "Ready now"


def test_a_server_that_has_only_ipv6_is_found() -> None:
    """By the default host, and by its own address."""
    with socket.socket(socket.AF_INET6) as server:
        try:
            server.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        server.listen()
        port = server.getsockname()[1]
        assert wait_for_port(port, timeout=LONG)
        assert wait_for_port(port, "::1", timeout=LONG)
        assert not wait_for_port(port, gone=True, timeout=NEVER)
        assert not wait_for_port(port, "127.0.0.1", timeout=NEVER)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "."])
def test_what_cannot_be_a_host_is_an_error(host: str) -> None:
    """At once, and no UnicodeError of the encoding of names."""
    with pytest.raises(OSError, match=r"name|known|address"):
        wait_for_port(1, host, timeout=LONG)


def test_a_file_is_there_and_is_gone(tmp_path: Path) -> None:
    """Whatever it is."""
    path = tmp_path / "ready"
    assert not wait_for_file(path, timeout=NEVER)
    with soon(path.touch):
        assert wait_for_file(path, timeout=LONG)
    assert not wait_for_file(path, gone=True, timeout=NEVER)
    with soon(path.unlink):
        assert wait_for_file(path, gone=True, timeout=LONG)
    assert wait_for_file(tmp_path, timeout=0)


READY = re.compile(r"ready (\d+)$")


def append(path: Path, text: bytes) -> Callable[[], None]:
    def act() -> None:
        with path.open("ab") as file:
            file.write(text)

    return act


def test_a_line_is_logged(tmp_path: Path) -> None:
    """In a file that appears later; what stands there already counts, unless only new lines are wanted."""
    log = tmp_path / "log"
    assert wait_for_line(log, READY, timeout=NEVER) is None
    with soon(append(log, b"starting\n\xff ready 1\r\nmore\n")):
        assert wait_for_line(log, READY, timeout=LONG) == "\ufffd ready 1"
    assert wait_for_line(log, READY, timeout=0) == "\ufffd ready 1"
    assert wait_for_line(log, READY, new=True, timeout=NEVER) is None
    with soon(append(log, b"ready 2\n")):
        assert wait_for_line(log, READY, new=True, timeout=LONG) == "ready 2"
    with pytest.raises(IsADirectoryError):
        wait_for_line(tmp_path, READY)


def test_a_line_in_parts(tmp_path: Path) -> None:
    """Half a line is none; a last one without its end is, when nothing follows."""
    log = tmp_path / "log"
    log.write_bytes(b"rea")

    def write() -> None:
        append(log, b"dy 12")()

    with soon(write):
        found = wait_for_line(log, re.compile("ready|dy 12$"), timeout=LONG)
    assert found in ("ready 12", "dy 12")
    assert wait_for_line(log, READY, timeout=LONG) == "ready 12"


@pytest.mark.parametrize("how", ["replaced", "emptied", "moved away"])
def test_a_log_that_is_begun_anew(tmp_path: Path, how: str) -> None:
    """As logrotate(8) does it, by a new file or with copytruncate."""
    log = tmp_path / "log"
    log.write_bytes(b"x\n" * 50 + b"end without newline: ready")

    def rotate() -> None:
        if how == "emptied":
            log.write_bytes(b"ready 3\n")
            return
        log.rename(tmp_path / "log.1")
        if how == "moved away":
            time.sleep(0.15)
        log.write_bytes(b"y\n" * 60 + b"ready 3\n")

    with soon(rotate):
        assert wait_for_line(log, READY, timeout=LONG) == "ready 3"


@pytest.mark.parametrize("how", ["renamed", "renamed and gone", "copied and emptied", "emptied and refilled", "removed"])
def test_a_line_just_before_a_rotation_is_not_missed(tmp_path: Path, how: str) -> None:
    """Nor one that a program writes on into a log that was renamed."""
    log, old = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"before\n" * 20)

    def rotate() -> None:
        if how == "emptied and refilled":  # larger than it was: only its content tells
            log.write_bytes(b"ready 5\n" + b"after\n" * 500)
            return
        append(log, b"ready 5\n")()
        if how == "copied and emptied":
            shutil.copy(log, old)
            os.truncate(log, 0)
        elif how == "removed":
            log.unlink()
        else:
            log.rename(old)
            if how == "renamed":
                log.touch()

    with soon(rotate):
        assert wait_for_line(log, READY, new=True, timeout=LONG) == "ready 5"


def test_a_program_that_writes_on_into_a_renamed_log_is_heard(tmp_path: Path) -> None:
    """Until it is told to open a new one; also when there is one already."""
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with log.open("ab", buffering=0) as writer, Log(log, at_end=True) as following:
        log.rename(tmp_path / "log.1")
        log.write_bytes(b"new file\n")
        assert list(following.new_lines()) == ["new file"]
        writer.write(b"old file\n")
        assert list(following.new_lines()) == ["old file"]


def test_a_line_of_any_length(tmp_path: Path) -> None:
    """Is taken for several, so memory stays small."""
    log = tmp_path / "log"
    log.write_bytes(b"x" * (3 << 20) + b"\nready 4\n")
    assert wait_for_line(log, READY, timeout=LONG) == "ready 4"
    log.write_bytes(b"x" * (3 << 20))
    found = wait_for_line(log, re.compile("x"), timeout=LONG)
    assert found is not None
    assert len(found) <= 1 << 20
