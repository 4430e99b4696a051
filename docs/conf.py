"""How Sphinx builds the documentation: ``invoke dev.docs``.

The pages are Markdown (MyST); the reference of the library is made from the docstrings. In these, `a name` in single backquotes
is a reference that must resolve, and an indented block after a paragraph is an example.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import manyhands

project = "manyhands"
author = "The manyhands authors"
project_copyright = author
version = release = manyhands.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"manyhands {release}"
highlight_language = "sh"
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the headings of an included page begin where that page has them

default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:(?!obj$).*", ".*"),  # types in signatures: of the standard library, or not exported
    ("py:obj", r"(builtins|multiprocessing|sys)\..*"),
]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80


def mark_examples(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Make a code block of each indented block that follows an empty line after a paragraph."""
    marked: list[str] = []
    last = ""
    for at, line in enumerate(lines):
        begins = line.startswith("    ") and at > 0 and not lines[at - 1].strip()
        if begins and last and not last.startswith((" ", ".. ", "- ", "* ")) and not last.endswith("::"):
            marked += [".. code-block:: python", ""]
        marked.append(line)
        last = line or last
    lines[:] = marked


def find_documented(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> Any:
    """A name leads to where it is documented, as users import it, wherever it is defined: its module does not matter."""
    if node.get("refdomain") != "py":
        return None
    target = re.sub(r"^manyhands\.([a-z_]+\.)*", "", node["reftarget"])
    node["refspecific"] = True
    return env.domains.python_domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", mark_examples)
    app.connect("missing-reference", find_documented)
