"""The home folder: what is none is not taken for one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from manyhands.posix.home import expanded, home_folder
from manyhands.storage.runs import default_state_dir

OWN = pwd.getpwuid(os.getuid()).pw_dir


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"HOME": "here"}, {"HOME": "./x"}])
def test_an_empty_or_relative_home_is_as_good_as_none(env: dict[str, str]) -> None:
    """The user database knows it; the root folder and the current one are nobody's home by accident."""
    assert home_folder(env) == OWN
    assert default_state_dir(env) == Path(OWN, ".local/state/manyhands")


@pytest.mark.parametrize("base", ["", "state", "./state"])
def test_so_is_such_a_folder_of_states(base: str) -> None:
    """XDG Base Directory Specification: a relative path is invalid and to be ignored."""
    assert default_state_dir({"HOME": "/h", "XDG_STATE_HOME": base}) == Path("/h/.local/state/manyhands")
    assert default_state_dir({"HOME": "", "XDG_STATE_HOME": "/s"}) == Path("/s/manyhands")


@pytest.mark.parametrize(
    ("home", "path", "wanted"),
    [
        ("/h", "~/in/*.csv", "/h/in/*.csv"),
        ("/h/", "~", "/h"),
        ("/", "~/a", "/a"),
        ("", "~/a", f"{OWN}/a"),
        ("x", "~", OWN),
        ("/h", "a/~", "a/~"),
        ("/h", "", ""),
        ("/h", "-", "-"),
        ("/h", "~nobody-of-that-name/a", "~nobody-of-that-name/a"),
    ],
)
def test_paths_below_it(home: str, path: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only at the beginning, and by the same rule."""
    monkeypatch.setenv("HOME", home)
    assert expanded(path) == wanted


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ~ stays, as in a shell."""
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    monkeypatch.setenv("HOME", "")
    assert home_folder({}) is None
    assert expanded("~/a") == "~/a"
