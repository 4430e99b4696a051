"""The same chore by every helper: the same result, or it is told (scenario A10)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import LIB
from manyhands.commands import compare_tools

SCRIPT = """
import json, sys; sys.path.insert(0, sys.argv[1])
from manyhands.commands.compare_tools import compare
print(json.dumps([[one.way, one.answer and [one.answer[0], one.answer[1].decode("latin1")], one.same, one.error]
                  for one in compare(sys.argv[2], rounds=1)]))
"""


def compared(line: str) -> dict[str, list[object]]:
    """In a process of its own: some of the helpers leave descriptors to the garbage collector."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(LIB), line], capture_output=True, text=True, check=True, timeout=60
    )
    return {way: rest for way, *rest in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    ("line", "status", "printed"),
    [
        ("printf 'b\\na\\n' | sort", 0, "a\nb\n"),
        ("echo ü; exit 3", 3, "ü\n".encode().decode("latin1")),
        ("kill -9 $$", 137, ""),
    ],
)
def test_all_give_the_same(line: str, status: int, printed: str) -> None:
    """A pipe, a status, a death by a signal."""
    found = compared(line)
    assert set(found) == set(compare_tools.WAYS)
    for way, (answer, same, error) in found.items():
        assert (answer, same, error) == ([status, printed], True, None), way


def test_who_changes_bytes_is_told() -> None:
    """Those who read text cannot give back what is none."""
    found = compared("printf 'a\\377b'")
    assert found["manyhands"][1] is True
    assert found["invoke"][1] is False
    assert [way for way, (_, same, _) in found.items() if same] == ["subprocess", "manyhands", "sh", "click", "pypeln"]


def test_what_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others are compared."""
    monkeypatch.setattr(compare_tools, "_is_installed", lambda _: False)
    monkeypatch.delitem(compare_tools.WAYS, "invoke")  # it leaves its pipes to the garbage collector
    found = {one.way: one for one in compare_tools.compare("true", rounds=1)}
    assert {one.extra for way, one in found.items() if way not in ("subprocess", "manyhands")} == {"compare"}
    assert found["manyhands"].same
    assert found["manyhands"].seconds is not None
