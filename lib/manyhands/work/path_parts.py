"""The parts of a path that placeholders stand for, as GNU parallel takes them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


def without_extension(path: bytes) -> bytes:
    """``{.}``: without the extension of the last component; a leading dot does not begin an extension."""
    head, slash, name = path.rpartition(b"/")
    stem, dot, _ = name.rpartition(b".")
    return head + slash + stem if dot and stem.strip(b".") else path


def basename(path: bytes) -> bytes:
    """``{/}``: what follows the last slash."""
    return path.rpartition(b"/")[2]


def dirname(path: bytes) -> bytes:
    """``{//}``: what comes before the last slash, as dirname(1): ``.`` if there is none."""
    stripped = path.rstrip(b"/")
    if not stripped:
        return b"/" if path else b"."
    head, slash, _ = stripped.rpartition(b"/")
    return head.rstrip(b"/") or slash or b"."


OPERATIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    ".": without_extension,
    "/": basename,
    "//": dirname,
    "/.": lambda path: without_extension(basename(path)),
}
"""By what stands between the braces, or after the name in them."""
