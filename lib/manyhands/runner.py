"""The runner behind ``ctx.run``: invoke's own, without its known faults.

invoke decodes each chunk by itself, which breaks characters at the borders, and searches all that came for prompts after
every chunk, which takes quadratic time. Jobs never run through this; it is for small chores of tasks.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from invoke.runners import Local


class Utf8Local(Local):
    """Decodes across chunk borders; looks for prompts only when somebody wants to answer them."""

    read_chunk_size = 65536

    def read_proc_output(self, reader: Callable[[int], bytes]) -> Iterator[str]:  # type: ignore[override]
        """Yield what is read, as text; bytes that are not of the encoding become U+FFFD."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        while data := reader(self.read_chunk_size):
            yield decoder.decode(data)
        if tail := decoder.decode(b"", final=True):
            yield tail

    def stop(self) -> None:
        """Close our ends of the pipes, too; invoke leaves that to the garbage collector."""
        super().stop()
        process = getattr(self, "process", None)
        for pipe in (process.stdin, process.stdout, process.stderr) if process else ():
            if pipe is not None:
                pipe.close()

    def respond(self, buffer_: list[str]) -> None:
        """Let the watchers see what came, if there are any."""
        if self.watchers:
            super().respond(buffer_)
