"""A worker of RQ whose jobs are done by the consumer beside it: started with ``python -m``, settings on its standard input.

    broker --> RQ's queues, behind our door --link--> manyhands' consumer

Nothing of a message is called here, no callback, no webhook, and no work horse is forked. RQ's maintenance is left out: it dies of what it
cannot read, and what it would do, the coordinator does. Commands that RQ can send to a worker are not heard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final

from redis.exceptions import RedisError
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.worker import WorkerStatus

from manyhands.backends.queue.attempt_queue import KEPT, run_of
from manyhands.backends.queue.feeder_link import Link, as_feeder, saying
from manyhands.backends.queue.messages import NotOursError
from manyhands.backends.queue.rq_connection import connection_of
from manyhands.backends.queue.rq_job import BoundedJob
from manyhands.backends.queue.rq_queue import forget_queue, message_in, rq_queue

_BLOCK: Final = 0.25
"""Seconds that are waited for jobs before we look whether anything else is to be done."""
_AGAIN: Final = 1.0
_BEAT: Final = 5.0
_TTL: Final = 30
"""Seconds for which RQ believes a worker without a sign of life, and a minute more."""


class Door(Queue):  # type: ignore[misc]  # untyped
    """A queue of RQ that sets aside a job which cannot be read: RQ's worker ends, and does so again at every start."""

    say: ClassVar[Callable[[str], None]]

    @classmethod
    def _fetch_dequeued_job(cls, connection: Any, queue_key: str, job_id: str, **named: Any) -> Any:
        try:
            return super()._fetch_dequeued_job(connection, queue_key, job_id, **named)
        except (RedisError, OSError) as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            cls._set_aside(connection, queue_key, job_id, error)
        except Exception as error:  # it may be anything
            cls._set_aside(connection, queue_key, job_id, error)
        return None

    @classmethod
    def _set_aside(cls, connection: Any, queue_key: str, job_id: str, error: Exception) -> None:
        cls.say(f"set aside: a job of RQ: {error!s:.80}")
        connection.delete(Job.key_for(job_id))
        connection.lrem(f"{queue_key}:intermediate", 0, job_id)


class Handover:
    """Takes jobs from RQ, and hands them over. Everything in one thread, but `ordered`."""

    def __init__(self) -> None:
        self._orders: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()
        self._running: dict[int, tuple[Any, Any]] = {}
        self._number = self._more = 0
        self._next_beat = 0.0
        self._ended = self._is_busy = False

    def ordered(self, order: dict[str, Any]) -> None:
        """The consumer wants something; from any thread."""
        with self._changed:
            self._orders.append(order)
            self._changed.notify_all()

    def work(self, settings: Mapping[str, Any], link: Link) -> None:
        """Be a worker until the consumer ends."""
        logging.getLogger().addHandler(saying(link))
        Door.say = partial(_say, link)
        self._link, self._slots = link, settings["slots"]
        self._redis = connection_of(settings)
        self._worker = SimpleWorker(
            [], name=settings["name"], connection=self._redis, serializer="json", queue_class=Door, worker_ttl=_TTL
        )
        self._be_born()
        link.send({"type": "ready"})
        broken = False
        while not self._ended:
            try:
                self._step()
                broken = False
            except (RedisError, OSError) as error:
                if not broken:
                    Door.say(f"RQ's broker does not answer: {error}; trying again")
                broken = True
                time.sleep(_AGAIN)
        self._worker.register_death()

    def _be_born(self) -> None:
        """Be in RQ's list of workers, where one of our name may be that has died."""
        self._redis.delete(self._worker.key)
        self._worker.register_birth()

    def _step(self) -> None:
        """One round; nothing of it waits long."""
        while self._orders:
            order = self._orders[0]
            getattr(self, f"_{order['type']}")(order)
            self._orders.popleft()
        if time.monotonic() >= self._next_beat:
            self._beat()
        if self._worker.queues and len(self._running) < self._slots + self._more:
            self._take()
        elif not self._ended:
            with self._changed:
                self._changed.wait_for(lambda: self._orders, max(0.01, self._next_beat - time.monotonic()))

    def _beat(self) -> None:
        if not self._redis.exists(self._worker.key):  # the broker has lost its memory
            self._be_born()
            self._is_busy = False
        self._worker.heartbeat()
        self._next_beat = time.monotonic() + _BEAT
        if self._is_busy != bool(self._running):
            self._is_busy = bool(self._running)
            self._worker.set_state(WorkerStatus.BUSY if self._is_busy else WorkerStatus.IDLE)

    # -- jobs ------------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        queues = self._worker.queues
        queues.append(queues.pop(0))  # in turn
        try:
            found = Door.dequeue_any(queues, _BLOCK, connection=self._redis, job_class=BoundedJob, serializer="json")
        except DequeueTimeout:
            return
        except UnicodeDecodeError as error:  # the id
            Door.say(f"set aside: a job of RQ: {error!s:.80}")
            for queue in queues:
                self._redis.delete(queue.intermediate_queue_key)
            return
        if found is not None:
            self._hand_over(*found)

    def _hand_over(self, job: Any, queue: Any) -> None:
        job.origin, job.group_id, job.webhooks = queue.name, None, []
        try:
            text = message_in(job).decode("utf-8", "surrogatepass")
        except NotOursError as error:
            Door._set_aside(self._redis, queue.key, job.id, error)
            return
        execution = self._worker.prepare_execution(job)
        self._worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
        self._redis.expire(job.key, KEPT)
        self._number += 1
        self._running[self._number] = job, execution
        self._link.send({"type": "attempt", "number": self._number, "run": run_of(queue.name), "message": text})

    def _done(self, order: Mapping[str, Any]) -> None:
        numbers = self._ours(order)
        with self._redis.pipeline() as pipe:
            for number in numbers:
                job, execution = self._running[number]
                self._worker.cleanup_execution(job, pipe, execution)
                pipe.delete(job.key)
                self._worker.increment_successful_job_count(pipe)
            pipe.execute()
        for number in numbers:
            del self._running[number]

    def _ours(self, order: Mapping[str, Any]) -> list[int]:
        """The jobs that an order is about; those of an execution that is gone are over already."""
        return [number for number in order["numbers"] if number in self._running]

    def _back(self, order: Mapping[str, Any]) -> None:
        numbers = self._ours(order)
        with self._redis.pipeline() as pipe:
            for number in numbers:
                job, execution = self._running[number]
                self._worker.cleanup_execution(job, pipe, execution)
                job.set_status("queued", pipeline=pipe)
                Queue(job.origin, connection=self._redis).push_job_id(job.id, pipeline=pipe, at_front=True)
            pipe.execute()
        for number in numbers:
            del self._running[number]

    # -- what else the consumer wants ------------------------------------------------------------------------------------

    def _queues(self, order: Mapping[str, Any]) -> None:
        with self._redis.pipeline() as pipe:
            worker_registration.unregister(self._worker, pipe)
            self._worker.queues = [rq_queue(run, self._redis) for run in order["queues"]]
            worker_registration.register(self._worker, pipe)
            pipe.hset(self._worker.key, "queues", ",".join(self._worker.queue_names()))
            pipe.execute()

    def _ahead(self, order: Mapping[str, Any]) -> None:
        self._more = order["number"]

    def _gone(self, order: Mapping[str, Any]) -> None:
        queue = rq_queue(order["queue"], self._redis)
        self._done({"numbers": [number for number, (job, _) in self._running.items() if job.origin == queue.name]})
        forget_queue(queue, self._redis)

    def _end(self, order: Mapping[str, Any]) -> None:  # noqa: ARG002 - it is a verb
        self._ended = True


def _say(link: Link, text: str) -> None:
    link.send({"type": "say", "text": text})


if __name__ == "__main__":
    worker = Handover()
    as_feeder(worker.work, worker.ordered)
