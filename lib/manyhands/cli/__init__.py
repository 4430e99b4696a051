"""The command line: invoke with its known edges handled once, for `invoke` and for the `manyhands` program alike.

    argv --invoke's parser (invoke_patches.py)--> Task.__call__ (task.py) --> the function
           given, or Absent                    | what is absent: environment, files (defaults.py); text: typed (options.py)
                                               +-- whatever is raised or returned: one line and an exit status (exits.py)

A tasks file imports `task` from here, and that alone changes how plain `invoke` behaves, too: it imports the tasks file, and
so this package, before it parses their arguments. Every start of the program comes through here, so it imports little.
"""

from __future__ import annotations

import sys

try:
    from manyhands.cli.exits import explained
except ModuleNotFoundError as error:
    if error.name != "invoke":
        raise
    from manyhands.runtime.checkout import go_on_in_environment

    go_on_in_environment()
    raise
from manyhands.cli.invoke_patches import patch_invoke
from manyhands.cli.naming import learn_name
from manyhands.cli.options import converter
from manyhands.cli.program import Program, keep_compiled_modules
from manyhands.cli.task import Task, rest, task, undocumented
from manyhands.runtime.start import begin, open_standard_descriptors

__all__ = ["Program", "Task", "converter", "explained", "rest", "task", "undocumented"]

if "invoke.main" in sys.modules:  # plain `invoke`, which nobody else imports; our own program has begun already
    begin()
    learn_name()
open_standard_descriptors()  # before anything else is opened
patch_invoke()
keep_compiled_modules()
