"""Asking before something that cannot be undone: on a terminal a question, without one ``--yes`` is needed.

Separate, so that whatever deletes or stops asks in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from manyhands.core.errors import UsageError


def agreed(question: str, what: Iterable[str], *, yes: bool) -> bool:
    """Whether to do it: ``what`` is shown line by line, then the question is asked. Raises UsageError if nobody can be asked."""
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        asked = question[:1].upper() + question[1:]
        raise UsageError(f"{asked}? Nobody can be asked here: --yes does it, --dry-run shows what would be done")
    for line in what:
        sys.stderr.write(f"  {line}\n")
    sys.stderr.write(f"{question}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
