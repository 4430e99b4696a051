"""What the fork server imports once, so that no worker has to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys

def late(_):
    names = list(sys.modules)
    return [one for one in names[names.index("pkgutil"):] if one.startswith(("manyhands", "multiprocessing"))]

if __name__ == "__main__":
    from manyhands import map_batch, run_batch
    print(*map_batch(late, [1], jobs=1), *(one.value for one in run_batch(late, [1], jobs=1)))
"""


def test_a_worker_imports_nothing_of_ours(environment: dict[str, str], tmp_path: Path) -> None:
    """``pkgutil`` is the last that the server imports: what comes after it was imported by each worker."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[] []\n", "")
