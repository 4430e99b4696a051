"""What stands for the value of an option in a help text, and so what kind of value completion has to offer.

Names of options mean the same in every task, so the name says it; for others their type does.
"""

from __future__ import annotations

from typing import Final

from invoke.parser import Argument

_BY_NAME: Final = {
    name: metavar
    for metavar, names in {
        "AGE": "older-than", "COMMAND": "command then", "COUNT": "times rounds sample top", "FILE": "config csv file from jsonl log-file plot trace "
        "stdin joblog commands", "FOLDER": "state-dir workdir", "JSON": "initargs", "MODULE:FUNCTION": "function initializer",
        "NAME": "name run-id", "NAME=A,B,C": "each", "NAME=VALUE": "env", "PATTERN": "glob", "PID": "pid pids", "PORT": "port number",
        "REGEX": "cmdline colsep expect log until", "RUN": "run runs", "SIGNAL": "signal", "SIZE": "output-cap spool-limit",
        "STAGE=FILE": "tee", "TIME": "backoff delay every grace timeout", "CHAR": "delimiter", "WHEN": "halt", "WHAT": "retry-on",
        "N": "jobs", "TASK": "help", "COLLECTION": "list", "flat|nested|json": "list-format", "bash|zsh|fish": "print-completion-script",
        "PATH=PERCENT": "disk inodes", "LIMIT": "load memory swap processes zombies", "USER": "user",
    }.items()
    for name in names.split()
}  # fmt: skip
FILES: Final = frozenset({"FILE", "FOLDER", "PATTERN", "COMMAND", "MODULE:FUNCTION", "LINE", "TEMPLATE", "WORK", "PATH"})
"""What a shell completes by names of files."""
_BY_KIND: Final = {"int": "N", "float": "NUMBER", "Path": "PATH"}


def metavar(option: Argument) -> str:
    """Such as ``FILE``, ``N``, or the words to choose from."""
    name = (option.name or "").strip("_").replace("_", "-")
    if words := getattr(option, "choices", []):
        return "|".join(words)
    return _BY_NAME.get(name) or _BY_KIND.get(getattr(option, "value_kind", option.kind.__name__), name.upper())
