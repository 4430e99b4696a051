"""The ``host`` tasks as users meet them: once, again and again, as JSON whose keys are documented."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli

HERE = Path(__file__).parents[2]
LOOKS = ["info", "cpu", "memory", "disks", "network", "sensors", "pressure", "time", "identity"]
SCHEMAS = {"info": "host"}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_as_text_and_as_json(name: str, cli: Cli) -> None:
    """Lines without escape codes; one JSON object, in which no number has a unit hidden in a text."""
    quick = ["--every", "0.1"] if name == "cpu" else []
    done = cli(f"host.{name}", *quick)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert "\x1b" not in done.stdout
    record = json.loads(cli(f"host.{name}", *quick, "--json").stdout)
    assert record["schema"] == f"manyhands.{SCHEMAS.get(name, name)}/1"
    assert len(record) > 1


def documented() -> dict[str, set[str]]:
    """The keys of each object of docs/host.md: rows of the tables below the headings that name a schema."""
    found: dict[str, set[str]] = {}
    schema = ""
    for line in (HERE / "docs" / "host.md").read_text().splitlines():
        if match := re.match(r"#+ .*`(manyhands\.[a-z.]+/1)`", line):
            schema = match[1]
        elif schema and (match := re.match(r"\| `([^`]+)` \|", line)):
            found.setdefault(schema, set()).add(match[1])
    return found


NAMED = ("pressure.", "temperatures.", "sensors.temperatures.", "times.", "since_boot[].", "limits.")
"""Mappings whose keys are names that this machine gives."""


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """``memory.total``, ``disks[].mount``; a mapping by names of this machine is ``pressure.*``."""
    for name, inner in value.items():
        at = f"{prefix}{'*' if prefix in NAMED else name}"
        yield at
        if isinstance(inner, dict):
            yield from keys(inner, f"{at}.")
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield from keys(inner[0], f"{at}[].")


@pytest.mark.parametrize(
    "task", [*(f"host.{name}" for name in LOOKS), "host.check --load 9999", "host.doctor", "proc.limits"]
)
def test_every_key_is_documented(task: str, cli: Cli) -> None:
    """And the page names none that is not there, but for what this machine lacks."""
    quick = ["--every", "0.1"] if task == "host.cpu" else []
    record = json.loads(cli(*task.split(), *quick, "--json").stdout.splitlines()[0])
    told = documented()[record["schema"]]
    seen = set(keys(record)) - {"schema"}
    assert seen <= told, seen - told
    absent = {at for at in told - seen if at.split(".")[0].split("[")[0] not in record}
    assert absent == set()


@pytest.mark.parametrize("name", LOOKS)
def test_watching_shows_it_again(name: str, environment: dict[str, str]) -> None:
    """Records one after another when piped; Ctrl-C ends it as it should."""
    command = [sys.executable, "-m", "manyhands", f"host.{name}", "--watch", "--every", "0.1", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        records = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) in (130, -signal.SIGINT)
    assert len({record["schema"] for record in records}) == 1


def test_watching_on_a_terminal(environment: dict[str, str]) -> None:
    """In place, on the second page; the first comes back with the last look."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "manyhands", "host.memory", "--watch", "--every", "0.2"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    seen, deadline, told = b"", time.monotonic() + 30, False
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
        if seen.count(b"available") >= 3 and not told:
            process.send_signal(signal.SIGINT)
            told = True
    assert process.wait(timeout=30) in (130, -signal.SIGINT)
    os.close(ours)
    assert b"\x1b[?1049h" in seen
    before, _, after = seen.partition(b"\x1b[?1049l")
    assert b"every 0.2 s" in before
    assert b"available" in after


@pytest.mark.parametrize("name", LOOKS)
def test_a_period_that_is_none(name: str, cli: Cli) -> None:
    """One clear line, exit 2."""
    for wrong in ("0", "soon", "-1"):
        done = cli(f"host.{name}", "--every", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--every" in done.stderr
        assert done.stderr.count("\n") == 1


def test_system_info_is_host_info(cli: Cli) -> None:
    """Its second name."""
    first, second = (json.loads(cli(name, "--json").stdout) for name in ("host.info", "system-info"))
    assert first.keys() == second.keys()
    assert first["kernel"] == second["kernel"] == os.uname().release
