"""Which files travel to the host of a job and back: templates of paths, as the command is one of arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manyhands.core.errors import TemplateError, UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.job import Job
from manyhands.core.records import dataclass, replace
from manyhands.work.template import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """``folder``: the paths are below it here; there they are below the folder of the jobs."""

    folder: str
    send: Sequence[str] = ()
    fetch: Sequence[str] = ()
    cleanup: bool = False

    def check(self, *, on_each: bool) -> None:
        """Raise UsageError for a template that cannot be one of paths."""
        for option, texts in (("--send", self.send), ("--fetch", self.fetch)):
            for text in texts:
                _check(option, text, host_wanted=on_each and option == "--fetch")


def _check(option: str, text: str, *, host_wanted: bool) -> None:
    given = given_as(option, repr(text))
    try:
        template = Template.from_args([text])
    except TemplateError as error:
        raise UsageError(f"{given}: {error.reason}") from None
    fields = {part.field for word in template.words for part in word if part.text is None}
    if "%" in fields:
        raise UsageError(f"{given}: the slot is not known before the job begins")
    if host_wanted and "host" not in fields:
        raise UsageError(f"{given}: with {option_name('--on-each')} it needs {{host}}, or all hosts' files have one name")


def paths_of(
    texts: Sequence[str], columns: Sequence[str], *, on_each: bool, group: int | None
) -> Callable[[Job], list[bytes]]:
    """What makes the paths of a job. Raises TemplateError for a column that is not there."""
    templates = [replace(Template.from_args([text]), on_each=on_each, group=group) for text in texts]
    bound = [(one.bind(columns), any(part.text is None for word in one.words for part in word)) for one in templates]

    def paths(job: Job) -> list[bytes]:
        found: list[bytes] = []
        for renderer, filled in bound:
            made = [arg for arg in renderer.argv(job.values, job.number) if isinstance(arg, bytes)]
            found += made if filled else made[:1]  # the input is appended to a template without a placeholder
        return found

    return paths
