"""What was captured of one stream, as a record for everybody else. Not for launchers, which import as little as they can."""

from __future__ import annotations

import os

from manyhands.backends.shared.slot import Captured
from manyhands.core import job


def output_of(captured: Captured) -> job.Output:
    """The same as a record for everybody else."""
    data, path, size, dropped = captured
    return job.Output(data, os.fsdecode(path) if path else None, size, dropped) if size else job.NOTHING
