"""The ``manyhands`` program: the same tasks as ``invoke`` in a checkout, from anywhere."""

from __future__ import annotations

import sys

from manyhands.runtime.interrupts import die_of_interrupts

if __name__ == "__main__" or sys.argv[0].endswith("/manyhands"):  # else somebody imports it
    die_of_interrupts()

from manyhands.runtime.search_path import move_first_back

if __name__ == "__main__":
    move_first_back()

from manyhands import __version__
from manyhands.runtime.lean_invoke import import_invoke
from manyhands.runtime.start import begin


def main() -> None:
    """Run the program and leave with its status."""
    begin()
    import_invoke()
    from manyhands.cli import Program  # takes most of the time of a start
    from manyhands.cli.loaded_tasks import load_tasks

    namespace = load_tasks().namespace
    Program(
        name="manyhands", binary="manyhands", binary_names=["manyhands"], version=__version__, namespace=namespace
    ).run()


if __name__ == "__main__":
    main()
