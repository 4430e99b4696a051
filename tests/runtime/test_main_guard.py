"""A script without a main guard is told so once, in the last line; a pool of somebody else's is not ended without a word."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.process import current_process
from pathlib import Path

import pytest

from manyhands import UsageError
from manyhands.runtime import main_guard

WORK = {
    "run_batch": "from manyhands import run_batch\ndef f(x): return x\nfor one in run_batch(f, [1, 2]): print(one)\n",
    "map_batch": "from manyhands import map_batch\ndef f(x): return x\nprint(list(map_batch(f, [1, 2])))\n",
}


@pytest.mark.parametrize("function", WORK)
def test_a_script_without_a_guard_is_told_once(function: str, environment: dict[str, str], tmp_path: Path) -> None:
    """One traceback, of the script itself, whose last line says what to do."""
    (tmp_path / "script.py").write_text(WORK[function])
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.endswith('while a worker process imports it: put the call under if __name__ == "__main__":')
    assert "script.py" in done.stderr.partition("Traceback")[2].splitlines()[1]
    assert "multiprocessing/spawn.py" not in done.stderr


def test_in_a_worker_of_somebody_else_it_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours leaves with a status that its parent knows; by itself a call is no mistake."""
    main_guard.refuse_in_worker()
    main_guard.refuse_unguarded(1)
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match="put the call under"):
        main_guard.refuse_in_worker()
    with pytest.raises(UsageError, match="put the call under"):
        main_guard.refuse_unguarded(main_guard.UNGUARDED)
