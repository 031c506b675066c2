"""The site holds pages from outside docs/, too; a link to a file that is no page of it becomes its text.

What links say is true in the repository, where most read them. MkDocs calls the two functions: `make docs`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
RESULTS = "benchmarks/results"
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]\[]*)\]\((?P<to>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
_LITERAL = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    for written, shown in _outside().items():
        files.append(File.generated(config, shown, content=(ROOT / written).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    shown = page.file.src_uri
    written = {site: here for here, site in _outside().items()}.get(shown, f"docs/{shown}")

    def relinked(link: re.Match[str]) -> str:
        to = link["to"]
        if "://" in to or not to:
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written), to))
        there = _outside().get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
        if files.get_file_from_path(there) is None:
            return link["text"]
        relative = posixpath.relpath(there, posixpath.dirname(shown) or ".")
        return f"{link['image']}[{link['text']}]({relative}{link['anchor'] or ''})"

    pieces, done = list[str](), 0
    for literal in _LITERAL.finditer(markdown):
        pieces += [_LINK.sub(relinked, markdown[done : literal.start()]), literal[0]]
        done = literal.end()
    return "".join([*pieces, _LINK.sub(relinked, markdown[done:])])


def _outside() -> dict[str, str]:
    """Pages of the repository by what they are called on the site."""
    results = (ROOT / RESULTS).glob("*.md")
    there = {name: shown for name, shown in OUTSIDE.items() if (ROOT / name).exists()}
    return {**there, **{f"{RESULTS}/{path.name}": f"results/{path.name}" for path in results}}
