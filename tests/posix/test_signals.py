"""A stop reaches the jobs whatever the program and its readers do; the handlers are the program's own again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import wait_for, with_tag
from manyhands import run_batch
from manyhands.posix.signals import GivenUp, Watched


def jobs_of(mark: str, program: subprocess.Popen[bytes]) -> list[int]:
    """Commands that carry ``mark`` in their environment."""
    return [one.pid for one in with_tag(mark) if one.pid != program.pid and is_job(one.pid)]


def is_job(pid: int) -> bool:
    try:
        return b"\0MH_TAG=" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("shown", [(), ("--json",)], ids=["plain", "json"])
def test_nobody_reads_our_output(shown: tuple[str, ...], tmp_path: Path, environment: dict[str, str]) -> None:
    """Time-outs are kept, TERM ends the jobs, and a second one ends us, although we are inside a write."""
    command = "sh -c 'head -c 200000 /dev/zero | tr \\\\0 x; [ {} -gt 2 ] || exit 0; echo $$ >> pids; exec sleep 60{}'"
    mark = f"UNREAD={tmp_path}"
    reading, writing = os.pipe()
    program = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "manyhands",
            "batch",
            command,
            *shown,
            "-j",
            "5",
            "--timeout",
            "600",
            "--",
            "1",
            "2",
            "3",
            "4",
        ],
        cwd=tmp_path,
        env=environment | {"UNREAD": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        pids = tmp_path / "pids"
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, 60)
        program.send_signal(signal.SIGTERM)
        wait_for(lambda: not jobs_of(mark, program), 60)
        assert program.poll() is None
        while program.poll() is None:
            program.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                program.wait(1)
        assert program.returncode == -signal.SIGTERM
        wait_for(lambda: not with_tag(mark), 30)
    finally:
        program.kill()
        program.wait()
        os.close(reading)


def test_a_limit_is_kept_while_nobody_reads(tmp_path: Path, environment: dict[str, str]) -> None:
    """A job that is out of time ends although its coordinator is inside a write."""
    command = "sh -c 'if [ {} = 2 ]; then touch began; exec sleep 600; fi; head -c 200000 /dev/zero'"
    mark = f"UNREAD={tmp_path}"
    program = subprocess.Popen(
        [sys.executable, "-m", "manyhands", "batch", command, "-j", "2", "--timeout", "3", "--", "1", "2"],
        cwd=tmp_path,
        env=environment | {"UNREAD": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((tmp_path / "began").exists, 60)
        wait_for(lambda: not jobs_of(mark, program), 60)
        assert program.poll() is None
        out, _ = program.communicate(timeout=60)
        assert (len(out), program.returncode) == (200_000, 1)
    finally:
        program.kill()
        program.wait()


def test_a_signal_is_passed_on_once_by_whichever_sees_it_first() -> None:
    """The handler in the main thread and the thread at the wake-up descriptor see the same signal; the batch hears it once."""
    heard: list[int] = []
    with Watched(heard.append, lambda: None):
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
    assert sorted(heard) == sorted([signal.SIGTERM, signal.SIGHUP])


def test_a_second_signal_gets_the_main_thread_out_of_a_write() -> None:
    """Only there: everywhere else the program goes on in its own order."""
    stops: list[int] = []
    reading, writing = os.pipe()
    with Watched(stops.append, lambda: None) as watched:
        signal.raise_signal(signal.SIGTERM)
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM))
        watched.writing = True
        timer.start()
        with pytest.raises(GivenUp):
            os.write(writing, b"x" * (1 << 21))
        watched.writing = False
        timer.join()
    assert len(stops) == 2
    os.close(reading)
    os.close(writing)


def test_signals_are_left_to_asyncio() -> None:
    """In the main thread of an event loop its own handlers stay, and its own wake-up descriptor."""

    async def main() -> int:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, lambda: None)
        with run_batch("true", ["a"]) as run:
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
            found = len(list(run))
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, heard.set)
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.wait_for(heard.wait(), 60)
        return found

    assert asyncio.run(main()) == 1


def test_handlers_are_restored_in_any_order_and_what_others_set_stays() -> None:
    """The last one to leave puts back what was there, unless somebody has replaced it meanwhile."""
    before = signal.getsignal(signal.SIGHUP)

    def mine(*_: object) -> None:
        """Another part of the program wants it."""

    first, second = (Watched(lambda _: None, lambda: None) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGHUP) is not before
    signal.signal(signal.SIGHUP, mine)
    second.__exit__(None, None, None)
    try:
        assert signal.getsignal(signal.SIGHUP) is mine
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)
