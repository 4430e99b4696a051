"""The engine's work for a job does not grow unnoticed: counted in instructions, of which a busy machine needs no more than an idle one.

Two builds of Python 3.11 need different numbers of them (177,000 and 196,000), so a job is measured in rounds of plain Python.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import LIB

PROGRAM = Path(__file__).with_name("instructions.py")
WANTED = 2.46
"""What a job needs, in rounds of the yardstick: 2.49 and 2.43 on two builds. Who makes it cheaper lowers it."""


def instructions(folder: Path, what: str, count: int) -> int:
    """How many instructions the program needs in all."""
    folder.mkdir()
    counter = ["valgrind", "--vgdb=no", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command = [*counter, sys.executable, "-S", str(PROGRAM), what, str(folder), str(count)]
    environ = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(LIB)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    assert done.returncode == 0, done.stderr
    assert found, done.stderr
    return int(found[1].replace(",", ""))


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="instructions are counted with Python 3.11")
def test_a_job_needs_no_more_instructions_than_before(tmp_path: Path) -> None:
    """Begin, end, judge, record, tell, with the journal: within a tenth of what it was; what a start needs is the same in both runs."""
    needed = {}
    for what in ("engine", "yardstick"):
        few, many = (instructions(tmp_path / f"{what}{count}", what, count) for count in (100, 600))
        needed[what] = (many - few) / 500
    assert needed["engine"] / needed["yardstick"] / WANTED == pytest.approx(1.0, abs=0.1), needed
