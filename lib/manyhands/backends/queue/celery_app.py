"""Celery as we use it: JSON only, late acknowledgements, one message for each free slot, and a queue for each execution."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from manyhands.backends.queue.attempt_queue import KEPT, queue_name
from manyhands.work.broker_url import BrokerUrl

EXCHANGE: Final = "manyhands"
_CONNECTING: Final = 5.0
_ANSWERING: Final = 10.0
_HEARTBEAT: Final = 10.0


def app_settings(url: BrokerUrl) -> dict[str, Any]:
    """What `celery_app` needs, as JSON; the password is in it."""
    user = f"{quote(url.user or '', safe='')}:{quote(url.password, safe='')}@" if url.password is not None else ""
    if not user and url.user:
        user = f"{quote(url.user, safe='')}@"
    host = f"[{url.host}]" if ":" in url.host else url.host
    if url.scheme == "unix":
        address = f"redis+socket://{quote(url.path)}?virtual_host={url.db}"
    elif url.is_amqp:
        address = f"amqp://{user}{host}:{url.port}/{quote(url.path, safe='')}"
    else:
        address = f"{url.scheme}://{user}{host}:{url.port}/{url.db}"
    return {
        "broker": address,
        "shown": url.url,
        "amqp": url.is_amqp,
        "tls": {**url.files, "host": url.host} if url.scheme in ("amqps", "rediss") else None,
        "visibility": url.visibility,
    }


def celery_app(settings: Mapping[str, Any], *, patient: bool) -> Any:
    """An application of Celery; one that is not ``patient`` gives up on a broker that does not answer."""
    from celery import Celery

    amqp = settings["amqp"]
    app = Celery("manyhands", set_as_current=False, fixups=[])
    app.conf.update(
        broker_url=settings["broker"],
        broker_use_ssl=_tls(settings["tls"], amqp=amqp),
        broker_transport_options=_of_amqp(patient=patient) if amqp else _of_redis(settings["visibility"]),
        broker_connection_timeout=_CONNECTING,
        broker_connection_retry=patient,
        broker_connection_retry_on_startup=patient,
        broker_connection_max_retries=None,
        broker_heartbeat=_HEARTBEAT if patient else 0,
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        task_create_missing_queues=False,
        task_queues=(),
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_detect_quorum_queues=False,
    )
    return app


def _tls(files: Mapping[str, str] | None, *, amqp: bool) -> dict[str, Any] | bool:
    if files is None:
        return False
    begin = "" if amqp else "ssl_"
    names = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
    found: dict[str, Any] = {f"{begin}{ours}": files[name] for name, ours in names.items() if name in files}
    found[f"{begin}cert_reqs"] = ssl.CERT_REQUIRED
    return found | ({"server_hostname": files["host"]} if amqp else {"ssl_check_hostname": True})


def _of_amqp(*, patient: bool) -> dict[str, Any]:
    if patient:
        return {}
    return {"read_timeout": _ANSWERING, "write_timeout": _ANSWERING}


def _of_redis(visibility: int) -> dict[str, Any]:
    """Keys of our own for what is not acknowledged, because Celery restores it by the time-out of whoever looks first."""
    return {
        "visibility_timeout": visibility,
        "unacked_key": "manyhands:celery-unacked",
        "unacked_index_key": "manyhands:celery-unacked-index",
        "unacked_mutex_key": "manyhands:celery-unacked-mutex",
        "unacked_restore_interval": max(1, min(10, visibility // 4)),
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": _CONNECTING,
        "socket_keepalive": True,
    }


def queue_of(run: str, *, amqp: bool) -> Any:
    """The queue of an execution; one that nobody uses is removed by the broker after a day."""
    from kombu import Exchange, Queue

    name = queue_name(run)
    exchange = Exchange(EXCHANGE, type="direct", durable=True)
    return Queue(name, exchange, routing_key=name, durable=True, expires=KEPT if amqp else None)
