"""``admin.logs``: real files, real writers, a full disk, a kill in the middle; compared with gzip, find and stat."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.ordinary_user import as_ordinary_user
from admin.pages import check_page
from conftest import Cli
from manyhands.admin import old_log
from manyhands.admin.logs import Rules, logs
from manyhands.admin.old_log import Action, InUseError, LeftError, OldLog, deal_with
from manyhands.admin.open_files import unwritten, writers
from manyhands.core.records import replace
from manyhands.options.admin import LogsOptions

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fdinfo"), reason="reads /proc")
DAY = 86400
TEXT = b"".join(b"2026-01-31 12:00:00 request %d served\n" % number for number in range(5000))


def age(path: Path, days: float) -> Path:
    """Let it be so old."""
    moment = time.time_ns() - int(days * DAY * 1e9)
    os.utime(path, ns=(moment, moment))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logs of every age: log/today.log, log/app/old.log, ..."""
    place = tmp_path / "log"
    (place / "app").mkdir(parents=True)
    for name, days in {
        "today.log": 0.1,
        "app/old.log": 3,
        "app/old.log.1": 4,
        "app/old.log-20260101": 40,
        "app/older.log.2.gz": 40,
        "notes.txt": 40,
    }.items():
        data = gzip.compress(TEXT) if name.endswith(".gz") else TEXT
        (place / name).write_bytes(data)
        age(place / name, days)
    return place


def names(folder: Path) -> set[str]:
    """All files, as find prints them."""
    said = subprocess.run(["find", ".", "-type", "f", "-print0"], cwd=folder, check=True, capture_output=True, text=True)
    return {one.removeprefix("./") for one in said.stdout.split("\0") if one}


def old(path: Path, action: Action = Action.COMPRESS) -> OldLog:
    """What is decided about a file as it is now."""
    status = path.stat()
    return OldLog(
        root=os.path.realpath(path.parent),
        parts=(),
        name=path.name,
        action=action,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
    )


def rows(cli: Cli, *args: str) -> dict[str, dict[str, object]]:
    found = [json.loads(line) for line in cli("admin.logs", "log", "--json", *args).stdout.splitlines()]
    return {str(one["file"]).removeprefix("log/"): one for one in found}


def test_it_shows_first(folder: Path, cli: Cli) -> None:
    """What it would do, and does nothing without --yes where nobody can be asked."""
    before = names(folder)
    done = cli("admin.logs", "log", "--remove-after", "30d")
    assert (done.returncode, done.stderr) == (0, "")
    verdict, header, *lines = done.stdout.splitlines()
    total = f"{len(TEXT) / 1024:.0f} KiB"
    assert verdict.startswith("OK - 2 to compress (")
    assert verdict.endswith("; nothing was done: --yes does it")
    assert header.split() == ["action", "size", "age", "file"]
    assert sorted((line.split()[0], line.split()[-1]) for line in lines) == [
        ("compress", "log/app/old.log"),
        ("compress", "log/app/old.log.1"),
        ("remove", "log/app/old.log-20260101"),
        ("remove", "log/app/older.log.2.gz"),
    ]
    assert total in lines[0]
    assert names(folder) == before
    assert cli("admin.logs", "log", "--dry-run").stdout.startswith("OK - 3 to compress (")


def test_it_compresses_and_removes(folder: Path, cli: Cli) -> None:
    """What it has shown, and nothing else; the contents are those that gzip unpacks."""
    done = cli("admin.logs", "log", "--remove-after", "30d", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("OK - 2 compressed (")
    assert names(folder) == {"today.log", "notes.txt", "app/old.log.gz", "app/old.log.1.gz"}
    for name in ("app/old.log.gz", "app/old.log.1.gz"):
        subprocess.run(["gzip", "--test", name], cwd=folder, check=True)
        assert subprocess.run(["gzip", "-dc", name], cwd=folder, check=True, capture_output=True).stdout == TEXT
    assert cli("admin.logs", "log", "--yes").stdout == "OK - nothing to compress or to remove\n"


def test_what_is_kept_of_a_file(folder: Path, cli: Cli) -> None:
    """Mode, owner, and the times, as stat prints them; attributes, too."""
    path = folder / "app" / "old.log"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12346)
    with suppress(OSError):  # not every file system has them
        os.setxattr(path, "user.note", b"kept")
    before, attributes = stat_of(path), os.listxattr(path)
    found = rows(cli, "--yes")["app/old.log"]
    packed = path.with_name("old.log.gz")
    assert stat_of(packed) == before
    assert os.listxattr(packed) == attributes
    assert (found["done"], found["bytes"], found["bytes_left"]) == (True, len(TEXT), packed.stat().st_size)


def stat_of(path: Path) -> str:
    said = subprocess.run(["stat", "-c", "%a %u %g %.9Y", path], check=True, capture_output=True, text=True)
    return said.stdout


def test_what_is_open_for_writing(folder: Path, cli: Cli) -> None:
    """Is kept, and whoever has it open is named; a reader is in nobody's way."""
    path = folder / "app" / "old.log"
    with path.open("ab"), (folder / "app" / "old.log.1").open("rb"):
        age(path, 3)
        found = rows(cli, "--yes", "--remove-after", "2d")
    assert (
        found["app/old.log"]["problem"]
        == f"open for writing by {Path('/proc/self/comm').read_text().strip()} ({os.getpid()})"
    )
    assert (found["app/old.log"]["done"], found["app/old.log"]["level"]) == (False, "OK")
    assert found["app/old.log.1"]["done"]
    assert path.read_bytes() == TEXT


def test_the_kernel_knows_every_writer(tmp_path: Path) -> None:
    """Also one whose /proc we may not read: a lease is not given, by which the last step would be left out."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    reader = os.open(path, os.O_RDONLY)
    with unwritten(reader) as alone:
        assert alone
    with path.open("ab"), unwritten(reader) as alone:
        assert not alone
    os.close(reader)
    one = old(path)
    with path.open("ab"), pytest.raises(InUseError, match="open for writing"):
        deal_with(one)
    assert (names(tmp_path), path.read_bytes()) == ({"one.log"}, TEXT)


def test_whoever_opens_it_meanwhile_waits(tmp_path: Path) -> None:
    """While the lease is held; that this is to be broken ends nobody."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    opened = threading.Event()

    def write() -> None:
        with path.open("ab"):
            opened.set()

    reader = os.open(path, os.O_RDONLY)
    with unwritten(reader):
        thread = threading.Thread(target=write)
        thread.start()
        waiting = not opened.wait(0.3)
    thread.join()
    os.close(reader)
    assert waiting
    assert opened.is_set()


def test_who_writes(tmp_path: Path) -> None:
    """By pid and name; files that nobody asks for are not told."""
    path = tmp_path / "one.log"
    with path.open("ab"), (tmp_path / "other.log").open("ab"):
        key = (path.stat().st_dev, path.stat().st_ino)
        assert [who.split()[-1] for who in writers({key}).found[key]] == [f"({os.getpid()})"]
        assert list(writers({key}).found) == [key]
    assert writers({key}).found == {}


def during(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Let something happen just before ``name`` of the module is called."""
    real = getattr(old_log, name)

    def first(*args: object) -> object:
        act()
        return real(*args)

    monkeypatch.setattr(old_log, name, first)


@pytest.mark.parametrize("step", ["_pack", "_take_over", "_unpacked", "_link", "_remove"])
def test_a_write_in_the_middle(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever moment: the file is left as it is, with what was written, and no copy beside it."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)

    def write() -> None:
        with path.open("ab") as file:
            file.write(b"more\n")

    during(monkeypatch, step, write)
    with pytest.raises(InUseError, match="was written to meanwhile"):
        deal_with(old(path))
    assert (names(tmp_path), path.read_bytes()) == ({"one.log"}, TEXT + b"more\n")


@pytest.mark.parametrize("step", ["_pack", "_take_over", "_unpacked", "_link", "_remove"])
def test_a_rotation_in_the_middle(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """logrotate renames it and makes a new one: both are left as they are."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)

    def rotate() -> None:
        path.rename(tmp_path / "one.log.1")
        path.write_bytes(b"new\n")

    during(monkeypatch, step, rotate)
    with pytest.raises(InUseError):
        deal_with(old(path))
    assert names(tmp_path) == {"one.log", "one.log.1"}
    assert ((tmp_path / "one.log.1").read_bytes(), path.read_bytes()) == (TEXT, b"new\n")


@pytest.mark.parametrize("step", ["_pack", "_take_over", "_unpacked", "_link", "_remove"])
def test_a_failure_in_the_middle(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full or broken: nothing is lost, and nothing is left behind."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)

    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    during(monkeypatch, step, fail)
    with pytest.raises(OSError, match="No space left"):
        deal_with(old(path))
    assert (names(tmp_path), path.read_bytes()) == ({"one.log"}, TEXT)


def test_what_does_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that keeps something else than what was written."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    monkeypatch.setattr(old_log, "_unpacked", lambda file, most: b"other")
    with pytest.raises(LeftError, match="does not read back"):
        deal_with(old(path))
    assert (names(tmp_path), path.read_bytes()) == ({"one.log"}, TEXT)


def test_a_failure_after_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the old file has gone, the copy is all that there is, and stays."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    real, calls = os.fsync, []

    def fail(file: int) -> None:
        calls.append(file)
        if not path.exists():
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        deal_with(old(path))
    assert names(tmp_path) == {"one.log.gz"}
    assert gzip.decompress((tmp_path / "one.log.gz").read_bytes()) == TEXT


KILLED = """\
import os, signal, sys
from manyhands.admin import old_log
from admin.test_logs import during, old
from pathlib import Path
import pytest
patch = pytest.MonkeyPatch()
during(patch, sys.argv[2], lambda: os.kill(os.getpid(), signal.SIGKILL))
old_log.deal_with(old(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("step", ["_take_over", "_unpacked", "_link", "_remove"])
def test_killed_in_the_middle(step: str, tmp_path: Path) -> None:
    """What it has left does not disturb the next time, which finishes it."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    here = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), step], check=False, cwd=here)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == TEXT
    assert len(names(tmp_path)) > 1
    deal_with(old(path))
    assert names(tmp_path) == {"one.log.gz"}
    assert gzip.decompress((tmp_path / "one.log.gz").read_bytes()) == TEXT


def test_another_file_has_the_name(folder: Path, cli: Cli) -> None:
    """It is not overwritten, and somebody should look at it."""
    (folder / "app" / "old.log.gz").write_bytes(gzip.compress(b"precious"))
    (folder / "app" / "old.log.1.gz").symlink_to("old.log")
    done = cli("admin.logs", "log", "--yes", "--json", "--match", "old.log")
    assert done.returncode == 1
    found = {str(one["file"]): one for one in map(json.loads, done.stdout.splitlines())}
    for name in ("old.log", "old.log.1"):
        assert found[f"log/app/{name}"]["problem"] == f"{name}.gz is there already, and is no copy of it"
        assert (folder / "app" / name).read_bytes() == TEXT
    assert gzip.decompress((folder / "app" / "old.log.gz").read_bytes()) == b"precious"


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two processes leaves the file to the first."""
    path = tmp_path / "one.log"
    path.write_bytes(TEXT)
    second: list[str] = []

    def try_again() -> None:
        try:
            deal_with(old(path))
        except InUseError as error:
            second.append(str(error))

    during(monkeypatch, "_take_over", try_again)
    deal_with(old(path))
    assert second == ["another process compresses it"]
    assert names(tmp_path) == {"one.log.gz"}


def test_links(folder: Path, tmp_path: Path, cli: Cli) -> None:
    """No symbolic link is followed, to a file or a folder; a file with two names would take more room than before."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.log").write_bytes(TEXT)
    age(outside / "one.log", 9)
    (folder / "out").symlink_to(outside)
    (folder / "link.log").symlink_to(outside / "one.log")
    os.link(folder / "app" / "old.log", folder / "app" / "second.log")
    found = rows(cli, "--yes")
    assert {name for name, one in found.items() if one["problem"] == "has a second hard link"} == {
        "app/old.log",
        "app/second.log",
    }
    assert "link.log" not in found
    assert names(outside) == {"one.log"}


def test_a_folder_is_swapped_for_a_link(tmp_path: Path) -> None:
    """By whoever may write there, between the decision and the deed: nothing outside is touched."""
    inside, outside = tmp_path / "log" / "app", tmp_path / "outside"
    inside.mkdir(parents=True)
    (inside / "one.log").write_bytes(TEXT)
    one = replace(old(inside / "one.log"), root=os.path.realpath(tmp_path / "log"), parts=("app",))
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        deal_with(one)
    assert names(outside) == {"one.log"}


FULL = """\
set -e
mount -t tmpfs -o size=600k none "$1"
cd "$1"
mkdir log
head -c 200000 /dev/urandom > log/one.log
head -c 200000 /dev/urandom > log/two.log
touch -d '3 days ago' log/*.log
head -c 150000 /dev/zero > rest
sha256sum log/*.log > sums
shift
"$@" || echo status $?
sha256sum --check --quiet sums
find log -type f | sort
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_full_disk(tmp_path: Path, environment: dict[str, str]) -> None:
    """What does not fit is left as it was, and said."""
    (tmp_path / "disk").mkdir()
    program = [sys.executable, "-m", "manyhands", "admin.logs", "log", "--yes"]
    done = subprocess.run(
        ["unshare", *(["-r"] if os.geteuid() else []), "-m", "sh", "-c", FULL, "sh", str(tmp_path / "disk"), *program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare: " in done.stderr or "mount: " in done.stderr:
        pytest.skip("may not mount a file system here")
    assert "log/one.log: No space left on device" in done.stdout
    assert "status 2" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["log/one.log", "log/two.log"], done.stdout + done.stderr


def test_a_run_that_is_continued(folder: Path, cli: Cli) -> None:
    """By its name: what failed is tried again, a log that is new under an old name is another one."""
    (folder / "app" / "old.log.gz").write_bytes(b"in the way")
    assert cli("admin.logs", "log", "--yes", "--run-id", "nightly").returncode == 1
    (folder / "app" / "old.log.gz").unlink()
    (folder / "app" / "old.log.1").write_bytes(b"again\n")
    age(folder / "app" / "old.log.1", 3)
    (folder / "app" / "old.log.1.gz").unlink()
    found = rows(cli, "--yes", "--run-id", "nightly")
    assert {name for name, one in found.items() if one["done"]} == {"app/old.log", "app/old.log.1"}
    assert gzip.decompress((folder / "app" / "old.log.1.gz").read_bytes()) == b"again\n"
    said = cli("batch.show", "nightly").stdout
    assert "4 ok" in said


def test_what_had_failed_has_gone(folder: Path, cli: Cli) -> None:
    """It is not asked for again."""
    (folder / "app" / "old.log.gz").write_bytes(b"in the way")
    assert cli("admin.logs", "log", "--yes", "--run-id", "nightly").returncode == 1
    (folder / "app" / "old.log").unlink()
    age(folder / "today.log", 2)
    done = cli("admin.logs", "log", "--yes", "--run-id", "nightly")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 3)
    assert "today.log" in done.stdout


def test_the_program_is_killed_in_the_middle(tmp_path: Path, environment: dict[str, str], cli: Cli) -> None:
    """The same command, with the same name, goes on: every log is there once, and is what it was."""
    place = tmp_path / "log"
    place.mkdir()
    contents = {f"{number}.log": os.urandom(3_000_000) for number in range(6)}
    for name, data in contents.items():
        (place / name).write_bytes(data)
        age(place / name, 3)
    command = [sys.executable, "-m", "manyhands", "admin.logs", "log", "--yes", "--run-id", "x", "--jobs", "2"]
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    while not list(place.glob("*.gz")) and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()
    done = cli(*command[3:])
    while done.returncode == 3 and "is being worked on" in done.stdout:  # its workers see soon that it has gone
        time.sleep(0.05)
        done = cli(*command[3:])
    assert done.returncode == 0, done
    assert names(place) == {f"{name}.gz" for name in contents}
    for name, data in contents.items():
        assert gzip.decompress((place / f"{name}.gz").read_bytes()) == data


@given(st.lists(st.text(min_size=1).filter(lambda text: "/" not in text), min_size=1, max_size=3), st.integers())
def test_an_input_of_a_run_is_text(names: list[str], number: int) -> None:
    """Which says all; undecodable names, too."""
    one = OldLog("/r\udcff", tuple(names[:-1]), names[-1], Action.REMOVE, number, 1, 2, 3, 4)
    assert OldLog.of_text(one.to_text()) == one
    assert one.to_text().isascii()


RULES = Rules(("*.log", "syslog"), DAY, None)


@pytest.mark.parametrize(
    "name",
    [
        "app.log",
        "app.log.1",
        "app.log.12.gz",
        "app.log-20260131",
        "app.log-20260131.xz",
        "app.log.2026-01-31",
        "app-2026-01-31.log",
        "app.log-20260131-2359.zst",
        "app.log-1700000000",
        "app.log.old",
        "syslog",
        "syslog.3",
        "syslog-20260131.gz",
        "app.log.2026-01-31_23:59:01",
    ],
)
def test_names_of_logs(name: str) -> None:
    """As logrotate and others name what they rotate."""
    assert RULES.matches(name)


@pytest.mark.parametrize(
    "name", ["app.log.conf", "app.logs", "catalog", "syslog.d", "app.log.gz.part", ".app.log.gz.part", "log"]
)
def test_names_of_other_files(name: str) -> None:
    """Are not touched."""
    assert not RULES.matches(name)


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20), st.integers(0, 9999))
def test_a_rotated_name_is_that_of_a_log(name: str, number: int) -> None:
    """Whatever it is called, with a number, and compressed."""
    rules = Rules((name.replace("[", "[[]").replace("?", "[?]").replace("*", "[*]"),), DAY, None)
    assert rules.matches(f"{name}.{number}")
    assert rules.matches(f"{name}.{number}.gz")


def test_hostile_names(tmp_path: Path, cli: Cli) -> None:
    """Are dealt with like others, and shown harmless."""
    place = tmp_path / "log"
    place.mkdir()
    for name in (b"-rf.log", b"a\nOK - b.log", b"\x1b[2J.log", b"\xff\xfe.log"):
        (place / os.fsdecode(name)).write_bytes(TEXT)
        age(place / os.fsdecode(name), 3)
    done = cli("admin.logs", "log", "--yes")
    assert (done.returncode, done.stdout.count("\n")) == (0, 6)
    assert "\x1b" not in done.stdout
    assert all(name.endswith(".log.gz") for name in map(os.fsdecode, os.listdir(os.fsencode(place))))
    assert len(os.listdir(place)) == 4


def test_what_is_not_ours(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of other users are counted, and folders that may not be read."""
    if os.geteuid() != 0:
        pytest.skip("becomes another user")
    (folder / "closed").mkdir(mode=0o700)
    assert logs(LogsOptions(folders=[str(folder)])) == 0
    capsys.readouterr()
    with as_ordinary_user(tmp_path):
        assert logs(LogsOptions(folders=["log"], yes=True)) == 0
    said = capsys.readouterr().out
    assert said == "OK - nothing to compress or to remove; 3 files of other users are skipped; 1 folder may not be read\n"


def test_it_asks_on_a_terminal(folder: Path, environment: dict[str, str]) -> None:
    """What is to be done is shown; no is the default."""
    for answer, done in (("\n", False), ("y\n", True)):
        said = asked([sys.executable, "-m", "manyhands", "admin.logs", "log"], answer, environment, folder.parent)
        assert "log/app/old.log" in said
        assert "3 to compress (" in said
        assert "do it? [y/N]" in said
        assert (folder / "app" / "old.log.gz").exists() is done


def asked(command: list[str], answer: str, environment: dict[str, str], cwd: Path) -> str:
    """All that a command shows on a terminal, on which a question is answered."""
    leader, follower = os.openpty()
    child = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment, cwd=cwd)
    os.close(follower)
    said = b""
    try:
        while True:
            said += os.read(leader, 4096)
            if b"[y/N]" in said and answer:
                os.write(leader, answer.encode())
                answer = ""
    except OSError:  # EIO: all have closed it
        pass
    child.wait()
    os.close(leader)
    return said.decode()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no folder is given"),
        (["none"], "none: No such file or directory"),
        (["empty"], "no file in empty matches *.log"),
        (["empty", "--match", "a", "--match", "b"], "no file in empty matches a or b"),
        (["empty", "--compress-after", "soon"], "--compress-after 'soon': expected seconds"),
        (["empty", "--yes", "--dry-run"], "--dry-run has no effect with --yes"),
    ],
)
def test_mistakes(args: list[str], text: str, tmp_path: Path, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    (tmp_path / "empty").mkdir()
    done = cli("admin.logs", *args)
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN - ")
    assert text in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_the_page(folder: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    check_page("logs", folder.parent, environment)
