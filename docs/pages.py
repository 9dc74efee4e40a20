"""Pages that stand in the repository, outside of docs/, are pages of the site too; links to what is on none become text."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add them."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links between files of the repository lead to the site's pages."""
    uri = page.file.src_uri
    source = next((source for source, name in PAGES.items() if name == uri), f"docs/{uri}")

    def linked(found: re.Match[str]) -> str:
        image, text, target, anchor = found.groups(default="")
        if ":" in target or not target:
            return found[0]
        target = normpath(PurePosixPath(source).parent / target)
        place = PAGES.get(target, target.removeprefix("docs/"))
        if not (target in PAGES or target.startswith("docs/")):
            return text
        return f"{image}[{text}]({relpath(place, PurePosixPath(uri).parent)}{anchor})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)]*)?\)", linked, markdown)
