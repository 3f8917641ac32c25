"""Settings of the documentation: `make docs`, or `python -m sphinx -W docs build/docs`."""

import sys
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402
import markup  # noqa: E402

from seqrl_jax import __version__, settings  # noqa: E402

project, author, release = "seqrl_jax", "The seqrl_jax developers", __version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]

# Tables link to pages of tasks, agents, modules and decisions: a sidebar of hundreds would be of no use.
suppress_warnings = ["toc.not_included"]
myst_heading_anchors = 3
# Of o' and -- in equations nothing is made.
smartquotes = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_mock_imports = [] if find_spec("gymnasium") else ["gymnasium"]
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in vars(settings) if name[0].isupper()}
python_maximum_signature_line_length = 88

highlight_language = "text"
html_theme = "furo"
html_title = "seqrl_jax"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Pages are written before any is read; docstrings, and links out of this folder, are put into markup."""
    app.connect("builder-inited", lambda app: generate.write(Path(app.srcdir)))
    app.connect("source-read", generate.point_to_copies)
    app.connect("autodoc-skip-member", markup.skip_member)
    app.connect("autodoc-process-docstring", markup.process_docstring)
    app.connect("doctree-read", markup.unlink_short_names)
