"""What a job that shares our process does to its streams is put back, and nothing that the program does itself."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from manyhands.backends.shared.standard_streams import Streams
streams = Streams()
def job(what):
    streams.hold()
    what()
    streams.release()
    print("after", flush=True)
job(lambda: os.close(1))
streams._looked = 0
job(lambda: os.dup2(os.open("/dev/null", os.O_WRONLY), 1))
os.dup2(os.open("own", os.O_WRONLY | os.O_CREAT), 1)
streams._looked = 0
job(lambda: None)
streams._looked = 0
job(lambda: os.close(1))
streams.close()
"""


def test_descriptors_are_put_back(environment: dict[str, str], tmp_path: Path) -> None:
    """One that a job has closed, one that it has redirected; where the program itself has redirected it, there it stays."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("after\nafter\n", "")
    assert (tmp_path / "own").read_text() == "after\nafter\n"


def test_a_stream_is_put_back_when_nobody_else_is_at_work() -> None:
    """Two jobs overlap: the second may just be printing to where it has redirected to."""
    from manyhands.backends.shared.standard_streams import Streams

    before, count = sys.stdout, len(os.listdir("/proc/self/fd"))
    first, second = Streams(), Streams()
    first.hold()
    second.hold()
    sys.stdout = io.StringIO()
    first.release()
    assert sys.stdout is not before
    second.release()
    assert sys.stdout is before
    for one in (first, second, first):
        one.close()
    assert len(os.listdir("/proc/self/fd")) == count
