"""The runner behind ``ctx.run``: invoke's own, without its known faults.

invoke decodes each chunk by itself, which breaks characters at the borders; it searches all that came for prompts after every
chunk, which takes quadratic time; and a command that reads its standard input waits for ever where the user's is not passed
on. Jobs never run through this; it is for small chores of tasks. A tasks file turns it on with ``namespace.configure(SETTINGS)``,
below what users say in their own configuration.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import Any, Final

from invoke.runners import Local


class Utf8Local(Local):
    """Decodes UTF-8 across chunk borders; looks for prompts only when somebody wants to answer them."""

    read_chunk_size = 65536

    def default_encoding(self) -> str:
        """UTF-8 whatever the locale: this is what programs write today, also to a cron job, which has no locale."""
        return "utf-8"

    def read_proc_output(self, reader: Callable[[int], bytes]) -> Iterator[str]:  # type: ignore[override]
        """Yield what is read, as text; bytes that are not of the encoding become U+FFFD."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        while data := reader(self.read_chunk_size):
            yield decoder.decode(data)
        if tail := decoder.decode(b"", final=True):
            yield tail

    def respond(self, buffer_: list[str]) -> None:
        """Let the watchers see what came, if there are any."""
        if self.watchers:
            super().respond(buffer_)

    def start(self, command: str, shell: str, env: dict[str, Any]) -> None:
        """Start the command; it finds its standard input at the end, unless somebody can write there."""
        super().start(command, shell, env)
        if not (self.using_pty or self.streams["in"] or self.watchers):
            self.close_proc_stdin()

    def send_interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Pass Ctrl-C on where the command reads our input; otherwise it has got the terminal's SIGINT as we did, and
        `manyhands.cli` ends as the command ends."""
        if self.using_pty or self.streams["in"]:
            super().send_interrupt(interrupt)

    def stop(self) -> None:
        """Close our ends of the pipes, too; invoke leaves that to the garbage collector."""
        super().stop()
        process = getattr(self, "process", None)
        for pipe in (process.stdin, process.stdout, process.stderr) if process else ():
            if pipe is not None:
                pipe.close()


SETTINGS: Final[dict[str, Any]] = {"runners": {"local": Utf8Local}, "run": {"in_stream": False}}
"""For ``Collection.configure``: this runner, and commands do not read the user's standard input (``in_stream=sys.stdin`` does)."""
