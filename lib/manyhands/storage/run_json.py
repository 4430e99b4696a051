"""run.json: the request for a run, as a file that people can read, and that is refused if it was changed.

A command with a changed letter is another command. So the file has a checksum; a file without one was written by an earlier version,
and its values must at least have the right types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

from manyhands.core.errors import JournalError, UsageError

RUN_SCHEMA: Final = "manyhands.run/1"
_KINDS: Final = ("rows", "kept", "glob", "lines", "csv", "jsonl", "product", "zip", "iterator")
_LATEST: Final = 1e11  # seconds since the epoch: the year 5138
_TEXT, _MAYBE = (str,), (str, type(None))
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "token": _TEXT,
    "created": (int, float),
    "template": (str, list),
    "shell": _MAYBE,
    "call": (dict, type(None)),
    "then": (list,),
    "workers": (dict,),
    "source": (dict,),
    "workdir": _TEXT,
    "environment": (dict,),
    "stdin": _MAYBE,
    "nice": (int,),
    "allow_daemons": (bool,),
    "backend": _TEXT,
    "tag": (bool,),
    "order": _TEXT,
    "streamed": (bool,),
    "limits": (dict,),
    "columns": (list,),
    "widths": (list,),
    "group": (int, type(None)),
    "lines": (bool,),
    "named": (bool,),
    "warm": (list, type(None)),
    "submitted": (dict, type(None)),
    "ended": (dict,),
}


def to_bytes(record: Mapping[str, Any]) -> bytes:
    """JSON with one line per key, so that people can read it even if one of them holds a million inputs."""
    texts = {key: json.dumps(value, sort_keys=_is_rows(value)).encode() for key, value in record.items()}
    texts["sum"] = b"%d" % _sum(record, {key: text for key, text in texts.items() if _is_rows(record[key])})
    parts: list[bytes] = []
    for key, text in texts.items():
        parts += (b",\n " if parts else b"{\n ", json.dumps(key).encode(), b": ", text)
    return b"".join((*parts, b"\n}\n"))


def parse(data: bytes, name: str, *, types: bool = False) -> dict[str, Any]:
    """The inverse of `to_bytes`; ``types``: the checksum proves nothing, because the file may come from anybody. Raises UsageError for another schema, JournalError if the file is damaged."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise JournalError(f"cannot read the run {name}: its run.json is damaged ({error!s:.200})") from error
    if not isinstance(record, dict):
        raise JournalError(f"cannot read the run {name}: its run.json is damaged (it holds no object)")
    if record.get("schema") != RUN_SCHEMA:
        raise UsageError(f"the run {name} was made by another version of manyhands ({record.get('schema')!s:.40})")
    summed = record.pop("sum", None)
    wrong = "it was changed" if summed not in (None, _sum(record)) else _wrong(record) if types or summed is None else ""
    if wrong:
        raise JournalError(f"cannot read the run {name}: its run.json is damaged ({wrong})")
    return record


def _sum(record: Mapping[str, Any], texts: Mapping[str, bytes] = MappingProxyType({})) -> int:
    """The checksum of the record's JSON with sorted keys, piece by piece; ``texts``: pieces that have been made already."""
    found, before = 0, b"{"
    for key in sorted(record):
        for piece in (
            before,
            json.dumps(key).encode(),
            b": ",
            texts.get(key) or json.dumps(record[key], sort_keys=True).encode(),
        ):
            found = crc32(piece, found)
        before = b", "
    return crc32(b"}", found)


def _is_rows(value: object) -> bool:
    """Whether it is a source of inputs that were given one by one: there may be a million, so their JSON is made only once."""
    return isinstance(value, dict) and value.get("kind") == "rows"


def _wrong(record: Mapping[str, Any]) -> str | None:
    """The first value of an impossible type, in words; None if there is none."""
    for name in ("token", "created", "template", "workdir"):
        if name not in record:
            return f"there is no {name}"
    for name, types in _TYPES.items():
        if name in record and type(record[name]) not in types:
            return f"{name} is {record[name]!r:.40}"
    if not 0 <= record["created"] < _LATEST:
        return f"created is {record['created']!r:.40}"
    return _wrong_inside(record)


def _wrong_inside(record: Mapping[str, Any]) -> str | None:
    works = [record, *record.get("then", ())]
    right = {
        "then": all(isinstance(one, dict) and _is_template(one.get("template")) for one in works),
        "columns": _is_text(record.get("columns", [])),
        "environment": all(type(value) in _MAYBE for value in record.get("environment", {}).values()),
        "source": _is_source(record.get("source", {"kind": "args", "values": []})),
        "limits": type(record.get("limits", {}).get("jobs", 1)) is int,
    }
    return next((name for name, fits in right.items() if not fits), None)


def _is_template(value: object) -> bool:
    return isinstance(value, str) or _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_source(spec: Mapping[str, Any]) -> bool:
    """Whether the kind of source exists, and has the values that were given one by one."""
    if spec.get("kind") == "args":
        return _is_text(spec.get("values"))
    return spec.get("kind") in _KINDS
