"""Shell completion: what may come next, and the scripts that ask for it.

    TAB --the shell's script--> manyhands --complete -- WORDS up to the cursor --> candidates, one a line; status 4: nothing fits here

No candidates and status 0 mean names of files, which the shell completes better. The scripts are our own, because invoke's pass the
words unquoted (``*`` becomes the names of files, an empty word is lost), and its fish script never completes a file. Those for the
program `invoke` are invoke's: it prints them before it has loaded any tasks. They ask us all the same, so they complete the same
things. Imported only when a shell asks.
"""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from invoke import Context
from invoke.parser import Argument, Parser, ParserContext

from manyhands.cli.defaults import Defaults
from manyhands.cli.exits import Misuse
from manyhands.cli.metavars import FILES, metavar
from manyhands.cli.options import flag_of
from manyhands.core.errors import ManyhandsError

NOTHING: Final = 4
"""The status that says: nothing fits here, not even the name of a file."""
_MANY: Final = 500  # runs: more is no help

SCRIPTS: Final = {
    "bash": r"""_complete_NAME() {
    local IFS=$'\n' found
    found=$(NAME --complete -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null) || compopt +o bashdefault +o default 2>/dev/null
    COMPREPLY=($(compgen -W "$found" -- "$2"))
}
complete -o bashdefault -o default -F _complete_NAME NAME""",
    "zsh": r"""_complete_NAME() {
    local -a found
    local text
    text="$(NAME --complete -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)" || return 1
    found=(${(f)text})
    if (( $#found )); then compadd -- $found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _complete_NAME NAME""",
    "fish": r"""function __complete_NAME
    set -l found (NAME --complete -- (commandline --current-process --tokenize --cut-at-cursor) (commandline -ct) 2>/dev/null)
    or return
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command NAME --no-files --arguments '(__complete_NAME)'""",
}


def script(shell: str, name: str) -> str:
    """What a user of ``shell`` has to source; raises Misuse for a shell that is not known."""
    if shell not in SCRIPTS:
        raise Misuse(f"no completion for {shell}; choose one of {', '.join(SCRIPTS)}")
    return SCRIPTS[shell].replace("NAME", name)


def candidates(words: list[str], parser: Parser, core: ParserContext) -> list[str] | None:
    """What could stand for the last of ``words``, which begin with the program's name; None: names of files. A flag that is complete
    counts as one whose value is wanted: invoke's scripts drop empty words."""
    words = _joined(words[1:])
    if "--" in words[:-1]:
        return None  # inputs and commands: the shell knows better
    *before, current = words or [""]
    flag, equals, _ = current.partition("=")
    context = _context(before, parser, core)
    word = flag if equals or current.startswith("-") else before[-1] if before else ""
    wanted = flag_of(context, word) or flag_of(core, word)
    if wanted and wanted.takes_value and not (wanted.optional and current.startswith("-")):
        found = _values(wanted, context, parser)
        return [flag + equals + one for one in found or []] if equals else found
    if current.startswith("-"):
        known = context.flag_names()
        return [one for one in known if one.startswith("--") or not current.startswith("--")]
    if context is core:
        return _names(parser)
    missing = [one for one in context.args.values() if one.positional and (one.kind is list or one.value is None)]
    return (
        _values(missing[0], context, parser) if missing else [one for one in context.flag_names() if one.startswith("--")]
    )


def _values(option: Argument, context: ParserContext, parser: Parser) -> list[str] | None:
    """What an option or a positional argument can be; None: a file, nothing: only its user knows."""
    kind = metavar(option)
    if option.name == "backend":
        return _backends(context)
    if kind == "RUN" or option.name in ("run_id", "run-id"):
        return _runs(context)
    if kind == "SIGNAL":
        return sorted(one.name.removeprefix("SIG") for one in signal.valid_signals() if isinstance(one, signal.Signals))
    if kind == "USER":
        return sorted(one.pw_name for one in pwd.getpwall())
    if kind == "TASK":
        return _names(parser)
    if kind == "COLLECTION":
        return sorted({name.partition(".")[0] for name in _names(parser) if "." in name})
    if "|" in kind:
        return kind.split("|")
    return None if kind in FILES else []


def _backends(context: ParserContext) -> list[str]:
    """Those for functions where the task calls one."""
    from manyhands.backends.registry import COMMANDS, FUNCTIONS

    return [*(FUNCTIONS if "function" in context.args else COMMANDS)]


def _runs(context: ParserContext) -> list[str]:
    """The names of the runs, newest first; none if they cannot be read, because TAB must not print messages."""
    with suppress(ManyhandsError, OSError):
        from manyhands.storage.runs import Store, default_state_dir

        state = _state_dir(context)
        return Store(Path(state) if state else default_state_dir(os.environ)).names()[:_MANY]
    return []


def _state_dir(context: ParserContext) -> Any:
    """Where the line, the environment or a file says that runs are kept."""
    given = context.args["state_dir"].value if "state_dir" in context.args else None
    if isinstance(given, str):
        return given
    found = Defaults(Context(), context.name or "").of("state_dir")
    return found[0] if found else None


def _joined(words: Iterable[str]) -> list[str]:
    """bash gives ``--format=csv`` as three words."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _context(words: list[str], parser: Parser, core: ParserContext) -> ParserContext:
    """The task in whose arguments the next word stands, or the program itself."""
    try:
        found: list[ParserContext | None] = list(parser.parse_argv(words))
    except Misuse as error:  # an argument is still missing, or something is wrong earlier
        found = [error.context]
    return next((one for one in reversed(found) if one and one.name), core)


def _names(parser: Parser) -> list[str]:
    """Every name of every task, those at the root first."""
    names = [name for one in parser.contexts.values() for name in (one.name, *one.aliases)]
    return sorted(names, key=lambda name: (name.count("."), name))
