"""``admin.disk``: the numbers of du, find and lsof, for trees with all that makes counting hard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin.pages import check_page
from conftest import Cli
from manyhands.admin.disk import disk
from manyhands.admin.tree_sizes import Rule, tree_of
from manyhands.options.admin import DiskOptions
from manyhands.processes.deleted_files import deleted_files

YEAR = 365 * 86400
gnu = pytest.mark.skipif(sys.platform != "linux", reason="compares with du and find as Linux has them")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files with one name and with several, a sparse one, an old one, symlinks, hostile names, a chain of folders."""
    place = tmp_path / "data"
    (place / "logs").mkdir(parents=True)
    (place / "mail").mkdir()
    (place / "chain" / "of" / "folders").mkdir(parents=True)
    (place / "logs" / "big").write_bytes(b"x" * 1_000_000)
    (place / "mail" / "old").write_bytes(b"x" * 70_000)
    (place / "chain" / "of" / "folders" / "end").write_bytes(b"x" * 5000)
    os.link(place / "mail" / "old", place / "chain" / "second name")
    os.link(place / "mail" / "old", place / "mail" / "third name")
    os.utime(place / "mail" / "old", (time.time() - 2 * YEAR,) * 2)
    with open(place / "sparse", "wb") as file:
        file.truncate(10_000_000)
    (place / "link").symlink_to("/")
    for name in (b"new\nline", b"\x1b[2J", b"not \xff utf-8", b"-rf"):
        folder = os.path.join(os.fsencode(place), name)
        os.mkdir(folder)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"x" * 20_000)
    return place


def records(cli: Cli, *args: str) -> list[dict[str, Any]]:
    done = cli("admin.disk", *args, "--warn", "100", "--critical", "100", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["schema"] for one in found} == {"manyhands.disk/1"}
    assert found[0]["kind"] == "filesystem"
    return found[1:]


def du(*args: str | Path) -> dict[str, int]:
    """What du says of each path."""
    said = subprocess.run(["du", "-x0", *map(str, args)], capture_output=True, check=True).stdout
    sizes = (line.partition(b"\t") for line in said.split(b"\0") if line)
    return {os.fsdecode(path): int(size) for size, _, path in sizes}


def all_folders(folder: str, rule: Rule) -> dict[str, tuple[int, int]]:
    """(bytes, files and folders) of each."""
    tree = tree_of(folder, rule, 4)
    amounts = [one.amount for one in tree.folders]
    return {tree.path(number): (amount.bytes, amount.count) for number, amount in enumerate(amounts)}


def rule_for(folder: Path) -> Rule:
    return Rule(os.stat(folder).st_dev)


@gnu
def test_every_folder_has_what_du_says_of_it(data: Path) -> None:
    """Allocated bytes and inodes, of each folder alone: a file with several names counts in each folder that has one."""
    found = all_folders(str(data), rule_for(data))
    folders = [os.path.join(top, name) for top, names, _ in os.walk(data) for name in names]
    folders = [str(data), *(one for one in folders if not os.path.islink(one))]
    assert len(found) == len(folders) == 10
    for folder in folders:
        assert found[folder] == (1024 * du("-s", folder)[folder], du("--inodes", "-s", folder)[folder])


def test_what_is_listed(data: Path, cli: Cli) -> None:
    """The largest first; not a folder that is large because of one folder in it, but that one."""
    found = [one for one in records(cli, "data") if one["kind"] == "folder"]
    paths = [os.path.relpath(one["name"], data) for one in found]
    assert paths[:3] == ["logs", "chain", "mail"]
    (data / "chain" / "second name").unlink()
    (data / "chain" / "of" / "folders" / "end").write_bytes(b"x" * 500_000)
    paths = [os.path.relpath(one["name"], data) for one in records(cli, "data") if one["kind"] == "folder"]
    assert paths[:2] == ["logs", "chain/of/folders"]
    assert "chain" not in paths
    assert "chain/of" not in paths
    found = [one for one in records(cli, "data", "--depth", "1", "-n", "2") if one["kind"] == "folder"]
    assert [os.path.relpath(one["name"], data) for one in found] == ["logs", "chain"]


def test_names_that_are_hostile(data: Path, cli: Cli) -> None:
    """One line each, nothing that a terminal obeys; in JSON the exact bytes."""
    done = cli("admin.disk", "data", "--warn", "100", "--critical", "100")
    assert "/data/new␤line\n" in done.stdout
    assert "/data/^[[2J\n" in done.stdout
    assert "/data/not \\xff utf-8\n" in done.stdout
    found = {one.get("name_base64") for one in records(cli, "data")}
    assert len(found) == 2
    assert "/data/-rf holds " in cli("admin.disk", "./-rf", cwd=data).stdout


@gnu
def test_the_largest_files(data: Path, cli: Cli) -> None:
    """As find and sort say, a file with several names once."""
    found = records(cli, "data", "--by", "file", "--top", "6")
    line = "find data -type f -printf '%b %i\\n' | sort -u | sort -nr | head -6"
    said = subprocess.run(["sh", "-c", line], cwd=data.parent, capture_output=True, text=True, check=True).stdout
    assert [one["bytes"] for one in found] == [512 * int(one.split()[0]) for one in said.splitlines()]
    assert found[0]["name"] == str(data / "logs" / "big")


@gnu
def test_by_age(data: Path, cli: Cli) -> None:
    """As find says; folders count by the time of their own."""
    found = {one["name"]: one["count"] for one in records(cli, "data", "--by", "age")}
    assert found["longer ago"] == 1
    assert sum(found.values()) == du("--inodes", "-s", data)[str(data)]
    before = ["find", "data", "!", "-newermt", f"@{time.time() - YEAR:.0f}", "-printf", "%i\n"]
    said = subprocess.run(before, cwd=data.parent, capture_output=True, text=True, check=True).stdout
    assert len(set(said.split())) == 1
    old = records(cli, "data", "--older-than", "52w")
    assert {os.path.relpath(one["name"], data): one["count"] for one in old} == {"mail": 1, "chain": 1}
    assert sum(one["count"] for one in records(cli, "data", "--older-than", "99999d", "--by", "owner")) == 0


@gnu
def test_by_owner(data: Path, cli: Cli) -> None:
    """As find says."""
    if os.geteuid() == 0:
        os.chown(data / "logs" / "big", 12345, 12345)
    line = "find data -printf '%i %u\\n' | sort -u | cut -d' ' -f2 | sort | uniq -c"
    said = subprocess.run(["sh", "-c", line], cwd=data.parent, capture_output=True, text=True, check=True).stdout
    found = {one["name"]: one["count"] for one in records(cli, "data", "--by", "owner")}
    assert found == {name: int(count) for count, name in map(str.split, said.splitlines())}


def test_inodes(data: Path, cli: Cli) -> None:
    """The folder with the most files is the first, though it is not the largest."""
    for number in range(50):
        (data / "mail" / str(number)).touch()
    found = records(cli, "data", "--inodes")
    assert (found[0]["name"], found[0]["count"]) == (str(data / "mail"), 52)


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A deleted file of 300,000 bytes, and the pid of who has it open."""
    path = tmp_path / "data" / "gone\x1b[2J.log"
    path.parent.mkdir(exist_ok=True)
    code = (
        f"import os, sys; f = open({str(path)!r}, 'wb'); f.write(b'x' * 300_000); f.flush(); os.remove(f.name); "
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield path, process.pid
        process.communicate()


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are found in /proc")


@needs_proc
def test_deleted_files_that_are_open(open_file: tuple[Path, int], data: Path, cli: Cli) -> None:
    """With who has them open, as lsof says; the list of folders has a line about them."""
    path, pid = open_file
    [found] = [one for one in records(cli, "data", "--by", "open", "-n", "999999") if one["name"] == str(path)]
    assert found["bytes"] >= 300_000
    assert (found["pids"], found["user"]) == ([pid], Path(f"/proc/{pid}").owner())
    said = subprocess.run(["lsof", "+L1", "-a", "-p", str(pid), "-Fsn"], capture_output=True, text=True, check=True)
    assert "s300000\n" in said.stdout
    done = cli("admin.disk", "data", "--by", "open", "-n", "999999")
    assert str(pid) in done.stdout
    assert "gone^[[2J.log" in done.stdout
    total = next(one for one in records(cli, "data") if one["kind"] == "deleted")
    assert total["bytes"] >= 300_000
    assert "deleted, but still open (--by open)" in cli("admin.disk", "data").stdout


@needs_proc
def test_a_file_that_several_have_open_counts_once(tmp_path: Path) -> None:
    """With the pids of all; a file that only looks deleted does not count."""
    path = tmp_path / "shared (deleted)"
    with open(path, "wb") as kept, open(tmp_path / "gone", "wb") as gone:
        os.remove(gone.name)
        wait = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
        with subprocess.Popen(
            wait, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[kept.fileno(), gone.fileno()]
        ) as process:
            assert process.stdout
            process.stdout.readline()
            found = [one for one in deleted_files()[0] if one.path.startswith(str(tmp_path))]
            process.communicate()
    assert [(one.path, set(one.pids)) for one in found] == [(gone.name, {os.getpid(), process.pid})]


def test_the_file_system_decides(data: Path, cli: Cli) -> None:
    """Above --warn, above --critical; a threshold with or without %."""
    done = cli("admin.disk", "data", "--warn", "0", "--critical", "100%")
    assert (done.returncode, done.stdout[:10]) == (1, "WARNING - ")
    assert done.stdout.splitlines()[2].startswith("WARNING ")
    done = cli("admin.disk", "data", "--warn", "0", "--critical", "0%")
    assert (done.returncode, done.stdout[:11]) == (2, "CRITICAL - ")


def test_an_empty_folder(tmp_path: Path, cli: Cli) -> None:
    """Nothing is listed, and that is no mistake."""
    (tmp_path / "empty").mkdir()
    done = cli("admin.disk", "empty", "--warn", "100", "--critical", "100", "--by", "file")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert "empty holds " in done.stdout
    assert "in 1 file or folder\n" in done.stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["none"], "none: No such file or directory"),
        (["data/sparse"], "sparse: Not a directory"),
        (["--top", "0"], "--top 0: expected 1 or more"),
        (["--depth", "0"], "--depth 0: expected 1 or more"),
        (["--warn", "x"], "--warn 'x': expected a percentage from 0% to 100%"),
        (["--critical", "101"], "expected a percentage from 0% to 100%"),
        (["--warn", "95"], "--warn 95 is above --critical 90%"),
        (["--older-than", "long"], "--older-than 'long': expected seconds"),
        (["--by", "open", "--older-than", "1d"], "--older-than has no effect with --by open"),
        (["--by", "age", "--depth", "1"], "--depth has no effect with --by age"),
    ],
)
def test_mistakes(args: list[str], text: str, data: Path, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    done = cli("admin.disk", *args)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("UNKNOWN - ")
    assert text in done.stdout
    assert done.stdout.count("\n") == 1


@gnu
def test_one_file_system_and_each_folder_once(tmp_path: Path, environment: dict[str, str]) -> None:
    """What is mounted below is not counted, and what is mounted at two places counts once; du -x counts it twice."""
    script = (
        "mkdir -p m/tmpfs m/real/inner m/second m/real/loop && mount -t tmpfs none m/tmpfs && head -c 200000 /dev/zero >m/tmpfs/x && "
        "head -c 100000 /dev/zero >m/real/inner/x && du -xsB1 m && mount --bind m/real m/second && mount --bind m m/real/loop && "
        f"{sys.executable} -m manyhands admin.disk m --json --warn 100 --critical 100 --by owner"
    )
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("may not mount here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    du_said, _, *rows = done.stdout.splitlines()
    # the two empty folders that something is mounted on then are not seen any more
    assert sum(json.loads(row)["bytes"] for row in rows) == int(du_said.split()[0]) - 2 * 4096


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple)


@gnu
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, st.integers(0, 30_000), max_size=25), st.lists(st.tuples(names, names), max_size=8))
def test_any_tree(tmp_path: Path, files: dict[tuple[str, ...], int], links: list[tuple[Any, Any]]) -> None:
    """Whatever lies where, with whatever links: what du says of each folder alone."""
    place = tmp_path / "any"
    place.mkdir()
    try:
        for path, length in files.items():
            file = place.joinpath(*(f"{name}.d" for name in path[:-1]), path[-1])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * length)
        for old, new in links:
            source = place.joinpath(*(f"{name}.d" for name in old[:-1]), old[-1])
            target = place.joinpath(*(f"{name}.d" for name in new[:-1]), f"{new[-1]}.link")
            if source.is_file() and target.parent.is_dir() and not target.exists():
                os.link(source, target)
        for folder, (bytes, _) in all_folders(str(place), rule_for(place)).items():
            assert bytes == 1024 * du("-s", folder)[folder]
    finally:
        shutil.rmtree(place)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is counted, and the verdict says that there may be more; what has vanished meanwhile is no mistake."""
    for name in ("gone", "broken", "forbidden", "kept"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "file").write_bytes(b"x" * 9000)
    errors = {"gone": FileNotFoundError(), "broken": OSError(5, "Input/output error"), "forbidden": PermissionError()}
    real = os.scandir

    def scandir(path: Any) -> Any:
        if error := errors.get(os.path.basename(path) if isinstance(path, str) else ""):
            raise error
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    disk(DiskOptions(folder=str(tmp_path / "data")))
    said = capsys.readouterr().out
    assert "/data holds at least " in said
    assert "in 6 files and folders\n" in said
    assert "2  folders not read\n" in said


def test_the_page(data: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    place = tmp_path / "page" / "data"
    for name, length in (("logs", 1_040_000), ("mail", 76_000)):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_bytes(b"x" * length)
    (place / "file").write_bytes(b"x")
    check_page("disk", place.parent, environment)
