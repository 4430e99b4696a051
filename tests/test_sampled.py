"""CI leaves out what the next commits run, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sampled

SUITE = """
import pytest
from sampled import marked

@pytest.mark.parametrize("backend", marked(["here", *map(str, range(50))], [*map(str, range(50))]))
def test_it(backend): pass
"""


def run(folder: Path, parts: str) -> set[str]:
    """The tests that are run."""
    (folder / "test_it.py").write_text(SUITE)
    (folder / "conftest.py").write_text('pytest_plugins = ["sampled"]\n')
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = sampled\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:randomly", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"SAMPLE": parts, "PYTHONPATH": str(Path(sampled.__file__).parent), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition("[")[2] for line in done.stdout.splitlines() if "[" in line}


def test_a_part_of_them_is_run(tmp_path: Path) -> None:
    """And all that is not marked, with it."""
    assert len(run(tmp_path, "1")) == 51
    some = run(tmp_path, "5")
    assert "here]" in some
    assert 1 < len(some) < 30


def test_the_parts_are_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is in one, whatever the commit; a commit has the same one again."""
    assert sampled.part_of_commit(5) == sampled.part_of_commit(5) < 5
    names = [f"test_it[{number}]" for number in range(100)]
    counts = dict.fromkeys(names, 0)
    monkeypatch.setenv("SAMPLE", "5")
    for part in range(5):
        monkeypatch.setattr(sampled, "part_of_commit", lambda _, part=part: part)
        for name in kept(names):
            counts[name] += 1
    assert set(counts.values()) == {1}


def kept(names: list[str]) -> list[str]:
    """What is left of marked tests of these names."""

    class Item:
        def __init__(self, nodeid: str) -> None:
            self.nodeid = nodeid

        def get_closest_marker(self, name: str) -> bool:
            return name == "sampled"

    class Hook:
        def pytest_deselected(self, items: list[Item]) -> None:
            assert items

    class Config:
        hook = Hook()

    items = [Item(name) for name in names]
    sampled.pytest_collection_modifyitems(Config(), items)  # type: ignore[arg-type]
    return [one.nodeid for one in items]
