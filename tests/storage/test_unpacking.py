"""An archive that anybody may have made: nothing but a run comes of it, or nothing at all, and one line says why."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from manyhands.core.errors import InputError, UsageError
from manyhands.core.job import Attempt, Ending, Job, Outcome, Output, Status
from manyhands.core.limits import Limits
from manyhands.execution.carrying import export_to, import_from
from manyhands.storage.rows import BEGAN, ENDED, checksum, checksum_of_end
from manyhands.storage.run_json import to_bytes
from manyhands.storage.runs import Run, Store
from manyhands.work.plan import Plan
from manyhands.work.template import Template

Members = dict[str, bytes]
MOST = 1 << 24


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """Where it is imported."""
    return Store(tmp_path / "there")


@pytest.fixture
def run(store: Store) -> Run:
    """A run with a job that printed much, one that failed, and one that has not ended."""
    source = {"kind": "args", "values": ["a", "b\udcff", "c"], "name": None}
    plan = Plan(work=Template.parse("cat {}"), source=source, limits=Limits(jobs=1), workdir="/")
    run, held = store.create(plan.to_json() | {"total": 3}, "r")
    large = run.outputs / "1.1.out"
    large.write_bytes(b"x" * 100_000)
    jobs = [Job(number, bytes([number]) * 16, (value,)) for number, value in enumerate((b"a", b"b\xff", b"c"), 1)]
    with closing(held), closing(run.journal()) as journal:
        for job in jobs:
            journal.began(Attempt(job, 1, ()))
        printed = Ending(0, started=1.5, wall=0.25, stdout=Output(path=str(large), size=100_000))
        journal.ended(Outcome(Attempt(jobs[0], 1, ()), Status.OK, printed))
        failed = Ending(3, started=2.5, wall=0.5, stdout=Output(b"\0\xff", None, 2), host="h", error="e\u2028")
        journal.ended(Outcome(Attempt(jobs[1], 1, ()), Status.FAILED, failed))
        journal.commit()
        journal.executed(1.0, 2.0, complete=False)
    return run


@pytest.fixture
def members(run: Run, tmp_path: Path) -> Members:
    """What a good archive has."""
    export_to(run, tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, path: Path, change: Callable[[zipfile.ZipInfo], object] = lambda _: None) -> Path:
    """An archive with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, data)
    return path


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def refused(there: Store, path: Path, match: str, most: int = MOST) -> None:
    """It is not imported, and nothing is left of the attempt."""
    with pytest.raises(InputError, match=match) as caught:
        import_from(there, path, run_id=None, trusted=True, most=most)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert everything(there.state) in ([], ["runs"])


def dumped(run: Run) -> list[Any]:
    with closing(run.journal()) as journal:
        return [[(one.job, one.attempt, one.outcome) for one in journal.records()], journal.executions()]


def test_there_and_back(run: Run, there: Store, tmp_path: Path) -> None:
    """The same jobs, the same outputs, in files that only we can read; what was open when it was packed is lost, as after a kill."""
    file = tmp_path / "r.zip"
    file.write_bytes(b"old")
    file.chmod(0o644)
    export_to(run, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = import_from(there, file, run_id=None, trusted=True, most=MOST)
    (jobs, executions), (before, executed) = dumped(found), dumped(run)
    assert executions == executed
    assert [one[0] for one in jobs] == [one[0] for one in before]
    assert [one[2].status for one in jobs] == [Status.OK, Status.FAILED, Status.LOST]
    assert jobs[0][2].stdout.path == str(found.outputs / "1.1.out") and jobs[0][2].stdout.read() == b"x" * 100_000
    assert jobs[1][2].ending == before[1][2].ending
    assert found.token != run.token and found.id == run.id and found.named
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.path.rglob("*") if path.is_file()} == {0o600}


def test_the_same_run_gives_the_same_bytes(run: Run, there: Store, tmp_path: Path) -> None:
    """Whenever it is packed, and also after a journey."""
    files = [tmp_path / f"{number}.zip" for number in range(3)]
    export_to(run, files[0])
    export_to(run, files[1])
    export_to(import_from(there, files[0], run_id=None, trusted=True, most=MOST), files[2])
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_an_existing_run_is_left_alone(run: Run, store: Store, tmp_path: Path) -> None:
    """It has to be given another name."""
    export_to(run, tmp_path / "r.zip")
    before = everything(store.state)
    with pytest.raises(UsageError, match="the run r exists: choose another name with"):
        import_from(store, tmp_path / "r.zip", run_id=None, trusted=True, most=MOST)
    assert everything(store.state) == before
    assert import_from(store, tmp_path / "r.zip", run_id="s", trusted=True, most=MOST).id == "s"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil",
            "/etc/evil",
            "outputs/../../evil",
            "outputs/",
            "outputs/.late-1",
            "outputs/a/b",
            "lock",
            "journal.db",
        ),
        *(
            "journal.db-wal",
            "inputs.1/x",
            "inputs.0",
            "stage-1x/journal.jsonl",
            "outputs/" + "x" * 300,
            "C:\\evil",
            "./run.json",
        ),
        *("stage-2/outputs/1.1.out", "stage-0/journal.jsonl", "run.json/", "outputs\\x"),
    ],
)
def test_names_that_no_run_has(name: str, members: Members, there: Store, tmp_path: Path) -> None:
    """Above all none that leads out of the run's folder."""
    refused(there, packed(members | {name: b"x"}, tmp_path / "bad.zip"), "which no run has|no such stage")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices(kind: int, members: Members, there: Store, tmp_path: Path) -> None:
    """What an archive says about the kind of a file is not read: all become regular files of ours."""
    bad = members | {"outputs/1.1.out": b"/etc/passwd"}

    def change(info: zipfile.ZipInfo) -> None:
        info.create_system, info.external_attr = 3, (kind | 0o4777) << 16

    found = import_from(there, packed(bad, tmp_path / "bad.zip", change), run_id=None, trusted=False, most=MOST)
    made = (found.outputs / "1.1.out").lstat()
    assert stat.S_ISREG(made.st_mode) and stat.S_IMODE(made.st_mode) == 0o600
    assert (found.outputs / "1.1.out").read_bytes() == b"/etc/passwd"


def test_absurd_sizes(members: Members, there: Store, tmp_path: Path) -> None:
    """A small file that would become a large one, and one that says less than it holds."""
    bomb = packed(members | {"outputs/2.1.out": bytes(MOST)}, tmp_path / "bomb.zip")
    assert bomb.stat().st_size < MOST / 100
    refused(there, bomb, "max.size allows")
    data = bytearray(bomb.read_bytes())
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # the uncompressed size, in both heads of the last member
        place = data.rfind(mark) + at
        assert struct.unpack_from("<I", data, place) == (MOST,)
        struct.pack_into("<I", data, place, 1000)
    bomb.write_bytes(data)
    refused(there, bomb, "is damaged|cannot be read")


def test_no_archive(members: Members, there: Store, tmp_path: Path) -> None:
    """Text, nothing, half of one; one with a member twice, a member in a way of compressing that is not used, or encrypted."""
    good = packed(members, tmp_path / "x.zip").read_bytes()
    for data in (b"", b"hello", good[: len(good) // 2], good[:-30]):
        (tmp_path / "bad.zip").write_bytes(data)
        refused(there, tmp_path / "bad.zip", "no zip archive")
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive, pytest.warns(UserWarning):
        archive.writestr("run.json", members["run.json"])
    refused(there, tmp_path / "x.zip", "the member run.json twice")
    change = lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA)  # noqa: E731
    refused(there, packed(members, tmp_path / "x.zip", change), "in a way that is not used here")
    refused(there, packed({"run.json": members["run.json"]}, tmp_path / "x.zip"), "no run.json or no journal")


@pytest.mark.parametrize("place", range(0, 4000, 97))
def test_any_changed_byte(place: int, members: Members, there: Store, tmp_path: Path) -> None:
    """Is found, or changes nothing that is read; no other error comes of it."""
    path = packed(members, tmp_path / "bad.zip")
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 0x41
    path.write_bytes(data)
    try:
        found = import_from(there, path, run_id="x", trusted=True, most=MOST)
    except (InputError, UsageError) as error:
        assert "\n" not in str(error)
    else:
        assert len(dumped(found)[0]) == 3


def with_rows(members: Members, change: Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]]) -> Members:
    """An archive whose journal was changed; rows get the checksums that belong to them."""
    lines = [*change([json.loads(line) for line in members["journal.jsonl"].splitlines()])]
    return members | {"journal.jsonl": b"".join(json.dumps(line).encode() + b"\n" for line in lines)}


def summed(kind: str, row: list[Any]) -> dict[str, Any]:
    from manyhands.core.encoding import kept_bytes

    blobs = {"key", "input", "stdout", "stdout_path", "stderr", "stderr_path", "result"}
    columns = ENDED if kind == "ended" else BEGAN
    try:
        plain = tuple(kept_bytes(v) if n in blobs and v is not None else v for n, v in zip(columns, row, strict=True))
        total = (checksum_of_end if kind == "ended" else checksum)(plain)
    except (ValueError, TypeError, KeyError):
        total = 0
    return {kind: [*row, total]}


BAD_ENDS: list[tuple[str, Any]] = [
    *(("job", one) for one in (-1, 1.0, "1", None, True, 1 << 63, 77)),
    *(("status", one) for one in ("fine", None, 3, "\udcff")),
    *(("wall", one) for one in (1, None, "1", float("nan"), float("inf"))),
    *(("stdout_path", one) for one in ("/etc/passwd", "../1.1.out", "", ".late-1", "a/b", {"base64": "AA=="}, 3)),
    *(("final", one) for one in (2, None, -1)),
    *(("result", one) for one in ('{"pickle_file": "/etc/x.pickle"}', "{nonsense", "[" * 50_000)),
    *(("error", one) for one in (3, "\udc80")),
    ("host", ["x"]),
    ("started", 3),
]


@pytest.mark.parametrize(("column", "value"), BAD_ENDS)
def test_rows_that_no_run_has(column: str, value: Any, members: Members, there: Store, tmp_path: Path) -> None:
    """Although their checksums fit: values of another type, files elsewhere, ends of jobs that never began."""

    def change(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for line in lines:
            if "ended" in line and line["ended"][0] == 2:
                row = line["ended"][:-1]
                row[ENDED.index(column)] = value
                yield summed("ended", row)
            else:
                yield line

    refused(there, packed(with_rows(members, change), tmp_path / "bad.zip"), "nothing was imported")


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [*lines, {"end": True}],
        lambda lines: [lines[0], *lines[1:-1][::-1], lines[-1]],
        lambda lines: [lines[0], lines[1], *lines[1:]],
        lambda lines: [lines[0] | {"schema": "other"}, *lines[1:]],
        lambda lines: [lines[0] | {"inputs": [-1, 2]}, *lines[1:]],
        lambda lines: [{**line, "began": [*line["began"][:-1], 7]} if "began" in line else line for line in lines],
        lambda lines: [lines[0], summed("began", [0, 1, "k", "i"]), *lines[1:]],
        lambda lines: [lines[0], summed("began", [9, 1, "k", {"base64": "AFtb"}]), *lines[1:]],
        lambda lines: [lines[0], summed("began", [9, 1, "k", {"base64": "AA" + "W1tb" * 40_000}]), *lines[1:]],
        lambda lines: [lines[0], [1], *lines[1:]],
    ],
)
def test_journals_that_no_run_has(change: Any, members: Members, there: Store, tmp_path: Path) -> None:
    """Without a head or an end, in another order, with rows twice, with inputs that cannot be read."""
    refused(there, packed(with_rows(members, change), tmp_path / "bad.zip"), "nothing was imported")


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../x"},
        {"id": 3},
        {"workdir": 3},
        {"created": -1},
        {"then": [{}]},
        {"then": 3},
        {"then": [{"template": "x", "shell": None, "jobs": 1, "backend": "commands"}] * 200},
        {"source": {"kind": "kept", "file": "../../x", "total": 1, "columns": [], "width": 1}},
        {"source": {"kind": "secret"}},
        {"total": "many"},
        {"limits": {}},
        {"environment": {"A": 3}},
        {"template": {"a": 1}},
        {"shard": {"index": 9, "count": 2}},
        {"shard": [1]},
        {"program": ["x"]},
    ],
)
def test_requests_that_nobody_can_have_made(
    changes: dict[str, Any], members: Members, there: Store, tmp_path: Path
) -> None:
    """Their checksum fits, too."""
    record = json.loads(members["run.json"])
    record.pop("sum")
    bad = members | {"run.json": to_bytes(record | changes)}
    with pytest.raises(UsageError) as caught:
        import_from(there, packed(bad, tmp_path / "bad.zip"), run_id=None, trusted=True, most=MOST)
    assert "\n" not in str(caught.value)
    assert everything(there.state) in ([], ["runs"])


def test_what_an_archive_cannot_say_of_itself(members: Members, there: Store, tmp_path: Path) -> None:
    """That it is trusted, is in a queue, or has a certain token."""
    record = json.loads(members["run.json"])
    record.pop("sum")
    more = {"untrusted": None, "token": "abc", "kept": False, "submitted": {"name": "x", "keep": 1}, "other": 1}
    bad = members | {"run.json": to_bytes(record | more)}
    found = import_from(there, packed(bad, tmp_path / "bad.zip"), run_id=None, trusted=False, most=MOST)
    assert found.record["untrusted"] is True and found.token != "abc" and found.kept
    assert not {"submitted", "other"} & found.record.keys()


def test_nothing_is_unpickled(members: Members, there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that would run code when it is read is carried as it is, and described."""
    pickle = b"cos\nsystem\n(S'touch pwned'\ntR."
    sealed = b"\0" + (4).to_bytes(4, "little") + b"evil" + pickle
    import base64

    def change(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for line in lines:
            if "ended" in line and line["ended"][0] == 1:
                row = line["ended"][:-1]
                row[ENDED.index("result")] = {"base64": base64.b64encode(sealed).decode()}
                yield summed("ended", row)
            else:
                yield line

    monkeypatch.chdir(tmp_path)
    path = packed(with_rows(members, change), tmp_path / "bad.zip")
    found = import_from(there, path, run_id=None, trusted=False, most=MOST)
    assert dumped(found)[0][0][2].result == sealed
    assert not (tmp_path / "pwned").exists()


def test_a_folder_is_no_archive(there: Store, tmp_path: Path) -> None:
    """It is said."""
    with pytest.raises(InputError, match="Is a directory"):
        import_from(there, tmp_path, run_id=None, trusted=False, most=MOST)
