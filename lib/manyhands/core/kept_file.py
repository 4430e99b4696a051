"""The file in which a run keeps what an attempt has printed, if that is too much for its journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from manyhands.core.errors import ManyhandsError


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """It, to be read. Raises ManyhandsError if it is gone."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below; only a failure to open is explained
    except OSError as error:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise
        raise ManyhandsError(f"the output kept in {path} is gone: it was removed after the job had ended") from None
    with file:
        yield file
