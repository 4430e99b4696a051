"""What becomes of warm jobs when the zygote, its launcher or the coordinator dies, or takes long: each has one end, and nothing is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from backends.zygote.warm_bench import Make, maker, out, zygotes
from conftest import LIB, wait_for, with_tag

pytestmark = [
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes backends for a script of this source."""
    with maker(tmp_path) as made:
        yield made


def test_a_killed_zygote_costs_no_job(make: Make) -> None:
    """What runs goes on, with its exact end; another takes its place, which the ends of these jobs do not harm."""
    bench = make("import sys, time; time.sleep(float(sys.argv[1])); sys.exit(int(sys.argv[2]))", slots=2)
    slow = bench.start("1.5", "5")
    bench.start_of(slow)
    before = zygotes()[0]
    before.kill()
    assert bench.run("0", "6").ending.exit == 6
    wait_for(lambda: [one.pid for one in zygotes()] not in ([], [before.pid]))
    assert bench.run("0", "7").ending.exit == 7
    after = zygotes()
    ending = bench.end_of(slow).ending
    assert (ending.exit, ending.error) == (5, None)
    assert ending.user + ending.system > 0
    assert zygotes() == after


def test_zygotes_that_are_killed_again_and_again_lose_nothing(make: Make) -> None:
    """Every job runs once, at last in a process of its own: what was not made before a death has not begun."""
    bench = make(
        "import os, sys; os.write(os.open('began', os.O_WRONLY | os.O_APPEND | os.O_CREAT), b'x'); print('fine')", slots=2
    )
    attempts = [bench.start(str(number)) for number in range(60)]
    for _ in range(6):
        bench.reports += bench.backend.reports(0.05)
        for one in zygotes():
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                one.kill()
    ends = [bench.end_of(attempt).ending for attempt in attempts]
    ours = sum(
        one.signal == signal.SIGKILL for one in ends
    )  # a job that was forked a moment ago still looks like its zygote
    assert ours <= 2
    assert [one.stdout.data for one in ends].count(b"fine\n") == 60 - ours
    began = (Path(bench.backend.settings.workdir) / "began").read_text()  # type: ignore[attr-defined]
    assert 60 - ours <= len(began) <= 60


@pytest.mark.slow
def test_a_stopped_zygote_is_replaced(make: Make) -> None:
    """After some seconds it is killed. The job that it was to make has not begun, and is."""
    bench = make("print('fine')")
    assert out(bench) == "fine"
    stopped = zygotes()[0]
    stopped.suspend()
    assert out(bench) == out(bench) == "fine"
    assert zygotes() != [stopped]


@pytest.mark.parametrize(
    "last",
    [
        "time.sleep(60)",
        "import atexit; atexit.register(time.sleep, 60)",
        "import threading; threading.Thread(target=time.sleep, args=(60,)).start()",
        "import weakref, json; weakref.finalize(json, time.sleep, 60)",
        "import json\nclass Last:\n    def __del__(self, sleep=time.sleep): sleep(60)\njson.kept = Last()",
        "os.fork() or os.setsid(); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)",
    ],
)
def test_a_script_that_resists_its_end_is_killed(make: Make, last: str) -> None:
    """Wherever it is, it ignores TERM, and gets KILL after the grace; the whole of it ends."""
    bench = make(f"import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w')\n{last}\n")
    attempt = bench.start("a")
    wait_for((Path(bench.backend.settings.workdir) / "up").exists)  # type: ignore[attr-defined]
    bench.backend.stop([attempt])
    assert bench.end_of(attempt).ending.signal == signal.SIGKILL
    assert with_tag(f"MH_TAG=zygote{os.getpid()}.1.1") == []


@pytest.mark.parametrize("imports", [False, True])
def test_a_killed_coordinator_leaves_nothing(imports: bool, tmp_path: Path) -> None:
    """Neither jobs nor a zygote, whether it waits or imports."""
    (tmp_path / "script.py").write_text("import os, time; open('up', 'w'); time.sleep(60)")
    (tmp_path / "importing.py").write_text("import time; open('up', 'w'); time.sleep(60)")
    command = [sys.executable, "-m", "manyhands", "batch.script", "script.py", "--python", sys.executable]
    command += ["--preload", "importing" if imports else "os"]
    environment = {**os.environ, "PYTHONPATH": str(LIB), "XDG_STATE_HOME": str(tmp_path), "MH_OF_THIS": str(tmp_path)}
    process = subprocess.Popen([*command, "--", "a"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "up").exists())
        assert len(with_tag(f"MH_OF_THIS={tmp_path}")) >= 3 - imports
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not with_tag(f"MH_OF_THIS={tmp_path}"))


def test_a_killed_launcher_takes_its_zygote_with_it(make: Make) -> None:
    """Its job is lost, and another launcher has another zygote."""
    bench = make("import sys, time; time.sleep(float(sys.argv[1])); print('fine')")
    slow = bench.start("60")
    bench.start_of(slow)
    before = zygotes()[0].pid
    os.kill(bench.backend._launchers[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert "launcher died" in (bench.end_of(slow).ending.error or "")
    assert out(bench, "0") == "fine"
    assert [one.pid for one in zygotes()] != [before]


def test_imports_that_take_long_hold_nothing_up(make: Make, tmp_path: Path) -> None:
    """A backend can be closed while they go on."""
    (tmp_path / "importing.py").write_text("import time; time.sleep(60)")
    bench = make("", preload=("importing",))
    bench.start("a")
    wait_for(lambda: zygotes())
    bench.backend.close()
    assert zygotes() == []
