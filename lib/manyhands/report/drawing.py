"""What is drawn of anything but a run: a title, some facts, figures with their words, and tables that have the same as numbers.

What measured (a comparison, a watch, a scene) makes a `Drawing`; `manyhands.report.drawn_forms` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from manyhands.core.lean import NamedTuple
from manyhands.report.charts import Size


class Figure(NamedTuple):
    """``told``: what there is to see, in words. ``draw`` makes altair's chart in a size; ``half``: it has room beside another one."""

    name: str
    title: str
    told: str
    draw: Callable[[Size], Any]
    half: bool = True


class Table(NamedTuple):
    """``numbers``: the columns that are aligned as numbers; ``left_out``: how many rows more there were."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int]
    left_out: int = 0


class Drawing(NamedTuple):
    """All texts may come from anywhere; they are made harmless where they are written. ``told``: the result in a sentence."""

    title: str
    told: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[Figure]
    tables: Sequence[Table]
