"""Reading pickles that name modules of ours which have since moved: those of runs that earlier versions have begun.

Separate from `manyhands.core.serialization`, because it is all about where things were, and nothing about what they are.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

_NOW: Final = {
    "manyhands.commandline": "manyhands.work.command_line",
    "manyhands.errors": "manyhands.core.errors",
    "manyhands.events": "manyhands.core.events",
    "manyhands.forks": "manyhands.processes.fork_demo",
    "manyhands.host": "manyhands.host.info",
    "manyhands.inputs": "manyhands.inputs.sources",
    "manyhands.job": "manyhands.core.job",
    "manyhands.limits": "manyhands.core.limits",
    "manyhands.live_outcome": "manyhands.core.live_outcome",
    "manyhands.meters": "manyhands.host.metrics",
    "manyhands.pipeline": "manyhands.commands.pipeline",
    "manyhands.process": "manyhands.processes.listing",
    "manyhands.readers": "manyhands.inputs.readers",
    "manyhands.stopping": "manyhands.processes.stop",
    "manyhands.syntax": "manyhands.work.template_syntax",
    "manyhands.template": "manyhands.work.template",
    "manyhands.tree": "manyhands.commands.command_tree",
}
"""Where the classes are now that programs could import, and their parts, by the module that had them when all lay in one folder."""
_ANEW: Final = {
    ("manyhands.job", "Outcome"): ("manyhands.core.old_outcome", "OldOutcome"),
    ("manyhands.live_outcome", "LiveOutcome"): ("manyhands.core.old_outcome", "OldLiveOutcome"),
}
"""Records whose fields were others: what makes one of today from them."""
_OURS: Final = b"manyhands."


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """See `_NOW` and `_ANEW`."""
        return super().find_class(*_ANEW.get((module, name), (_NOW.get(module, module), name)))


def unpickled(data: bytes | memoryview) -> Any:
    """`pickle.loads`, and what an earlier version has pickled of ours. Only for bytes of one's own run. Of a view nothing is copied but
    what the objects keep; an earlier version has made none."""
    if isinstance(data, bytes) and _OURS in data:  # a module's name is never cut in two
        return _Reader(io.BytesIO(data)).load()
    return pickle.loads(data)  # noqa: S301 - see above
