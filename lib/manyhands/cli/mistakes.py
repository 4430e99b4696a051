"""What is wrong with a command line, in the user's words, with what to type instead.

Separate from `manyhands.cli.invoke_patches`, which only finds out where invoke's parser has stopped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

from invoke.parser import ParserContext
from invoke.parser.parser import ParseMachine

from manyhands.cli.exits import Misuse
from manyhands.cli.loaded_tasks import Loaded
from manyhands.cli.options import COMMANDS, Option, flag_name
from manyhands.cli.task import Task, rest
from manyhands.core.hints import typed
from manyhands.core.level import Level

_LIKENESS: Final = 0.8
"""Of two words that one may have been meant by the other (`difflib`); at less, ``rm`` would be taken for ``run``."""
_HABITS: Final = {
    "rm": "remove",
    "del": "remove",
    "delete": "remove",
    "ls": "list",
    "ps": "list",
    "kill": "stop",
    "cat": "show",
    "map": "call",
    "parallel": "batch",
    "xargs": "batch",
}
"""What people type who know other programs, and the name of our task for it."""


def wrong(machine: ParseMachine, message: str) -> Misuse:
    """The mistake that invoke's parser has found at ``machine``'s place; ``message`` is what invoke would say."""
    context = machine.context
    task = (context.name or "") if context else ""
    if match := re.fullmatch(r"No idea what ['\"](.+)['\"] is!", message, re.DOTALL):
        message = _unknown(machine, match[1], task)
    elif message.startswith("Flag ") and machine.flag:
        message = f"{flag_name(machine.flag.names[0])}: the needed value was not given"
    elif context and context.missing_positional_args:
        missing = ", ".join((one.name or "").strip("_") for one in context.missing_positional_args)
        message = f"{task} lacks its {missing}; see {typed('--help', task)}"
    return Misuse(message, context, Level.UNKNOWN if task and _is_monitor(task) else 2)


def _is_monitor(task: str) -> bool:
    found = Loaded.program.collection if Loaded.program else None
    return found is not None and task in found and bool(getattr(found[task], "monitor", False))


def _unknown(machine: ParseMachine, word: str, called: str) -> str:
    context = machine.context
    if called and (advice := _belongs_elsewhere(called, word, vars(machine).get("seen", []).count(word))):
        return advice
    if not word.startswith("-"):
        return no_task(word, machine.contexts.values(), f", and {called} takes no more arguments" if called else "")
    if not called:
        if any(word.partition("=")[0] in one.flags for one in machine.contexts.values()):
            return f"{word} is an option of tasks, and stands after the task; see {typed('--help')}"
        return f"there is no option {word}; see {typed('--help')}"
    known = [one for one in (*context.flags, *context.inverse_flags) if one.startswith("--")] if context else []
    near = difflib.get_close_matches(word, known, n=1, cutoff=_LIKENESS) if word.startswith("--") else []
    return f"{called} has no option {word}{_instead(near, typed('--help', called))}"


def no_task(word: str, contexts: Iterable[ParserContext], also: str = "") -> str:
    """That no task is called ``word``, and which one may have been meant."""
    names = [str(name) for one in contexts for name in (one.name, *one.aliases)]
    collection = [one for one in (word.rpartition(".")[0],) if any(name.startswith(f"{one}.") for name in names)]
    return f"there is no task {word}{also}{_instead(meant_task(word, names), typed('--list', *collection))}"


def no_collection(word: str, names: Iterable[str]) -> str:
    """That no collection is called ``word``."""
    known = sorted(names)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    way_out = f"; did you mean {near[0]}?" if near else f": choose one of {', '.join(known)}"
    return f"there is no collection {word}{way_out}"


def _instead(meant: Sequence[str], otherwise: str) -> str:
    return f"; did you mean {' or '.join(meant)}?" if meant else f"; see {otherwise}"


def meant_task(word: str, names: Iterable[str]) -> list[str]:
    """The tasks that ``word`` may have been meant for, two at most: the same name in another collection, what other programs call
    it, or a slip of the finger; none is better than a wrong one."""
    every = list(names)
    collection, _, last = word.rpartition(".")
    last = _HABITS.get(last, last)
    groups = {one.rpartition(".")[0] for one in every}
    group = difflib.get_close_matches(collection, groups, n=1, cutoff=_LIKENESS) if collection else []
    if f"{''.join(group)}.{last}" in every:
        return [f"{group[0]}.{last}"]
    same = [one for one in every if one.rpartition(".")[2] == last]
    if 0 < len(same) <= 2:
        return same
    inside = {one.rpartition(".")[2]: one for one in every if one.rpartition(".")[0] == collection}
    near = difflib.get_close_matches(last, inside, n=1, cutoff=_LIKENESS)
    return [inside[one] for one in near]


# -- a word that stands where it cannot ------------------------------------------------------------------------------------


def _belongs_elsewhere(called: str, word: str, nth: int) -> str | None:
    """What to say of a word that a task cannot take there, but could in quotes or after ``--``; None if it could nowhere."""
    task = _task(called)
    if task is None or not task.positional or _is_task(word):
        return None
    first = str(next(iter(task.positional)))
    words = _words_of(called)
    at = _place(words, word, nth)
    is_text = first in COMMANDS
    if word.startswith("-"):
        if not is_text or at is None:
            return None
        return f"{called} has no option {word}; if it belongs to the command: {_as_one(task, words, word, at)}"
    if is_text:
        way = "as one text, or as words after --" if task.remainder else "as one text, in quotes"
        example = f": {_as_one(task, words, word, at)}" if at is not None else ""
        return f"what is {word!r}? Give the command {way}{example}"
    if not task.remainder:
        return None
    example = f": {_after_dashes(words, at)}" if at is not None else ""
    return f"what is {word!r}? Inputs come after --{example}"


def _task(called: str) -> Task | None:
    found: Any = Loaded.program.collection[called] if Loaded.program else None
    return found if isinstance(found, Task) else None


def _is_task(word: str) -> bool:
    """Whether it looks like a task of a collection that there is: then it is no input."""
    collection = word.rpartition(".")[0]
    return bool(Loaded.program and collection in Loaded.program.collection.collections)


def _words_of(called: str) -> list[str]:
    """The command line from the task ``called`` on, up to ``--``."""
    if Loaded.program is None:
        return []
    words, contexts = list(Loaded.program.core.unparsed), Loaded.program.parser.contexts
    begins = next((at for at, word in enumerate(words) if word in contexts and contexts[word].name == called), 0)
    return words[begins:]


def _place(words: Sequence[str], word: str, nth: int) -> int | None:
    places = [index for index, one in enumerate(words) if one == word]
    return places[nth - 1] if 0 < nth <= len(places) else None


def _after_dashes(words: Sequence[str], at: int) -> str:
    """The command line with what begins at ``at`` moved after ``--``."""
    inputs = list(takewhile(lambda one: not one.startswith("-"), words[at:]))
    return typed(*words[:at], *words[at + len(inputs) :], "--", *inputs, *(rest() or []))


def _as_one(task: Task, words: Sequence[str], word: str, at: int) -> str:
    """The command line with the words of the command that it holds as one text, or after ``--`` if the task takes them there."""
    begins = _command_begins(task, words, at)
    command = list(takewhile(lambda one: one.partition("=")[0] not in _flags(task) or one == word, words[begins:]))
    others = [*words[:begins], *words[begins + len(command) :]]
    if task.remainder:
        return typed(*others, "--", *command, *(rest() or []))
    return typed(*others[:1], " ".join(command), *others[1:])


def _command_begins(task: Task, words: Sequence[str], at: int) -> int:
    """Where the command begins: after the task's own options."""
    flags, begins = _flags(task), 1
    while begins < at and words[begins].startswith("-"):
        option = flags.get(words[begins])
        begins += 2 if option and option.takes_value else 1
    return begins


def _flags(task: Task) -> dict[str, Option]:
    context = ParserContext(name="", args=task.get_arguments())
    return {flag: option for flag, option in context.flags.items() if isinstance(option, Option)}
