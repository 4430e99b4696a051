"""One page is slow, another quick: which servers still answer the quick one while the slow one is made for ten visitors?"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Barrier, Semaphore
from multiprocessing.connection import Connection
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.servers import PATIENCE, nginx, served
from manyhands.tour.seen import Seen, Span, expect

VISITORS = 10
WORKERS = 2
SLOW = 0.8


def make(path: str, begun: Any) -> str:
    """The page, after a while unless it is the quick one; ``begun`` counts the slow ones that are being made."""
    if path == "/quick":
        return "here I am"
    with doing("makes {path}", path=path):
        begun.release()
        time.sleep(scaled(SLOW))
    return f"at last: {path}"


# -- a thread for each visitor -------------------------------------------------------------------------------------------


class Threads(ThreadingHTTPServer):
    """The server of the standard library; ``begun`` and ``jobs`` are for who answers."""

    request_queue_size = 100
    begun: Any
    jobs: queue.SimpleQueue[str]
    done: dict[str, str]


class Page(BaseHTTPRequestHandler):
    """Answers one visitor, in a thread of its own."""

    server: Threads

    def do_GET(self) -> None:
        self.reply(200, make(self.path, self.server.begun))

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *line: Any) -> None:
        """Say nothing."""


def serve_by_threads(telling: Connection, begun: Any) -> None:
    server = Threads(("127.0.0.1", 0), Page)
    server.begun = begun
    telling.send(server.server_port)
    server.serve_forever()


# -- a queue behind the page ---------------------------------------------------------------------------------------------


class Desk(Page):
    """Takes orders, and says whether one is done."""

    def do_POST(self) -> None:
        self.server.jobs.put(self.path)
        self.reply(202, "it will be made")

    def do_GET(self) -> None:
        if self.path == "/quick":
            return self.reply(200, "here I am")
        page = self.server.done.get(self.path)
        return self.reply(200, page) if page else self.reply(202, "not yet")


def work(server: Threads) -> None:
    while True:
        path = server.jobs.get()
        server.done[path] = make(path, server.begun)


def serve_by_queue(telling: Connection, begun: Any) -> None:
    server = Threads(("127.0.0.1", 0), Desk)
    server.begun, server.jobs, server.done = begun, queue.SimpleQueue(), {}
    for number in range(WORKERS):
        threading.Thread(target=work, args=(server,), name=f"worker {number + 1}", daemon=True).start()
    telling.send(server.server_port)
    server.serve_forever()


# -- one thread, with an event loop --------------------------------------------------------------------------------------


def serve_by_tornado(telling: Connection, begun: Any, blocking: bool = False) -> None:
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.web import Application, RequestHandler

    class Waiting(RequestHandler):
        async def get(self) -> None:
            with doing("makes {path}", path=self.request.path):
                begun.release()
                await asyncio.sleep(scaled(SLOW))  # meanwhile the loop serves others
            self.write(f"at last: {self.request.path}")

    class Blocking(RequestHandler):
        def get(self) -> None:
            self.write(make(self.request.path, begun))

    async def serve() -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        pages = [("/quick", Blocking), ("/slow/.*", Blocking if blocking else Waiting)]
        HTTPServer(Application(pages)).add_sockets(sockets)
        telling.send(sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(serve())


# -- a few processes, each of which serves one visitor at a time ---------------------------------------------------------


def serve_by_gunicorn(telling: Connection, begun: Any) -> None:
    from gunicorn.app.base import BaseApplication

    all_up = Barrier(WORKERS)

    def page(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        text = make(environ["PATH_INFO"], begun).encode()
        start("200 OK", [("Content-Length", str(len(text)))])
        return [text]

    class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        def load_config(self) -> None:
            settings = {"bind": "127.0.0.1:0", "workers": WORKERS, "post_worker_init": ready, "loglevel": "critical"}
            for name, value in (settings | {"control_socket_disable": True}).items():
                if name in self.cfg.settings:  # older ones have no control socket
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return page

    def ready(worker: Any) -> None:
        if all_up.wait() == 0:
            telling.send(worker.sockets[0].getsockname()[1])

    Server().run()


# -- the visitors --------------------------------------------------------------------------------------------------------


@contextmanager
def web_server(by: Callable[..., None], *more: Any) -> Iterator[tuple[int, Any]]:
    """A server, while the block lasts; gives its port, and what counts the slow pages that it has begun."""
    begun = Semaphore(0)
    with served("server", by, begun, *more) as port:
        yield port, begun


def ask(port: int, path: str, method: str = "GET") -> HTTPConnection:
    """Ask for a page, and do not wait for it."""
    visitor = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    visitor.request(method, path)
    return visitor


def read(visitor: HTTPConnection) -> tuple[HTTPResponse, str]:
    """The answer, and what it says."""
    with closing(visitor):
        answer = visitor.getresponse()
        return answer, answer.read().decode()


def want_quick(port: int) -> None:
    with doing("asks for the quick page"):
        answer, words = read(ask(port, "/quick"))
    tell("{server} says: {words}", server=answer.getheader("Server"), words=words)


def visit(port: int, begun: Any, at_once: int) -> None:
    """Ten want slow pages; when ``at_once`` of these are being made, one more wants the quick page."""
    visitors = [ask(port, f"/slow/{number + 1}") for number in range(VISITORS)]
    with ThreadPoolExecutor(VISITORS) as reading:  # each leaves when its page has come
        pages = reading.map(read, visitors)
        for _ in range(at_once):
            begun.acquire()
        want_quick(port)
        tell("{pages} different slow pages have come, too", pages=len({words for _, words in pages}))


def order(port: int, begun: Any) -> None:
    """Ten order slow pages, and are answered at once; they look again and again whether theirs is done."""
    paths = [f"/slow/{number + 1}" for number in range(VISITORS)]
    for path in paths:
        tell("POST {path} is answered: {status}", path=path, status=read(ask(port, path, "POST"))[0].status)
    begun.acquire()
    want_quick(port)
    for path in paths:
        looks = 1
        while (found := read(ask(port, path)))[0].status == 202:
            time.sleep(scaled(0.1))
            looks += 1
        tell("GET {path}, look {looks}: {words}", path=path, looks=looks, words=found[1])


def web(via: str) -> None:
    """Whoever serves one visitor at a time lets the others wait: have threads, an event loop, a server in front, or a queue."""
    servers = {"threads": serve_by_threads, "tornado": serve_by_tornado, "queue": serve_by_queue}
    with web_server(servers.get(via, serve_by_gunicorn)) as (port, begun):
        if via == "queue":
            order(port, begun)
        elif via == "nginx":
            with nginx(port, {"/quick": "here I am"}) as front:
                visit(front, begun, WORKERS)
        else:
            visit(port, begun, WORKERS if via == "gunicorn" else VISITORS)


def web_broken(via: str) -> None:  # noqa: ARG001 - the mistake of tornado alone
    """One slow call that is not awaited holds up the event loop, and with it every other visitor."""
    with web_server(serve_by_tornado, True) as (port, begun):
        visit(port, begun, 1)


# -- what was seen -------------------------------------------------------------------------------------------------------


def looked_at(seen: Seen) -> tuple[Span, list[Span], list[Span]]:
    """The wait for the quick page; the slow pages that were being made then; those that ended before it came."""
    (quick,), slow = seen.spans("asks for the quick page", 1), seen.spans("makes", VISITORS)
    expect(seen.one("{server} says").data["words"] == "here I am", "the quick page was another one")
    before = [one for one in slow if one.begin < quick.begin < one.end]
    return quick, before, [one for one in slow if quick.begin < one.end < quick.end]


def web_seen(seen: Seen) -> str:
    via = seen.options["via"]
    quick, before, ended = looked_at(seen)
    if via == "queue":
        return queue_seen(seen, quick, before, ended)
    server = seen.one("{server} says").data["server"].partition("/")[0]
    expect(seen.one("{pages} different").data["pages"] == VISITORS, "not all have got their own page")
    if via == "gunicorn":
        expect(len(before) == WORKERS, f"{len(before)} slow pages were being made")
        expect(len(ended) > VISITORS - 2 * WORKERS, f"the quick page came when {len(ended)} slow ones had ended")
        return seen.timed(
            f"{server} does not answer at once: its {WORKERS} workers were taken, "
            f"and the quick page came after {quick.took:.2f} s, behind {len(ended)} slow ones"
        )
    at_once = WORKERS if via == "nginx" else VISITORS
    expect(len(before) == at_once, f"{len(before)} slow pages were being made, not {at_once}")
    expect(not ended, f"{len(ended)} slow pages ended before the quick one came")
    return seen.timed(
        f"{server} answers: {VISITORS} slow pages were asked for, {at_once} were being made, none was done, "
        f"and the quick one came after {1000 * quick.took:.0f} ms"
    )


def queue_seen(seen: Seen, quick: Span, before: list[Span], ended: list[Span]) -> str:
    made = {one.event.data["path"]: one for one in seen.spans("makes")}
    taken = seen.all("POST", VISITORS)
    for one in taken:
        expect(one.data["status"] == 202, f"{one.said}")
        expect(one.at < made[one.data["path"]].end, f"{one.data['path']} was done before its order was confirmed")
    found = [one.data["words"] for one in seen.all("GET", VISITORS)]
    expect(found == [f"at last: {one.data['path']}" for one in taken], f"made was {found}")
    expect(
        before and not ended, f"{len(before)} slow pages were being made, {len(ended)} ended before the quick one came"
    )
    return seen.timed(
        f"{VISITORS} orders were answered with 202 before they were done; the quick page came after {1000 * quick.took:.0f} ms, "
        f"and each visitor has got what was ordered"
    )


def web_broken_seen(seen: Seen) -> str:
    quick, before, ended = looked_at(seen)
    expect(len(before) == 1, f"{len(before)} slow pages were being made at once")
    expect(ended, "the quick page came before a slow one had ended")
    return seen.timed(
        f"the event loop stood still: the quick page came after {quick.took:.2f} s, behind {len(ended)} slow ones"
    )
