"""Which way of showing a run fits the place, and that nothing heavy is loaded for the others."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from manyhands.render import choose


class Terminal(io.BytesIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def chosen(
    *, json: bool = False, quiet: bool = False, terminal: bool = True, stdout: bool = False, term: str = "xterm"
) -> str:
    environ = {"TERM": term} if term else {}
    err = io.TextIOWrapper(Terminal() if terminal else io.BytesIO())
    out = Terminal() if stdout else io.BytesIO()
    renderer = choose(json=json, quiet=quiet, tag=False, stdout=out, stderr=err, environ=environ)
    renderer.close()
    return type(renderer).__name__


def test_a_terminal_on_stderr_shows_the_live_display() -> None:
    """Wherever stdout goes: into a pipe, or to the same terminal."""
    assert chosen() == chosen(stdout=True) == "Live"


@pytest.mark.parametrize("term", ["dumb", "DUMB", "unknown", ""])
def test_a_terminal_that_cannot_move_its_cursor_is_left_in_peace(term: str) -> None:
    """Editors' and CI systems' terminals."""
    assert chosen(term=term) == "Plain"


def test_pipes_and_quiet_are_plain() -> None:
    """Also when stdout alone is a terminal."""
    assert chosen(terminal=False) == chosen(terminal=False, stdout=True) == chosen(quiet=True) == "Plain"


def test_json_is_json_everywhere() -> None:
    """Also on a terminal, and quiet or not."""
    assert chosen(json=True) == chosen(json=True, quiet=True) == chosen(json=True, terminal=False) == "JsonLines"


def test_rich_is_loaded_only_for_the_live_display(environment: dict[str, str]) -> None:
    """It takes longer to load than a small batch takes to run."""
    code = (
        "import sys, manyhands.render, manyhands.render.plain, manyhands.render.event_lines, manyhands.render.summary;"
        "print([name for name in sys.modules if name.split('.')[0] == 'rich'])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], env=environment) == b"[]\n"
