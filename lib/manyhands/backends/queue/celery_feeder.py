"""A worker of Celery whose tasks are done by the consumer beside it: started with ``python -m``, settings on its standard input.

    broker --> Celery's consumer, behind our door --> Celery's pool, which hands over --link--> manyhands' consumer

Nothing of a message is called here, and what is not exactly an attempt never gets into Celery: some of it would end every worker that gets
it. `celery inspect` and flower see an ordinary worker; what would change it from afar, `celery control`, is not there.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from celery.exceptions import Reject
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from kombu import compression

from manyhands.backends.queue.attempt_queue import ATTEMPT, queue_name
from manyhands.backends.queue.celery_app import celery_app, queue_of
from manyhands.backends.queue.celery_queue import message_in, remove_queue
from manyhands.backends.queue.feeder_link import Link, as_feeder, saying
from manyhands.backends.queue.messages import NotOursError

_HARMLESS: Final = frozenset({"enable_events", "disable_events", "heartbeat", "election"})
"""What `celery control` may do; all that only looks is `celery inspect`."""
_NAME: Final = 300


class Door(Consumer):  # type: ignore[misc]  # untyped
    """Celery's consumer, which only gets attempts: Celery itself dies of other messages, again and again, because they come back."""

    def create_task_handler(self, *args: Any, **named: Any) -> Callable[[Any], None]:
        """What is called with each message."""
        inner = super().create_task_handler(*args, **named)

        def received(message: Any) -> None:
            try:
                message_in(message)
            except NotOursError as error:
                Handover.say(f"set aside: a message of Celery: {error}")
                message.reject_log_error(logging.getLogger(__name__), self.connection_errors)
                return
            message.headers = _plain(message.headers)
            inner(message)

        return received


def _plain(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of an attempt, with nothing that Celery would do beside it: no callbacks, no time limits, no moments."""
    shown = headers.get("argsrepr")
    return {
        "lang": "py",
        "task": ATTEMPT,
        "id": headers["id"][:_NAME],
        "root_id": headers["id"][:_NAME],
        "argsrepr": shown[:_NAME] if isinstance(shown, str) else "",
        "kwargsrepr": "",
        "retries": 0,
        "timelimit": [None, None],
        "origin": "manyhands",
        "ignore_result": True,
    }


class Handover(BasePool):  # type: ignore[misc]  # untyped
    """Celery's pool: a task is handed over to the consumer beside us, and is over when that says so. Everything in Celery's one thread."""

    link: ClassVar[Link]
    orders: ClassVar[deque[dict[str, Any]]] = deque()
    bell: ClassVar[tuple[int, int]]
    worker: ClassVar[Any]
    """Celery's, to which this pool belongs."""
    slots: ClassVar[int]
    amqp: ClassVar[bool]

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._running: dict[int, tuple[Callable[[Any], None], float, str]] = {}
        """What ends a task, when it began, and its execution."""
        self._number = 0
        self._ready = False

    @classmethod
    def say(cls, text: str) -> None:
        """Say something to the user."""
        cls.link.send({"type": "say", "text": text})

    @classmethod
    def ordered(cls, order: dict[str, Any]) -> None:
        """The consumer wants something; from any thread."""
        cls.orders.append(order)
        os.write(cls.bell[1], b"!")

    def register_with_event_loop(self, hub: Any) -> None:
        """Celery has connected, perhaps anew."""
        hub.add_reader(self.bell[0], self._obey_all)
        if not self._ready:
            self._ready = True
            self.link.send({"type": "ready"})

    def on_apply(
        self,
        *_: Any,
        callback: Callable[[Any], None],
        accept_callback: Callable[[int, float], None],
        **__: Any,
    ) -> None:
        """A task is to begin; ``callback`` ends it."""
        request = callback.__self__  # type: ignore[attr-defined]  # it is a method of Celery's request
        run, message = message_in(request._message)
        self._number += 1
        self._running[self._number] = callback, time.monotonic(), run
        accept_callback(os.getpid(), time.monotonic())
        text = message.decode("utf-8", "surrogatepass")
        self.link.send({"type": "attempt", "number": self._number, "run": run, "message": text})

    def _obey_all(self, *_: Any) -> None:
        os.read(self.bell[0], 4096)
        while self.orders:
            order = self.orders.popleft()
            verb = getattr(self, f"_{order['type']}")
            verb(order)

    def _done(self, order: Mapping[str, Any]) -> None:
        for callback, began, _ in self._taken_out(order["numbers"]):
            callback((False, None, time.monotonic() - began))

    def _taken_out(self, numbers: Sequence[int]) -> list[tuple[Callable[[Any], None], float, str]]:
        """These tasks, which run no more; those of an execution that is gone are over already."""
        return [self._running.pop(number) for number in numbers if number in self._running]

    def _back(self, order: Mapping[str, Any]) -> None:
        for callback, _, _ in self._taken_out(order["numbers"]):
            try:
                raise Reject("given back", requeue=True)
            except Reject:
                callback((True, ExceptionInfo(), 0.0))

    def _queues(self, order: Mapping[str, Any]) -> None:
        consumer = self.worker.consumer
        known = self.app.amqp.queues
        wanted = {queue_name(run): run for run in order["queues"]}
        for name in [*known.consume_from]:
            if name not in wanted:
                consumer.cancel_task_queue(name)
        for name, run in wanted.items():
            if name not in known:
                known.add(queue_of(run, amqp=self.amqp))
            if name not in known.consume_from:
                consumer.add_task_queue(name)

    def _ahead(self, order: Mapping[str, Any]) -> None:
        qos = self.worker.consumer.qos
        qos.value = self.slots + order["number"]  # Celery's loop sends it when it differs

    def _gone(self, order: Mapping[str, Any]) -> None:
        name = queue_name(order["queue"])
        self._done({"numbers": [number for number, (_, _, run) in self._running.items() if run == order["queue"]]})
        known = self.app.amqp.queues
        if name in known.consume_from:
            self.worker.consumer.cancel_task_queue(name)
        if name in known:
            del known[name]
        remove_queue(self.worker.consumer.connection, queue_of(order["queue"], amqp=self.amqp), amqp=self.amqp)

    def _end(self, order: Mapping[str, Any]) -> None:  # noqa: ARG002 - it is a verb
        state.should_stop = 0  # Celery's loop looks at it


def _decompress_nothing() -> None:
    """A small message may be a very large one then; ours are not compressed."""

    def refuse(_: object) -> bytes:
        raise NotOursError("it is compressed")

    for kind in compression.encoders():
        compression.register(refuse, refuse, kind)


def work(settings: Mapping[str, Any], link: Link) -> None:
    """Be a worker until the consumer ends."""
    _decompress_nothing()
    app = celery_app(settings, patient=True)
    Handover.link = link
    Handover.slots, Handover.amqp = settings["slots"], settings["amqp"]
    logging.getLogger().addHandler(saying(link))
    app.task(name=ATTEMPT, acks_late=True, ignore_result=True)(_never)
    app.amqp.queues.select(())  # else it would take what other programs put into Celery's usual queue
    app.amqp.queues._consume_from = {}
    for name, command in [*Panel.meta.items()]:
        if command.type != "inspect" and name not in _HARMLESS:
            del Panel.data[name]
    with app.connection_for_read() as trial:
        trial.ensure_connection(max_retries=1, interval_start=0, timeout=5)
    worker = app.WorkController(
        pool_cls=Handover,
        consumer_cls=Door,
        concurrency=settings["slots"],
        hostname=f"manyhands@{settings['name']}",
        without_mingle=True,
        without_gossip=True,
    )
    Handover.worker = worker
    worker.start()


def _never(*_: Any) -> None:
    """The task itself: the pool hands it over, and calls nothing."""


if __name__ == "__main__":
    Handover.bell = os.pipe()
    as_feeder(work, Handover.ordered)
