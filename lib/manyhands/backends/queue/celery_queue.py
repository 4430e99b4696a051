"""`AttemptQueue` in a broker of Celery: tasks that `celery inspect` and flower show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from manyhands.backends.queue.attempt_queue import ATTEMPT, KEPT, Waiting, queue_name
from manyhands.backends.queue.carrier import BrokerLostError
from manyhands.backends.queue.celery_app import EXCHANGE, app_settings, celery_app, queue_of
from manyhands.backends.queue.messages import NotOursError
from manyhands.work.broker_url import BrokerUrl

_MISSING: Final = 404


class CeleryQueue:
    """See the module's first line; for one thread at a time."""

    def __init__(self, url: BrokerUrl) -> None:
        self._amqp = url.is_amqp
        self._app = celery_app(app_settings(url), patient=False)
        self._connection: Any = None
        self._channel: Any = None
        self._producer: Any = None

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """A channel; errors of the broker become ours, and after one of them everything is opened anew."""
        try:
            if self._channel is None:
                self._connection = self._app.connection_for_write()
                self._connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
                self._channel = self._connection.channel()
                self._producer = self._app.amqp.Producer(self._channel, auto_declare=False)
            yield self._channel
        except Exception as error:
            if not self._is_of_broker(error):
                raise
            self._drop()
            raise BrokerLostError(" ".join(str(error).split()) or type(error).__name__) from None

    def _is_of_broker(self, error: Exception) -> bool:
        from kombu.exceptions import KombuError

        known = (*self._connection.connection_errors, *self._connection.channel_errors) if self._connection else ()
        return isinstance(error, (OSError, KombuError, *known))

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is broken, and must only not stay open
                connection.collect(socket_timeout=0.5)

    def make(self, run: str) -> bool:
        """See `AttemptQueue`."""
        queue = queue_of(run, amqp=self._amqp)
        with self._open() as channel:
            missing = not self._is_there(queue, channel)
            if missing and not self._amqp:
                channel.state.clear()  # kombu believes that what it has once declared is there
            if missing or self._amqp:  # there, to declare it again keeps it
                queue(channel).declare()
            if not self._amqp:
                channel.client.expire(queue.name, KEPT)
        return missing

    def _is_there(self, queue: Any, channel: Any) -> bool:
        if not self._amqp:
            with suppress(Exception):  # there is no such exchange
                return any(row[2] == queue.name for row in channel.get_table(EXCHANGE))
            return False
        try:
            with self._connection.channel() as trial:  # an error closes it
                trial.queue_declare(queue.name, passive=True)
        except self._connection.channel_errors as error:
            if getattr(error, "reply_code", None) != _MISSING:
                raise
            return False
        return True

    def put(self, run: str, attempts: Sequence[Waiting]) -> None:
        """See `AttemptQueue`."""
        name = queue_name(run)
        with self._open():
            for one in attempts:
                args = (run, one.message.decode())
                task = self._app.amqp.as_task_v2(
                    one.name, ATTEMPT, args, {}, argsrepr=one.shown, kwargsrepr="", ignore_result=True, origin="manyhands"
                )
                self._producer.publish(
                    task.body,
                    exchange=EXCHANGE,
                    routing_key=name,
                    serializer="json",
                    headers=task.headers,
                    **task.properties,
                )

    def count(self, run: str) -> int:
        """See `AttemptQueue`."""
        name = queue_name(run)
        with self._open() as channel:
            if not self._amqp:
                return int(channel.client.llen(name))
            return int(channel.queue_declare(name, passive=True).message_count)

    def drain(self, run: str) -> list[bytes]:
        """See `AttemptQueue`."""
        found = []
        with self._open() as channel:
            queue = queue_of(run, amqp=self._amqp)(channel)
            while (message := queue.get(accept=["json"])) is not None:
                message.ack()
                with suppress(NotOursError):
                    found.append(message_in(message)[1])
        return found

    def remove(self, run: str) -> None:
        """See `AttemptQueue`."""
        with self._open():
            remove_queue(self._connection, queue_of(run, amqp=self._amqp), amqp=self._amqp)

    def close(self) -> None:
        """See `AttemptQueue`."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.release()


def remove_queue(connection: Any, queue: Any, *, amqp: bool) -> None:
    """Remove a queue with all that waits; with AMQP, if workers still ask for it, the last one of them does: Celery takes a queue that is
    removed for a broken connection."""
    with suppress(*connection.channel_errors), connection.channel() as channel:  # an error closes the channel
        if not amqp:
            queue(channel).declare()  # kombu removes only what it knows
            channel.queue_delete(queue.name)
        else:
            channel.queue_purge(queue.name)
            channel.queue_delete(queue.name, if_unused=True)


def message_in(message: Any) -> tuple[str, bytes]:
    """(the execution, the attempt) in a message of Celery. Raises NotOursError: nothing of what it may hold has been done then."""
    try:
        headers, body = message.headers, message.decode()
    except Exception as error:  # it may be anything
        raise NotOursError(f"it cannot be read: {error!s:.80}") from None
    if not isinstance(headers, dict) or headers.get("task") != ATTEMPT or not isinstance(headers.get("id"), str):
        raise NotOursError("it is no attempt")
    if not (isinstance(body, list) and [*map(type, body)] == [list, dict, dict] and len(body[0]) == 2):
        raise NotOursError("it has not what an attempt has")
    run, text = body[0]
    if not isinstance(run, str) or not isinstance(text, str):
        raise NotOursError("it has not what an attempt has")
    return run, text.encode("utf-8", "surrogatepass")
