"""How the documentation is built: Sphinx with MyST, so that every page is plain Markdown that also reads on its own.

The source folder is the repository, not docs/, so that links between pages, the README and the reports are the same
files here as in a checkout, and dead ones fail the build (`make docs`). Nothing is loaded from elsewhere.
"""

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scalesearch import __version__  # noqa: E402

project = "scalesearch"
author = "The scalesearch authors"
copyright = "the scalesearch authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "reports/**.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
exclude_patterns = [".venv", "site", "runs", "data"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
highlight_language = "text"
smartquotes = False  # it would make a dash of the two before an option

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"scalesearch {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_extra_path = ["_extra"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "color-brand-primary": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7fb8dd"},
}


def _name_module(_app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """A module's name stands above what it holds."""
    if what == "module":
        lines[:] = [f".. rubric:: ``{name}``", "", *lines]


def _escape_bars(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings write |x| for an absolute value, which reStructuredText takes for a substitution."""
    for place, line in enumerate(lines):
        parts = line.split("``")  # every second part is code
        lines[place] = "``".join(part if odd % 2 else part.replace("|", "\\|") for odd, part in enumerate(parts))


def _open_files(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """A link to a file, such as an example report, opens it instead of saving it."""
    if "body" in context:
        context["body"] = context["body"].replace(' download=""', "")


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
    app.connect("autodoc-process-docstring", _name_module, priority=901)
    app.connect("html-page-context", _open_files)
