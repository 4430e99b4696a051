"""A process that was started before it was known what it will do: it does that, or ends with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import LIB, Cli, wait_for, with_tag
from manyhands.backends.workers import early_process
from manyhands.backends.workers.early_process import EarlyProcess, boot, run_early
from manyhands.handlers import batch, batch_begin


@pytest.fixture
def early() -> Iterator[EarlyProcess]:
    """One that imports nothing."""
    process = EarlyProcess(["-I", "-S"], [])
    yield process
    process.close()


def test_its_code_finds_descriptors(early: EarlyProcess) -> None:
    """They have the numbers that they have here, though they are taken there."""
    pipes = [os.pipe() for _ in range(4)]
    ends = [end for _, end in reversed(pipes)]  # their numbers fall
    process = early.run(f"import os; [os.write(one, b'%d' % one) for one in {ends}]", ends)
    assert process.wait() == 0
    for read, end in pipes:
        assert os.read(read, 100) == b"%d" % end
        os.close(read)
        os.close(end)


def test_long_code_arrives_whole(early: EarlyProcess) -> None:
    """Such as a list of many folders, in which a fork server is to search."""
    assert early.run(f"raise SystemExit(len({'x' * 500_000!r}) - 500_000)", []).wait() == 0


def test_code_that_fails_is_told_as_ever(early: EarlyProcess) -> None:
    """By the status of Python."""
    assert early.run("import sys; sys.stderr = None; raise ValueError", []).wait() == 1


def test_one_that_is_not_needed_ends(early: EarlyProcess) -> None:
    """When the program ends, and nothing is left of it."""
    early.close()
    assert early._process.returncode == -signal.SIGKILL


def test_it_is_had_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second fork server is started in the usual way."""
    monkeypatch.setattr(early_process, "_waiting", [])
    assert run_early("pass", []) is None
    boot()
    process = run_early("raise SystemExit", [])
    assert process is not None
    assert process.wait() == 0
    assert run_early("pass", []) is None


def test_one_that_has_died_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller starts another one."""
    monkeypatch.setattr(early_process, "_waiting", [])
    boot()
    dead = early_process._waiting[0]._process
    dead.kill()
    dead.wait()
    assert run_early("pass", []) is None


def test_a_forked_child_has_no_part_in_it(early: EarlyProcess) -> None:
    """It neither uses nor ends the process of its parent."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            early.close()
            early.run("raise SystemExit(1)", [])
        except OSError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert early.run("raise SystemExit", []).wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_it_ends_with_a_killed_coordinator(tmp_path: Path) -> None:
    """Whatever it was doing then."""
    script = (
        f"import sys, time; sys.path.insert(0, {str(LIB)!r})\n"
        f"from manyhands.backends.workers.early_process import boot; boot(); print(flush=True); time.sleep(600)"
    )
    mark = f"EARLY={tmp_path}"
    environment = dict(os.environ) | {"EARLY": str(tmp_path)}
    program = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    assert len(with_tag(mark)) == 2
    program.kill()
    program.wait()
    program.stdout.close()
    wait_for(lambda: not with_tag(mark))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_nothing_is_left_of_a_mistake(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """The process had been started when it was found."""
    environment["EARLY"] = str(tmp_path)
    done = cli("batch.call", "nowhere:f", "--", "1", cold=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("manyhands: ")
    assert not with_tag(f"EARLY={tmp_path}")


@pytest.mark.usefixtures("nothing_left")
def test_nothing_is_left_of_one_that_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the program goes on: a mistake was found, or there was a fork server."""
    started: list[EarlyProcess] = []

    def new(_: Any) -> int:
        started.extend(early_process._waiting)
        return 3

    monkeypatch.setattr(batch, "new", new)
    options: Any = SimpleNamespace(backend="processes", start_method="forkserver", dry_run=False, background=False)
    assert batch_begin.call(options) == 3
    assert [one._process.returncode for one in started] == [-signal.SIGKILL]
    assert early_process._waiting == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_batch_uses_it(cli: Cli, tmp_path: Path) -> None:
    """The parent of its workers is the early one."""
    (tmp_path / "mine.py").write_text("import os\ndef parent(_): return open(f'/proc/{os.getppid()}/cmdline').read()\n")
    done = cli("batch.call", "mine:parent", "-j1", "--", "1", cold=True)
    assert "early_main" in done.stdout, done.stderr
