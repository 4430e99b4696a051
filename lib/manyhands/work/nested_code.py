"""Which words of a command are parsed again, as code: the script of ``sh -c``, what ssh passes to the remote shell, the arguments of
``eval``.

An argument that arrives unchanged is still dangerous there. A word is a text in which `HOLE` stands for each placeholder. Separate from
the quoting for shells (`manyhands.work.shell_script`), because it matters without a shell, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from manyhands.core.patterns import pattern
from manyhands.work.template_syntax import Word

HOLE: Final = "\0"

_SHELLS: Final = frozenset({"sh", "ash", "bash", "dash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh"})
_WITH_C: Final = _SHELLS | {"su", "runuser", "script", "flock"}
_AS_ANOTHER: Final = {"chroot", "doas", "gosu", "nsenter", "setpriv", "sudo", "unshare"}
_ELSEWHERE: Final = {"docker", "kubectl", "podman", "rsh", "ssh", "systemd-run"}
_LIMITED: Final = {"chrt", "ionice", "nice", "numactl", "prlimit", "taskset", "time", "timeout"}
_REPEATED: Final = {"find", "parallel", "watch", "xargs"}
_PLAIN: Final = {"busybox", "command", "env", "exec", "flock", "nohup", "setsid", "stdbuf", "strace"}
_WRAPPERS: Final = frozenset(_AS_ANOTHER | _ELSEWHERE | _LIMITED | _REPEATED | _PLAIN)
_REMOTE: Final = frozenset({"ssh", "rsh"})
_SSH_WITH_VALUE: Final = "BbcDEeFIiJLlmOopQRSWw"
_ASSIGNMENT: Final = pattern(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=")
_PLAIN_ASSIGNMENT: Final = pattern(r"[A-Za-z_]\w*\+?=")

_RUNNING: Final = {"eval", "let", "trap", "alias", "compgen", "complete", "bind"}
_NAMING: Final = {"read", "mapfile", "readarray", "unset", "getopts", "wait", "integer", "float", "nameref"}
_EVALUATING: Final = frozenset(_RUNNING | _NAMING)
"""Builtins that run an argument, or take it as a name whose subscript they evaluate (bash(1), Arrays)."""
DECLARING: Final = frozenset({"declare", "typeset", "local", "export", "readonly"})
_BEFORE: Final = frozenset({"command", "builtin", "exec", "time"})
_OF_NAMES: Final = frozenset({"-v", "-R"})
_NUMERIC: Final = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_COUNTING: Final = frozenset({"exit", "return", "shift", "break", "continue"})


def is_assignment(word: str) -> bool:
    """Whether it is one of the assignments before a command."""
    return _ASSIGNMENT.match(word) is not None


def read_again(words: Sequence[str]) -> dict[int, str]:
    """For each word that is parsed again as code: its number, and the program that does so. A word after ``sh -c`` that is only a
    placeholder is not included: such inputs are intended as scripts."""
    begin = next((n for n, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
    name = _basename(words[begin]) if begin < len(words) else ""
    if name in _REMOTE:
        return _of_ssh(words, begin) | _of_scripts(words, begin + 1)
    if name in _WITH_C:
        return _of_scripts(words, begin)
    if name == "watch":
        return {n: name for n in range(begin + 1, len(words)) if HOLE in words[n]}
    if name in _WRAPPERS:
        later = next((n for n in range(begin + 1, len(words)) if _basename(words[n]) in _REMOTE), None)
        return _of_scripts(words, begin + 1) | (_of_ssh(words, later) if later else {})
    return {}


def evaluated(words: Sequence[str], shell: str) -> tuple[int, str] | None:
    """(the number of the first word with a placeholder that a builtin of ``shell`` would evaluate, the builtin)."""
    at = 0  # of the command: what begins with $ may expand to nothing
    while at < len(words) and (is_assignment(words[at]) or words[at][:1] in ("", "$") or words[at] in _BEFORE):
        at += 1
        while at < len(words) and at and words[at - 1] in _BEFORE and words[at].startswith("-"):
            at += 1
    if at == len(words):
        return None
    found = _evaluated_by(words, words[at], range(at + 1, len(words)), shell)
    return None if found is None else (found, words[at])


def _evaluated_by(words: Sequence[str], name: str, arguments: range, shell: str) -> int | None:
    holes = [n for n in arguments if HOLE in words[n]]
    if name == "[[":
        tests = any(words[n] in _NUMERIC | _OF_NAMES for n in arguments)
        return holes[0] if holes and tests else None
    if name in _EVALUATING:
        return holes[0] if holes else None
    if name in DECLARING:
        options = any(re.match(r"[-+]\w*[ianAI]", words[n]) for n in arguments)
        return next((n for n in holes if options or not _PLAIN_ASSIGNMENT.match(words[n])), None)
    return _in_test(words, holes, name, shell)


def _in_test(words: Sequence[str], holes: Sequence[int], name: str, shell: str) -> int | None:
    """The word that ``test``, ``printf -v`` or, in shells other than bash and sh, a builtin that takes a number would evaluate."""
    if name in ("test", "[", "printf"):
        for n in holes:
            if words[n - 1] in _OF_NAMES:
                return n
    if shell in ("bash", "sh") or not holes:
        return None
    numbers = name in _COUNTING or (name in ("test", "[") and any(word in _NUMERIC for word in words))
    formatted = name in ("printf", "print") and re.search(r"%[^sbqc%]*[diouxXeEfFgGaA]", " ".join(words[1:3]))
    return holes[0] if numbers or formatted else None


def _of_scripts(words: Sequence[str], begin: int) -> dict[int, str]:
    """The scripts after ``-c`` of shells from word ``begin`` on, if a placeholder is a part of them."""
    found = {}
    for n in range(begin, len(words)):
        name = _basename(words[n])
        if name not in _WITH_C:
            continue
        for option in range(n + 1, len(words) - 1):
            if re.fullmatch(r"-\w*c|--command", words[option]):
                script = words[option + 1]
                if HOLE in script and script != HOLE:
                    found[option + 1] = name
                break
            if (
                name in _SHELLS
                and not words[option].startswith(("-", "+"))
                and not re.fullmatch(r"[-+]\w*[oO]", words[option - 1])
            ):
                break
    return found


def _of_ssh(words: Sequence[str], at: int) -> dict[int, str]:
    """What ssh(1) sends to the remote shell: everything after the host."""
    n = at + 1
    while n < len(words) and words[n].startswith("-"):
        n += 2 if words[n][-1] in _SSH_WITH_VALUE and len(words[n]) == 2 else 1
    return {m: _basename(words[at]) for m in range(n + 1, len(words)) if HOLE in words[m]}


def _basename(word: str) -> str:
    return word.rpartition("/")[2]


def marked(words: Sequence[Word]) -> tuple[tuple[Word, ...], str | None]:
    """The words, with placeholders marked that a program parses again; and the program that parses inputs at the end again."""
    texts = ["".join(HOLE if part.is_input else os.fsdecode(part.text or b"0") for part in word) for word in words]
    adds = not any(part.text is None for word in words for part in word)
    readers = read_again([*texts, HOLE] if adds else texts)
    found = tuple(
        tuple(part._replace(reader=readers.get(n)) if part.is_input else part for part in word)
        for n, word in enumerate(words)
    )
    return found, readers.get(len(words))
