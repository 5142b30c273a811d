"""Hooks of the documentation site: pages from outside docs/, the tutorial, the API reference, the gallery, the menu."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gallery
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/tutorial.ipynb": "tutorial.md",
}
"""Files of the repository that are pages of the site."""
MODULES = (
    "designspace",
    "designspace.spaces",
    "designspace.distributions",
    "designspace.blocks",
    "designspace.layers",
    "designspace.spec",
    "designspace.zoo",
    "designspace.scaling",
    "designspace.export",
    "analysis",
    "analysis.plots",
    "sweeps",
    "sweeps.config",
)
"""Modules of the API reference, one page each."""
LINK = re.compile(r"\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the files of the repository that a page links to."""
    for source, uri in PAGES.items():
        text = notebook_text(ROOT / source) if source.endswith(".ipynb") else (ROOT / source).read_text()
        files.append(File.generated(config, uri, content=text))
    for module in MODULES:
        text = f"# {title_of(module)}\n\n::: {module}\n"
        files.append(File.generated(config, f"reference/{module}.md", content=text))
    for uri, content in build_gallery().items():
        files.append(File.generated(config, uri, content=content))
    linked = {target for file in files.documentation_pages() for target in links(file.src_uri, file.content_string)}
    for target in sorted(linked):
        if not target.startswith("docs/") and target not in PAGES and (ROOT / target).is_file():
            files.append(File.generated(config, site_uri(target), abs_src_path=str(ROOT / target)))
    add_to_menu(config.nav, files)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between files of the repository links between pages."""
    uri = page.file.src_uri

    def replace(link: re.Match[str]) -> str:
        target = posixpath.relpath(site_uri(repository_path(uri, link[1])), posixpath.dirname(uri) or ".")
        return f"]({target}{link[2]})"

    return LINK.sub(replace, markdown)


def repository_path(uri: str, target: str) -> str:
    """Path in the repository of the relative link `target` on a page of the site."""
    source = next((source for source, page in PAGES.items() if page == uri), f"docs/{uri}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    return f"{path}/README.md" if (ROOT / path / "README.md").exists() else path


def site_uri(path: str) -> str:
    """Path on the site of a file of the repository."""
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")


def links(uri: str, markdown: str) -> Iterator[str]:
    """Files of the repository to which a page of the site links."""
    return (repository_path(uri, link[1]) for link in LINK.finditer(markdown))


def notebook_text(file: Path) -> str:
    """A notebook as Markdown. The magics of its cells become the language of a code block."""
    cells = []
    for cell in nbformat.read(file, as_version=4).cells:
        text = cell.source
        if cell.cell_type == "code":
            if written := re.match(r"%%writefile (\S+)\n", text):
                text = f"# {written[1]}\n{text[written.end() :]}"
            shell = re.match(r"%%bash.*\n", text)
            text = f"```{'sh' if shell else 'python'}\n{text[shell.end() if shell else 0 :]}\n```"
        cells.append(text)
    return "\n\n".join(cells) + "\n"


@cache  # `mkdocs serve` builds the site after every change
def build_gallery() -> dict[str, str | bytes]:
    """The gallery and its figures by path on the site."""
    return gallery.build()


def add_to_menu(menu: list[Any], files: Files) -> None:
    """Add the API reference, the studies, and pages that the menu does not list."""
    listed = set(uris(menu))
    pages = sorted(file.src_uri for file in files.documentation_pages() if file.src_uri not in listed)
    for section in menu:
        (title, entries), *_ = section.items()
        if title == "API":
            entries += [{title_of(module): f"reference/{module}.md"} for module in MODULES]
        elif title == "Guides":
            entries += [uri for uri in pages if "/" not in uri]
    studies = [uri for uri in pages if uri.startswith("studies/")]
    if studies:
        overview = "studies/README.md"
        menu.insert(-2, {"Studies": sorted(studies, key=lambda uri: (uri != overview, uri))})


def title_of(module: str) -> str:
    """Name of a module as users import it."""
    return f"designspace.{module}" if module.startswith(("analysis", "sweeps")) else module


def uris(menu: list[Any]) -> Iterator[str]:
    """All pages that a menu lists."""
    for entry in menu:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            if isinstance(value, str):
                yield value
            else:
                yield from uris(value)
