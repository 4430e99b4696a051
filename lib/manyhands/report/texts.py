"""What jobs printed and were called, for a page: cut to a size, harmless, and without the sequences of terminals."""

from __future__ import annotations

import os
from collections.abc import Sequence

from manyhands.core.encoding import known_signal
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Output, Status
from manyhands.core.kept_file import opened
from manyhands.core.safe_text import harmless, one_line
from manyhands.core.terminal_escapes import plain


def shown_text(data: bytes | str) -> str:
    """Text as a terminal would show it, with whatever could mislead made visible."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    return harmless(plain(text))


def printed(output: Output, most: int) -> str:
    """What an attempt printed: its beginning and its end, together at most ``most`` bytes."""
    if not output.size:
        return ""
    try:
        first, last, size = _ends(output, most)
    except ManyhandsError as error:
        return f"[{one_line(str(error), 1000)}]"
    except OSError as error:
        return f"[its output cannot be read: {one_line(str(error), 1000)}]"
    text = shown_text(first)
    if size > len(first) + len(last):
        text += f"\n[... {size - len(first) - len(last):,} bytes left out ...]\n"
    text += shown_text(last)
    return text + (f"\n[{output.dropped:,} bytes were not kept]" if output.dropped else "")


def _ends(output: Output, most: int) -> tuple[bytes, bytes, int]:
    """(the beginning, the end, how many bytes there are)."""
    head = most // 4
    if output.path is None:
        data = output.data
        return (data, b"", len(data)) if len(data) <= most else (data[:head], data[head - most :], len(data))
    with opened(output.path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= most:
            return file.read(most), b"", size
        first = file.read(head)
        file.seek(size - (most - head))
        return first, file.read(most - head), size


def input_text(values: Sequence[bytes], width: int) -> str:
    """The input of a job on one line."""
    return one_line(b" ".join(values), width)


def code_of(end: Outcome | None) -> str:
    """``3``, ``SIGKILL``, or nothing."""
    if end is None or end.status is Status.OK:
        return ""
    return (
        str(known_signal(end.signal) or end.signal)
        if end.signal is not None
        else ""
        if end.exit is None
        else str(end.exit)
    )
