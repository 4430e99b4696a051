"""The program that ships its tasks: invoke's Program with our statuses and completion scripts.

What plain `invoke` can be made to do as well is not here but in `manyhands.cli.invoke_patches` and `manyhands.cli.task`.
"""

from __future__ import annotations

import os
import sys

import invoke
from invoke.exceptions import Exit

from manyhands.cli.core_options import listed
from manyhands.cli.exits import discard_output, end_by_interrupt, explained, flush_output
from manyhands.cli.naming import learn_name
from manyhands.cli.task import remember
from manyhands.core.hints import typed


def keep_compiled_modules() -> None:
    """Undo what invoke does while it reads its own options: all of ours would be compiled anew at every start of a checkout."""
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))


class Program(invoke.Program):
    """A command line for a fixed collection of tasks."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Do what ``argv`` says (program's name first; None: the process's own) and leave with a status, unless not ``exit``."""
        remember(argv)
        learn_name(argv)
        try:
            super().run(argv, exit)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # which invoke turns into the status 1
                end_by_interrupt()
            raise
        except OSError as error:  # while the version or the like is printed, unbuffered
            if (found := explained(error)) is None:
                raise
            discard_output()
            sys.stderr.write(f"{found.message}\n")
            sys.exit(found.code)
        finally:
            remember(None)

    def parse_core(self, argv: list[str] | None) -> None:
        """See the function that is called after it."""
        super().parse_core(argv)
        keep_compiled_modules()

    def print_version(self) -> None:
        """Its name and version; invoke would leave it to the end of the process to find out that nobody can read it."""
        super().print_version()
        flush_output()

    def print_help(self) -> None:
        """What it is for, what there is to begin with, and its options, as far as its tasks do not refuse them."""
        from manyhands.cli.helping import overview, own_options

        tasks = [self.collection[name] for name in self.collection.task_names]
        options = own_options(listed(self.initial_context, tasks).args.values())
        print(overview(self.collection, typed(), options))  # noqa: T201 - it was asked for

    def parse_core_args(self) -> None:
        """The program's own options; asks for a completion script are answered here, before invoke would."""
        super().parse_core_args()
        if shell := self.args["print-completion-script"].value:
            from manyhands.cli.completing import script

            print(script(shell, self.binary_names[0]))  # noqa: T201 - this is for the shell
            flush_output()
            raise Exit
