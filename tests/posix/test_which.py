"""Finding programs as execvp(3) does, and saying why one cannot be started."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from manyhands.posix.which import Programs, why_not_started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of programs."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def program(folder: Path, content: bytes, name: str = "tool") -> bytes:
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o755)
    return bytes(path)


def test_a_program_that_has_moved_is_found_again_once(folder: Path, tmp_path: Path) -> None:
    """`find_again` says where it is now, and nothing when it is where it was."""
    (tmp_path / "other").mkdir()
    path = program(folder, b"#!/bin/sh\n")
    programs = Programs(b"%s:%s" % (bytes(folder), bytes(tmp_path / "other")))
    assert programs.find(b"tool") == path
    assert programs.find_again(b"tool", path) is None
    os.rename(path, tmp_path / "other" / "tool")
    assert programs.find(b"tool") == path
    assert programs.find_again(b"tool", path) == bytes(tmp_path / "other" / "tool")
    (tmp_path / "other" / "tool").unlink()
    with pytest.raises(FileNotFoundError):
        programs.find_again(b"tool", path)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"#!/no/such/interpreter -x\n", 127, "its interpreter /no/such/interpreter does not exist (ENOENT)"),
        (b"#!/bin/sh\r\necho hello\r\n", 127, "carriage return"),
        (b"#!/etc/passwd\n", 126, "its interpreter /etc/passwd may not be executed (EACCES)"),
        (b"echo hello\n", 126, "text without a #! line"),
        (b"\xef\xbb\xbf#!/bin/sh\n", 126, "byte order mark"),
        (b"", 126, "it is empty"),
        (b"\x00\x01\x02\x03", 126, "not a program for this machine"),
    ],
)
def test_why_a_file_that_is_there_cannot_be_started(folder: Path, content: bytes, status: int, reason: str) -> None:
    """The file itself says it, and it will be the same next time."""
    path = program(folder, content)
    with pytest.raises(OSError) as raised:
        os.waitpid(os.posix_spawn(path, [path], {}), 0)
    code, why, lasting = why_not_started(raised.value, path, path)
    assert (code, lasting) == (status, True)
    assert reason in why


@pytest.mark.parametrize("name", ["cd", "export", "source", "ulimit", "[[", "for"])
def test_what_only_a_shell_knows(name: str) -> None:
    """The way out is named; a program that is just missing has none."""
    error = FileNotFoundError(errno.ENOENT, "")
    assert "--shell" in why_not_started(error, name.encode(), None)[1]
    assert "--shell" not in why_not_started(error, b"no-such-program", None)[1]


def test_a_shortage_does_not_last() -> None:
    """What others hold may be there at the next try."""
    assert not why_not_started(OSError(errno.ETXTBSY, ""), b"tool", None)[2]
    assert not why_not_started(OSError(errno.EAGAIN, ""), b"tool", None)[2]
    assert why_not_started(ValueError("embedded null byte"), b"tool", None) == (
        126,
        "cannot start tool: embedded null byte",
        True,
    )


def test_builtins_of_this_machines_shell_are_known() -> None:
    """Whatever bash itself names as built in, and is no program, is known as such."""
    listed = subprocess.run(["bash", "-c", "compgen -b"], capture_output=True, check=True).stdout.split()
    programs = Programs(os.environb[b"PATH"])
    for name in listed:
        try:
            programs.find(name)
        except OSError:
            reason = why_not_started(FileNotFoundError(errno.ENOENT, ""), name, None)[1]
            assert "--shell" in reason, name
