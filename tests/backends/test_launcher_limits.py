"""Launchers at the limits of the machine and at any width: nothing hangs, nothing outlives its batch, nothing is lost.

Judged by a ledger that the jobs write, and by /proc, at a width that a busy machine bears.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.launchers.test_launcher import settings, tag
from backends.test_command_backends import Bench
from conftest import LIB, signal_all, wait_for, with_tag
from manyhands.backends.commands import Commands
from manyhands.backends.launchers import launcher_process
from manyhands.backends.protocol import Ended, Noted
from manyhands.backends.shared import orphan_results, shortage
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt
from manyhands.posix import linux

pytestmark = [
    pytest.mark.sampled,
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]
STUBBORN = "trap '' TERM; sleep 60 & sleep 60; sleep 60"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where jobs write a line each."""
    return tmp_path / "ledger"


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Bench]:
    """A backend with 120 slots."""
    (tmp_path / "out").mkdir()
    one = Bench(Commands(settings(tmp_path / "out", slots=120, grace=0.5)))
    yield one
    one.backend.close()


def alive(token: str = f"launch{os.getpid()}") -> int:
    return sum(
        linux.has_tag(one.pid, f"MH_TAG={token}.".encode(), prefix=True) and one.state != "Z" for one in linux.processes()
    )


def noted(bench: Bench) -> list[str]:
    return [one.text for one in bench.reports if isinstance(one, Noted)]


# -- many at once --------------------------------------------------------------------------------------------------------


def test_many_stubborn_jobs_end_with_the_grace(wide: Bench) -> None:
    """120 jobs that ignore TERM, each stopped by itself: all are killed when their grace is over, with all that they started."""
    attempts = [wide.sh(STUBBORN) for _ in range(120)]
    for attempt in attempts:
        wide.start_of(attempt)
    wait_for(lambda: alive() >= 3 * 120, 60)
    asked = time.monotonic()
    for attempt in attempts:
        wide.backend.stop([attempt])
    wide.until(lambda: sum(isinstance(one, Ended) for one in wide.reports) == 120, 30)
    ends = [wide.end_of(attempt) for attempt in attempts]
    assert {end.ending.signal for end in ends} == {signal.SIGKILL}
    assert all(end.at - asked >= 0.45 for end in ends)
    assert alive() == 0


def test_a_kill_reaches_many_stubborn_jobs_at_once(tmp_path: Path) -> None:
    """While all of them use a long grace, a second stop kills: the launchers still listen."""
    bench = Bench(Commands(settings(tmp_path, slots=100, grace=600.0)))
    attempts = [bench.sh(STUBBORN) for _ in range(100)]
    for attempt in attempts:
        bench.start_of(attempt)
    wait_for(lambda: alive() >= 3 * 100, 60)
    bench.backend.stop(attempts)
    bench.backend.stop(attempts, kill=True)
    bench.until(lambda: sum(isinstance(one, Ended) for one in bench.reports) == 100, 30)
    assert alive() == 0
    bench.backend.close()


def test_verbs_that_find_no_room_do_not_hold_up_the_coordinator(wide: Bench) -> None:
    """A launcher that does not read (stopped here) makes nobody wait in a send: 3,000 verbs, more than its socket holds."""
    attempt = wide.sh("sleep 60")
    wide.start_of(attempt)
    assert isinstance(wide.backend, Commands)
    launchers = list(wide.backend._launchers.values())
    for launcher in launchers:
        os.kill(launcher.pid, signal.SIGSTOP)
    began = time.monotonic()
    for number in range(3_000):
        wide.backend.pause(number % 2 == 0)
    wide.backend.stop([attempt])
    assert time.monotonic() - began < 10
    for launcher in launchers:
        os.kill(launcher.pid, signal.SIGCONT)
    assert wide.end_of(attempt).ending.signal == signal.SIGTERM


def test_what_a_stop_ended_is_not_left_behind(tmp_path: Path) -> None:
    """Only what outlives an attempt that ended by itself counts as left behind."""
    bench = Bench(Commands(settings(tmp_path)))
    stopped = bench.sh("sleep 60 & sleep 60")
    bench.start_of(stopped)
    wait_for(lambda: len(with_tag(tag("1.1"))) == 3)
    bench.backend.stop([stopped])
    assert bench.end_of(stopped).ending.leftovers == 0
    assert bench.end_of(bench.sh("sleep 60 & setsid sleep 60 & sleep 0.3")).ending.leftovers == 2
    bench.backend.close()


def test_a_time_out_does_not_touch_the_daemon_of_another_job(tmp_path: Path) -> None:
    """With allow_daemons, what one job has left lives on when another is stopped, whatever its environment says."""
    bench = Bench(Commands(settings(tmp_path, slots=1, launchers=1, allow_daemons=True)))
    pids = tmp_path / "pids"
    script = f"env -i setsid sh -c 'echo $$ >> {pids}; exec sleep 60' & setsid sh -c 'echo $$ >> {pids}; exec sleep 60' & sleep 0.3"
    assert bench.end_of(bench.sh(script)).ending.exit == 0
    slow = bench.sh("setsid sleep 61 & sleep 61")
    bench.start_of(slow)
    wait_for(lambda: len(with_tag(tag("2.1"))) == 3)
    bench.backend.stop([slow])
    assert bench.end_of(slow).ending.signal == signal.SIGTERM
    assert with_tag(tag("2.1")) == []
    daemons = [int(line) for line in pids.read_text().split()]
    assert [stat.state for pid in daemons if (stat := linux.read_stat(pid))] == ["S", "S"]
    bench.backend.close()
    for pid in daemons:
        os.kill(pid, signal.SIGKILL)


def test_orphans_of_a_long_job_are_reaped_as_they_come(tmp_path: Path) -> None:
    """A job that leaves one short process after the other does not fill the table of processes with zombies."""
    bench = Bench(Commands(settings(tmp_path, slots=1, launchers=1)))
    attempt = bench.sh(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (true & true & true & true &); done; echo made > made; sleep 60"
    )
    bench.start_of(attempt)
    wait_for(lambda: (tmp_path / "made").exists())
    assert isinstance(bench.backend, Commands)
    launcher = next(iter(bench.backend._launchers.values())).pid
    wait_for(lambda: not [one for one in linux.descendants([launcher]) if one.state == "Z"])
    bench.backend.stop([attempt])
    bench.end_of(attempt)
    bench.backend.close()


# -- the coordinator is killed -------------------------------------------------------------------------------------------

KILLED = """
import os, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from backends.launchers.test_launcher import settings
from backends.test_command_backends import Bench
from manyhands.backends.commands import Commands
import dataclasses
slots, script = int(sys.argv[5]), sys.argv[6]
bench = Bench(Commands(dataclasses.replace(settings(Path(sys.argv[3])), token=sys.argv[4], slots=slots)))
for _ in range(slots):
    bench.sh(script)
print("up", flush=True)
"""


def coordinator(folder: Path, token: str, slots: int, script: str, then: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        KILLED + then,
        str(LIB),
        str(Path(__file__).parents[1]),
        str(folder),
        token,
        str(slots),
        script,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def bury(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_results_that_nobody_reads_are_written_down(tmp_path: Path, ledger: Path) -> None:
    """The coordinator hangs while 400 jobs end, more than any socket holds, and is killed: each end is kept, nothing is alive."""
    token = f"unread{os.getpid()}"
    # what is stopped reads nothing; the jobs wait until it is
    script = f"while [ ! -e go ]; do sleep 0.3; done; echo $MH_JOB >> {ledger}; printf %04000d 0; [ $MH_JOB -le 380 ] || sleep 600"
    then = "while len(bench.reports) < slots: bench.reports += bench.backend.reports(None)\n"
    process = coordinator(tmp_path, token, 400, script, then + "print('all', flush=True)\nbench.backend.reports(None)\n")
    assert process.stdout is not None
    assert process.stdout.readline() == b"all\n"
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    wait_for(lambda: ledger.exists() and len(ledger.read_text().split()) == 400, 60)
    wait_for(lambda: alive(token) <= 2 * 20, 60)
    bury(process)
    wait_for(lambda: alive(token) == 0)
    wait_for(lambda: len(list(tmp_path.glob(".late-*"))) == 2)
    wait_for(lambda: {end.job for end in orphan_results.read(tmp_path)} == set(range(1, 381)))
    assert {end.measured.exit for end in orphan_results.read(tmp_path)} == {0}


def test_a_killed_coordinator_leaves_no_stubborn_job(tmp_path: Path) -> None:
    """kill -9 while 100 stubborn jobs are in their grace: all are dead soon after."""
    token = f"storm{os.getpid()}"
    then = "while len(bench.reports) < slots: bench.reports += bench.backend.reports(None)\n"
    then += "bench.backend.stop([one.attempt for one in bench.reports])\nprint('stopped', flush=True)\nbench.backend.reports(None)\n"
    process = coordinator(tmp_path, token, 100, STUBBORN, then)
    assert process.stdout is not None
    assert process.stdout.readline() == b"stopped\n"
    bury(process)
    wait_for(lambda: alive(token) == 0)


def test_a_launcher_that_fails_ends_its_jobs(tmp_path: Path) -> None:
    """Whatever a launcher stumbles over, here a message that makes no sense: its jobs are dead and lost, another goes on."""
    bench = Bench(Commands(settings(tmp_path, slots=1, launchers=1)))
    attempt = bench.sh("trap '' TERM; env -i setsid sleep 60 & sleep 60")
    bench.start_of(attempt)
    assert isinstance(bench.backend, Commands)
    launcher = next(iter(bench.backend._launchers.values()))
    wait_for(lambda: len(linux.descendants([launcher.pid])) == 3)
    below = linux.descendants([launcher.pid])
    launcher.control.send(b"no sense")
    end = bench.end_of(attempt)
    assert (end.ending.exit, end.ending.signal, "launcher" in (end.ending.error or "")) == (None, None, True)
    assert not [one for one in below if linux.process_alive(one.pid, one.start)]
    assert any("has failed" in text for text in noted(bench))
    assert bench.run("echo", "on").ending.stdout.data == b"on\n"
    bench.backend.close()


# -- stopped, silent -----------------------------------------------------------------------------------------------------


def test_a_launcher_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    """A job stops its launcher: that job is lost, with the reason, nothing of it lives, and the others are done."""
    bench = Bench(Commands(settings(tmp_path, slots=1, launchers=1)))
    attempt = bench.sh("kill -STOP $PPID; sleep 60")
    others = [bench.sh("echo fine") for _ in range(5)]
    bench.until(lambda: any(isinstance(one, Ended) for one in bench.reports), 60)
    end = bench.end_of(attempt)
    assert (end.ending.exit, end.ending.signal) == (None, None)
    assert "stopped" in (end.ending.error or "")
    assert all(bench.end_of(one).ending.stdout.data == b"fine\n" for one in others)
    assert with_tag(tag("1.1")) == []
    bench.backend.close()


def test_closing_does_not_wait_for_a_stopped_launcher(bench_of_two: Bench) -> None:
    """Nor does anything of its jobs outlive that."""
    attempt = bench_of_two.sh("sleep 60 & sleep 60")
    bench_of_two.start_of(attempt)
    assert isinstance(bench_of_two.backend, Commands)
    for launcher in bench_of_two.backend._launchers.values():
        os.kill(launcher.pid, signal.SIGSTOP)
    bench_of_two.backend.close()
    assert alive() == 0


def most_at_once(bench: Bench, attempts: list[Attempt]) -> int:
    """How many of them ran at the same moment."""
    spans = [(bench.start_of(one).at, bench.end_of(one).at) for one in attempts]
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)


def test_launchers_keep_to_a_width(tmp_path: Path) -> None:
    """However much lies ready, also when a launcher was replaced; and use all their slots again when they may."""
    bench = Bench(Commands(settings(tmp_path, slots=8, launchers=2)))
    assert isinstance(bench.backend, Commands)
    bench.backend.limit(3)
    assert most_at_once(bench, [bench.sh("sleep 0.05") for _ in range(30)]) == 3
    for launcher in [*bench.backend._launchers.values()]:
        os.kill(launcher.pid, signal.SIGKILL)
    lost = bench.sh("sleep 0.05")
    bench.end_of(lost)
    assert most_at_once(bench, [bench.sh("sleep 0.05") for _ in range(30)]) == 3
    bench.backend.limit(8)
    bench.end_of(bench.sh("true"))
    assert most_at_once(bench, [bench.sh("sleep 0.3") for _ in range(24)]) > 3
    bench.backend.close()


def test_a_width_may_change_at_any_moment(tmp_path: Path) -> None:
    """Also between the look at the free slots and the job that is taken for one: no launcher dies, and all is done."""
    bench = Bench(Commands(settings(tmp_path, slots=8, launchers=2)))
    assert isinstance(bench.backend, Commands)
    attempts = [bench.start("true") for _ in range(600)]
    while sum(isinstance(one, Ended) for one in bench.reports) < len(attempts):
        bench.reports += bench.backend.reports(0.1)
        bench.backend.limit(1 + len(bench.reports) % 8)
    assert {(one.ending.exit, one.ending.error) for one in bench.reports if isinstance(one, Ended)} == {(0, None)}
    assert noted(bench) == []
    bench.backend.close()


@pytest.fixture
def bench_of_two(tmp_path: Path) -> Bench:
    """A backend with two launchers of one slot each, which the test closes."""
    return Bench(Commands(settings(tmp_path)))


def test_no_launcher_is_killed_because_all_were_suspended(tmp_path: Path) -> None:
    """A coordinator, its launchers and their job are stopped for longer than a launcher may be, and go on: the job is fine."""
    token = f"slept{os.getpid()}"
    then = "while len(bench.reports) < 2: bench.reports += bench.backend.reports(None)\n"
    then += "print(bench.reports[1].ending.exit, flush=True)\nbench.backend.close()\n"
    process = coordinator(tmp_path, token, 1, "while [ ! -e go ]; do sleep 0.1; done", then)
    wait_for(lambda: alive(token) >= 1)
    everything = [process.pid, *(one.pid for one in linux.descendants([process.pid]))]
    signal_all(everything, signal.SIGSTOP)
    time.sleep(5)  # there is no event to wait for: that time passes is what is tried
    signal_all(everything, signal.SIGCONT)
    (tmp_path / "go").touch()
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"
    assert process.wait() == 0
    process.stdout.close()


# -- limits --------------------------------------------------------------------------------------------------------------

FEW = """
import sys; sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import resource, os
from backends.launchers.test_launcher import settings
from backends.test_command_backends import Bench
from manyhands.backends.protocol import Ended, Noted
from manyhands.backends.commands import Commands
exec(sys.argv[5])
bench = Bench(Commands(settings(Path(sys.argv[3]), slots=int(sys.argv[4]))))
attempts = [bench.start("sh", "-c", "echo $MH_JOB >> ledger") for _ in range(150)]
bench.until(lambda: sum(isinstance(one, Ended) for one in bench.reports) == 150, 60)
bench.backend.close()
print([one.text for one in bench.reports if isinstance(one, Noted)])
print(sum(one.ending.exit == 0 for one in bench.reports if isinstance(one, Ended)))
"""


def run_with_few(folder: Path, slots: int, limit: str) -> list[str]:
    command = [sys.executable, "-c", FEW, str(LIB), str(Path(__file__).parents[1]), str(folder), str(slots), limit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=folder)
    assert done.stderr == ""
    assert Counter((folder / "ledger").read_text().split()) == {str(number): 1 for number in range(1, 151)}
    return done.stdout.splitlines()


@pytest.mark.parametrize(("limit", "slots"), [(32, 64), (64, 40), (256, 200)])
def test_few_descriptors(tmp_path: Path, limit: int, slots: int) -> None:
    """All jobs are done, each once, fewer at a time, with one warning."""
    notes, good = run_with_few(tmp_path, slots, f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))")
    assert notes.count("fewer than") == 1
    assert "descriptors" in notes
    assert good == "150"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up the right to exceed the limit, which only root has")
def test_few_processes(tmp_path: Path) -> None:
    """An ordinary user who may have ten processes gets all jobs done, with one warning."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    drop = (  # the rights to read what the tests lie in stay, the one to exceed the limit goes
        "import ctypes\nlibc = ctypes.CDLL(None)\nresource.setrlimit(resource.RLIMIT_NPROC, (10, 10))\n"
        "libc.prctl(8, 1, 0, 0, 0)\nos.setresuid(54321, 54321, 54321)\n"
        "class Head(ctypes.Structure): _fields_ = [('version', ctypes.c_uint32), ('pid', ctypes.c_int)]\n"
        "keep = 1 << 1 | 1 << 2\n"
        "assert libc.capset(ctypes.byref(Head(0x20080522, 0)), (ctypes.c_uint32 * 6)(keep, keep, keep, 0, 0, 0)) == 0\n"
        "assert all(libc.prctl(47, 2, one, 0, 0) == 0 for one in (1, 2))\n"
    )
    notes, good = run_with_few(tmp_path, 64, drop)
    assert notes.count("fewer than") == 1
    assert "processes" in notes
    assert good == "150"


@pytest.fixture
def bench_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Bench]:
    """Makes a backend with one launcher in which something was changed by some lines of Python."""

    def make(lines: str) -> Bench:
        code = f"import os, errno\n{lines}\n"
        monkeypatch.setattr(launcher_process, "_BOOT", code + launcher_process._BOOT)
        return Bench(Commands(settings(tmp_path, slots=2, launchers=1)))

    return make


NO_ROOM = """
real = os.posix_spawn
def posix_spawn(*args, **options):
    if os.path.exists("full"): raise BlockingIOError(errno.EAGAIN, "no room")
    return real(*args, **options)
os.posix_spawn = posix_spawn
"""


def test_what_can_never_begin_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bench_with: Callable[[str], Bench]
) -> None:
    """Nothing runs, and nothing can begin: after a while attempts fail, in a way that a retry may mend; later ones are done."""
    monkeypatch.setattr(shortage, "PATIENCE", 1)
    bench = bench_with(NO_ROOM)
    (tmp_path / "full").touch()
    end = bench.end_of(bench.sh("exit 0"))
    assert (end.ending.exit, end.began, "no more processes" in (end.ending.error or "")) == (126, True, True)
    (tmp_path / "full").unlink()
    assert bench.run("true").ending.exit == 0
    assert len(noted(bench)) == 1
    bench.backend.close()


def test_what_waits_for_room_can_be_taken_back(tmp_path: Path, bench_with: Callable[[str], Bench]) -> None:
    """An attempt that no launcher can begin does not begin after it was stopped."""
    bench = bench_with(NO_ROOM)
    (tmp_path / "full").touch()
    attempts = [bench.sh("touch begun") for _ in range(3)]
    bench.until(lambda: noted(bench))
    bench.backend.stop(attempts)
    (tmp_path / "full").unlink()
    assert [(one.began, one.ending.error) for one in map(bench.end_of, attempts)] == [(False, None)] * 3
    assert bench.run("true").ending.exit == 0
    assert not (tmp_path / "begun").exists()
    bench.backend.close()


def test_without_a_pidfd_an_end_is_seen_all_the_same(bench_with: Callable[[str], Bench]) -> None:
    """The last descriptor goes while a job begins: it runs once, can be stopped, and its status is true."""
    bench = bench_with(
        "real = os.pidfd_open\n"
        "def pidfd_open(pid):\n    if pid == os.getppid(): return real(pid)\n    raise OSError(errno.EMFILE, 'full')\n"
        "os.pidfd_open = pidfd_open"
    )
    slow = bench.sh("sleep 60")
    assert bench.end_of(bench.sh("echo once; exit 3")).ending.exit == 3
    bench.backend.stop([slow])
    assert bench.end_of(slow).ending.signal == signal.SIGTERM
    assert len(noted(bench)) == 1
    bench.backend.close()


# -- the disk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [2, 100])
def test_the_folder_of_the_run_is_removed_while_it_runs(tmp_path: Path, slots: int) -> None:
    """Jobs go on and small output is kept; a large one is cut, and that is said, once a job, in words."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    bench = Bench(Commands(settings(folder, slots=slots, workdir=tmp_path)))
    assert bench.run("true").ending.exit == 0
    shutil.rmtree(folder)
    large = bench.end_of(bench.sh("head -c 100000 /dev/zero"))
    assert (large.ending.exit, large.ending.stdout.size, large.ending.stdout.path) == (0, 100_000, None)
    assert 0 < large.ending.stdout.dropped < 100_000
    assert "could not be kept whole" in (large.ending.error or "")
    assert [text for text in noted(bench) if "could not be kept whole" in text] == noted(bench)
    assert all(bench.run("echo", "small").ending.stdout.data == b"small\n" for _ in range(2 * slots))
    end = bench.run("true", "y" * 200_000)
    assert (end.ending.exit, end.began) == (126, True)
    bench.backend.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_costs_only_the_output_that_is_too_large(tmp_path: Path) -> None:
    """Many jobs print more than the disk holds: each has its true status, what was cut says so, no launcher dies."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("may not mount here")
    bench = Bench(Commands(settings(disk, slots=100, workdir=tmp_path)))
    try:
        attempts = [bench.sh("head -c 200000 /dev/zero || exit 5; exit 4") for _ in range(100)]
        bench.until(lambda: sum(isinstance(one, Ended) for one in bench.reports) == 100, 60)
        ends = [bench.end_of(attempt) for attempt in attempts]
        assert {end.ending.exit for end in ends} <= {4, 5}  # 5: it wrote to the disk itself, and was told
        assert all(end.ending.stdout.size == 200_000 for end in ends if end.ending.exit == 4)
        cut = [end for end in ends if end.ending.stdout.dropped]
        assert sum(end.ending.exit == 5 for end in ends) + len(cut) >= 90
        assert all("ENOSPC" in (end.ending.error or "") for end in cut)
    finally:
        bench.backend.close()
        subprocess.run(["umount", disk], check=True)


def test_a_folder_to_work_in_that_is_gone_is_said_once(tmp_path: Path) -> None:
    """No launcher can work there: one error that names it."""
    bench = Bench(Commands(settings(tmp_path, workdir=tmp_path / "gone")))
    bench.sh("true")
    with pytest.raises(ManyhandsError, match="gone: No such file"):
        bench.until(lambda: False)
    bench.backend.close()


# -- the program around us -----------------------------------------------------------------------------------------------


def test_signals_that_are_blocked_or_ignored_at_the_start(tmp_path: Path) -> None:
    """With everything blocked and SIGCHLD ignored by our parent, a job still has a true status and can be stopped."""
    script = (
        "import sys, signal; sys.path[:0] = sys.argv[1:3]\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from pathlib import Path\nfrom backends.launchers.test_launcher import settings\nfrom backends.test_command_backends import Bench\n"
        "from manyhands.backends.commands import Commands\n"
        "bench = Bench(Commands(settings(Path(sys.argv[3]))))\n"
        "slow = bench.sh('sleep 60')\nbench.start_of(slow)\nbench.backend.stop([slow])\n"
        "print(bench.end_of(slow).ending.signal, bench.end_of(bench.sh('exit 3')).ending.exit)\nbench.backend.close()\n"
    )
    command = [sys.executable, "-c", script, str(LIB), str(Path(__file__).parents[1]), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"15 3\n"


def test_more_descriptors_than_select_can_name(tmp_path: Path) -> None:
    """A program with more than 1,024 open files survives the death of a launcher."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("so many may not be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    bench = Bench(Commands(settings(tmp_path)))
    try:
        slow = bench.sh("sleep 60")
        bench.start_of(slow)
        assert isinstance(bench.backend, Commands)
        for launcher in list(bench.backend._launchers.values()):
            os.kill(launcher.pid, signal.SIGKILL)
        assert "launcher died" in (bench.end_of(slow).ending.error or "")
        assert bench.run("true").ending.exit == 0
    finally:
        bench.backend.close()
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
