"""What launchers and workers keep when the coordinator is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyhands.backends.shared import orphan_results


def end(job: int, **more: object) -> orphan_results.OrphanResult:
    plain = orphan_results.OrphanResult(
        job, 1, 0, None, None, True, 1.5, 0.5, 0.1, 0.1, 0, (b"out\xff", None, 4, 0), (b"", b"/x/\xfe", 9, 0), 1, 0
    )
    return plain._replace(**more)  # type: ignore[arg-type]


def test_ends_are_kept_exactly(tmp_path: Path) -> None:
    """Bytes, paths and results come back as they were."""
    ends = [end(1), end(2, result=b'"x"', traceback="T", exit=None, signal=9)]
    orphan_results.write(bytes(tmp_path), 0, ends)
    assert list(orphan_results.read(tmp_path)) == ends
    orphan_results.forget(tmp_path)
    assert list(orphan_results.read(tmp_path)) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"[1]", b"{}", b"null", b"\xff\xfe\x00", b"[" * 100_000,
        json.dumps([*end(7)[:11], ["!", None, 1, 0], 5, 1, 0]).encode(),
        json.dumps(["7", *end(7)[1:11], ["", None, 0, 0], ["", None, 0, 0], 1, 0]).encode(),
        json.dumps([7, 1, "0", *end(7)[3:11], ["", None, 0, 0], ["", None, 0, 0], 1, 0]).encode(),
        json.dumps([*end(7)[:11], ["\u00e9", None, 1, 0], ["", None, 0, 0], 1, 0]).encode(),
    ],
)  # fmt: skip
def test_a_damaged_line_costs_only_what_follows_it(tmp_path: Path, damage: bytes) -> None:
    """What stands before it, and in other files, is taken; nothing is raised."""
    orphan_results.write(bytes(tmp_path), 0, [end(1)])
    with (tmp_path / ".late-0").open("ab") as file:
        file.write(damage + b"\n")
    orphan_results.write(bytes(tmp_path), 1, [end(2)])
    (tmp_path / ".late-2").mkdir()
    assert [one.job for one in orphan_results.read(tmp_path)] == [1, 2]
