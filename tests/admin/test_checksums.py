"""``admin.checksums``: beside sha256sum, which reads what we write and the other way round; after kills; what differs."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from admin.pages import check_page
from admin.trees import HOSTILE, hostile_tree, restricted, tree
from conftest import Cli, wait_for
from manyhands.core.errors import ManyhandsError
from manyhands.storage.runs import Store

PROGRAMS = {"sha256": "sha256sum", "sha512": "sha512sum", "blake2b": "b2sum"}


def by_program(folder: Path, algorithm: str, *options: str) -> bytes:
    """What a person would type."""
    files = sorted(path.relative_to(folder) for path in map(Path, map(os.fsdecode, found(folder))))
    program = [PROGRAMS[algorithm], *options, "--", *(f"./{path}" if str(path) == "-" else path for path in files)]
    return subprocess.run(program, cwd=folder, capture_output=True, check=True).stdout


def found(folder: Path) -> list[bytes]:
    return subprocess.run(["find", folder, "-type", "f", "-print0"], capture_output=True, check=True).stdout.split(b"\0")[
        :-1
    ]


@pytest.mark.parametrize("algorithm", PROGRAMS)
def test_the_lines_are_those_of_the_programs(
    algorithm: str, tmp_path: Path, environment: dict[str, str], cli: Cli
) -> None:
    """Byte for byte, on standard output and in a file, and they accept them."""
    folder = hostile_tree(tmp_path / "tree")
    expected = sorted(by_program(folder, algorithm).splitlines())
    line = f"{sys.executable} -m manyhands admin.checksums tree --algorithm {algorithm} > out"
    subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=True)
    assert sorted((tmp_path / "out").read_bytes().splitlines()) == expected
    done = cli("admin.checksums", "tree", "--algorithm", algorithm, "--write", "tree/SUMS")
    assert done.stdout.startswith(f"OK - {2 * len(HOSTILE)} files, ")
    assert sorted((folder / "SUMS").read_bytes().splitlines()) == expected
    subprocess.run([PROGRAMS[algorithm], "--quiet", "--strict", "-c", "SUMS"], cwd=folder, check=True)
    again = cli("admin.checksums", "tree", "--algorithm", algorithm, "--write", "tree/SUMS")
    assert sorted((folder / "SUMS").read_bytes().splitlines()) == expected, again


@pytest.mark.parametrize("options", [[], ["--binary"]])
def test_lines_of_the_programs_are_verified(options: list[str], tmp_path: Path, cli: Cli) -> None:
    """In text mode and in binary mode; from a file or from standard input."""
    folder = hostile_tree(tmp_path / "tree")
    (tmp_path / "SUMS").write_bytes(by_program(folder, "sha256", *options))
    done = cli("admin.checksums", "tree", "--verify", "SUMS")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OK - ")
    with open(tmp_path / "SUMS") as lines:
        assert cli("admin.checksums", "tree", "--verify", "-", stdin=lines, cold=True).returncode == 0


def test_names_as_find_prints_them(tmp_path: Path, cli: Cli) -> None:
    """With ``./`` before them, or with the whole path of the folder."""
    folder = tree(tmp_path / "tree", {"a": b"a", "sub/b": b"b"})
    for start, where in ((".", folder), (str(folder), Path("/"))):
        line = f"find {start} -type f -exec sha256sum {{}} + > {tmp_path}/SUMS"
        subprocess.run(line, shell=True, cwd=where, check=True)
        assert cli("admin.checksums", "tree", "--verify", "SUMS").returncode == 0


def test_what_differs(tmp_path: Path, cli: Cli) -> None:
    """Changed, missing and new files, each with its reason; sha256sum agrees on all that it can see."""
    folder = tree(tmp_path / "tree", {name: name.encode() for name in ("same", "changed", "gone", "linked", "sub/below")})
    assert cli("admin.checksums", "tree", "--write", "SUMS").returncode == 0
    tree(folder, {"changed": b"other", "new": b""})
    (folder / "gone").unlink()
    (folder / "linked").rename(tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "sub").rename(tmp_path / "moved")
    (folder / "sub").symlink_to(tmp_path / "moved", target_is_directory=True)
    done = cli("admin.checksums", "tree", "--verify", "SUMS")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines()[0] == "CRITICAL - 3 changed, 1 missing, 1 new; 2 files, 9 B read"
    records = [
        json.loads(line) for line in cli("admin.checksums", "tree", "--verify", "SUMS", "--json").stdout.splitlines()
    ]
    assert [(one["path"], one["state"], one["problem"], one["level"]) for one in records] == [
        ("changed", "changed", None, "CRITICAL"),
        ("gone", "missing", None, "CRITICAL"),
        ("linked", "changed", "behind a symbolic link", "CRITICAL"),
        ("new", "new", None, "CRITICAL"),
        ("sub/below", "changed", "behind a symbolic link", "CRITICAL"),
    ]
    assert records[0]["expected"] != records[0]["found"]
    said = subprocess.run(
        ["sha256sum", "--quiet", "-c", "../SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert said.stdout.splitlines() == ["changed: FAILED", "gone: FAILED open or read"]
    for name in ("linked", "sub"):
        (folder / name).unlink()
    (tmp_path / "elsewhere").rename(folder / "linked")
    (tmp_path / "moved").rename(folder / "sub")
    tree(folder, {"changed": b"changed", "gone": b"gone"})
    assert cli("admin.checksums", "tree", "--verify", "SUMS").returncode == 2
    done = cli("admin.checksums", "tree", "--verify", "SUMS", "--allow-new")
    assert (done.returncode, done.stdout) == (0, "OK - 5 files, 30 B, as in SUMS\n")


def test_permissions_of_the_checksums(tmp_path: Path, cli: Cli) -> None:
    """Those that the umask leaves; those of a file that is replaced stay."""
    tree(tmp_path / "tree", {"a": b"a"})
    cli("admin.checksums", "tree", "--write", "SUMS", umask=0o077)
    assert stat.S_IMODE((tmp_path / "SUMS").stat().st_mode) == 0o600
    cli("admin.checksums", "tree", "--write", "SUMS", umask=0o022)
    assert stat.S_IMODE((tmp_path / "SUMS").stat().st_mode) == 0o600


def test_what_must_not_be_overwritten(tmp_path: Path, cli: Cli) -> None:
    """A file that holds something else, a device; checksums that are there, by none."""
    tree(tmp_path, {"tree/a": b"a", "thesis": b"Chapter 1\n"})
    (tmp_path / "empty").mkdir()
    for args, text in (
        (["tree", "--write", "thesis"], "thesis: holds something else than checksums, so it is not replaced"),
        (["tree", "--write", "/dev/null"], "/dev/null: is no regular file, so it is not replaced"),
        (["tree", "--write", "no/where"], "no/where: No such file or directory"),
        (["empty", "--write", "new"], "empty: there are no files in it"),
    ):
        done = cli("admin.checksums", *args)
        assert (done.returncode, done.stdout, done.stderr) == (3, f"UNKNOWN - {text}\n", "")
    assert (tmp_path / "thesis").read_bytes() == b"Chapter 1\n"
    assert sorted(os.listdir(tmp_path)) == ["empty", "thesis", "tree"]


SUM = "a" * 64


@pytest.mark.parametrize(
    ("lines", "args", "text"),
    [
        ("", [], "SUMS: there are no checksums in it"),
        ("# nothing\n\n", [], "SUMS: there are no checksums in it"),
        (f"{SUM}  a\nwhatever\n", [], "SUMS, line 2: expected a checksum and a name, as sha256sum prints them"),
        (f"{SUM}  a\n{'b' * 64}  ./a\n", [], "SUMS, line 2: a second, different checksum of one file"),
        (f"{SUM}{SUM}  a\n", [], "sha256 has 64 digits, not 128; try --algorithm sha512 or blake2b"),
        (f"{SUM}  a\n", ["--algorithm", "sha512"], "sha512 has 128 digits, not 64; try --algorithm sha256"),
        (f"{SUM}  ../SUMS\n", [], "SUMS, line 1: ../SUMS is outside of "),
        (f"{SUM}  /etc/passwd\n", [], "SUMS, line 1: /etc/passwd is outside of "),
        (f"{SUM}  a\n", ["--algorithm", "md5"], "--algorithm: expected one of sha256, sha512, blake2b, got 'md5'"),
        (f"{SUM}  a\n", ["--write", "x"], "--verify has no effect with --write"),
    ],
)
def test_mistakes_in_what_is_verified(lines: str, args: list[str], text: str, tmp_path: Path, cli: Cli) -> None:
    """One line, with the place, and the status 3."""
    tree(tmp_path, {"tree/a": b"a", "SUMS": lines.encode()})
    done = cli("admin.checksums", "tree", "--verify", "SUMS", *args)
    assert done.returncode == 3
    assert text in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("\n") == 1


def test_other_mistakes(tmp_path: Path, cli: Cli) -> None:
    """No folder, no list."""
    tree(tmp_path, {"tree/a": b"a"})
    for args, text in (
        (["none"], "none: No such file or directory"),
        (["tree/a"], "tree/a: Not a directory"),
        (["tree", "--verify", "none"], "none: No such file or directory"),
        (["tree", "--verify", "tree"], "tree: Is a directory"),
    ):
        done = cli("admin.checksums", *args)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (3, "", 1)
        assert text in done.stdout


def test_what_may_not_be_read(tmp_path: Path, environment: dict[str, str]) -> None:
    """It is told, and the status says that not all is known; what can be read is verified."""
    folder = tree(tmp_path / "tree", {"a": b"a", "closed/b": b"b", "secret": b"c", "blind/d": b"d"})

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*restricted(), sys.executable, "-m", "manyhands", "admin.checksums", "tree", *args]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = run("--write", "SUMS")
    assert (done.returncode, done.stderr) == (0, "")
    modes = (("closed", 0), ("secret", 0), ("blind", 0o300))  # blind: what is in it can be read, not listed
    try:
        for name, mode in modes:
            (folder / name).chmod(mode)
        done, again = run("--verify", "SUMS"), run("--write", "NEW")
    finally:
        for name, _ in modes:
            (folder / name).chmod(0o700)
    assert (done.returncode, done.stderr) == (3, "")
    first, _, *rest = done.stdout.splitlines()
    assert first == "UNKNOWN - 4 could not be read; 2 files, 2 B read"
    assert [line.split() for line in rest] == [
        ["UNKNOWN", "unread", "Permission", "denied", name] for name in ("blind", "closed", "closed/b", "secret")
    ]
    assert again.returncode == 3
    assert again.stdout.startswith("UNKNOWN - 3 could not be read; 1 file, 1 B, written to NEW\n")


def jobs_done(own_state: Path, name: str) -> dict[int, float | None]:
    """When each finished job of a run began, by its number; nothing if it is not there yet."""
    try:
        run = Store(own_state).get(name)
        if run is None:
            return {}
        with closing(run.journal()) as journal:
            return {one.job.number: one.outcome.started for one in journal.passed() if one.outcome}
    except ManyhandsError:  # it is being made
        return {}


@pytest.mark.parametrize("what", ["write", "verify"])
def test_after_a_kill_it_goes_on(
    what: str, tmp_path: Path, own_state: Path, environment: dict[str, str], cli: Cli
) -> None:
    """With a run id, what was read is not read again; without the kill the result would be the same."""
    folder = tree(tmp_path / "tree", {f"{number}": f"{number}".encode() for number in range(300)})
    (tmp_path / "SUMS").write_bytes(by_program(folder, "sha256"))
    with open(folder / "endless", "wb") as file:
        file.truncate(1 << 36)  # no blocks, and a minute of reading
    if what == "verify":
        with open(tmp_path / "SUMS", "a") as lines:
            lines.write(f"{SUM}  endless\n")
    listing = "SUMS" if what == "verify" else "NEW"
    words = ["admin.checksums", "tree", f"--{what}", listing, "--run-id", "night", "--jobs", "2"]
    with subprocess.Popen([sys.executable, "-m", "manyhands", *words], cwd=tmp_path, env=environment) as begun:
        wait_for(lambda: len(jobs_done(own_state, "night")) > 3, 60)
        begun.send_signal(signal.SIGKILL)
    before = jobs_done(own_state, "night")
    assert not (tmp_path / "NEW").exists()
    (folder / "endless").unlink()
    tree(folder, {"endless": b"", "100": b"else"})
    expected = sorted(by_program(folder, "sha256").splitlines())
    done = cli(*words)
    if what == "write":
        assert done.returncode == 0, done
        assert sorted((tmp_path / "NEW").read_bytes().splitlines()) == expected
        after = jobs_done(own_state, "night")
        assert {number: after[number] for number in before} == before
        tree(folder, {"another": b"more"})
        assert cli(*words).stdout.startswith("OK - 302 files, ")
        # a new file changes its own group only, or makes two of it: 1 name of 32 ends a group
        assert len(jobs_done(own_state, "night")) - len(after) in (1, 2)
    else:
        assert done.stdout.splitlines()[0].startswith("CRITICAL - 2 changed; 301 files, ")
        assert not jobs_done(own_state, "night")  # the next time all is read again


def test_a_run_that_has_written_verifies_nothing(tmp_path: Path, cli: Cli) -> None:
    """It would find what it has found then."""
    tree(tmp_path / "tree", {"a": b"a"})
    cli("admin.checksums", "tree", "--write", "SUMS", "--run-id", "night")
    done = cli("admin.checksums", "tree", "--verify", "SUMS", "--run-id", "night")
    assert done.returncode == 3
    assert "night" in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_page(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    work = tmp_path / "work"
    tree(work / "archive", {"2023.tar": b"x" * 70_000, "2024.tar": b"y" * 90_000, "notes.txt": b"old"})
    check_page("checksums", work, environment)
