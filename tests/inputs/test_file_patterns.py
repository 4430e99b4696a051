"""Patterns find what the shell's find, also where links lead in circles."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from manyhands.inputs.file_patterns import matching

FILES = ["a.txt", "b.log", ".hidden", "d/a.txt", "d/e/a.txt", "d/e/f/b.log", "d/.git/a.txt", ".cache/a.txt", "d/e/[x]"]
PATTERNS = [
    "*",
    "**",
    "**/",
    "**/*",
    "**/*.txt",
    "d/**",
    "d/**/*",
    "d/**/",
    "d/**/a.txt",
    "*/*",
    "*/**/*.log",
    "**/e/*",
    "**/e/**/*.log",
    "**/**/*.txt",
    "d/*/../*",
    ".*",
    "**/.*",
    ".*/**/*",
    "d/[e-f]/*",
    "d/e/[[]x]",
    "a.txt",
    "d/",
    "a.txt/",
    "nosuch",
    "nosuch/*",
    "d//*.txt",
    "./**/*.txt",
    "**.txt",
    "d/?.txt",
    "*/",
    "a.txt/*",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files at some depths, hidden ones among them."""
    for name in FILES:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "tree"


def found(pattern: str, folder: Path) -> list[str]:
    return [os.fsdecode(one) for one in matching(os.fsencode(pattern), os.fsencode(folder))]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("absolute", [False, True])
def test_it_finds_what_glob_finds(pattern: str, absolute: bool, tree: Path) -> None:
    """Where there are no links; each once."""
    whole = os.path.join(tree, pattern) if absolute else pattern
    assert found(whole, tree) == sorted(set(glob.glob(whole, root_dir=tree, recursive=True)) - {""})


def test_links_to_folders_are_found_and_not_entered_at_any_depth(tree: Path) -> None:
    """Two links in a circle, one to a folder beside, one to nowhere."""
    for name, target in (("d/self", "."), ("d/self2", "."), ("d/up", ".."), ("d/e/to", "f"), ("d/nowhere", "nosuch")):
        (tree / name).symlink_to(target)
    links = ["d/e/to", "d/nowhere", "d/self", "d/self2", "d/up"]
    assert found("d/**/*", tree) == sorted(["d/a.txt", "d/e", "d/e/[x]", "d/e/a.txt", "d/e/f", "d/e/f/b.log", *links])
    assert found("d/**/*.txt", tree) == ["d/a.txt", "d/e/a.txt"]
    assert found("**/*.log", tree) == ["b.log", "d/e/f/b.log"]
    assert found("d/**/", tree) == ["d/", "d/e/", "d/e/f/", "d/e/to/", "d/self/", "d/self2/", "d/up/"]


def test_a_link_that_the_pattern_names_is_entered(tree: Path) -> None:
    """By its name, or by a star: that far, and no further."""
    (tree / "link").symlink_to("d")
    (tree / "d" / "self").symlink_to(".")
    assert found("link/**/*.txt", tree) == ["link/a.txt", "link/e/a.txt"]
    assert found("*/a.txt", tree) == ["d/a.txt", "link/a.txt"]
    assert found("d/*/a.txt", tree) == ["d/e/a.txt", "d/self/a.txt"]


def test_names_that_are_no_text_are_found(tree: Path) -> None:
    """Byte for byte."""
    name = os.fsencode(tree) + b"/d/\xff\n.txt"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    assert b"d/\xff\n.txt" in matching(b"**/*.txt", os.fsencode(tree))
