"""The parts of a path that placeholders stand for."""

from __future__ import annotations

import pytest

from manyhands.work.path_parts import basename, dirname, without_extension


@pytest.mark.parametrize(
    ("path", "stem", "name", "folder"),
    [
        (b"a/b.c", b"a/b", b"b.c", b"a"),
        (b"b", b"b", b"b", b"."),
        (b".bashrc", b".bashrc", b".bashrc", b"."),
        (b"a.d/b", b"a.d/b", b"b", b"a.d"),
        (b"/b.c", b"/b", b"b.c", b"/"),
        (b"a/.x.y", b"a/.x", b".x.y", b"a"),
        (b"", b"", b"", b"."),
    ],
)
def test_parts_of_paths(path: bytes, stem: bytes, name: bytes, folder: bytes) -> None:
    """Extensions, names and folders are taken off as GNU parallel does it."""
    assert (without_extension(path), basename(path), dirname(path)) == (stem, name, folder)
