"""A job as RQ keeps it, read with care: RQ decompresses what it finds, and a small text may be a very large one then."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from rq.job import Job

from manyhands.backends.queue.messages import LARGEST, NotOursError

_MOST: Final = 4 * LARGEST
"""Bytes of a part of a job: a message, in which JSON may have escaped each letter."""
_COMPRESSED: Final = (b"data", b"exc_info")


class BoundedJob(Job):  # type: ignore[misc]  # untyped
    """A job that raises NotOursError when it is read if it would be larger than any attempt."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> Any:
        """Take over what Redis has of a job."""
        for part in _COMPRESSED:
            try:
                large = len(zlib.decompressobj().decompress(raw_data.get(part, b""), _MOST + 1)) > _MOST
            except zlib.error:  # it is not compressed
                large = len(raw_data[part]) > _MOST
            if large:
                raise NotOursError(f"it has more than {_MOST} bytes")
        return super().restore(raw_data)
