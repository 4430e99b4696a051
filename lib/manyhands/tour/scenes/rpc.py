"""Remote objects: a rack of dishes that lives in a server, and programs that use it over TCP as if it were theirs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError, Process
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseManager
from typing import Any

from manyhands.tour.scene_tools import tell
from manyhands.tour.scenes.servers import served
from manyhands.tour.seen import Seen, expect


class Rack:
    """It exists once, in the server: others have only its address."""

    def __init__(self) -> None:
        self._dishes: list[Any] = []

    def put(self, dish: Any) -> int:
        self._dishes.append(dish)
        tell("server: now {count} on the rack", count=len(self._dishes))
        return os.getpid()

    def take(self) -> Any:
        if not self._dishes:
            raise LookupError("the rack is empty")
        tell("server: takes one of {count}", count=len(self._dishes))
        return self._dishes.pop()


class RackManager(BaseManager):
    """Racks of another process."""


def serve(telling: Connection, via: str, key: bytes, lax: bool) -> None:
    os.environ["SECRET"] = secret = f"the code is {secrets.randbelow(10**6):06}"
    tell("server: has a rack, and a secret for nobody", secret=secret)
    if via == "manager":
        rack = Rack()
        RackManager.register("rack", callable=lambda: rack)
        manager: Any = RackManager(("127.0.0.1", 0), authkey=key).get_server()
        telling.send(manager.address[1])
        manager.serve_forever()
    else:
        serve_by_rpyc(telling, {"allow_all_attrs": True} if lax else {"allow_public_attrs": True})


def serve_by_rpyc(telling: Connection, allowed: dict[str, bool]) -> None:
    import rpyc
    from rpyc.utils.server import ThreadedServer

    class Kitchen(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
        exposed_rack = Rack()

    server = ThreadedServer(Kitchen, hostname="127.0.0.1", port=0, protocol_config=allowed)
    telling.send(server.port)
    server.start()


@contextmanager
def remote_rack(via: str, port: int, key: bytes) -> Iterator[Any]:
    """What stands for the rack here: each call of a method is sent there, and waits for the answer."""
    if via == "manager":
        RackManager.register("rack")
        manager: Any = RackManager(("127.0.0.1", port), authkey=key)
        manager.connect()
        yield manager.rack()
    else:
        import rpyc

        with rpyc.connect("127.0.0.1", port) as connection:
            yield connection.root.rack


def washer(via: str, port: int, key: bytes) -> None:
    with remote_rack(via, port, key) as rack:
        for dish in ("salad", "bread"):
            tell("puts the {dish}, and is answered by process {server}", dish=dish, server=rack.put(dish))


def dryer(via: str, port: int, key: bytes) -> None:
    with remote_rack(via, port, key) as rack:
        try:
            while True:
                tell("was given the {dish}", dish=rack.take())
        except LookupError as error:
            tell("catches a {kind}: {message}", kind=type(error).__name__, message=error.args[0])


def stranger(via: str, port: int) -> None:
    try:
        with remote_rack(via, port, b"a guess") as rack:
            tell("has got {found}", found=list(rack._dishes))
    except (AttributeError, AuthenticationError) as error:
        tell("refused: {message} ({kind})", kind=type(error).__name__, message=error.args[0])


def rpc(via: str) -> None:
    """The rack stays in the server when who filled it has left; what goes wrong there is raised here."""
    key = secrets.token_bytes(32)
    with served("server", serve, via, key, False) as port:
        for name, target, known in (("washer", washer, [key]), ("dryer", dryer, [key]), ("stranger", stranger, [])):
            program = Process(target=target, args=(via, port, *known), name=name)
            program.start()
            program.join()


def rpc_seen(seen: Seen) -> str:
    server, put, given = seen.one("server: has"), seen.all("puts the", 2), seen.all("was given", 2)
    for one in put:
        expect(one.data["server"] == server.pid != one.pid, f"process {one.data['server']} has answered")
    expect({one.pid for one in seen.all("server: ")} == {server.pid}, "the rack was in more than one process")
    expect(len({server.pid, put[0].pid, given[0].pid}) == 3, "they were not three programs")
    taken = [one.data["dish"] for one in given]
    expect(taken == ["bread", "salad"], f"taken were {taken}")
    caught, refused = seen.one("catches a").data, seen.one("refused").data
    expect(caught == {"kind": "LookupError", "message": "the rack is empty"}, f"caught was {caught}")
    expect(seen.all("has got") == [], "a stranger was let in")
    return (
        f"what {put[0].pid} put on the rack of {server.pid} was there for {given[0].pid}; "
        f"a LookupError came over as itself, and a stranger got an {refused['kind']}"
    )


class Trick:
    """What pickle makes of it where it arrives is the result of a call."""

    def __reduce__(self) -> Any:
        return os.getenv, ("SECRET",)


def thief(via: str, port: int) -> None:
    with remote_rack(via, port, b"") as rack:
        if via == "manager":
            rack.put(Trick())  # the server calls os.getenv while it unpickles this
            tell("has made the server say: {found}", found=rack.take())
        else:
            there = rack.put.__func__.__globals__  # all that the server's module knows
            tell("has made the server say: {found}", found=there["os"].getenv("SECRET"))


def rpc_broken(via: str) -> None:
    """allow_all_attrs, or a key that everybody knows: whoever can connect has the server do what he likes."""
    with served("server", serve, via, b"", True) as port:
        program = Process(target=thief, args=(via, port), name="thief")
        program.start()
        program.join()


def rpc_broken_seen(seen: Seen) -> str:
    server, stolen = seen.one("server: has"), seen.one("has made the server say")
    expect(stolen.pid != server.pid, "the server has told itself")
    expect(stolen.data["found"] == server.data["secret"], f"the stranger has got {stolen.data['found']!r}")
    return (
        f"a stranger had process {server.pid} call os.getenv, which nobody has offered, and knows: {stolen.data['found']}"
    )
