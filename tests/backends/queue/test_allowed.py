"""What a consumer does: nothing that it was not started for, however it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyhands.backends.queue.allowed import Allowed
from manyhands.backends.queue.brokers import check_kind
from manyhands.backends.queue.run_settings import RunSettings, described
from manyhands.backends.registry import check_backend
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.errors import UsageError
from manyhands.work.function import Call


def function(text: str, **more: object) -> RunSettings:
    given = {"slots": 1, "outputs": Path("/o"), "token": "t", "environment": {}, "workdir": Path(".")} | more
    return RunSettings.parse(described(FunctionSettings(**given, call=Call(text=text, folder="/"))))  # type: ignore[arg-type]


COMMAND = RunSettings.parse(
    described(CommandSettings(slots=1, outputs=Path("/o"), token="t", environment={}, workdir=Path(".")))
)


@pytest.mark.parametrize(
    ("patterns", "text", "taken"),
    [
        (["functions:*"], "functions:double", True),
        (["func*:d*"], "functions:double", True),
        (["functions:double"], "functions:double", True),
        (["functions:*"], "functions:time.sleep", False),
        (["functions:*"], "functions:wait_for", False),
        (["*:*"], "os:system", False),
        (["*:*.*"], "functions:os.system", False),
        (["os:system"], "os:system", True),
        (["shutil:*"], "shutil:_samefile", False),
        (["shutil:*"], "shutil:rmtree", True),
        (["functions:*"], "function:double", False),
        ([], "functions:double", False),
        (["functions:*"], "functions:no_such", False),
        (["no_such_module:*"], "no_such_module:f", False),
    ],
)
def test_functions(patterns: list[str], text: str, taken: bool) -> None:
    """By the patterns of their names; what a module has only imported is not its own."""
    assert (Allowed(tuple(patterns), commands=False).why_not(function(text)) is None) == taken


def test_commands() -> None:
    """Only if they are allowed."""
    assert "allows no commands" in (Allowed(("*:*",), commands=False).why_not(COMMAND) or "")
    assert Allowed((), commands=True).why_not(COMMAND) is None


@pytest.mark.parametrize("more", [{"environment": {b"LD_PRELOAD": b"x"}}, {"workdir": Path("/tmp")}])
def test_variables_and_folders_are_for_those_who_may_run_anything(more: dict[str, object]) -> None:
    """Both can change what is imported."""
    allowed = Allowed(("functions:*",), commands=False)
    assert "sets no variables" in (allowed.why_not(function("functions:double", **more)) or "")
    assert Allowed(("functions:*",), commands=True).why_not(function("functions:double", **more)) is None


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch, options_typed: None) -> None:
    """One line says how to install it, for a batch and for a consumer."""
    monkeypatch.setattr("manyhands.backends.registry.find_spec", lambda name: None)
    monkeypatch.setattr("manyhands.backends.queue.brokers.find_spec", lambda name: None)
    said = r"--backend redis needs redis, which is not installed: .*install.*redis"
    with pytest.raises(UsageError, match=said):
        check_backend("redis")
    with pytest.raises(UsageError, match=said):
        check_kind("redis")
