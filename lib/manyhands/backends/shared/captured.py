"""Converts what was captured and measured to the records of `manyhands.core.job`. Launchers, which import little, do not use it."""

from __future__ import annotations

import os
from typing import Any

from manyhands.backends.shared.slot import Captured
from manyhands.core import attempt


def output_of(captured: Captured) -> attempt.Output:
    """The captured output of one stream."""
    data, path, size, dropped = captured
    return attempt.Output(data, os.fsdecode(path) if path else None, size, dropped) if size else attempt.NOTHING


def ending_of(measured: tuple[Any, ...]) -> attempt.Ending:
    """The ending from a `manyhands.backends.shared.measured.Measured`, given as a plain tuple."""
    return attempt.Ending._make(
        (*measured[:8], output_of(measured[8]), output_of(measured[9]), *measured[10:], False, None)
    )
