"""What is open at a position in a script for a shell: quotes, expansions, commands. Plain data of `manyhands.work.shell_script`."""

from __future__ import annotations

from manyhands.core.records import dataclass, field
from manyhands.work.nested_code import DECLARING, is_assignment


@dataclass(slots=True)
class Frame:
    """Something that was opened in the script; for commands also what has been read of the current one."""

    kind: str
    """A quote, ``${``, ``((``, ``[``, ``#``, ``document``, ``array``, or ``command``: the script itself, (...), $(...), <(...)."""
    opened: int
    depth: int = 0
    end: int = 0
    cases: int = 0
    word: str | None = None
    """The current word, without its quotes."""
    quoted: bool = False
    skip: bool = False
    """Whether the current word is the target of a redirection."""
    holes: list[tuple[int, int]] = field(default_factory=list)
    """(number of the word, number of the part) of each placeholder."""
    words: list[str] = field(default_factory=list)

    @property
    def begins(self) -> bool:
        """Whether the next word names a command."""
        return not self.words and self.word is None and not self.skip and self.kind == "command"

    @property
    def assigns(self) -> bool:
        """Whether the current word may be an assignment."""
        return all(map(is_assignment, self.words)) or self.words[0] in DECLARING
