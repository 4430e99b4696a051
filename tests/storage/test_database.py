"""A database is opened wherever it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from manyhands.storage.database import uri_of


@pytest.mark.parametrize(
    "name", ["plain", "a%41b", "what?mode=ro", "one#two", "per%cent?#", "ünï", "with blank", "&=+", b"\xff"]
)
def test_any_name_is_one_file(name: str | bytes, tmp_path: Path) -> None:
    """Characters with a meaning in an address are quoted; others, and bytes that are no text, are as they are."""
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    db = sqlite3.connect(uri_of(folder / "file?.db", "mode=rwc"), uri=True)
    db.execute("CREATE TABLE t (x)")
    db.close()
    assert os.listdir(folder) == ["file?.db"]
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(uri_of(folder / "other", "mode=rw"), uri=True)
