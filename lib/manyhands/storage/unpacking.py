"""Makes a run of an archive (`manyhands.storage.archive`), which may have been made by anybody.

    FILE --names, sizes--> members --run.json, rows: types, checksums--> a new folder, of which nothing is seen until all is there

Nothing of it is trusted: a member is written only if its name is one of ours, as a regular file that only we can read, under a name
that we make; every value of every row has the type of its column; nothing is unpickled, no database is opened that we have not made.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from manyhands.core.encoding import kept_bytes
from manyhands.core.errors import InputError, ManyhandsError
from manyhands.core.hints import option_name
from manyhands.core.job import Status
from manyhands.core.patterns import pattern
from manyhands.core.serialization import shown
from manyhands.posix.durable_files import Disk
from manyhands.storage.archive import JOURNAL, JOURNAL_SCHEMA
from manyhands.storage.journal import Journal
from manyhands.storage.rows import BEGAN, ENDED, checksum, checksum_of_end
from manyhands.storage.run_json import parse
from manyhands.storage.transfer import EXECUTION, Row, Rows, files_in, fill

MOST_STAGES: Final = 100
_MOST_MEMBERS: Final = 5_000_000
_NAME: Final = pattern(r"(?:(stage-[1-9][0-9]{0,3})/)?(?:journal\.jsonl|outputs/([A-Za-z0-9][A-Za-z0-9._-]{0,99}))")
_FILE: Final = pattern(r"inputs|inputs\.sum|inputs\.[1-9][0-9]{0,5}|stdin")
_OUTPUT: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENCRYPTED: Final = 1
_BLOCK: Final = 1 << 20
_FIRST: Final = 1 << 28
"""Bytes of run.json at most."""
_LARGEST: Final = (1 << 63) - 1
_WHOLE, _REAL, _TEXT, _BYTES = "whole number", "number", "text", "bytes"
_KINDS: Final = {
    **dict.fromkeys(("status", "error", "traceback", "host"), _TEXT),
    **dict.fromkeys(("started", "wall", "user", "system"), _REAL),
    **dict.fromkeys(("key", "input", "stdout", "stdout_path", "stderr", "stderr_path", "result"), _BYTES),
}
"""The types of the columns; of those that are not here, a whole number."""
_MAY_BE_NULL: Final = frozenset(ENDED) - {
    *("job", "attempt", "status", "final", "wall", "user", "system"),
    *("max_rss", "slot", "leftovers", "still_running"),
}


class Archive:
    """An archive that was opened and looked through. Raises InputError, everywhere, for what is no archive of a run."""

    def __init__(self, stream: BinaryIO, name: str, most: int) -> None:
        """``name``: in messages; ``most``: bytes that it may have when it is unpacked."""
        self._name = name
        try:
            self._zip = ZipFile(stream)
        except (BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise self._wrong(f"it is no zip archive ({error!s:.100})") from None
        self._members = self._looked_through(self._zip.infolist(), most)
        self.record = self._record()

    def _looked_through(self, found: list[ZipInfo], most: int) -> Mapping[str, ZipInfo]:
        members: dict[str, ZipInfo] = {}
        if len(found) > _MOST_MEMBERS:
            raise self._wrong(f"it has {len(found):,} members")
        for one in found:
            if one.filename != "run.json" and not _NAME.fullmatch(one.filename) and not _FILE.fullmatch(one.filename):
                raise self._wrong(f"it has a member {one.filename!r:.80}, which no run has")
            if one.filename in members:
                raise self._wrong(f"it has the member {one.filename} twice")
            if one.flag_bits & _ENCRYPTED or one.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise self._wrong(f"its member {one.filename} is encrypted, or compressed in a way that is not used here")
            members[one.filename] = one
        if (size := sum(one.file_size for one in found)) > most:
            raise self._wrong(f"it holds {size:,} bytes; {option_name('--max-size')} allows {most:,}")
        return members

    def _record(self) -> dict[str, Any]:
        info = self._members.get("run.json")
        if info is None or JOURNAL not in self._members:
            raise self._wrong("it has no run.json or no journal")
        if info.file_size > _FIRST:
            raise self._wrong("its run.json is too large")
        try:
            record = parse(b"".join(self._blocks(info)), self._name, types=True)
        except ManyhandsError as error:
            raise self._wrong(str(error)) from None
        if len(record.get("then", ())) >= MOST_STAGES:
            raise self._wrong("its run has too many stages")
        return record

    def unpack(self, folder: Path, final: Path, disk: Disk) -> None:
        """Write everything but run.json into ``folder``, which will become ``final``; its journals are new and empty."""
        try:
            for number in range(1, len(self.record.get("then", ())) + 2):
                stage = "" if number == 1 else f"stage-{number}"
                self._unpack_journal(folder / stage, final / stage, f"{stage}/{JOURNAL}".lstrip("/"))
            self._unpack_files(folder, disk)
            for number in range(1, len(self.record.get("then", ())) + 2):
                self._check(folder / ("" if number == 1 else f"stage-{number}") / "journal.db")
        except ManyhandsError as error:
            raise error if isinstance(error, InputError) else self._wrong(str(error)) from None

    def _unpack_files(self, folder: Path, disk: Disk) -> None:
        known = range(2, len(self.record.get("then", ())) + 2)
        for name, info in self._members.items():
            found = _NAME.fullmatch(name)
            if found and found[1] and int(found[1].removeprefix("stage-")) not in known:
                raise self._wrong(f"it has a member {name}, and its run no such stage")
            if (found and found[2]) or _FILE.fullmatch(name):
                self._write(info, folder / name, disk)

    def _write(self, info: ZipInfo, path: Path, disk: Disk) -> None:
        file = disk.create(path)
        try:
            for block in self._blocks(info):
                disk.write(file, block)
            disk.sync(file)
        finally:
            os.close(file)

    def _unpack_journal(self, folder: Path, final: Path, name: str) -> None:
        info = self._members.get(name)
        if info is None:
            raise self._wrong(f"it has no {name}")
        with self._open(info) as member:
            lines = _Lines(member, lambda why: self._wrong(f"{name}, {why}"), info.file_size)
            rows = Rows(lines.of("began"), lines.of("ended"), lines.of("execution"), lines.kept)
            fill(folder / "journal.db", rows, final / "outputs")
            lines.end()

    def _check(self, path: Path) -> None:
        """Read all of a new journal as a report would."""
        with closing(Journal.open(path, check=True)) as journal:
            try:
                for record in journal.records():
                    if record.outcome is not None:
                        shown(record.outcome.result)
            except (ValueError, RecursionError, LookupError, TypeError) as error:
                raise self._wrong(f"a job of it cannot be read ({error!s:.80})") from None

    def _open(self, info: ZipInfo) -> BinaryIO:
        try:
            return self._zip.open(info)  # type: ignore[return-value]  # typeshed: IO[bytes]
        except (BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            raise self._wrong(f"{info.filename} cannot be read ({error!s:.100})") from None

    def _blocks(self, info: ZipInfo) -> Iterator[bytes]:
        with self._open(info) as member:
            while block := self._read(member, info):
                yield block

    def _read(self, member: BinaryIO, info: ZipInfo) -> bytes:
        try:
            return member.read(_BLOCK)
        except (BadZipFile, ZlibError, EOFError) as error:
            raise self._wrong(f"{info.filename} is damaged ({error!s:.100})") from None

    def _wrong(self, why: str) -> InputError:
        return InputError(f"{self._name}: {why}; nothing was imported")


class _Lines:
    """The rows of a journal in an archive, in the order in which they stand there: those that began, those that ended, executions."""

    _COLUMNS: Final = {"began": BEGAN, "ended": ENDED, "execution": EXECUTION}

    def __init__(self, member: BinaryIO, wrong: Callable[[str], InputError], size: int) -> None:
        self._member, self._raise, self._size, self._number = member, wrong, size, 0
        head = self._next()
        kept = head.get("inputs")
        right = isinstance(kept, list) and len(kept) == 2 and all(_is(_WHOLE, one) for one in kept)
        if head.get("schema") != JOURNAL_SCHEMA or not right:
            raise self._wrong("expected the head of a journal")
        self.kept: tuple[int, int] = (kept[0], kept[1]) if kept else (0, 0)
        self._ahead = self._next()

    def of(self, kind: str) -> Iterator[Row]:
        """The next rows, as long as they are of this kind."""
        columns = self._COLUMNS[kind]
        while kind in self._ahead:
            row = self._row(self._ahead[kind], columns, kind)
            self._ahead = self._next()
            yield row

    def end(self) -> None:
        """Check that there is nothing more."""
        if self._ahead != {"end": True} or self._member.read(1):
            raise self._wrong("expected the end of the journal")

    def _next(self) -> dict[str, Any]:
        self._number += 1
        try:
            found = json.loads(self._member.readline(self._size + 1))
        except (ValueError, RecursionError, BadZipFile, ZlibError, EOFError):
            found = None
        if not isinstance(found, dict):
            raise self._wrong("expected a JSON object")
        return found

    def _row(self, given: Any, columns: Sequence[str], kind: str) -> Row:
        if not isinstance(given, list) or len(given) != len(columns) + 1:
            raise self._wrong(f"expected {len(columns) + 1} values")
        row = tuple(self._value(name, value) for name, value in zip(columns, given[:-1], strict=True))
        if given[-1] != (checksum_of_end if kind == "ended" else checksum)(row):
            raise self._wrong("the checksum does not fit")
        if kind == "ended":
            self._check_end(row)
        elif kind == "began" and (row[0] < 1 or row[1] < 1):
            raise self._wrong("jobs and attempts are counted from 1")
        return row

    def _value(self, name: str, value: Any) -> Any:
        kind = _KINDS.get(name, _WHOLE)
        if value is None and name in _MAY_BE_NULL:
            return None
        if kind is _BYTES:
            try:
                return kept_bytes(value)
            except (ValueError, TypeError, KeyError):
                raise self._wrong(f"{name} is no {kind}") from None
        if not _is(kind, value):
            raise self._wrong(f"{name} is no {kind}")
        return value

    def _check_end(self, row: Row) -> None:
        end = dict(zip(ENDED, row, strict=True))
        if end["status"] not in {one.value for one in Status} or end["final"] > 1 or end["still_running"] > 1:
            raise self._wrong("how a job ended is no such way")
        try:
            names = files_in(row)
        except (ValueError, TypeError, RecursionError):
            raise self._wrong("the name of an output cannot be read") from None
        for name in names:
            if not _OUTPUT.fullmatch(name):
                raise self._wrong(f"{name!r:.80} is no name of an output")

    def _wrong(self, why: str) -> InputError:
        return self._raise(f"line {self._number}: {why}")


def _is(kind: str, value: Any) -> bool:
    if kind is _TEXT:
        return isinstance(value, str) and _encodable(value)
    if kind is _REAL:
        return type(value) is float and math.isfinite(value)
    return type(value) is int and 0 <= value <= _LARGEST


def _encodable(text: str) -> bool:
    """Whether SQLite takes it: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
