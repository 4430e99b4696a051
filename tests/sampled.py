"""Of the tests that are marked ``sampled``, CI runs a tenth, by commit; a plugin of pytest, which conftest.py takes in.

They prove for one more backend, broker, fault or seed what other tests prove, too, and take half of the time of all tests. Without
``SAMPLE`` in the environment (``scripts/test --sampled`` sets it) all of them are run, as ``dev.soak`` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest


def marked(values: Iterable[str], where: Container[str]) -> list[Any]:
    """Parameters, of which those in ``where`` are marked."""
    return [pytest.param(one, marks=[pytest.mark.sampled] if one in where else []) for one in values]


def part_of_commit(parts: int) -> int:
    """Which of the parts it is, from 0: another one for the next commit, and for the next version of Python."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, check=False)
    return (int(done.stdout[:8] or b"0", 16) + sys.version_info[1]) % parts


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the other parts."""
    parts = int(os.environ.get("SAMPLE", "1"))
    if parts < 2:
        return
    part = part_of_commit(parts)
    left_out = [one for one in items if one.get_closest_marker("sampled") and crc32(one.nodeid.encode()) % parts != part]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [one for one in items if one not in {*left_out}]
