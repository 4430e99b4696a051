"""multiprocessing's resource tracker does what it is for, although it is imported only when there is something to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from multiprocessing.shared_memory import SharedMemory
from manyhands import run_batch

def keep(_):
    memory = SharedMemory(create=True, size=64)
    return memory.name

def make_and_remove(_):
    memory = SharedMemory(create=True, size=64)
    memory.close()
    memory.unlink()

def none(_):
    pass

if __name__ == "__main__":
    for one in run_batch(globals()[sys.argv[1]], [1], jobs=1):
        assert one.ok, one.error
        print(one.value, flush=True)
"""


def run(function: str, tmp_path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The program, and all that it has started has ended: the last one closes stderr."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", function]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm")
def test_what_a_job_leaves_behind_is_removed(tmp_path: Path, environment: dict[str, str]) -> None:
    """And said."""
    done = run("keep", tmp_path, environment)
    assert "1 leaked shared_memory object" in done.stderr
    assert not os.path.exists(f"/dev/shm/{done.stdout.strip()}")


@pytest.mark.parametrize("function", ["make_and_remove", "none"])
def test_nothing_is_said_if_nothing_is_left(function: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Nor if there never was anything."""
    done = run(function, tmp_path, environment)
    assert (done.stdout, done.stderr) == ("None\n", "")
