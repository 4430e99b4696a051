"""run.json: what is written is read back, and its checksum is that of earlier versions."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import pytest

from manyhands.core.errors import JournalError
from manyhands.storage.run_json import RUN_SCHEMA, parse, to_bytes

ROWS = {"kind": "rows", "rows": [["b", "a"], [{"base64": "AA=="}]], "columns": ["z", "\udc80"]}
CSV = {"kind": "csv", "path": "x", "more": {"z": 1, "a": [{"q": 2, "b": None}]}}


def record(source: dict[str, Any]) -> dict[str, Any]:
    """A run of these inputs."""
    return {
        "token": "t",
        "schema": RUN_SCHEMA,
        "created": 1.5,
        "template": ["echo", "{}"],
        "workdir": "/",
        "source": source,
    }


@pytest.mark.parametrize("source", [ROWS, CSV], ids=["rows", "csv"])
def test_it_is_read_back(source: dict[str, Any]) -> None:
    """The checksum is that of the whole record's JSON with sorted keys, although the inputs' JSON is made only once."""
    given = record(source)
    data = to_bytes(given)
    assert json.loads(data)["sum"] == crc32(json.dumps(given, sort_keys=True).encode())
    assert parse(data, "r") == given


def test_a_changed_input_is_found() -> None:
    """Also among those that were given one by one."""
    with pytest.raises(JournalError, match="it was changed"):
        parse(to_bytes(record(ROWS)).replace(b'"a"', b'"c"'), "r")
