"""The whole way to a terminal: a real batch in a real pty."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from conftest import LIB
from manyhands.render.words import size


def test_sizes() -> None:
    """Binary units."""
    assert [size(n) for n in (0, 1023, 1536, 10 << 20, 1 << 40)] == ["0 B", "1023 B", "1.5 KiB", "10.0 MiB", "1024 GiB"]


@pytest.mark.parametrize("no_color", [False, True])
def test_the_live_display(tmp_path: Path, no_color: bool, environment: dict[str, str]) -> None:
    """On a terminal of 80 columns: a bar, what runs, failures above it with what they said; all cleared at the end."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    script = 'sleep 0.6; [ "$1" != 2 ] || { echo "oh no" >&2; exit 5; }; echo "done $1"'
    (tmp_path / "job.sh").write_text(script)
    more = {"NO_COLOR": "1"} if no_color else {}
    command = [sys.executable, "-m", "manyhands", "batch", "sh job.sh {}", "-j2", "--", "1", "2", "3"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(LIB), **more},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            seen += os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
    os.close(leader)
    assert process.wait(timeout=10) == 1
    text = seen.decode()
    assert "2 running" in text
    assert "sh job.sh 1" in text
    assert text.index("failed with exit status 5") < text.index("oh no")
    assert "done 1\r\n" in text
    assert text.rstrip().splitlines()[-1].startswith("again: ") or "batch.retry" in text
    assert ("\x1b[31m" in text) is not no_color
    assert text.rindex("\x1b[?25h") > text.rindex("running")  # the cursor is back
