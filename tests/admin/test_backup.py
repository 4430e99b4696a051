"""``admin.backup``: beside a plain rsync; interrupted, refused, damaged, on a full disk; what is rotated away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from admin.pages import check_page
from admin.trees import hostile_tree, restricted, tree
from conftest import Cli, wait_for


def whole(folder: Path) -> list[str]:
    """The names of the backups."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and not path.is_symlink())


def latest(folder: Path) -> Path:
    return folder / os.readlink(folder / "latest")


def listing(folder: Path) -> list[str]:
    """Every name, with type, permissions, owner, size, time and target, as find prints them; the time to the minute, because rsync
    compares seconds, and leaves a folder that it made in the same one."""
    said = subprocess.run(
        ["find", ".", "!", "-name", ".", "-printf", r"%P %y %m %U %G %s %TY-%Tm-%Td %TH:%TM %l\0"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    return sorted(os.fsdecode(said.stdout).split("\0"))


def stand_in(folder: Path, script: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment with another ``rsync`` first on PATH; ``$real`` is the real one."""
    real = shutil.which("rsync")
    if real is None:
        pytest.skip("rsync is not installed")
    folder.mkdir(exist_ok=True)
    (folder / "rsync").write_text(f'#!/bin/sh\nreal={real}\n[ "$1" = --version ] && exec $real "$@"\n{script}\n')
    (folder / "rsync").chmod(0o755)
    return {**environment, "PATH": f"{folder}:{environment['PATH']}"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for backups."""
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def test_a_backup_is_as_its_source(tmp_path: Path, place: Path, cli: Cli) -> None:
    """Everything that find and rsync see: names that nobody interprets, links, hard links, pipes, permissions, times."""
    source = hostile_tree(tmp_path / "source of: it")
    os.link(source / "plain", source / "its other name")
    (source / "plain").chmod(0o4711)
    (source / "empty").mkdir(mode=0o700)
    os.utime(source / "a b", (1, 1.5))
    done = cli("admin.backup", "source of: it", "backups", "--sample", "100")
    assert (done.returncode, done.stderr) == (0, "")
    files = sum(path.is_file() and not path.is_symlink() for path in source.rglob("*"))
    assert done.stdout.startswith(f"OK - {latest(place).name}: {files} files, ")
    assert f"; {files} of {files} restored the same; 0 deleted, 1 kept\n" in done.stdout
    assert listing(latest(place)) == listing(source)
    differs = ["rsync", "-aHAXin", "--delete", "--checksum", f"{source}/", f"{latest(place)}/"]
    assert subprocess.run(differs, capture_output=True, check=True).stdout == b""
    assert (latest(place) / "plain").stat().st_ino == (latest(place) / "its other name").stat().st_ino


def test_what_has_not_changed_is_linked(tmp_path: Path, place: Path, cli: Cli) -> None:
    """As rsync does it with --link-dest when it is typed: the same files are new, the others are further names of those before."""
    source = tree(tmp_path / "source", {"same": b"1", "changed": b"2", "sub/same": b"3", "mode": b"4"})
    assert cli("admin.backup", "source", "backups").returncode == 0
    first = latest(place)
    tree(source, {"changed": b"other", "new": b"5"})
    (source / "mode").chmod(0o600)
    (source / "sub" / "same").rename(source / "moved")
    subprocess.run(["rsync", "-a", f"--link-dest={first}", f"{source}/", tmp_path / "typed"], check=True)
    before = listing(first)
    (record, *_) = map(json.loads, cli("admin.backup", "source", "backups", "--json").stdout.splitlines())
    second = latest(place)
    assert second != first
    assert (record["path"], record["state"], record["files"], record["bytes"]) == (str(second), "made", 5, 9)
    for path in sorted(second.rglob("*")):
        if path.is_file():
            typed, old = tmp_path / "typed" / path.relative_to(second), first / path.relative_to(second)
            linked = old.exists() and path.samefile(old)
            assert linked == (old.exists() and typed.samefile(old))
            assert linked == (path.name == "same"), path
    assert listing(first) == before


def test_an_interrupted_backup_is_none_and_helps_the_next(
    tmp_path: Path, place: Path, environment: dict[str, str], cli: Cli
) -> None:
    """What it had copied is not copied again; nothing of an older backup is changed, also if the source has new permissions."""
    source = tree(tmp_path / "source", {"old": b"0"})
    assert cli("admin.backup", "source", "backups").returncode == 0
    first = latest(place)
    tree(source, {"copied": b"1", "late": b"2"})
    slow = stand_in(tmp_path / "slow", f'$real --exclude=late "$@"; touch {tmp_path}/half; exec sleep 600', environment)
    command = [sys.executable, "-m", "manyhands", "admin.backup", str(source), str(place)]
    with subprocess.Popen(command, env=slow, start_new_session=True, stdout=subprocess.DEVNULL) as begun:
        wait_for((tmp_path / "half").exists, 60)
        os.killpg(begun.pid, signal.SIGKILL)
    assert (whole(place), latest(place)) == ([first.name], first)
    (half,) = place.glob(".unfinished-*")
    copied = (half / "copied").stat().st_ino
    (source / "old").chmod(0o600)
    before = listing(first)
    done = cli("admin.backup", str(source), str(place))
    assert done.returncode == 0, done
    assert latest(place) != first
    assert (latest(place) / "copied").stat().st_ino == copied
    assert listing(first) == before
    assert listing(latest(place)) == listing(source)
    assert list(place.glob(".unfinished-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_two_do_not_run_at_once(
    number: signal.Signals, tmp_path: Path, place: Path, environment: dict[str, str], cli: Cli
) -> None:
    """Nor one beside an rsync whose program was killed; Ctrl-C ends rsync, too."""
    tree(tmp_path / "source", {"a": b"a"})
    slow = stand_in(
        tmp_path / "slow",
        f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600",
        environment,
    )
    command = [sys.executable, "-m", "manyhands", "admin.backup", "source", "backups"]
    with subprocess.Popen(command, cwd=tmp_path, env=slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as begun:
        wait_for((tmp_path / "pid").exists, 60)
        rsync = int((tmp_path / "pid").read_text())
        busy = cli("admin.backup", "source", "backups")
        begun.send_signal(number)
    try:
        assert (busy.returncode, busy.stderr) == (3, "")
        assert f"backups: another backup is running here, process {begun.pid} or its rsync\n" in busy.stdout
        if number == signal.SIGKILL:
            assert "or its rsync" in cli("admin.backup", "source", "backups").stdout
    finally:
        if number == signal.SIGKILL:
            os.kill(rsync, signal.SIGKILL)
    wait_for(lambda: cli("admin.backup", "source", "backups").returncode == 0, 60)
    assert list(place.glob(".unfinished-*")) == []


def test_what_is_refused(tmp_path: Path, place: Path, cli: Cli) -> None:
    """One line, the status 3; the backups that are there stay, whatever rule is given."""
    tree(tmp_path, {"source/sub/a": b"a", "unmounted/lost+found/x": b"", "file": b""})
    (tmp_path / "unmounted" / "lost+found" / "x").unlink()
    (place / "2020-01-01T000000").mkdir()
    (tmp_path / "source" / "backups").mkdir()
    (tmp_path / "round").symlink_to("source")
    for args, text in (
        (["none", "backups"], "none: No such file or directory"),
        (["file", "backups"], "file: Not a directory"),
        (["unmounted", "backups"], "unmounted: there are no files in it, so it is not backed up; is its disk mounted?"),
        (["source", ""], "a folder without a name is given; an empty variable, perhaps?"),
        (["", "backups"], "a folder without a name is given"),
        (["source", "none"], "none: there is no such folder; make it first"),
        (["source", "source/backups"], "source/backups: lies in "),
        (["source", "source"], "source: lies in "),
        (["source", "round/backups"], "round/backups: lies in "),
        (["source", "backups", "--keep", "0"], "--keep 0: expected 1 or more"),
        (
            ["source", "backups", "--sample", "0"],
            "--sample 0: expected 1 or more; what is not verified replaces no older",
        ),
        (["source", "backups", "--sample", "-1"], "--sample -1: expected 1 or more"),
    ):
        done = cli("admin.backup", *args, *([] if "--keep" in args else ["--keep", "1"]))
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (3, "", 1), done
        assert text in done.stdout
    assert os.listdir(place) == ["2020-01-01T000000"]


def test_rotation(tmp_path: Path, place: Path, cli: Cli) -> None:
    """What --dry-run shows, and nothing else, is deleted; a dry run changes nothing."""
    source = tree(tmp_path / "source", {"a": b"a"})
    os.utime(source / "a", (1, 1))
    names = [f"2020-01-{day:02}T030000" for day in range(1, 21)]
    for name in names:
        tree(place / name, {"a": b"a"})
    tree(place, {"notes": b"", "2020-01-01/a": b"", "2019-01-01T000000.old/a": b""})
    (place / "2019-01-01T000000").symlink_to("2020-01-01")
    before = listing(place)
    rule = ["admin.backup", "source", "backups", "--daily", "3", "--weekly", "4", "--monthly", "1"]
    dry = cli(*rule, "--dry-run")
    assert dry.returncode == 0
    assert listing(place) == before
    assert ": 1 file, 1 B, 1 B new; 17 would be deleted, 4 kept\n" in dry.stdout.splitlines(keepends=True)[0]
    done = cli(*rule)
    assert done.returncode == 0
    assert [line.split()[1] for line in dry.stdout.splitlines() if line.split()[0] == "kept"] == [
        line.split()[1] for line in done.stdout.splitlines() if line.split()[0] == "kept"
    ]
    assert [line.split()[3] for line in dry.stdout.splitlines() if "would be deleted" in line[:20]] == [
        line.split()[1] for line in done.stdout.splitlines() if line.split()[0] == "deleted"
    ]
    rest = ["2020-01-12T030000", "2020-01-19T030000", "2020-01-20T030000"]
    assert [name for name in whole(place) if name in names] == rest
    assert (place / latest(place).name).is_dir()
    assert {"notes", "2020-01-01", "2019-01-01T000000.old"} < set(whole(place))


def test_one_folder_for_one_source(tmp_path: Path, place: Path, cli: Cli) -> None:
    """A rule for one would delete the backups of the other; a source that has moved can be told."""
    tree(tmp_path, {"source/a": b"a", "other/a": b"a"})
    assert cli("admin.backup", "source", "backups").returncode == 0
    for more in ([], ["--dry-run"]):
        done = cli("admin.backup", "other", "backups", "--keep", "1", *more)
        assert (done.returncode, done.stdout.count("\n")) == (3, 1)
        assert f"backups: has backups of {tmp_path}/source; if {tmp_path}/other is the same, remove " in done.stdout
    assert len(whole(place)) == 1
    (place / ".source").unlink()
    assert cli("admin.backup", "other", "backups").returncode == 0
    assert len(whole(place)) == 2


def test_a_damaged_backup_deletes_nothing(tmp_path: Path, place: Path, cli: Cli) -> None:
    """A content that has changed on the disk of the backups, with the size and time of before, is found in the sample, and copied
    anew with --checksum."""
    source = tree(tmp_path / "source", {"a": b"content"})
    assert cli("admin.backup", "source", "backups").returncode == 0
    first = latest(place)
    times = (first / "a").stat()
    (first / "a").write_bytes(b"c0ntent")
    os.utime(first / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    done = cli("admin.backup", "source", "backups", "--keep", "1")
    assert done.returncode == 2
    assert done.stdout.splitlines()[0].endswith("; 0 of 1 restored the same; nothing was deleted")
    assert "CRITICAL  differs" in done.stdout
    assert (len(whole(place)), latest(place)) == (2, first)
    done = cli("admin.backup", "source", "backups", "--keep", "1", "--checksum")
    assert done.returncode == 0
    assert whole(place) == [latest(place).name]
    assert (latest(place) / "a").read_bytes() == (source / "a").read_bytes()


def test_a_source_that_changes_meanwhile(tmp_path: Path, place: Path, environment: dict[str, str], cli: Cli) -> None:
    """It is told, and is no failure; a backup of which nothing could be compared replaces none."""
    tree(tmp_path / "source", {"log": b"1"})
    late = stand_in(
        tmp_path / "late", f'$real "$@"; status=$?; echo 2 >> {tmp_path}/source/log; exit $status', environment
    )
    assert cli("admin.backup", "source", "backups").returncode == 0
    done = cli("admin.backup", "source", "backups", "--keep", "1", env=late)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("; 0 of 1 restored the same, so it is not verified; nothing was deleted")
    assert "has changed since" in done.stdout
    assert len(whole(place)) == 2


@pytest.mark.parametrize(
    ("script", "status", "why"),
    [
        (
            "echo 'rsync: [receiver] write failed on \"/mnt/x\": No space left on device (28)' >&2\n"
            "echo 'rsync error: error in file IO (code 11) at receiver.c(657) [receiver=3.5.0]' >&2\nexit 11",
            2,
            'rsync: [receiver] write failed on "/mnt/x": No space left on device (28), exit status 11',
        ),
        (
            '$real "$@"; status=$?; case "$*" in *--hard-links*) exit 24;; esac; exit $status',
            0,
            "",
        ),  # files of the source have vanished
        ("kill -KILL $$", 2, "rsync, exit status -9"),
    ],
)
def test_how_rsync_ends(
    script: str, status: int, why: str, tmp_path: Path, place: Path, environment: dict[str, str], cli: Cli
) -> None:
    """A failure is critical, with its reason; nothing is taken for a backup, and none is deleted."""
    tree(tmp_path / "source", {"a": b"a"})
    (place / "2020-01-01T000000").mkdir()
    done = cli("admin.backup", "source", "backups", "--keep", "1", env=stand_in(tmp_path / "other", script, environment))
    assert (done.returncode, done.stderr) == (status, "")
    assert why in done.stdout
    if status:
        assert done.stdout.startswith("CRITICAL - no backup was made; nothing was deleted\n")
        assert whole(place) == ["2020-01-01T000000"]
        assert not (place / "latest").exists()


def test_what_may_not_be_read(tmp_path: Path, place: Path, environment: dict[str, str]) -> None:
    """A backup without it would be none."""
    source = tree(tmp_path / "source", {"a": b"a", "secret": b"b"})
    (source / "secret").chmod(0)
    command = [*restricted(), sys.executable, "-m", "manyhands", "admin.backup", "source", "backups"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert "Permission denied" in done.stdout
    assert whole(place) == []
    done = subprocess.run(
        [*command, "--exclude", "secret"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert os.listdir(latest(place)) == ["a"]


def test_an_rsync_that_is_too_old(tmp_path: Path, place: Path, environment: dict[str, str], cli: Cli) -> None:
    """It is said, before anything is made."""
    tree(tmp_path / "source", {"a": b"a"})
    there = stand_in(tmp_path / "old", "", environment)
    (tmp_path / "old" / "rsync").write_text("#!/bin/sh\necho 'openrsync: protocol version 29'\n")
    done = cli("admin.backup", "source", "backups", env=there)
    assert (done.returncode, done.stdout) == (
        3,
        "UNKNOWN - rsync 3.1 or later is needed; this one is 'openrsync: protocol version 29'\n",
    )
    assert os.listdir(place) == []


def test_the_page(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    work = tree(tmp_path / "work", {"home/letter": b"x" * 2000, "home/photo": b"y" * 5000})
    (work / "backups").mkdir()
    check_page("backup", work, environment)
