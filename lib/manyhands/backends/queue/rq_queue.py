"""`AttemptQueue` in RQ: jobs and queues that `rq info` shows. JSON only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from manyhands.backends.queue.attempt_queue import KEPT, Waiting, queue_name
from manyhands.backends.queue.messages import NotOursError
from manyhands.backends.queue.redis_connection import client, our_errors
from manyhands.backends.queue.rq_connection import FUNCTION
from manyhands.work.broker_url import BrokerUrl


class RqQueue:
    """See the module's first line."""

    def __init__(self, url: BrokerUrl) -> None:
        self._redis = client(url)

    def _queue(self, run: str) -> Any:
        return rq_queue(run, self._redis)

    def make(self, run: str) -> bool:
        """See `AttemptQueue`: an empty list is none in Redis, so it is never missing."""
        queue = self._queue(run)
        with our_errors():
            for key in keys_of(queue):
                self._redis.expire(key, KEPT)
        return False

    def put(self, run: str, attempts: Sequence[Waiting]) -> None:
        """See `AttemptQueue`."""
        queue = self._queue(run)
        data = [
            queue.prepare_data(
                FUNCTION,
                args=(one.message.decode(),),
                job_id=one.name,
                description=one.shown,
                timeout=-1,
                result_ttl=0,
                ttl=KEPT,
                failure_ttl=KEPT,
            )
            for one in attempts
        ]
        with our_errors():
            queue.enqueue_many(data)

    def count(self, run: str) -> int:
        """See `AttemptQueue`."""
        with our_errors():
            return int(self._queue(run).count)

    def drain(self, run: str) -> list[bytes]:
        """See `AttemptQueue`."""
        from manyhands.backends.queue.rq_job import BoundedJob

        found: list[bytes] = []
        queue = self._queue(run)
        with our_errors():
            while (id := self._redis.lpop(queue.key)) is not None:
                with suppress(Exception):  # it may be anything
                    job = BoundedJob.fetch(id.decode(), connection=self._redis, serializer="json")
                    found.append(message_in(job))
                    job.delete(remove_from_queue=False)
        return found

    def remove(self, run: str) -> None:
        """See `AttemptQueue`."""
        queue = self._queue(run)
        with our_errors():
            forget_queue(queue, self._redis)

    def close(self) -> None:
        """See `AttemptQueue`."""
        self._redis.close()


def rq_queue(run: str, connection: Any) -> Any:
    """The queue of an execution, as RQ has it."""
    from rq import Queue

    return Queue(queue_name(run), connection=connection, serializer="json")


def keys_of(queue: Any) -> list[str]:
    """All keys of a queue, but those of its jobs."""
    registries = (queue.started_job_registry, queue.finished_job_registry, queue.failed_job_registry)
    return [queue.key, queue.intermediate_queue_key, *(one.key for one in registries)]


def forget_queue(queue: Any, connection: Any) -> None:
    """Remove a queue with its jobs."""
    from rq.job import Job

    ids = [*connection.lrange(queue.key, 0, -1), *connection.lrange(queue.intermediate_queue_key, 0, -1)]
    ids += [one.partition(b":")[0] for one in connection.zrange(queue.started_job_registry.key, 0, -1)]
    jobs = [Job.key_for(one.decode("utf-8", "replace")) for one in ids]
    with connection.pipeline() as pipe:
        pipe.srem(queue.redis_queues_keys, queue.key)
        pipe.delete(*keys_of(queue), *jobs)
        pipe.execute()


def message_in(job: Any) -> bytes:
    """The attempt in a job of RQ. Raises NotOursError: nothing of what it may hold has been done then."""
    try:
        name, instance, args, kwargs = job.func_name, job.instance, job.args, job.kwargs
    except Exception as error:  # it may be anything
        raise NotOursError(f"it cannot be read: {error!s:.80}") from None
    if name != FUNCTION or instance is not None or kwargs or len(args) != 1 or not isinstance(args[0], str):
        raise NotOursError("it is no attempt")
    return args[0].encode("utf-8", "surrogatepass")
