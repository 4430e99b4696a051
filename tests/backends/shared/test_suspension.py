"""A process that was stopped knows how long; a job inside it that had time left is good."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from conftest import wait_for
from manyhands.backends.shared.suspension import Suspension

HERE = Path(__file__).parents[2]


def test_a_busy_process_is_not_suspended() -> None:
    """However long a job keeps all others from running."""
    one = Suspension(timed=True)
    began = time.monotonic()
    sum(n * n for n in range(3_000_000))
    assert one.since(began) == 0.0
    assert not one.news()
    one.close()


def test_without_time_outs_nobody_looks_on() -> None:
    """No thread is made."""
    one = Suspension(timed=False)
    assert (one.since(0.0), one.news()) == (0.0, ())
    one.close()


@pytest.mark.parametrize("backend", ["threads", "serial", "asyncio"])
def test_a_job_that_ended_within_its_own_time(backend: str, environment: dict[str, str], tmp_path: Path) -> None:
    """The coordinator is stopped for longer than the job's limit: that does not count."""
    main = tmp_path / "script.py"
    main.write_text(
        textwrap.dedent(
            f"""
        import json, functions
        from manyhands import run_batch
        work = functions.{"a_" if backend == "asyncio" else ""}slow_and_noted
        for one in run_batch(work, [(1, "ledger", 2)], backend="{backend}", jobs=1, timeout=4):
            print(json.dumps([one.status, one.wall]))
        """
        )
    )
    with subprocess.Popen(
        [sys.executable, main],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: (tmp_path / "ledger").exists(), 30)
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(6)
        process.send_signal(signal.SIGCONT)
        status, wall = json.loads(process.communicate(timeout=60)[0])
    assert status == "ok"
    assert wall < 4


@pytest.mark.parametrize(
    ("backend", "work"),
    [
        ("threads", "def work(path):\n    Path(path).touch()\n    for _ in range(20):\n        time.sleep(0.1)"),
        (
            "asyncio",
            "async def work(path):\n    Path(path).touch()\n    for _ in range(20):\n        await asyncio.sleep(0.1)",
        ),
    ],
)
def test_a_job_that_goes_on_has_the_rest_of_its_time(
    backend: str, work: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """What the time-out measures is the time that the job could run; whatever had no time left is ended all the same."""
    main = tmp_path / "script.py"
    main.write_text(
        f"import asyncio, time\nfrom pathlib import Path\nfrom manyhands import run_batch\n{work}\n    return 1\n"
        f"for one in run_batch(work, ['begun'], backend='{backend}', timeout=4):\n    print(one.status, one.wall < 5)\n"
        f"print(next(iter(run_batch(work, ['x'], backend='{backend}', timeout=0.5))).status)\n"
    )
    with subprocess.Popen(
        [sys.executable, main], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for((tmp_path / "begun").exists, 30)
        process.send_signal(signal.SIGSTOP)
        time.sleep(6)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0].split() == ["ok", "True", "timeout"]
