"""The shortest names by which runs can be told from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LEAST: Final = 4
"""Characters of a short id."""


def short_ids(ids: Sequence[str], least: int = LEAST) -> dict[str, str]:
    """For each id its shortest unique beginning, of at least ``least`` characters."""
    ordered = sorted(ids)
    found = {}
    for index, name in enumerate(ordered):
        near = ordered[max(0, index - 1) : index] + ordered[index + 1 : index + 2]
        shared = max((_shared(name, other) for other in near), default=0)
        found[name] = name[: max(least, shared + 1)] if len(name) <= 8 else name
    return found


def _shared(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
