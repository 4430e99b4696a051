"""Shell completion: what may come next, and the scripts that ask for it.

    TAB --the shell's script--> manyhands --complete -- WORDS up to the cursor --> candidates, one a line

The scripts are our own, because invoke's pass the words unquoted (``*`` becomes the names of files, an empty word is lost),
and its fish script never completes a file. Those for the program `invoke` are invoke's: it prints them before it has loaded
any tasks. They ask us all the same, so they complete the same things. Imported only when a shell asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from invoke.parser import Parser, ParserContext

from manyhands.cli.exits import Misuse
from manyhands.cli.parsing import flag_of

SCRIPTS: Final = {
    "bash": r"""_complete_NAME() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(NAME --complete -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)" -- "$2"))
}
complete -o bashdefault -o default -F _complete_NAME NAME""",
    "zsh": r"""_complete_NAME() {
    local -a found
    found=(${(f)"$(NAME --complete -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _complete_NAME NAME""",
    "fish": r"""function __complete_NAME
    set -l found (NAME --complete -- (commandline --current-process --tokenize --cut-at-cursor) (commandline -ct) 2>/dev/null)
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


def candidates(words: list[str], parser: Parser, core: ParserContext) -> list[str]:
    """What could stand for the last of ``words``, which begin with the program's name; nothing leaves it to the shell, which
    completes names of files. A flag that is complete counts as one whose value is wanted: invoke's scripts drop empty words."""
    words = _joined(words[1:])
    if "--" in words[:-1]:
        return []  # inputs and commands: the shell knows better
    *before, current = words or [""]
    flag, equals, _ = current.partition("=")
    context = _context(before, parser, core)
    word = flag if equals or current.startswith("-") else before[-1] if before else ""
    wanted = flag_of(context, word) or flag_of(core, word)
    if wanted and wanted.takes_value:
        return [flag + equals + one if equals else one for one in getattr(wanted, "choices", [])]
    if current.startswith("-"):
        known = context.flag_names()
        return [one for one in known if one.startswith("--") or not current.startswith("--")]
    return _names(parser)


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
    except Misuse as error:  # an argument is still lacking, or something is wrong earlier
        found = [error.context]
    return next((one for one in reversed(found) if one and one.name), core)


def _names(parser: Parser) -> list[str]:
    """Every name of every task, those at the root first."""
    names = [name for one in parser.contexts.values() for name in (one.name, *one.aliases)]
    return sorted(names, key=lambda name: (name.count("."), name))
