"""``admin.listeners``: what ss tells of real sockets, and what is new since the last look."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from admin.pages import check_page
from conftest import Cli
from manyhands.admin import listeners as program
from manyhands.admin.listeners import Key
from manyhands.admin.memory import Memory
from manyhands.core.errors import ManyhandsError
from manyhands.processes.listing import Listener, with_users


@pytest.fixture
def tcp() -> Iterator[int]:
    """A port of 127.0.0.1 that this process listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def look(cli: Cli, *args: str) -> tuple[int, dict[tuple[str, int], dict[str, Any]]]:
    """The exit status, and the records by protocol and port."""
    done = cli("admin.listeners", "--json", *args)
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["schema"] for one in records} <= {"manyhands.listener/1"}
    return done.returncode, {(one["protocol"], one["port"]): one for one in records}


def test_it_tells_what_ss_tells(tcp: int, cli: Cli) -> None:
    """Address, port, pid and program of sockets of both protocols and both versions."""
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as udp, closing(socket.socket()) as everywhere:
        udp.bind(("127.0.0.1", 0))
        everywhere.bind(("", 0))
        everywhere.listen()
        _, found = look(cli)
        wanted = {
            ("tcp", tcp): "loopback",
            ("udp", udp.getsockname()[1]): "loopback",
            ("tcp", everywhere.getsockname()[1]): "all",
        }
        said = subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout
    for (protocol, port), bound_to in wanted.items():
        one = found[protocol, port]
        [line] = re.findall(rf"^{protocol} .* (\S+):{port} .*", said, re.MULTILINE)
        assert one["address"] == line
        [whole] = [text for text in said.splitlines() if f":{port} " in text and text.startswith(protocol)]
        assert f'"{one["program"]}",pid={one["pid"]},' in whole
        assert (one["bound_to"], one["state"], one["level"]) == (bound_to, None, "OK")
        assert one["pid"] == os.getpid()
        assert one["since"]


@pytest.mark.parametrize(("address", "bound_to"), [("::", "all"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback")])
def test_ipv6(address: str, bound_to: str, cli: Cli) -> None:
    """Also an IPv4 address in the form of IPv6."""
    try:
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((address, 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with closing(server):
        server.listen()
        port = server.getsockname()[1]
        assert look(cli)[1]["tcp", port]["bound_to"] == bound_to
        assert f"[{address}]:{port}" in cli("admin.listeners").stdout


def test_a_new_listener_is_a_warning_until_it_is_remembered(tcp: int, cli: Cli, own_state: Path) -> None:
    """The look that remembers it warns, too; the file is its owner's alone. Others may come and go on this machine meanwhile."""
    done = cli("admin.listeners")
    assert done.returncode == 0
    assert "; nothing is remembered yet: --remember" in done.stdout.splitlines()[0]
    assert look(cli, "--remember")[0] == 0
    [kept] = own_state.glob("listeners-*")
    assert kept.stat().st_mode & 0o777 == 0o600
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        new = server.getsockname()[1]
        status, found = look(cli)
        assert (status, found["tcp", new]["state"], found["tcp", new]["level"]) == (1, "new", "WARNING")
        assert found["tcp", tcp]["state"] == "known"
        done = cli("admin.listeners", "--remember")
        assert done.returncode == 1
        verdict, _, first, *_ = done.stdout.splitlines()
        assert re.match(r"WARNING - .*; \d+ new(, \d+ gone)? since \d{4}-\d\d-\d\d \d\d:\d\d", verdict)
        assert verdict.endswith("; remembered")
        assert first.startswith("WARNING ")
        assert first.endswith(" new")
        assert look(cli)[1]["tcp", new]["state"] == "known"
    found = look(cli)[1]
    assert (found["tcp", new]["state"], found["tcp", new]["pid"]) == ("gone", None)
    assert re.search(r"; \d+ new, \d+ gone since", cli("admin.listeners").stdout)
    assert [one.name for one in own_state.iterdir()] == [kept.name]


def test_public_leaves_out_loopback(tcp: int, cli: Cli) -> None:
    """It changes what is listed, not what is remembered."""
    assert ("tcp", tcp) not in look(cli, "--public", "--remember")[1]
    assert look(cli)[1]["tcp", tcp]["state"] == "known"


def test_workers_share_the_socket_of_their_server(tcp: int, cli: Cli) -> None:
    """The process that opened it is told, not the worker that psutil happens to find."""
    code = """
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
for _ in range(3):
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        assert look(cli)[1]["tcp", port]["pid"] == process.pid
        process.communicate()


def test_what_is_the_same() -> None:
    """A restart changes nothing, another program or user does; what a look could not see may be anything."""
    key = Key("tcp", "0.0.0.0", 80, "nginx", "root")
    assert key.is_in([key])
    assert key.is_in([key._replace(program=None, user=None)])
    assert key._replace(program=None).is_in([key])
    for other in (
        key._replace(program="nc"),
        key._replace(user="eve"),
        key._replace(address="::"),
        key._replace(port=81),
    ):
        assert not key.is_in([other])


def test_udp_on_a_port_that_the_kernel_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client's socket has another port each time, and is no news; a port that a service has is."""
    (tmp_path / "range").write_text("32768\t60999\n")
    monkeypatch.setattr(program, "_PORTS", tmp_path / "range")
    one, other, service = (
        program._key(Listener("udp", "0.0.0.0", port, 1, "dhclient", "root")) for port in (40000, 50000, 68)
    )
    assert one == other != service
    assert program._key(Listener("tcp", "0.0.0.0", 40000, 1, "x", "root")).port == 40000
    monkeypatch.setattr(program, "_PORTS", tmp_path / "none")
    assert program._ports_for_any() == (49152, 65535)


def test_the_user_of_what_may_not_be_seen(tcp: int) -> None:
    """From /proc/net, which everybody may read."""
    if not os.path.exists("/proc/net/tcp"):
        pytest.skip("reads /proc/net/tcp")
    [found] = with_users([Listener("tcp", "127.0.0.1", tcp, None)])
    assert found.user == Path("/proc/self").owner()
    known = [Listener("tcp", "127.0.0.1", tcp, 1, "x", "y")]
    assert with_users(known) == known


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema": "manyhands.kept-listeners/2"}', "\x00"])
def test_a_damaged_memory(text: str, cli: Cli, own_state: Path) -> None:
    """One line that names the file; it is not overwritten."""
    assert look(cli, "--remember")[0] == 0
    [kept] = own_state.glob("listeners-*")
    kept.write_text(text)
    done = cli("admin.listeners", "--remember")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f"UNKNOWN - {kept}: damaged, or of another version; remove it\n"
    kept.write_text(json.dumps({"schema": "manyhands.kept-listeners/1", "listeners": [1]}))
    assert "is damaged" in cli("admin.listeners").stdout


def test_a_memory_that_others_may_have_written(tmp_path: Path) -> None:
    """Whoever can write it could hide a listener."""
    memory = Memory("test", str(tmp_path / "state"))
    assert memory.load() is None
    memory.keep({"a": 1})
    memory.keep({"a": "\udcff"})
    assert memory.load() == {"schema": "manyhands.kept-test/1", "a": "\udcff"}
    memory.path.chmod(0o620)
    with pytest.raises(ManyhandsError, match="others may have written it"):
        memory.load()
    memory.path.unlink()
    memory.path.symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        memory.load()


def test_a_memory_that_cannot_be_written(tmp_path: Path, cli: Cli) -> None:
    """One line, and nothing half made."""
    (tmp_path / "file").touch()
    done = cli("admin.listeners", "--remember", "--state-dir", str(tmp_path / "file" / "state"))
    assert (done.returncode, done.stdout.count("\n")) == (3, 1)
    assert done.stdout.startswith("UNKNOWN - ")


def test_the_page(tmp_path: Path, environment: dict[str, str], tcp: int) -> None:
    """Its commands print what it shows. Other tests open ports between them, so they are typed again if that has happened."""
    for left in reversed(range(6)):
        with suppress(AssertionError) if left else nullcontext():
            check_page("listeners", tmp_path, environment, {"127.0.0.1:8765": f"127.0.0.1:{tcp}"})
            return
