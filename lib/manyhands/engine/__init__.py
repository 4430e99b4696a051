"""The one loop that decides: what begins when, what is ended, what is tried again, when to stop."""

from manyhands.engine.loop import Engine
from manyhands.engine.order import in_order

__all__ = ["Engine", "in_order"]
