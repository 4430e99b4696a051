"""The ``manyhands`` program: the same tasks as ``invoke`` in a checkout, from anywhere."""

from __future__ import annotations

import sys

from manyhands.runtime.interrupts import die_of_interrupts

_IS_PROGRAM = __name__ == "__main__" or sys.argv[0].endswith("/manyhands")  # else somebody imports it
if _IS_PROGRAM:
    die_of_interrupts()

from manyhands.runtime.search_path import move_first_back

if __name__ == "__main__":
    move_first_back()

from manyhands import __version__
from manyhands.runtime.lean_invoke import import_invoke
from manyhands.runtime.quick_exit import collect_seldom, leave
from manyhands.runtime.start import begin


def main() -> None:
    """Run the program and leave with its status."""
    begin()
    if _IS_PROGRAM:
        collect_seldom()
    import_invoke()
    from manyhands.cli import Program  # takes most of the time of a start
    from manyhands.cli.loaded_tasks import load_tasks

    program = Program(
        name="manyhands",
        binary="manyhands",
        binary_names=["manyhands"],
        version=__version__,
        namespace=load_tasks().namespace,
    )
    if not _IS_PROGRAM:
        program.run()
        return
    try:
        program.run()
    except SystemExit as end:
        leave(end.code)
        raise
    leave(0)


if __name__ == "__main__":
    main()
