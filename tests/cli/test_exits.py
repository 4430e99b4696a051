"""What the program says at its end is harmless, whatever a name holds."""

from __future__ import annotations

import errno

from manyhands.cli.exits import Misuse, explained
from manyhands.core.errors import InputError


def test_messages_are_harmless() -> None:
    """Control characters, bidi controls and stray bytes in names of files, keys of inputs, options."""
    bad, shown = "a\x1b[31m\u202e\udcff", r"a^[[31m\u202e\xff"
    for error in (InputError(bad), FileNotFoundError(errno.ENOENT, "No such file", bad), Misuse(bad)):
        end = error if isinstance(error, Misuse) else explained(error)
        assert shown in str(end.message if end and end.message else end)
