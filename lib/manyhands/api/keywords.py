"""The keyword arguments of `run_batch` and `map_batch`, for type checkers (PEP 692): said once, not in each of their overloads.

They stand here once more, because a type checker takes keywords from nothing but a typed dict or a signature: a test compares them with
the fields of `RunOptions`, and with the parameters of `map_batch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from manyhands.api.run_options import RunOptions
from manyhands.inputs.reader_thread import Pulling
from manyhands.options.choices import Order, StartMethod
from manyhands.storage.output import Printed


class BatchKeywords(TypedDict, total=False):
    """Of `run_batch`, whatever is done with each input."""

    jobs: int | str
    timeout: float | str | None
    grace: float | str
    retries: int
    delay: float | str
    backoff: float | str
    halt: str
    ordered: bool
    order: Order
    workdir: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    shell: bool
    stdin: str | os.PathLike[str] | None
    output_cap: int | str | None
    nice: int
    allow_daemons: bool
    warm: bool
    preload: str | None
    backend: str | None
    run_id: str | None
    state_dir: str | os.PathLike[str] | None
    pull: Pulling
    handle_signals: bool
    retry_failed: bool
    retry_on: str | int | type[BaseException] | Sequence[str | int | type[BaseException]] | None
    shard: str | None
    times: str | os.PathLike[str] | None
    fail_if_empty: bool
    check: bool
    output: Printed | None
    journal: bool
    keep: float | str
    progress: bool
    broker: str | None
    store: str | None
    broker_password_file: str | os.PathLike[str] | None
    cluster: Any
    insecure: bool
    lease: float | str
    options: RunOptions


class CallKeywords(BatchKeywords, total=False):
    """Of `run_batch`, if that is a function."""

    initializer: Callable[..., Any] | str | None
    initargs: Sequence[Any]
    chunk: int | None
    max_jobs_per_worker: int | None
    start_method: StartMethod


class MapKeywords(TypedDict, total=False):
    """Of `map_batch`."""

    jobs: int | str
    chunk: int | None
    ordered: bool
    initializer: Callable[..., Any] | None
    initargs: Sequence[Any]
    start_method: str
    pull: Pulling
    output: Printed
