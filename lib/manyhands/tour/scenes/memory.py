"""What a new process starts with: apart from the other scenes, because it matters who imports this module.

Everything at the top of a module, such as `HOME` here, is carried out again in every process that imports the module.
"""

from __future__ import annotations

import os
from multiprocessing import Process, get_start_method

from manyhands.tour.scene_tools import tell


def where_we_are() -> int:
    tell("the module is imported")
    return os.getpid()


HOME = where_we_are()
notes = ["import"]


def change(parent: int) -> None:
    tell("starts with {notes}, made by {home}", notes=list(notes), home=HOME)
    notes.append(f"child of {parent}")
    tell("now has {notes}", notes=list(notes))


def process_memory() -> None:
    """fork copies the parent's memory; spawn and forkserver begin anew, and import the module again."""
    notes.append("parent")
    tell("has {notes}", notes=list(notes))
    for _ in range(2):
        child = Process(target=change, args=(os.getpid(),))
        child.start()
        child.join()
    tell("still has {notes}", notes=list(notes), method=get_start_method())
