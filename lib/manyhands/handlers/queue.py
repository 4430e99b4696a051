"""What the ``queue`` tasks do: be a consumer, look at a broker, and tidy it up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from json import dumps
from typing import Final

from manyhands.backends.queue.brokers import check_kind
from manyhands.backends.queue.inspection import Inspection
from manyhands.core.errors import UsageError
from manyhands.core.safe_text import one_line
from manyhands.handlers.confirm import agreed
from manyhands.options.queue import BrokerOptions, DrainOptions, PurgeOptions, StatusOptions, WorkOptions
from manyhands.posix.cores import usable_cores
from manyhands.render.queue import consumer_record, run_record, status_lines
from manyhands.work.broker_url import Broker

_USUAL: Final = "redis://127.0.0.1:6379/0"
_MOST_SLOTS: Final = 1024


def work(options: WorkOptions) -> int:
    """Be a consumer until it is drained or stopped. The first Ctrl-C or TERM lets running jobs end, the second kills them."""
    from manyhands.backends.queue.allowed import Allowed
    from manyhands.backends.queue.consumer import ConsumerSettings, fresh_name
    from manyhands.backends.queue.queue_consumer import consumer

    broker = _broker(options)
    slots = usable_cores() if options.slots is None else options.slots
    if not 1 <= slots <= _MOST_SLOTS:
        raise UsageError(f"--slots {slots}: a consumer has 1 to {_MOST_SLOTS} slots")
    if not options.allow and not options.allow_commands:
        raise UsageError(
            "queue.work: it would do nothing: allow functions by --allow PATTERN, or commands by --allow-commands"
        )
    for one in options.allow:
        if one.count(":") != 1 or one.startswith(":") or one.endswith(":"):
            raise UsageError(f"--allow {one!r}: expected MODULE:FUNCTION, perhaps with wildcards, such as 'images:*'")
    allowed = Allowed(tuple(options.allow), options.allow_commands)
    settings = ConsumerSettings(name=fresh_name(), slots=slots, allowed=allowed, lease=broker.lease)
    worker = consumer(broker, settings, _say)

    def asked(*_: object) -> None:
        if worker.is_draining:
            worker.end()
        else:
            worker.drain()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    what = [*(["commands"] if options.allow_commands else []), *options.allow]
    _say(f"consumer {settings.name} of {broker.url.url}: {slots} slots for {', '.join(what)}")
    try:
        worker.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _broker(options: BrokerOptions) -> Broker:
    check_kind(options.backend)
    return Broker.of(
        options.broker or _USUAL,
        os.environ,
        lease=options.lease,
        insecure=options.insecure,
        password_file=options.broker_password_file,
        kind=options.backend,
        store=options.store,
    )


_writing = threading.Lock()


def _say(text: str) -> None:
    with _writing:
        sys.stderr.write(f"manyhands: {one_line(text, 1000)}\n")
        sys.stderr.flush()


def status(options: StatusOptions) -> int:
    """Show consumers and runs. 0: there is a consumer; 1: there is none."""
    with Inspection(_broker(options)) as broker:
        consumers = broker.consumers()
        runs = broker.runs(consumers)
    if options.json:
        records = [*map(consumer_record, consumers), *map(run_record, runs)]
        sys.stdout.writelines(f"{dumps(one)}\n" for one in records)
    else:
        sys.stdout.writelines(f"{line}\n" for line in status_lines(consumers, runs))
    return 0 if consumers else 1


def drain(options: DrainOptions) -> int:
    """Have consumers finish what they have, and exit. 0: they were told; 1: there is none."""
    with Inspection(_broker(options)) as broker:
        names = _chosen(options.consumers, [one.name for one in broker.consumers()], "consumer")
        broker.drain(names)
    for name in names:
        sys.stdout.write(f"draining {name}\n")
    if not names:
        sys.stderr.write("there are no consumers\n")
    return 0 if names else 1


def purge(options: PurgeOptions) -> int:
    """Remove what waits, after asking. 0: it is gone, or nothing waits; 1: nobody agreed."""
    with Inspection(_broker(options)) as broker:
        found = {one.name: one.waiting for one in broker.runs([])}
        chosen = {name: found[name] for name in _chosen(options.runs, [*found], "run") if found[name]}
        lines = [f"{name}  {count} waiting" for name, count in chosen.items()]
        if not chosen:
            sys.stderr.write("nothing waits\n")
            return 0
        if options.dry_run:
            sys.stdout.writelines(f"would remove {line}\n" for line in lines)
            return 0
        total = sum(chosen.values())
        if not agreed(f"remove {total} job{'' if total == 1 else 's'} that wait", lines, yes=options.yes):
            sys.stderr.write("nothing was removed\n")
            return 1
        for name in chosen:
            sys.stdout.write(f"removed {broker.purge(name)} of {name}\n")
    return 0


def _chosen(given: Sequence[str], there: Sequence[str], what: str) -> list[str]:
    """Those whose names begin so; all if none is given. Raises UsageError for one that does not exist."""
    for begin in given:
        if not any(name.startswith(begin) for name in there):
            raise UsageError(f"there is no {what} {begin!r}; queue.status lists them")
    return [name for name in there if not given or name.startswith(tuple(given))]
