"""Fetches the outputs that a worker has in files, piece by piece, into files of the run: memory does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from manyhands.backends.cluster import worker_side
from manyhands.backends.protocol import Ended
from manyhands.backends.shared.large_output import LargeOutput
from manyhands.core.attempt import AttemptId, Ending, Output

_PIECE: Final = 1 << 22
_SUFFIX: Final = ("out", "err")

Ask = Callable[..., Awaitable[dict[str, Any]]]


async def fetched(report: Ended, run: str, folder: Path, ask: Ask) -> tuple[Ending, str | None]:
    """(the ending with its outputs here, why one of them is not whole); ``ask`` has the worker called."""
    ending, whys = report.ending, []
    for stream, name in enumerate(("stdout", "stderr")):
        output: Output = getattr(ending, name)
        if output.path is not None:
            kept, why = await _one(report.attempt.id, stream, output, run, folder, ask)
            ending = ending._replace(stdout=kept) if stream == 0 else ending._replace(stderr=kept)
            whys += [why] if why else []
    missing = whys[0] if whys else None
    return ending._replace(error=ending.error or missing), missing


async def _one(id: AttemptId, stream: int, output: Output, run: str, folder: Path, ask: Ask) -> tuple[Output, str | None]:
    path = folder / f"{id[0]}.{id[1]}.{_SUFFIX[stream]}"
    file = LargeOutput(os.fsencode(path))
    size = output.size - output.dropped
    try:
        while True:
            piece = next(
                iter((await ask(partial(worker_side.read, run, id, stream, file.received, _PIECE))).values()), None
            )
            if not isinstance(piece, bytes):
                break
            file.add(piece)
            if len(piece) < _PIECE:
                break
    except BaseException:
        file.drop()
        raise
    missing = max(0, size - file.received)
    kept, why = file.finish(output.size, output.dropped + missing)
    return kept, why or (f"{missing} bytes of its output were lost with its worker" if missing else None)
