"""The control socket: what a run is told by it, and what it bears."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from manyhands.control import client, endpoint, server
from manyhands.core.errors import ManyhandsError, NotRunningError, UsageError
from manyhands.core.limits import Halt
from manyhands.core.records import dataclass


class Told:
    """A batch that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def stop(self, number: int) -> None:
        self.calls.append(("stop", number))

    def finish(self) -> None:
        self.calls.append("finish")

    def stop_job(self, number: int) -> bool:
        self.calls.append(("job", number))
        return number < 10

    def pause(self, paused: bool) -> None:
        if self.calls:
            raise NotRunningError("the run is just ending")
        self.calls.append(("pause", paused))

    def set_jobs(self, jobs: Sequence[int]) -> list[int]:
        return [min(one, 4) for one in jobs]

    def set_halt(self, rule: Halt) -> None:
        self.calls.append(str(rule))


@dataclass(frozen=True)
class Somewhere:
    """A run, as far as a client looks at it."""

    path: Path
    id: str = "r"


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def run(tmp_path: Path, told: Told) -> Iterator[Somewhere]:
    """One that listens, in a folder whose path is longer than that of a socket may be."""
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    with closing(server.Server(folder, told)):
        yield Somewhere(folder)
    assert not (folder / endpoint.NAME).exists()
    assert "manyhands-control" not in {one.name for one in threading.enumerate()}


@pytest.mark.parametrize(
    ("request_", "calls"),
    [
        ({"do": "stop", "how": "term"}, [("stop", 15)]),
        ({"do": "stop", "how": "now"}, [("stop", 15), ("stop", 15)]),
        ({"do": "stop", "how": "soon"}, ["finish"]),
        ({"do": "stop", "job": 5}, [("job", 5)]),
        ({"do": "pause"}, [("pause", True)]),
        ({"do": "continue"}, [("pause", False)]),
        ({"do": "set", "halt": "now,fail=3"}, ["now,fail=3"]),
    ],
)
def test_it_is_done(run: Somewhere, told: Told, request_: dict[str, Any], calls: list[Any]) -> None:
    assert client.ask(run, request_) == {"ok": True}
    assert told.calls == calls


def test_the_answer_says_what_came_of_it(run: Somewhere) -> None:
    assert client.ask(run, {"do": "set", "jobs": [2, 9]}) == {"ok": True, "jobs": [2, 4]}


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "stop", "job": 50},
        {"do": "stop", "job": "5"},
        {"do": "stop"},
        {"do": "stop", "how": "gently"},
        {"do": "set", "jobs": []},
        {"do": "set", "jobs": [0]},
        {"do": "set", "jobs": [True]},
        {"do": "set", "jobs": [10**9]},
        {"do": "set", "halt": "whenever"},
        {"do": "dance"},
        {},
    ],
)
def test_what_it_cannot_do_is_refused(run: Somewhere, told: Told, request_: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^the run r: "):
        client.ask(run, request_)
    assert told.calls in ([], [("job", 50)])


def test_a_run_that_is_ending_says_so(run: Somewhere, told: Told) -> None:
    client.ask(run, {"do": "pause"})
    with pytest.raises(NotRunningError, match="just ending"):
        client.ask(run, {"do": "continue"})


def test_a_run_that_nobody_carries_out(tmp_path: Path) -> None:
    """Also if it left its socket behind when it was killed."""
    with pytest.raises(NotRunningError, match="the run r is not being carried out"):
        client.ask(Somewhere(tmp_path), {"do": "pause"})
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/{endpoint.NAME}")
    with pytest.raises(NotRunningError, match="the run r is not being carried out"):
        client.ask(Somewhere(tmp_path), {"do": "pause"})
    with closing(server.Server(tmp_path, Told())):
        assert client.ask(Somewhere(tmp_path), {"do": "pause"})["ok"]


def connected(run: Somewhere) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    with endpoint.address(run.path) as path:
        found.connect(path)
    return found


def test_nonsense_does_no_harm(run: Somewhere, told: Told) -> None:
    """Nor do those who send nothing, send too much, or leave at once."""
    for sent in (b"", b"\n", b"\0\xff\n", b"[1]\n", b"[" * 60_000 + b"\n", b"x" * (endpoint.MOST + 10)):
        with connected(run) as one, suppress(OSError):
            one.sendall(sent)
            one.shutdown(socket.SHUT_WR)
            answer = one.recv(1 << 16)
            assert not answer or json.loads(answer)["ok"] is False
    for _ in range(80):
        connected(run).close()
    assert client.ask(run, {"do": "pause"})["ok"]
    assert told.calls == [("pause", True)]


def test_it_is_its_owners_only(run: Somewhere) -> None:
    assert stat.S_IMODE((run.path / endpoint.NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(("uid", "trusted"), [(os.geteuid(), True), (0, True), (os.geteuid() + 4321, False)])
def test_who_is_at_the_other_end(uid: int, trusted: bool) -> None:
    """Told by the kernel; root may do anything anyway."""

    class Peer:
        def getsockopt(self, *_: object) -> bytes:
            return struct.pack("3i", 1, uid, 0)

    assert endpoint.is_trusted(Peer()) is trusted


def test_a_stranger_gets_no_answer(run: Somewhere, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "is_trusted", lambda _: False)
    with pytest.raises(ManyhandsError, match="the run r cannot be reached"):
        client.ask(run, {"do": "pause"})
    assert told.calls == []


def test_a_forked_child_lets_go_of_it(run: Somewhere, told: Told) -> None:
    """Or the run's socket would stay open after the run."""
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os._exit(any("control" in os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.ask(run, {"do": "pause"})["ok"]


def test_where_nothing_can_listen_the_run_goes_on(tmp_path: Path) -> None:
    server.start(tmp_path / "gone", Told())()
