"""Events: many conversations in one thread, by gevent, eventlet and Twisted; and actors, which talk by messages only."""

from __future__ import annotations

import copy
import threading
import time
import warnings
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from manyhands.tour.scene_tools import NotPossible, doing, scaled, tell
from manyhands.tour.scenes.name_server import NameServer
from manyhands.tour.seen import Seen, expect, most_at_once

HOSTS = ("quick.test", "slow.test", "slower.test", "dead.test")
"""What the scenes' own name server knows; it never answers for the last."""


def look_up(host: str, gethostbyname: Any) -> str | None:
    with doing("looks up {host}", host=host):
        try:
            address: str = gethostbyname(host)
        except (OSError, UnicodeError):
            return None
    tell("{host} is {address}", host=host, address=address)
    return address


def resolve(hosts: list[str], via: str) -> None:
    """gevent.spawn begins a greenlet, joinall waits for them, but not for ever: only while answers come."""
    from gevent import joinall, monkey, spawn

    if via == "gevent":
        from gevent.socket import gethostbyname
    else:
        monkey.patch_all() if via == "patch-all" else monkey.patch_socket()
        from socket import gethostbyname  # the standard one, which now lets others have their turn

    with NameServer() as server:
        use_name_server(server)
        greenlets = [spawn(look_up, host, gethostbyname) for host in hosts or HOSTS]
        for greenlet, host in zip(greenlets, hosts or HOSTS, strict=True):
            greenlet.name = host
        pending = greenlets
        while pending and joinall(pending, timeout=patience(2), count=1):  # until nothing has come for two seconds
            pending = [one for one in pending if not one.ready()]
        for greenlet, host in zip(greenlets, hosts or HOSTS, strict=True):
            if greenlet.value is None:
                tell("{host} has not answered", host=host)
                greenlet.kill()


def patience(seconds: float) -> float:
    """How long to wait for answers: on a busy machine even a quick one takes its time, so never less than so many seconds."""
    return max(seconds, scaled(seconds))


def use_name_server(server: NameServer) -> None:
    from gevent import get_hub
    from gevent.resolver.ares import Resolver

    get_hub().resolver = Resolver(servers=["127.0.0.1"], udp_port=server.port, timeout=patience(5), tries=1)


def resolve_seen(seen: Seen) -> str:
    hosts = seen.options.get("hosts") or list(HOSTS)
    spans, found = seen.spans("looks up"), sorted(seen.data("{host} is", "host"))
    expect(found == sorted(host for host in hosts if host != "dead.test"), f"found: {found}")
    expect(
        seen.data("{host} has not", "host") == [host for host in hosts if host == "dead.test"],
        "another host has not answered",
    )
    expect(most_at_once(spans) == len(hosts), f"{most_at_once(spans)} of {len(hosts)} look-ups ran at once")
    slowest = max((one.took for one in spans if one.event.data["host"] in found), default=0.0)
    together = f"all at once (together {sum(one.took for one in spans):.2f} s)"
    dead = [one for one in spans if one.event.data["host"] == "dead.test"]
    if not dead:
        return f"{len(found)} names were found, the slowest after {slowest:.2f} s, {together}"
    expect(all(one.end < dead[0].end for one in spans if one not in dead), "a name came after the dead one was given up")
    return (
        f"{len(found)} of {len(hosts)} names were found, the slowest after {slowest:.2f} s, {together}; "
        f"the dead one was waited for {dead[0].took:.2f} s, and held nobody up"
    )


def eventlet_names() -> None:
    """A GreenPool does the same; its green name look-up asks servers by itself."""
    with NameServer() as server:
        green_socket = green_socket_asking(server)
        import eventlet

        pool = eventlet.GreenPool()
        for host, address in zip(
            HOSTS, pool.imap(look_up, HOSTS, [green_socket.gethostbyname] * len(HOSTS)), strict=True
        ):
            if address is None:
                tell("{host} has not answered", host=host)


def green_socket_asking(server: NameServer) -> Any:
    warnings.simplefilter("ignore")  # its authors advise against new uses of it, and say so at import
    try:
        from eventlet.green import socket
        from eventlet.support import greendns
    except Exception as error:
        raise NotPossible(f"eventlet does not work on this Python: {type(error).__name__}: {error}") from None
    asked = greendns.dns.resolver.Resolver(configure=False)
    asked.nameservers, asked.port, asked.lifetime = ["127.0.0.1"], server.port, patience(3)
    greendns.resolver._resolver = asked
    return socket


def eventlet_names_seen(seen: Seen) -> str:
    return resolve_seen(seen)


# -- Twisted -------------------------------------------------------------------------------------------------------------


def serve(telling: Connection) -> None:
    """Knock-knock: for every line that it knows the server has an answer; it goes on serving until it is terminated."""
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory
    from twisted.protocols.basic import LineReceiver

    class Server(LineReceiver):  # type: ignore[misc]  # Twisted's is Any where it is not installed
        def lineReceived(self, line: bytes) -> None:
            tell("server hears {line!r}", line=line.decode())
            self.sendLine(b"Who's there?" if line == b"Knock, knock!" else line + b" who?")

    loop: Any = reactor
    port = loop.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    telling.send(port.getHost().port)
    loop.run()


def knock_at(port: int, name: str) -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import ClientFactory
    from twisted.protocols.basic import LineReceiver

    loop: Any = reactor

    class Client(LineReceiver):  # type: ignore[misc]
        def connectionMade(self) -> None:
            self.sendLine(b"Knock, knock!")

        def lineReceived(self, line: bytes) -> None:
            tell("hears {line!r}", name=name, line=line.decode())
            if line == b"Who's there?":
                self.sendLine(name.encode())
            else:
                self.transport.loseConnection()
                loop.stop()

    loop.connectTCP("127.0.0.1", port, ClientFactory.forProtocol(Client))
    loop.run()


def knock() -> None:
    """What crosses a connection is bytes, line by line; the reactor calls the protocol when a line has come."""
    mine, theirs = Pipe()
    server = Process(target=serve, args=(theirs,))
    server.start()
    port = mine.recv()
    for name in ("Disappearing client", "Second client"):
        client = Process(target=knock_at, args=(port, name))
        client.start()
        client.join()
        tell(
            "{name}: exit {code}; server alive: {alive}",
            name=name,
            code=client.exitcode,
            alive=server.is_alive(),
        )
    server.terminate()
    server.join()


def knock_seen(seen: Seen) -> str:
    for name in ("Disappearing client", "Second client"):
        heard = [one.data["line"] for one in seen.all("hears") if one.data["name"] == name]
        expect(heard == ["Who's there?", f"{name} who?"], f"{name} heard {heard}")
    said = seen.data("server hears", "line")
    expect(said == ["Knock, knock!", "Disappearing client", "Knock, knock!", "Second client"], f"the server heard {said}")
    ends = [(one.data["code"], one.data["alive"]) for one in seen.all("{name}: exit")]
    expect(ends == [(0, True), (0, True)], f"the clients ended with {ends}")
    expect(len({one.pid for one in seen.all("hears")}) == 2, "the clients were one process")
    return "two clients, one after the other, had their four lines with the server, which went on serving"


# -- actors --------------------------------------------------------------------------------------------------------------


class Counter:
    """An actor: its state is its own, messages come in as copies, and are done one at a time."""

    def __init__(self, expected: int) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._total, self._expected = 0, expected
        self._thread = threading.Thread(target=self._run, name="counter")
        self._thread.start()

    def send(self, message: Any) -> None:
        self._inbox.put(copy.deepcopy(message))

    def _run(self) -> None:
        done = 0
        while (message := self._inbox.get()) is not None:
            before = self._total
            time.sleep(0)  # nobody can come in between: this thread alone has the total
            self._total, done = before + message["add"], done + 1
            if done <= SPEAK or done % -(-self._expected // 4) == 0:
                tell("message {done}: {message} makes {total}", done=done, message=message, total=self._total)
        tell("there is no more: the total is {total}", total=self._total)

    def end(self) -> None:
        self._inbox.put(None)
        self._thread.join()


SPEAK = 3
"""How many of them say what they do: a thousand lines are too many to read."""


def actor(workers: int) -> None:
    """So many senders at once, and no lock anywhere; what a sender changes after sending does not arrive."""
    counter = Counter(workers)

    def send(number: int) -> None:
        message = {"add": 1}
        counter.send(message)
        message["add"] = 1_000_000
        if number <= SPEAK:
            tell("has sent 1, and then made it {message}", message=message)

    senders = [threading.Thread(target=send, args=(n + 1,), name=f"sender {n + 1}") for n in range(workers)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    tell("{senders} senders have sent", senders=len(senders))
    counter.end()


def actor_seen(seen: Seen) -> str:
    told, senders = seen.one("there is no more"), seen.one("{senders}").data["senders"]
    messages, changed = seen.all("message {done}"), seen.all("has sent 1")
    expect({one.thread for one in [told, *messages]} == {"counter"}, "somebody else has counted")
    expect(all(one.data["total"] == one.data["done"] for one in messages), "a message came changed")
    expect(changed and "counter" not in {one.thread for one in changed}, "no sender has changed its message")
    expect(told.data["total"] == senders, f"the total is {told.data['total']}, not {senders}")
    return f"{senders:,} senders, and the actor has counted {told.data['total']:,}: no update lost, no message changed on its way"


def actor_broken(workers: int) -> None:
    """Everybody changes the total itself: what came in between is lost."""
    totals = [0]

    def add() -> None:
        before = totals[0]
        time.sleep(0.001)
        totals[0] = before + 1

    senders = [threading.Thread(target=add) for _ in range(workers)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    tell("{senders} have added 1, and the total is {total}", senders=workers, total=totals[0])


def actor_broken_seen(seen: Seen) -> str:
    found = seen.one("{senders} have").data
    expect(found["total"] < found["senders"], "by chance none was lost")
    return f"{found['senders']:,} have added 1, and the total is {found['total']:,}"
