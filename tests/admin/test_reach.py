"""``admin.reach``: listeners that answer, that refuse, that are slow, that are not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.pages import check_page
from conftest import Cli
from manyhands.admin.addresses import Address, address_of
from manyhands.admin.reach import connect
from manyhands.core.errors import UsageError
from manyhands.core.level import Level


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of 127.0.0.1 that takes connections."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else is given meanwhile."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_what_answers_and_what_refuses(listening: int, refusing: int, cli: Cli) -> None:
    """The worst stands first, the status is that of a monitor, JSON keeps the order that was given."""
    hosts = [f"127.0.0.1:{listening}", f"127.0.0.1:{refusing}"]
    done = cli("admin.reach", *hosts)
    assert (done.returncode, done.stderr) == (2, "")
    verdict, header, first, second = done.stdout.splitlines()
    assert verdict == "CRITICAL - 1 of 2 answer"
    assert header.split() == ["host", "ms", "failed", "problem"]
    assert first.split()[:2] == ["CRITICAL", hosts[1]]
    assert first.endswith("connection refused")
    assert second.split()[0] == hosts[0]
    records = [json.loads(line) for line in cli("admin.reach", *hosts, "--json").stdout.splitlines()]
    assert [(one["schema"], one["port"], one["level"]) for one in records] == [
        ("manyhands.reach/1", listening, "OK"),
        ("manyhands.reach/1", refusing, "CRITICAL"),
    ]


def test_some_connections_fail(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    """A host that does not always answer is a warning, with how many failed and why."""
    real, calls = socket.create_connection, iter(range(9))

    def sometimes(address: tuple[str, int], timeout: float) -> socket.socket:
        if next(calls) == 1:
            raise TimeoutError
        return real(address, timeout)

    monkeypatch.setattr(socket, "create_connection", sometimes)
    found = connect(Address("127.0.0.1", listening), tries=3, timeout=5, warn=None)
    assert (found.failed, found.problem, found.level) == (1, "no answer within 5 s", Level.WARNING)


def test_a_slow_host_is_a_warning(listening: int) -> None:
    """Above --warn; a host that answers at once is not above an hour."""
    address = Address("127.0.0.1", listening)
    assert connect(address, tries=1, timeout=5, warn=0.0).level is Level.WARNING
    assert connect(address, tries=1, timeout=5, warn=3600.0).level is Level.OK


def test_hosts_from_a_file(listening: int, cli: Cli, tmp_path: Path) -> None:
    """One a line, without comments and blank lines, each once; - is standard input."""
    text = f"# ours\n127.0.0.1:{listening}  # the first\n\n127.0.0.1:{listening}\n"
    (tmp_path / "hosts.txt").write_text(text)
    assert cli("admin.reach", "--file", "hosts.txt").stdout.startswith("OK - 1 of 1 answer\n")
    assert cli("admin.reach", "--file", "-", input=text).stdout.startswith("OK - 1 of 1 answer\n")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no host is given"),
        (["web1:http"], "'web1:http': expected HOST, HOST:PORT or [IPV6]:PORT"),
        (["web1:70000"], "a port is a number from 1 to 65535"),
        (["a:b:c"], "'a:b:c': expected HOST"),
        (["x", "--tries", "0"], "--tries 0: expected 1 or more"),
        (["x", "--timeout", "soon"], "--timeout 'soon': expected seconds"),
        (["--file", "none.txt"], "none.txt: No such file or directory"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    done = cli("admin.reach", *args)
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN - ")
    assert text in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    as_json = cli("admin.reach", *args, "--json")
    assert (as_json.returncode, as_json.stdout) == (3, "")
    assert text in as_json.stderr


def test_an_unknown_host() -> None:
    """It is one finding among others, not the end of the program."""
    found = connect(Address("no-such-host.invalid", 1), tries=2, timeout=1, warn=None)
    assert (found.level, found.failed) == (Level.CRITICAL, 2)
    assert found.problem is not None
    assert found.problem.startswith("unknown host")


@given(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True) | st.ip_addresses().map(str), st.integers(1, 65535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    """Names, IPv4 and IPv6, with a port and without."""
    address = Address(host, port)
    assert address_of(str(address), 1) == address
    assert address_of(host, port) == address


@pytest.mark.parametrize("text", ["", ":1", "[]:1", "[web1]:1", "a b", "web1:", "[::1]x"])
def test_what_is_no_address(text: str) -> None:
    """It is refused before anything is tried."""
    with pytest.raises(UsageError):
        address_of(text, 443)


def test_the_page(tmp_path: Path, environment: dict[str, str], listening: int, refusing: int) -> None:
    """Its commands print what it shows."""
    (tmp_path / "hosts.txt").write_text(f"127.0.0.1:{listening}\n")
    here = {"web1:443": f"127.0.0.1:{listening}", "db1:5432": f"127.0.0.1:{refusing}"}
    check_page("reach", tmp_path, environment, here)
