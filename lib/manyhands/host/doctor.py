"""Checks whether this machine can do what manyhands needs. Every probe tries the feature itself instead of reading versions.

Each reports what was seen and, if that is less than needed, the consequence and the way out. Probes leave nothing behind.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from manyhands.core.errors import CannotCreateError
from manyhands.core.hints import typed
from manyhands.core.package_location import LIBRARY
from manyhands.host.finding import Finding
from manyhands.posix import linux
from manyhands.posix.cgroup import ROOT, cores_quota, memory_limit, own_groups
from manyhands.processes.resource_limits import allowance, own_limits
from manyhands.storage.runs import default_state_dir

_FORK: Final = """
import os, sys
child = os.fork()
if child == 0:
    os._exit(7)
_, status = os.waitpid(child, 0)
if os.waitstatus_to_exitcode(status) != 7:
    sys.exit(f"a child that ended with 7 was seen to end with {os.waitstatus_to_exitcode(status)}")
"""
_SPAWN: Final = """
import multiprocessing
child = multiprocessing.get_context("spawn").Process(target=int)
child.start()
child.join()
raise SystemExit(child.exitcode)
"""
_SUBREAPER: Final = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from manyhands.core.package_location import LIBRARY
from manyhands.host.finding import Finding
from manyhands.posix import linux
if not linux.become_subreaper():
    sys.exit("prctl(PR_SET_CHILD_SUBREAPER) is refused")
orphan = int(subprocess.run(["sh", "-c", "sleep 60 >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True).stdout)
found = linux.read_stat(orphan)
os.kill(orphan, signal.SIGKILL)
if found is None or found.ppid != os.getpid():
    sys.exit("an orphan was adopted by another process")
os.waitpid(orphan, 0)
"""
_SMALL_SHM: Final = 128 << 20
_MANY_FILES: Final = 900
_FEW_PROCESSES: Final = 512


def examine(env: Mapping[str, str] | None = None) -> list[Finding]:
    """Try everything. Takes about a second."""
    env = os.environ if env is None else env
    probes: list[Callable[[], Finding]] = [
        fork,
        spawn,
        semaphores,
        shared_memory,
        pidfd,
        memfd,
        subreaper,
        cgroups,
        open_files,
        processes,
        proc,
        lambda: _journal_of(env),
        clock,
        lambda: terminal(env),
        text,
    ]
    return [probe() for probe in probes]


def fork() -> Finding:
    """Start a child, and read its exit status."""
    began = time.monotonic()
    if why := _in_a_fresh_python(_FORK):
        return Finding.broken(
            "fork",
            why,
            "jobs cannot be run, or their statuses cannot be trusted",
            f"look at the limit of processes ({typed('proc.limits')}), and whether SIGCHLD is ignored",
        )
    return Finding.ok("fork", f"a child was started and collected in {time.monotonic() - began:.2f} s")


def spawn() -> Finding:
    """Start a fresh interpreter that runs a Python function in another one (multiprocessing)."""
    began = time.monotonic()
    why = _in_a_fresh_python(_SPAWN)
    if why:
        return Finding.broken("spawn", why, "Python functions cannot run in processes", "use threads, or another Python")
    return Finding.ok("spawn", f"two fresh interpreters were started in {time.monotonic() - began:.2f} s")


def _in_a_fresh_python(script: str, *args: str) -> str | None:
    """Run a script; return why it failed, None if it did not."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, *args], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]


def semaphores() -> Finding:
    """Acquire and release a semaphore that processes share (sem_overview(7))."""
    try:
        from multiprocessing import get_context

        with get_context("fork").Semaphore(1):  # nothing is forked; so it needs no process that cleans up after it
            return Finding.ok("semaphores", "one was made, taken and given back")
    except (ImportError, OSError) as error:
        return Finding.broken(
            "semaphores",
            f"none can be made: {error}",
            "multiprocessing's locks and queues do not work, nor does what is built on them",
            "let /dev/shm be there, be writable and have space: docker run --shm-size=256m; mount -t tmpfs tmpfs /dev/shm",
        )


def shared_memory() -> Finding:
    """Allocate a block of shared memory, with all its pages (shm_overview(7))."""
    wanted, place = 8 << 20, Path("/dev/shm")  # noqa: S108 - that is where it is kept
    fix = "make it larger: docker run --shm-size=1g; in Kubernetes an emptyDir with medium Memory, mounted at /dev/shm"
    if sys.platform != "linux":
        return Finding.ok("shared memory", "it is kept by the system, not in files")
    try:
        with tempfile.TemporaryFile(dir=place) as block:
            os.posix_fallocate(block.fileno(), 0, wanted)
    except OSError as error:
        return Finding.broken(
            "shared memory",
            f"no {wanted >> 20} MiB can be had in {place}: {error.strerror}",
            "large arrays cannot be shared by processes",
            fix,
        )
    total = allowance().shm_total_bytes or 0
    if total < _SMALL_SHM:
        so = "programs that share more than that die by SIGBUS"
        return Finding.limited("shared memory", f"{place} has {total >> 20} MiB", so, fix)
    return Finding.ok("shared memory", f"{wanted >> 20} MiB of {total >> 20} MiB were taken, and given back")


def pidfd() -> Finding:
    """Open the pidfd of a child, signal it, and see its end (pidfd_open(2))."""
    try:
        with subprocess.Popen(["sleep", "60"]) as child:
            try:
                descriptor = os.pidfd_open(child.pid)
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                seen = bool(poll.poll(10_000))
                os.close(descriptor)
            finally:
                child.kill()
        if seen:
            return Finding.ok("pidfd", "a child was signalled through one, and its end was seen")
        why = "the end of a child is not seen through it"
    except (AttributeError, OSError) as error:
        why = f"there is none: {error}"
    return Finding.limited(
        "pidfd",
        why,
        "a process is compared with its start before it is signalled, which leaves a tiny gap; ends are looked for again and again",
        "Linux 5.3 or newer, and a container runtime whose seccomp profile lets pidfd_open through",
    )


def memfd() -> Finding:
    """Make and write a file in memory (memfd_create(2))."""
    try:
        descriptor = os.memfd_create("manyhands")
        os.write(descriptor, b"x")
        os.close(descriptor)
    except (AttributeError, OSError) as error:
        return Finding.limited(
            "memfd",
            f"there is none: {error}",
            "wide batches keep small output in files, which is slower",
            "Linux 3.17 or newer",
        )
    return Finding.ok("memfd", "one was made and written")


def subreaper() -> Finding:
    """Adopt an orphan instead of init (prctl(2))."""
    why = _in_a_fresh_python(_SUBREAPER, LIBRARY)
    if why is None:
        return Finding.ok("subreaper", "an orphan was adopted and collected")
    return Finding.limited(
        "subreaper",
        why,
        "daemons that a job leaves behind are known by a mark in their environment only",
        "Linux 3.4 or newer with /proc mounted",
    )


def cgroups() -> Finding:
    """Check whether the limits of a container can be seen."""
    versions = {version for controller in ("cpu", "memory") for _, version in own_groups(controller) if ROOT.is_dir()}
    if not versions or not any(ROOT.iterdir()):
        return Finding.limited(
            "cgroups",
            "none can be seen",
            "a quota of CPU or memory would not be noticed: --jobs 100% counts all cores",
            "say how many jobs with -j",
        )
    quota, memory = cores_quota(), memory_limit()
    cores = "no quota of CPU" if quota is None else f"a quota of {quota:g} cores"
    bytes_ = "none of memory" if memory is None else f"{memory >> 20} MiB of memory"
    return Finding.ok("cgroups", f"version {max(versions)}: {cores}, {bytes_}")


def open_files() -> Finding:
    """Open as many files as a wide batch needs."""
    soft, hard = own_limits()["open_files"]
    opened: list[int] = []
    try:
        while len(opened) < _MANY_FILES:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        seen = f"{len(opened)} were opened, then: {error.strerror}"
        fix = f"ulimit -n {min(hard or 65536, 65536)}" if soft and soft < 65536 else "look who has so many open: lsof"
        return Finding.limited("open files", seen, "fewer jobs run at once than are asked for", fix)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return Finding.ok("open files", f"{_MANY_FILES} were opened; {'no limit' if soft is None else f'{soft:,} may be'}")


def processes() -> Finding:
    """Read how many more processes may be started; for root only the limit of the cgroup counts."""
    found = allowance()
    left = []
    if found.cgroup_processes is not None:
        left.append(found.cgroup_processes - (found.cgroup_processes_now or 0))
    if os.geteuid() != 0 and (soft := found.limits.get("processes", (None, None))[0]) is not None:
        left.append(soft)
    if left and min(left) < _FEW_PROCESSES:
        return Finding.limited(
            "processes",
            f"{min(left):,} more can be started",
            "fewer jobs run at once than are asked for",
            "ulimit -u, or the container's limit of pids (docker run --pids-limit)",
        )
    return Finding.ok("processes", f"{min(left):,} more can be started" if left else "as many as the machine can hold")


def proc() -> Finding:
    """Check whether other processes can be seen (proc(5), hidepid)."""
    if sys.platform != "linux":
        return Finding.limited(
            "/proc", "there is none", "what jobs leave behind is not found", "run large batches on Linux"
        )
    if not linux.read_stat(os.getpid()):
        return Finding.broken(
            "/proc",
            "it is not mounted",
            "what jobs leave behind is not found, nor who holds a run",
            "mount -t proc proc /proc",
        )
    if not linux.read_stat(1):
        return Finding.limited(
            "/proc",
            "it shows our own processes only",
            "proc.list and proc.stop see no others",
            "run as root, or mount it without hidepid",
        )
    return Finding.ok("/proc", f"{len(linux.processes())} processes can be seen")


def _journal_of(env: Mapping[str, str]) -> Finding:
    try:
        state = default_state_dir(env)
    except CannotCreateError as error:
        seen, _, fix = str(error).partition(": ")
        return Finding.broken("journal", seen, "no batch can be run", fix)
    return journal(state)


def journal(state: Path) -> Finding:
    """Write, synchronise and read a database as that of a run, in the folder of runs."""
    fix = "choose a folder on a local disk with --state-dir, or XDG_STATE_HOME"
    place = next(folder for folder in (state, *state.parents) if os.path.isdir(folder))  # False where we may not look
    try:
        folder = tempfile.mkdtemp(prefix=".manyhands-", dir=place)
    except OSError as error:
        return Finding.broken("journal", f"{place}: {error.strerror}", "no batch can be run", fix)
    try:
        began = time.monotonic()
        with closing(sqlite3.connect(f"{folder}/probe.db", isolation_level=None)) as db:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE probe (x)")
            for number in range(10):
                db.execute("INSERT INTO probe VALUES (?)", (number,))
        each = 1000 * (time.monotonic() - began) / 11
    except sqlite3.Error as error:
        return Finding.broken("journal", f"{place}: {error}", "no batch can be run", fix)
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    if mode != "wal":
        return Finding.limited(
            "journal",
            f"{place}: SQLite keeps no write-ahead log there ({mode})",
            "batches are slower; a network file system may lose what it has promised",
            fix,
        )
    return Finding.ok("journal", f"{place}: a commit takes {each:.1f} ms")


def clock() -> Finding:
    """Check that the monotonic clock runs evenly, and that the date is not before this program was installed."""
    before = time.monotonic()
    time.sleep(0.01)
    went = time.monotonic() - before
    if not 0.009 < went < 5:
        return Finding.broken(
            "clock",
            f"10 ms took {went:.3f} s by the monotonic clock",
            "time-outs come at wrong moments",
            "look at the clock source of the (virtual) machine",
        )
    if time.time() < Path(__file__).stat().st_mtime - 86400:
        return Finding.limited(
            "clock",
            f"it is {time.strftime('%Y-%m-%d')}, before this program was installed",
            "times in the journal are wrong; limits are not, they use the monotonic clock",
            "set it: chronyd, ntpd",
        )
    resolution = time.get_clock_info("monotonic").resolution
    return Finding.ok("clock", f"it goes on evenly, in steps of {1e9 * resolution:.0f} ns")


def terminal(env: Mapping[str, str]) -> Finding:
    """Check whether there is a terminal that can show progress."""
    if not sys.stderr.isatty():
        return Finding.ok("terminal", "stderr is not a terminal: progress is shown in plain lines")
    if env.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return Finding.limited(
            "terminal",
            f"TERM is {env.get('TERM', 'not set')!r}",
            "no live display: plain lines instead",
            "export TERM=xterm-256color",
        )
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    colours = "without colours (NO_COLOR)" if env.get("NO_COLOR") else f"TERM is {env['TERM']}"
    return Finding.ok("terminal", f"{columns} columns, {lines} lines, {colours}")


def text() -> Finding:
    """Check whether file names and output are UTF-8."""
    names, out = sys.getfilesystemencoding(), sys.stdout.encoding or "?"
    if names.lower() != "utf-8":
        return Finding.limited(
            "text", f"names of files are {names}", "what is not in it is shown as escapes", "export LC_ALL=C.UTF-8"
        )
    return Finding.ok("text", f"names of files are {names}, output is {out}")
