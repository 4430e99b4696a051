"""What may be used is what ulimit, prlimit, nproc and /proc say."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli
from manyhands.processes import resource_limits as module
from manyhands.processes.resource_limits import RLIMITS, allowance, own_limits
from manyhands.render.processes import allowance_lines

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_linux
def test_limits_are_those_of_prlimit() -> None:
    """Soft and hard, of every kind that is shown."""
    shown = {
        name: tuple(None if word == "unlimited" else int(word) for word in limits)
        for name, *limits in (
            line.split()
            for line in said(
                "prlimit", "-p", str(os.getpid()), "--noheadings", "--raw", "-o", "RESOURCE,SOFT,HARD"
            ).splitlines()
        )
    }
    names = {name: constant.removeprefix("RLIMIT_") for name, constant in RLIMITS.items()}
    assert own_limits() == {name: shown[constant] for name, constant in names.items()}


@needs_linux
def test_what_is_shown_is_what_the_shell_has(cli: Cli) -> None:
    """`ulimit` in a shell and what it starts agree; cores as nproc, memory as /proc/meminfo."""
    found = allowance()
    assert found.usable_cores <= int(said("nproc"))
    assert found.affinity is not None
    assert len(found.affinity) == int(said("nproc"))
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert found.memory_total_bytes == int(total.split()[1]) * 1024
    assert found.system_processes == int(Path("/proc/sys/kernel/pid_max").read_text())
    assert found.shm_total_bytes == int(said("df", "-B1", "--output=size", "/dev/shm").split()[-1])
    assert found.nice == int(said("nice"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = cli("proc.limits", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 333), hard)))
    assert "  open_files     333, " in done.stdout


def test_what_is_not_known_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems have no /proc and no affinity; a group's limits are shown where there are some."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(module, "_number", lambda _: None)
    monkeypatch.setattr(module, "_size_of", lambda _: None)
    monkeypatch.setattr(module, "memory_limit", lambda: 1 << 30)
    monkeypatch.setattr(module, "processes_limit", lambda: 100)
    monkeypatch.setattr(module, "_processes_now", lambda: 7)
    found = allowance()
    lines = list(allowance_lines(found))
    assert found.affinity is None
    assert "not bound" in lines[0]
    assert lines[1].endswith("cgroup's limit: 1.0 GiB")
    assert lines[2].split() == ["/dev/shm", "not", "available"]
    assert "cgroup's limit: 100 (7 now); pids of the machine: not available" in lines[3]
    assert set(found.to_json()["limits"]["stack_bytes"]) == {"soft", "hard"}
