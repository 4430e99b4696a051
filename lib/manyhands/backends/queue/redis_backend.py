"""The backend ``redis``: the coordinator of a queue over Redis Streams, put together."""

from __future__ import annotations

import os
import re

from manyhands.backends.queue.coordinator import Queued
from manyhands.backends.queue.redis_sender import RedisSender
from manyhands.backends.queue.run_settings import check_function, described
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name


def open_redis(settings: CommandSettings | FunctionSettings) -> Queued:
    """The backend, ready for attempts. Raises UsageError, or UnavailableError if the broker cannot be used."""
    if settings.broker is None:
        raise UsageError(f"{given_as('--backend', 'redis')} needs a broker: give {option_name('--broker')}")
    if isinstance(settings, FunctionSettings):
        check_function(settings.call)
    sender = RedisSender(settings.broker, _fresh_name(settings), described(settings), settings.token, settings.lease)
    try:
        return Queued("redis", settings, sender)
    except BaseException:
        sender.close()
        raise


def _fresh_name(settings: CommandSettings | FunctionSettings) -> str:
    """RUN-RANDOM: readable, and unlike that of any other execution, also of the same run, and on other machines."""
    run = os.fsdecode(settings.environment.get(b"MH_RUN", b"run"))
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run)[:200]}-{os.urandom(4).hex()}"
