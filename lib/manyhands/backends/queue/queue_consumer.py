"""A consumer of Redis Streams, Celery or RQ: the parts of this package, put together."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.backends.queue.brokers import feeder_of
from manyhands.backends.queue.consumer import Consumer, ConsumerSettings
from manyhands.backends.queue.fed_receiver import FedReceiver
from manyhands.backends.queue.keys import keys_for
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.work.broker_url import Broker


def consumer(broker: Broker, settings: ConsumerSettings, say: Callable[[str], None]) -> Consumer:
    """A consumer, ready to run. Raises UsageError, ManyhandsError."""
    store = broker.store or broker.url
    if broker.kind == "redis":
        return Consumer(settings, RedisReceiver(store, settings.name, settings.lease), say)
    feeder = feeder_of(broker.kind, broker.url, settings.name, settings.slots, say)
    receiver = FedReceiver(store, settings.name, settings.lease, keys_for(broker.kind), feeder)
    feeder.start()
    return Consumer(settings, receiver, say)
