"""A sample of a backup, compared with its source."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from admin.trees import hostile_tree, tree
from manyhands.admin import backup_check
from manyhands.admin.backup_check import compare_sample, sample_of
from manyhands.admin.programs import program


def test_each_is_as_likely_as_any_other() -> None:
    """So many, none twice; of 4,000 samples of 5 from 20, each of the 20 is in about 1,000."""
    draw = random.Random(1)
    counts = Counter(one for _ in range(4000) for one in sample_of(iter(range(20)), 5, draw))
    assert all(850 < counts[one] < 1150 for one in range(20))
    assert sorted(sample_of(range(3), 5, draw)) == [0, 1, 2]
    assert sample_of(range(3), 0, draw) == []


def copied(source: Path, backup: Path) -> int:
    """Make a backup as cp does; returns when that began."""
    time.sleep(0.05)  # longer than a tick of the kernel's clock, so that no file has changed at that moment
    began = time.time_ns()
    program("cp", package="coreutils")("--archive", "--", f"{source}/.", str(backup))
    return began


@pytest.mark.parametrize("restored", [1 << 30, 0, 40])
def test_all_is_the_same(restored: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the names; restored, read where it is because it is large, or some of both. Nothing is left of it."""
    monkeypatch.setattr(backup_check, "_RESTORED", restored)
    source, backup = hostile_tree(tmp_path / "source"), tmp_path / "backups" / "one"
    backup.mkdir(parents=True)
    began = copied(source, backup)
    found = list(compare_sample(source, backup, 1000, began, program("rsync", package="rsync")))
    assert len(found) == sum(path.is_file() and not path.is_symlink() for path in source.rglob("*"))
    assert {one.same for one in found} == {True}
    assert os.listdir(backup.parent) == ["one"]


def test_what_is_not_the_same(tmp_path: Path) -> None:
    """A file that has changed since is told from one that was not copied as it was."""
    names = ("same", "changed", "removed", "damaged", "touched", "cut")
    source, backup = tree(tmp_path / "source", dict.fromkeys(names, b"content")), tmp_path / "backup"
    backup.mkdir()
    began = copied(source, backup)
    tree(source, {"changed": b"else"})
    (source / "removed").unlink()
    (source / "touched").touch()
    for name, content in (("damaged", b"c0ntent"), ("cut", b"")):
        before = (backup / name).stat()
        (backup / name).write_bytes(content)
        os.utime(backup / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = compare_sample(source, backup, 10, began, program("rsync", package="rsync"))
    assert {one.name.decode(): (one.same, one.problem) for one in found} == {
        "same": (True, None),
        "touched": (True, None),
        "changed": (None, "has changed since"),
        "removed": (None, "has been removed since"),
        "damaged": (False, "differs from the source, which has not changed"),
        "cut": (False, "differs from the source, which has not changed"),
    }
