"""``admin.duplicates``: beside fdupes, sha256sum and a comparison of all with all; hard links, empty files, what changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.pages import check_page
from admin.trees import hostile_tree, restricted, tree
from conftest import Cli
from manyhands.admin.duplicates import BEGINNING, Search
from manyhands.admin.files import File, Tree
from manyhands.admin.hashing import Sum, hash_files

Groups = set[frozenset[bytes]]


def here(files: Sequence[File], limit: int | None) -> Iterator[Sum]:
    """The checksums of the jobs, without the worker processes."""
    return map(Sum._make, hash_files("sha256", limit, tuple((one.path, one.size, 0, 0) for one in files)))


def groups_of(folder: Path, least: int = 1) -> Groups:
    found = Search(here).among(one for one in Tree(str(folder)) if one.size >= least)
    return {frozenset(map(os.fsencode, one.paths)) for one in found}


def brute_force(folder: Path) -> Groups:
    """All files compared with all, byte for byte; of several names of a file the first one counts."""
    contents: dict[bytes, bytes] = {}
    seen = set()
    for one in Tree(str(folder)):
        if one.identity not in seen and one.size:
            seen.add(one.identity)
            contents[one.path] = Path(os.fsdecode(one.path)).read_bytes()
    alike: dict[bytes, set[bytes]] = defaultdict(set)
    for first, second in combinations(contents, 2):
        if contents[first] == contents[second]:
            alike[contents[first]] |= {first, second}
    return {frozenset(group) for group in alike.values()}


BASES = st.sampled_from([0, 1, 2, BEGINNING - 1, BEGINNING, BEGINNING + 1, 3 * BEGINNING])
CONTENTS = st.tuples(BASES, st.sampled_from([b"", b"a", b"b"]), st.booleans()).map(
    lambda made: made[1] + b"x" * made[0] if made[2] else b"x" * made[0] + made[1]
)
"""Many alike, of the same size, with the same beginning, or with the same end."""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "sub/", "sub/deep/"]), CONTENTS), max_size=12), st.data())
def test_as_a_comparison_of_all_with_all(made: list[tuple[str, bytes]], data: st.DataObject) -> None:
    """Whatever sizes and contents there are, with some hard links among them."""
    with tempfile.TemporaryDirectory() as name:
        folder = tree(Path(name), {f"{where}{number}": content for number, (where, content) in enumerate(made)})
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        for number, target in enumerate(data.draw(st.lists(st.sampled_from(paths), max_size=3)) if paths else []):
            os.link(target, folder / f"link{number}")
        assert groups_of(folder) == brute_force(folder)


def test_as_the_programs_that_one_would_type(tmp_path: Path, cli: Cli) -> None:
    """sha256sum, sort and uniq; and fdupes, which compares byte by byte and knows hard links."""
    folder = tree(
        tmp_path / "tree",
        {
            "a": b"x" * 100_000,
            "b": b"x" * 100_000,
            "sub/c": b"x" * 100_000,
            "other": b"x" * 99_999 + b"y",
            "small": b"1",
            "sub/small": b"1",
            "single": b"2",
            "empty": b"",
            "empty too": b"",
        },
    )
    os.link(folder / "single", folder / "its other name")
    lines = cli("admin.duplicates", "tree", "--json").stdout.splitlines()
    found = {frozenset(json.loads(line)["paths"]) for line in lines}
    assert found == {frozenset(["tree/a", "tree/b", "tree/sub/c"]), frozenset(["tree/small", "tree/sub/small"])}
    typed = "find tree -type f -size +0 -links 1 -print0 | xargs -0 sha256sum | sort | uniq -w64 -D"
    said = subprocess.run(typed, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    by_sum = defaultdict(set)
    for line in said.splitlines():
        by_sum[line[:64]].add(line[66:])
    assert found == set(map(frozenset, by_sum.values()))
    said = subprocess.run(["fdupes", "-r", "-n", "tree"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert found == {frozenset(group.splitlines()) for group in said.strip().split("\n\n")}


def test_what_could_be_saved(tmp_path: Path, cli: Cli) -> None:
    """What the copies take on the disk, as du counts it; more than --warn is a warning."""
    folder = tree(tmp_path / "tree", dict.fromkeys("abc", b"x" * 300000))
    (record,) = map(json.loads, cli("admin.duplicates", "tree", "--json").stdout.splitlines())
    taken = subprocess.run(["du", "-k", "b", "c"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert record["savable_bytes"] == 1024 * sum(int(line.split()[0]) for line in taken.splitlines())
    assert (record["bytes"], record["level"], record["schema"]) == (300_000, "OK", "manyhands.duplicates/1")
    assert (
        record["sha256"]
        == subprocess.run(["sha256sum", folder / "a"], capture_output=True, check=True).stdout[:64].decode()
    )
    done = cli("admin.duplicates", "tree", "--warn", "1M")
    assert (done.returncode, done.stdout.splitlines()[0][:5]) == (0, "OK - ")
    done = cli("admin.duplicates", "tree", "--warn", "100k")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("WARNING - 2 copies, ")
    assert [line.split()[-1] for line in done.stdout.splitlines()[2:]] == ["tree/a", "tree/b", "tree/c"]


def test_several_folders_and_odd_names(tmp_path: Path, cli: Cli) -> None:
    """Compared with one another; a folder within another counts once; no name is interpreted, no link followed."""
    one, two = hostile_tree(tmp_path / "one"), hostile_tree(tmp_path / "two")
    names = {path.relative_to(two) for path in two.rglob("*") if path.is_file() and not path.is_symlink()}
    done = cli("admin.duplicates", "one", "two", "two", str(two), "one/folder plain")
    assert done.returncode == 0
    assert done.stdout.startswith(f"OK - {len(names)} copies, ")
    assert "\x1b" not in done.stdout
    assert groups_of(tmp_path) == brute_force(tmp_path)
    assert len(groups_of(one)) == 0


def test_the_smallest_that_count(tmp_path: Path) -> None:
    """Empty files are left out unless they are asked for."""
    folder = tree(tmp_path / "tree", {"a": b"", "b": b"", "c": b"12", "d": b"12"})
    assert [len(groups_of(folder, least)) for least in (0, 1, 2, 3)] == [2, 1, 1, 0]


def test_what_changes_meanwhile_is_no_duplicate(tmp_path: Path) -> None:
    """A small file that has grown since it was found is compared as a whole; one that is gone is counted."""
    folder = tree(tmp_path, {"a": b"x" * 10, "b": b"x" * 10, "c": b"x" * 10, "d": b"x" * 10})

    def later(files: Sequence[File], limit: int | None) -> Iterable[Sum]:
        tree(folder, {"a": b"x" * BEGINNING + b"1", "b": b"x" * BEGINNING + b"2"})
        (folder / "c").unlink(missing_ok=True)
        return here(files, limit)

    search = Search(later)
    assert search.among(Tree(str(folder))) == []
    assert search.unread == 1


def test_what_may_not_be_read(tmp_path: Path, environment: dict[str, str]) -> None:
    """It is counted, in the verdict, or beside the JSON."""
    folder = tree(tmp_path / "tree", {"a": b"1", "b": b"1", "secret": b"1", "closed/c": b"1"})
    command = [*restricted(), sys.executable, "-m", "manyhands", "admin.duplicates", "tree"]
    (folder / "secret").chmod(0)
    (folder / "closed").chmod(0)
    try:
        plain, as_json = (
            subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            for more in ([], ["--json"])
        )
    finally:
        (folder / "closed").chmod(0o700)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout.splitlines()[0].endswith("; 3 files looked at; 2 could not be read")
    assert (as_json.returncode, as_json.stderr) == (0, "manyhands: 2 could not be read\n")
    assert json.loads(as_json.stdout)["paths"] == ["tree/a", "tree/b"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no folder is given"),
        (["none"], "none: No such file or directory"),
        (["empty"], "empty: there are no files in it"),
        (["empty", "empty/sub"], "empty, empty/sub: there are no files in them"),
        (["empty", "--min-size", "much"], "--min-size 'much': expected a size in bytes"),
        (["empty", "--warn", "more"], "--warn 'more': expected a size in bytes"),
    ],
)
def test_mistakes(args: list[str], text: str, tmp_path: Path, cli: Cli) -> None:
    """One line, and the status 3."""
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    done = cli("admin.duplicates", *args)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (3, "", 1)
    assert text in done.stdout


def test_the_page(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    work = tree(
        tmp_path / "work", {"photos/a.jpg": b"1" * 4096, "photos/copy of a.jpg": b"1" * 4096, "old/a.jpg": b"1" * 4096}
    )
    tree(work, {"photos/b.jpg": b"2" * 4096, "old/b.jpg": b"2" * 4096, "photos/c.jpg": b"3" * 4096})
    check_page("duplicates", work, environment)
