"""A run as one file, a zip archive: for the cache of a CI system, and for runs that are merged elsewhere.

    run.json         what was requested, without its token
    journal.jsonl    what happened: a head, then the rows of `manyhands.storage.transfer`, each with its checksum
    outputs/NAME     large outputs of jobs                                    stage-2/... the same of a further stage
    inputs, inputs.sum, inputs.N, stdin                                       inputs that are kept in files

The same run always gives the same bytes. No database travels, because SQLite reads a file that somebody else has made with all its
triggers and views: rows travel as JSON, and `manyhands.storage.unpacking` checks each of them.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from manyhands.core.encoding import keep_bytes
from manyhands.core.errors import JournalError
from manyhands.storage.database import connect
from manyhands.storage.rows import checksum, checksum_of_end
from manyhands.storage.run_json import to_bytes
from manyhands.storage.runs import Run
from manyhands.storage.schema import explained
from manyhands.storage.transfer import Row, Rows, files_in, rows_of

JOURNAL: Final = "journal.jsonl"
JOURNAL_SCHEMA: Final = "manyhands.journal/1"
KEPT_FILES: Final = ("inputs", "inputs.sum", "stdin")
"""Files in a run's folder that a resume needs, beside those of `manyhands.inputs.value_file`."""
_LOCAL: Final = ("token", "sum", "submitted", "widths", "kept", "untrusted")
"""What run.json has that means nothing elsewhere."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_BLOCK: Final = 1 << 20


def pack(run: Run, stream: BinaryIO) -> None:
    """Write a run whose lock is held, and whose journals are checked and closed. Raises JournalError, OSError."""
    with ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=6) as archive:
        record = {key: value for key, value in run.record.items() if key not in _LOCAL}
        _write(archive, "run.json", [to_bytes(record | {"token": ""})])
        for number, stage in enumerate(run.stages, 1):
            _pack_stage(archive, stage, "" if number == 1 else f"stage-{number}/")
        for path in sorted(run.path.iterdir()):
            if path.name in KEPT_FILES or path.name.removeprefix("inputs.").isdigit():
                _write(archive, path.name, _blocks(path))


def _pack_stage(archive: ZipFile, stage: Run, folder: str) -> None:
    path = stage.path / "journal.db"
    with explained(path, "read"), closing(connect(path)) as db:
        rows = rows_of(db, stage.outputs)
        files: set[str] = set()
        _write(archive, folder + JOURNAL, _lines(rows, files.update))
    for name in sorted(files):
        if (file := stage.outputs / name).is_file():  # else somebody has removed it, and it is shown as gone
            _write(archive, f"{folder}outputs/{name}", _blocks(file))


def _lines(rows: Rows, note_files: Callable[[Iterable[str]], object]) -> Iterator[bytes]:
    yield _line({"schema": JOURNAL_SCHEMA, "inputs": rows.kept})
    for row in rows.began:
        yield _line({"began": [*_plain(row), checksum(row)]})
    for row in rows.ended:
        note_files(files_in(row))
        yield _line({"ended": [*_plain(row), checksum_of_end(row)]})
    for row in rows.executions:
        yield _line({"execution": [*row, checksum(row)]})
    yield _line({"end": True})


def _plain(row: Row) -> list[Any]:
    return [keep_bytes(value) if type(value) is bytes else value for value in row]


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _write(archive: ZipFile, name: str, blocks: Iterable[bytes]) -> None:
    info = ZipInfo(name, _EPOCH)
    info.compress_type, info.create_system, info.external_attr = ZIP_DEFLATED, 3, (stat.S_IFREG | 0o600) << 16
    with archive.open(info, "w", force_zip64=True) as member:
        for block in blocks:
            member.write(block)


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
