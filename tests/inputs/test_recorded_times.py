"""A file with recorded times: what it can say, and one line for what it cannot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from manyhands.core.errors import InputError
from manyhands.inputs.recorded_times import RecordedTimes


def test_what_it_says(tmp_path: Path) -> None:
    """The last line of an input counts, bytes are exact, jobs that did not end by themselves say nothing; the digest is the file's."""
    path = tmp_path / "times"
    path.write_text(
        '{"input": "a", "wall": 1}\n{"input": "a", "wall": 2.5, "status": "failed"}\n\n'
        '{"input": "b", "wall": 9, "status": "lost"}\n{"input": "\\ufffd", "input_base64": "/w==", "wall": 3}\n'
        '{"input": "x\\ty", "wall": 4}\n'
    )
    found = RecordedTimes.read(path)
    assert found.walls([(b"a",), (b"\xff",), (b"x", b"y")]) == [2.5, 3, 4]
    assert found.walls([(b"b",)]) == [1.0]
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        *("x", "[]", "3", "{}", '{"input": "a"}', '{"input": 3, "wall": 1}', '{"input": "a", "wall": "1"}'),
        *('{"input": "a", "wall": NaN}', '{"input": "a", "wall": -1}', '{"input": "a", "wall": true}'),
        *('{"input": "a", "wall": Infinity}', '{"input": "a", "input_base64": 3, "wall": 1}', "[" * 100_000),
    ],
)
def test_what_it_cannot_say(line: str, tmp_path: Path) -> None:
    """Names the line."""
    path = tmp_path / "times"
    path.write_text('{"input": "a", "wall": 1}\n' + line + "\n")
    with pytest.raises(InputError, match="line 2") as caught:
        RecordedTimes.read(path)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    """Is said with its name."""
    with pytest.raises(InputError, match="none: No such file"):
        RecordedTimes.read(tmp_path / "none")
