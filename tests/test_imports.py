"""What a start waits for is imported and no more: by the command line, by a program and its worker processes, and by a launcher."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import LIB

SCRIPT = """
import sys
from manyhands import map_batch, run_batch

def loaded(_):
    return sorted(sys.modules)

def nested(number):
    return [one.stdout.data for one in run_batch("echo {}", [number], journal=False)]

if __name__ == "__main__":
"""
HEAVY = {"email", "importlib.metadata", "statistics", "logging"}
FOR_RECORDS = {
    "sqlite3",
    "manyhands.storage.journal",
    "manyhands.execution.batch",
    "manyhands.engine.loop",
    "manyhands.work.plan",
    "manyhands.api.run_batch",
}


def printed(tmp_path: Path, environment: dict[str, str], main: str) -> list[str]:
    """What the script prints, whose main part is this line."""
    (tmp_path / "script.py").write_text(SCRIPT + f"    {main}\n")
    command = [sys.executable, "script.py"]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_a_worker_does_not_load_what_begins_batches(
    start_method: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """It imports the script, which names `run_batch`, and has all it needs to do jobs."""
    main = f"print(*next(map_batch(loaded, [1], jobs=1, start_method={start_method!r})))"
    assert not set(printed(tmp_path, environment, main)) & (HEAVY | FOR_RECORDS)


def test_a_job_may_begin_a_batch(tmp_path: Path, environment: dict[str, str]) -> None:
    """What the worker's script has under the name `run_batch` works there."""
    assert printed(tmp_path, environment, "print(*map_batch(nested, [3], jobs=1))") == ["[b'3\\n']"]


def test_the_program_loads_what_it_uses(tmp_path: Path, environment: dict[str, str]) -> None:
    """`run_batch` brings no parser of mails, and `map_batch` nothing that keeps records."""
    main = "assert len(list(run_batch(abs, [1], jobs=1, journal=False))) == 1; print(*sys.modules)"
    assert not set(printed(tmp_path, environment, main)) & HEAVY
    (tmp_path / "module.py").write_text("def f(x): return x\n")
    line = "import sys, module; from manyhands import map_batch; assert list(map_batch(module.f, [1])) == [1]; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", line], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert not set(out.split()) & (HEAVY | FOR_RECORDS | {"ctypes"})


SLOW = {
    "ast",
    "asyncio",
    "base64",
    "bz2",
    "cloudpickle",
    "concurrent",
    "ctypes",
    "dataclasses",
    "difflib",
    "dis",
    "filecmp",
    "getpass",
    "hashlib",
    "hmac",
    "importlib.metadata",
    "inspect",
    "ipaddress",
    "logging",
    "locale",
    "lzma",
    "multiprocessing",
    "numbers",
    "pickle",
    "pprint",
    "psutil",
    "random",
    "rich",
    "secrets",
    "shlex",
    "shutil",
    "socket",
    "statistics",
    "string",
    "tempfile",
    "textwrap",
    "tokenize",
    "traceback",
    "unittest",
    "urllib.parse",
    "invoke.vendor.yaml",
    "yaml",
    "manyhands.api",
    "manyhands.commands",
    "manyhands.execution.recovery",
    "manyhands.execution.staged",
    "manyhands.export",
    "manyhands.handlers.batch_runs",
    "manyhands.host",
    "manyhands.processes",
    "manyhands.inputs.spool",
    "manyhands.render.live",
    "manyhands.work.function",
    "manyhands.work.shell_script",
}
"""Of these, and of what is below them, a batch of commands needs nothing; each takes a millisecond, or imports others that do."""
IN_A_LAUNCHER = {
    "_collections_abc",
    "_ctypes",
    "_heapq",
    "_socket",
    "_stat",
    "collections",
    "errno",
    "fcntl",
    "gc",
    "genericpath",
    "heapq",
    "itertools",
    "keyword",
    "manyhands",
    "marshal",
    "operator",
    "os",
    "posix",
    "posixpath",
    "reprlib",
    "resource",
    "select",
    "stat",
    "time",
}
"""All that a launcher imports of its own accord, by the first part of its name."""


def test_a_batch_of_commands_imports_what_it_uses(tmp_path: Path, environment: dict[str, str]) -> None:
    """From the command line, with a record of each job."""
    command = [sys.executable, "-X", "importtime", "-m", "manyhands", "batch", "true", "--", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert {"manyhands.execution.batch", "manyhands.backends.commands", "sqlite3", "invoke.program"} <= loaded
    assert {one for one in loaded for slow in SLOW if f"{one}.".startswith(f"{slow}.")} == set()


FOR_SIGNATURES = {"inspect", "ast", "dis", "tokenize"}


@pytest.mark.parametrize("function", ["math:sqrt", "mine:same"])
def test_a_batch_of_calls_imports_what_it_uses(function: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """From the command line; and the process that workers are forked from is started before a batch is imported."""
    (tmp_path / "mine.py").write_text("def same(x): return x\n")
    script = (
        "import atexit, sys; sys.argv = ['manyhands', 'batch.call', sys.argv[1], '--type', 'int', '-j1', '--', '1']\n"
        "from manyhands.__main__ import main; from manyhands.backends.workers import early_process\n"
        "usual = early_process.boot\n"
        "def boot(): print('boots', *sys.modules); return usual()\n"
        "early_process.boot = boot; atexit.register(lambda: print('ends', *sys.modules)); main()"
    )
    command = [sys.executable, "-c", script, function]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    boots, result, ends = done.stdout.splitlines()
    before, loaded = set(boots.split()), set(ends.split())
    assert float(result) == 1
    assert before & (FOR_RECORDS | {"multiprocessing"}) == set()
    assert {"manyhands.execution.batch", "manyhands.backends.processes", "multiprocessing.forkserver"} <= loaded
    assert not loaded & (HEAVY | FOR_SIGNATURES)


def packages_of(script: str, folder: Path, environment: dict[str, str]) -> set[str]:
    """What a small process of ours imports to do this, by the first parts of the names."""
    whole = f"import sys; before = {{*sys.modules}}; sys.path.insert(0, {str(LIB)!r})\n{script}\nprint(*{{*sys.modules}} - before)"
    command = [sys.executable, "-I", "-S", "-c", whole]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return {one.partition(".")[0] for one in done.stdout.split()} - {"__future__", "_collections", "_operator"}


def test_a_resource_tracker_without_resources_imports_little(tmp_path: Path, environment: dict[str, str]) -> None:
    """It is sent probes only."""
    script = (
        "from manyhands.backends.workers import lazy_tracker\n"
        "assert lazy_tracker.about_a_resource([b'PROBE:0:noop\\n']) is None"
    )
    assert packages_of(script, tmp_path, environment) <= IN_A_LAUNCHER


def test_a_launcher_imports_little(tmp_path: Path, environment: dict[str, str]) -> None:
    """A batch waits for it, and there is one for each core."""
    script = "from manyhands.backends.launchers import main; from manyhands.posix import linux; linux.become_subreaper()"
    assert packages_of(script, tmp_path, environment) <= IN_A_LAUNCHER
