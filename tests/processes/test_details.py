"""All about one process: what /proc says, secrets masked, what may not be known is None."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import LIB
from manyhands.core.errors import UsageError
from manyhands.core.masking import masked
from manyhands.processes.details import details
from manyhands.render.processes import details_lines, details_record

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")


@needs_linux
def test_it_is_what_proc_says(tmp_path: Path) -> None:
    """Family, program, folder, threads, descriptors, files, sockets, limits (scenario I3)."""
    with (tmp_path / "open").open("w") as file, socket.socket() as listener, subprocess.Popen(["sleep", "66"]) as child:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = details(os.getpid())
        child.kill()
        assert (child.pid, "sleep") in found.children or (child.pid, "python") in found.children  # before its exec
        assert file.name in (found.files or ())
        local = "{}:{}".format(*listener.getsockname())
        assert ("tcp", local, "LISTEN") in [(one.protocol, one.local, one.state) for one in found.sockets or ()]
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert found.threads == int(status["Threads"])
    assert found.exe == os.readlink("/proc/self/exe")
    assert found.cwd == os.getcwd()
    assert found.nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert found.parent == Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    assert found.environment is None
    assert found.limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.limits["open_files"] == (soft, hard)
    assert found.rss
    assert found.user_seconds is not None
    assert abs(found.user_seconds - os.times().user) < 1


def test_who_is_not_there() -> None:
    """A clear line."""
    with subprocess.Popen(["true"]) as child:
        child.wait()
    with pytest.raises(UsageError, match=f"there is no process {child.pid}"):
        details(child.pid)


@pytest.mark.parametrize(
    "name",
    [
        "API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "passphrase",
        "MYSQL_PWD",
        "GITHUB_AUTH",
        "SESSION_COOKIE",
        "SSH_PRIVATE",
    ],
)
def test_secrets_are_masked(name: str) -> None:
    """By their names, and passwords in URLs."""
    shown = masked({name: "hunter2", "PWD": "/here", "URL": "redis://user:hunter2@host/0", "EMPTY_TOKEN": ""})
    assert shown == {name: "***", "PWD": "/here", "URL": "redis://user:***@host/0", "EMPTY_TOKEN": ""}
    assert "hunter2" not in str(shown)


@given(st.dictionaries(st.text(), st.text()))
def test_masking_keeps_every_name(environment: dict[str, str]) -> None:
    """In the order of the names; empty values stay empty."""
    shown = masked(environment)
    assert list(shown) == sorted(environment)
    assert all(bool(shown[name]) == bool(environment[name]) for name in environment)


def test_the_environment_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the process was started with, masked."""
    environment = {**os.environ, "MY_TOKEN": "hunter2", "HARMLESS": "yes"}
    with subprocess.Popen(
        ["sh", "-c", "echo; read x"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        child.stdout.readline()
        found = details(child.pid, environment=True)
        child.kill()
    assert found.environment
    assert (found.environment["MY_TOKEN"], found.environment["HARMLESS"]) == ("***", "yes")
    lines = list(details_lines(found))
    assert "  HARMLESS=yes" in lines
    assert not any("hunter2" in line for line in lines)
    assert details_record(found)["environment"]["MY_TOKEN"] == "***"


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="becomes another user")
def test_what_may_not_be_known_says_so() -> None:
    """Another user's files, folder and sockets."""
    script = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(LIB)!r})
        import psutil, json
        from manyhands.processes.details import details
        from manyhands.render.processes import details_lines, details_record
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        found = details(os.getppid(), environment=True)
        assert found.cwd is None and found.files is None and found.exe is None, found
        assert details_record(found)["files"] is None
        print(*details_lines(found), sep="\\n")
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "folder       no permission to know\n" in done.stdout
    assert "files        no permission to know\n" in done.stdout
