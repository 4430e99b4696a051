"""The catalogue: every program and way of doing things that this project promises to show has a scene, or a test of a task."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from conftest import HERE
from manyhands.tour.contents import SCENES

CATALOGUE = HERE / "tests" / "data" / "catalogue.tsv"
ROWS = [line.split("\t") for line in CATALOGUE.read_text().splitlines()]


def test_its_rows_have_numbers_of_their_own() -> None:
    """And what has a scene is in the catalogue."""
    names = [row for row, _, _ in ROWS]
    assert len(set(names)) == len(names)
    assert {row for scene in SCENES.values() for row in scene.rows} <= set(names)


@pytest.mark.parametrize(("row", "tested"), [(row, tested) for row, _, tested in ROWS])
def test_every_row_is_shown(row: str, tested: str) -> None:
    """By a scene, or by the test that is named: one that exists."""
    scenes = [scene.name for scene in SCENES.values() if row in scene.rows]
    if not tested:
        assert scenes
        return
    path, _, name = tested.partition("::")
    tree = ast.parse((HERE / Path(path)).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
