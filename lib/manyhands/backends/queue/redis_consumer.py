"""A consumer of Redis Streams: the parts of this package, put together."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.backends.queue.consumer import Consumer, ConsumerSettings
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.work.broker_url import BrokerUrl


def consumer(broker: BrokerUrl, settings: ConsumerSettings, say: Callable[[str], None]) -> Consumer:
    """A consumer, ready to run. Raises UsageError, UnavailableError."""
    return Consumer(settings, RedisReceiver(broker, settings.name, settings.lease), say)
