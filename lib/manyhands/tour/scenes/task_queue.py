"""Task queues: a function is called in one process and runs in another. RQ and Celery, with workers of their own and a real Redis."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process, Semaphore
from threading import Thread
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.servers import PATIENCE, client, redis_server
from manyhands.tour.seen import Seen, covered, expect, most_at_once

PICTURES, WORKERS, TICKS, TRIES = 6, 4, 4, 3

Ask = Callable[[], Any]
"""Gives the result of a job, or None while there is none."""
Put = Callable[..., Ask]
"""Puts a function and its arguments."""


# -- the jobs: functions that a worker can import ---------------------------------------------------------------------------


def resize(number: int) -> int:
    with doing("resizes picture {number}", number=number):
        time.sleep(scaled(0.3))
    return number


def ring(port: int) -> int:
    attempt: int = client(port).incr("attempts")
    tell("attempt {attempt} to ring", attempt=attempt)
    if attempt < TRIES:
        raise RuntimeError("nobody answers")
    return attempt


def report() -> str:
    with doing("writes the report"):
        time.sleep(scaled(1))
    return "all is well"


def tick(port: int) -> int:
    count: int = client(port).incr("ticks")
    tell("tick {count}", count=count)
    return count


JOBS = (resize, ring, report, tick)


# -- RQ: a job is the name of a function, which the worker imports ---------------------------------------------------------


def putting_rq(port: int) -> Put:
    from redis import Redis
    from rq import Queue, Retry

    queue = Queue(connection=Redis(port=port))

    def put(function: Callable[..., Any], *args: Any) -> Ask:
        name = f"{function.__module__}.{function.__name__}"
        job = queue.enqueue(name, *args, retry=Retry(max=TRIES))
        return lambda: job.return_value()

    return put


def work_rq(port: int, ready: Any) -> None:
    from redis import Redis
    from rq import SimpleWorker

    worker = SimpleWorker(["default"], connection=Redis(port=port))
    ready.release()
    worker.work(logging_level="CRITICAL")


def beat_rq(port: int, seconds: int) -> None:
    from redis import Redis
    from rq.cron import CronScheduler

    scheduler = CronScheduler(Redis(port=port), logging_level="CRITICAL")
    scheduler.register(tick, "default", args=(port,), interval=seconds)
    scheduler.start()


# -- Celery: a job is the name of a task, which both sides know -------------------------------------------------------------


def celery_app(port: int) -> Any:
    from celery import Celery

    address = f"redis://127.0.0.1:{port}/0"
    app = Celery("tour", broker=address, backend=address, set_as_current=False)
    app.conf.update(worker_prefetch_multiplier=1, beat_scheduler="celery.beat:Scheduler")  # which writes no file
    app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    again = {"max_retries": TRIES, "countdown": 0}
    for job in JOBS:
        app.task(name=job.__name__, autoretry_for=(RuntimeError,), retry_kwargs=again)(job)
    return app


def putting_celery(port: int) -> Put:
    app = celery_app(port)

    def put(function: Callable[..., Any], *args: Any) -> Ask:
        job = app.tasks[function.__name__].delay(*args)
        return lambda: job.result if job.successful() else None

    return put


def work_celery(port: int, ready: Any) -> None:
    from celery.signals import worker_ready

    warnings.simplefilter("ignore")  # that it is played by root
    worker_ready.connect(lambda **_: ready.release(), weak=False)
    alone = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    name = f"{os.getpid()}@tour"
    celery_app(port).Worker(hostname=name, pool="solo", loglevel="CRITICAL", quiet=True, **alone).start()


def beat_celery(port: int, seconds: int) -> None:
    app = celery_app(port)
    app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": seconds, "args": (port,)}}
    app.Beat(loglevel="CRITICAL", quiet=True).run()


WAYS: dict[str, tuple[Callable[[int], Put], Callable[..., None], Callable[..., None]]] = {
    "rq": (putting_rq, work_rq, beat_rq),
    "celery": (putting_celery, work_celery, beat_celery),
}
"""How jobs are put, what a worker does, and what puts a job again and again."""


# -- the scene --------------------------------------------------------------------------------------------------------------


@contextmanager
def running(target: Callable[..., None], *args: Any, name: str) -> Iterator[None]:
    """A process that would run for ever; when the block ends it has nothing to do."""
    process = Process(target=target, args=args, name=name, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@contextmanager
def working(via: str, port: int, numbers: Sequence[int]) -> Iterator[None]:
    """Workers, from when all of them are ready."""
    ready = Semaphore(0)
    with ExitStack() as stack:
        for number in numbers:
            stack.enter_context(running(WAYS[via][1], port, ready, name=f"worker {number}"))
        for _ in numbers:
            if not ready.acquire(timeout=PATIENCE):
                raise RuntimeError("a worker does not begin")
        tell("ready: worker {numbers}", numbers=", ".join(map(str, numbers)))
        yield


def wait_for(asks: list[Ask]) -> list[Any]:
    while (found := [ask() for ask in asks]).count(None):
        time.sleep(0.02)
    return found


def background(put: Put, workers: int) -> None:
    """Many jobs are put at once, and done by and by."""
    asks = [put(resize, number) for number in range(1, PICTURES + 1)]
    done = PICTURES - [ask() for ask in asks].count(None)
    tell("{count} pictures put, workers: {workers}, done: {done}", count=PICTURES, workers=workers, done=done)
    tell("the pictures are there: {found}", found=wait_for(asks))


def retried(put: Put, port: int) -> None:
    (attempts,) = wait_for([put(ring, port)])
    tell("somebody answers, the {attempts}rd time", attempts=attempts)


def web_server(put: Put) -> ThreadingHTTPServer:
    """POST puts a job there and answers at once; GET gives its result, if there is one."""
    asks: list[Ask] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asks.append(put(report))
            self.answer(202, "it will be written")

        def do_GET(self) -> None:
            found = asks[-1]()
            self.answer(*((404, "not yet") if found is None else (200, found)))

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def asked(address: Any, method: str) -> tuple[int, str]:
    line = HTTPConnection(*address)
    line.request(method, "/report")
    with line.getresponse() as answer:
        found = answer.status, answer.read().decode()
    line.close()
    return found


def from_the_web(put: Put) -> None:
    with web_server(put) as server:
        Thread(target=server.serve_forever, name="web", daemon=True).start()
        with doing("POST /report"):
            status, said = asked(server.server_address, "POST")
        tell("the web server answers {status} {said}", status=status, said=said)
        while (found := asked(server.server_address, "GET"))[0] == 404:
            time.sleep(0.02)
        tell("GET /report: {status} {said}", status=found[0], said=found[1])
        server.shutdown()


def periodic(via: str, port: int) -> None:
    """A clock that puts the same job again and again."""
    every = max(1, round(scaled(1)))  # RQ counts in whole seconds
    with running(WAYS[via][2], port, every, name="beat"):
        while int(client(port).get("ticks") or 0) < TICKS:
            time.sleep(0.02)
    tell("a tick every {every} s, {count} times", every=every, count=TICKS)


def task_queue(via: str) -> None:
    """Whoever puts a job does not wait for it: workers do it, again if it fails, and more workers do more at once."""
    with redis_server("real") as port, working(via, port, [1]):
        put = WAYS[via][0](port)
        background(put, 1)
        retried(put, port)
        from_the_web(put)
        periodic(via, port)
        with working(via, port, range(2, WORKERS + 1)):
            background(put, WORKERS)


def task_queue_seen(seen: Seen) -> str:
    expect(seen.data("the pictures are there", "found") == [list(range(1, PICTURES + 1))] * 2, "pictures are missing")
    expect(max(seen.data("{count} pictures", "done")) < PICTURES, "whoever put the pictures has waited for them")
    resized = seen.spans("resizes", 2 * PICTURES)
    alone, together = resized[:PICTURES], resized[PICTURES:]
    expect(len({one.event.pid for one in alone}) == most_at_once(alone) == 1, "one worker was more than one")
    expect(most_at_once(together) > 1, "four workers were never at work at the same time")
    slow, quick = covered(alone), covered(together)
    expect(quick < slow, f"one worker took {slow:.2f} s, {WORKERS} took {quick:.2f} s")
    expect(seen.data("attempt", "attempt") == list(range(1, TRIES + 1)), "it did not fail twice")
    expect(seen.one("somebody answers").data["attempts"] == TRIES, "nobody has answered")
    web_seen(seen)
    ticks = seen.all("tick {count}")
    every, between = seen.one("a tick every").data["every"], ticks[-1].at - ticks[0].at
    due = 1 + between / every
    expect(abs(len(ticks) - due) <= 1, f"{len(ticks)} ticks in {between:.2f} s, one every {every} s")
    return seen.timed(
        f"{TRIES - 1} failures, then an answer; 202 before the report was written; {len(ticks)} ticks in {between:.1f} s; "
        f"{PICTURES} pictures took {slow:.2f} s by one worker, {quick:.2f} s by {WORKERS}"
    )


def web_seen(seen: Seen) -> None:
    """The answer was there before the work was done, and the result after it."""
    answer, (work,), result = seen.one("the web server"), seen.spans("writes", 1), seen.one("GET")
    expect(answer.data["status"] == 202 and answer.at < work.end < result.at, "the request has waited for the work")
    expect((result.data["status"], result.data["said"]) == (200, "all is well"), f"the report is {result.data['said']!r}")
