"""Paths that match a pattern: as `glob.glob` finds them, but ``**`` does not follow links to folders.

If ``**`` followed links, two links to their own folder would give more paths than can ever be visited, and one would give each file
forty times. bash (globstar, since 4.3) does not follow them either.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator
from typing import Final

_ANY_DEPTH: Final = b"**"


def matching(pattern: bytes, folder: bytes) -> list[bytes]:
    """The paths below ``folder`` that match, sorted, each once. Hidden names are matched only by a pattern with a dot. A link to a
    folder is found, and entered if the pattern names it or ``*`` matches it, but not by ``**``.

    A pattern that matches nothing, but is itself the name of a file, gives that file, as in a shell.
    """
    found = sorted(path for path in set(_found(pattern, folder, to_enter=False)) if path)
    return found or list(_present([pattern], folder))


def _found(pattern: bytes, folder: bytes, *, to_enter: bool) -> Iterator[bytes]:
    """The paths that match; ``to_enter``: only folders, in which the rest of a longer pattern is looked for."""
    head, name = os.path.split(pattern)
    if not glob.has_magic(pattern):
        yield from _present([pattern], folder)
        return
    if head and head != pattern and glob.has_magic(head):
        bases: Iterable[bytes] = _found(head, folder, to_enter=bool(name))
    else:
        bases = [head]
    for base in bases:
        if name == _ANY_DEPTH:
            yield from _below(base, folder, to_enter=to_enter)
        elif glob.has_magic(name):
            yield from _named(base, name, folder, to_enter=to_enter)
        else:
            yield from _present([os.path.join(base, name)], folder)


def _present(paths: Iterable[bytes], folder: bytes) -> Iterator[bytes]:
    """Those that exist; a path with a slash at its end must be a folder."""
    for path in paths:
        full = os.path.join(folder, path)
        if os.path.isdir(full) if path.endswith(b"/") else os.path.lexists(full):
            yield path


def _named(base: bytes, pattern: bytes, folder: bytes, *, to_enter: bool) -> Iterator[bytes]:
    """The entries of ``base`` whose names match."""
    for entry in _entries(base, folder):
        if (pattern.startswith(b".") or not entry.name.startswith(b".")) and fnmatch.fnmatch(entry.name, pattern):
            if to_enter and not _is_folder(entry, follow=True):
                continue
            yield os.path.join(base, entry.name)


def _below(base: bytes, folder: bytes, *, to_enter: bool) -> Iterator[bytes]:
    """``base`` and everything in it at any depth, except hidden entries and what is in them."""
    if os.path.isdir(os.path.join(folder, base)):
        yield os.path.join(base, b"")
    todo = [base]
    while todo:
        here = todo.pop()
        for entry in _entries(here, folder):
            if entry.name.startswith(b"."):
                continue
            path, enter = os.path.join(here, entry.name), _is_folder(entry, follow=False)
            if enter:
                todo.append(path)
            if enter or not to_enter:
                yield path


def _entries(base: bytes, folder: bytes) -> list[os.DirEntry[bytes]]:
    """The entries of ``base``; none if it is not a folder, or may not be read."""
    try:
        with os.scandir(os.path.join(folder, base)) as found:
            return list(found)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[bytes], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False
