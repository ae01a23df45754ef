"""How the pages become a site: `make site`."""

import tomllib
from pathlib import Path
from typing import Any

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = "The elm-sweeper authors"
copyright = "2026, the elm-sweeper authors"
version = release = _PROJECT["version"]

# The root is the source folder, so that a link between README, docs and a package's page is one and the same link in
# an editor, on a forge and on the site, and is checked.
root_doc = "docs/index"
include_patterns = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**.md", "*/README.md", "studies/*/README.md"),
    *("studies/*/results/verdicts.md", "theory/simulations/*.md"),
]
exclude_patterns = [".*", "site", "results*", "build"]
extensions = ["myst_parser"]
myst_heading_anchors = 4  # links to headings, made as forges make them

html_theme = "furo"
html_title = "elm-sweeper"
html_extra_path = ["site_root"]
html_static_path = ["site_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

PACKAGES = ("sweeper", "analysis", "theory", "model", "tasks", "cluster")
NAVIGATION = {
    "Begin": ["README", "docs/install", "docs/tutorial"],
    "Do": [
        "docs/grids",
        "docs/bring_your_own",
        "docs/clusters",
        "docs/gpu",
        "docs/results",
        "docs/faults",
        "docs/python",
    ],
    "Look up": ["docs/reference/*"],
    "Understand": ["docs/concepts", "docs/figure_by_figure", "docs/limits", "docs/decisions"],
    "Studies": ["studies/*/README", "studies/*/results/verdicts", "theory/simulations/*"],
    "Change": ["CONTRIBUTING", "CHANGELOG", *(f"{package}/README" for package in PACKAGES)],
}
"""Headings of the side bar and the pages below each; a page in none of them is an error."""


def add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Append the side bar's tree to the first page, where a reader of the file itself is spared it."""
    if page == root_doc:
        for heading, pages in NAVIGATION.items():
            listed = "\n".join(f"/{one}" for one in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {heading}\n{listed}\n```\n"


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", add_navigation)
