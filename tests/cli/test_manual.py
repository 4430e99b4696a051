"""The manual page has every task, and troff understands it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.manual import manual

NAMESPACE = load_tasks().namespace


def test_every_task_and_option_is_on_the_page() -> None:
    """Made from the same source as the help."""
    page = manual(NAMESPACE, "manyhands", "1.2").replace("\\-", "-")
    for name in NAMESPACE.task_names:
        if NAMESPACE[name].listed and "." in name:
            assert f'.SS "{name}' in page or f" {name}." in page, name
            for option in NAMESPACE[name].get_arguments():
                assert option.positional or f"--{option.names[0].strip('_').replace('_', '-')}" in page.replace(
                    "[no-]", ""
                )
    assert page.startswith('.TH MANYHANDS 1 "" "manyhands 1.2"')


def test_nothing_is_taken_for_a_request() -> None:
    """Lines of text do not begin with a dot or an apostrophe."""
    requests = (".TH", ".SH", ".SS", ".PP", ".TP", ".EX", ".EE", ".B", ".br")
    for line in manual(NAMESPACE, "manyhands", "1.2").splitlines():
        assert not line.startswith("'"), line
        assert not line.startswith(".") or line.split()[0] in requests, line


def test_groff_has_no_complaint() -> None:
    """With all its warnings, and the text comes out as it was."""
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-P-c"],
        input=manual(NAMESPACE, "manyhands", "1.2"),
        capture_output=True,
        text=True,
        check=True,
    )
    if "troff: " in done.stderr and "macro" in done.stderr:
        pytest.skip("groff has no man macros here")
    assert done.stderr == ""
    assert "manyhands batch 'gzip -9 -kf {}' --glob 'logs/**/*.log' -j 4" in done.stdout
