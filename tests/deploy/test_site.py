"""The site of docs/ can be made, with no link that leads nowhere, and its pages load nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# A link to another site is for people to follow; a script, style or picture of one would be loaded unasked.
LOADED = re.compile(r"""(?:\bsrc=|<link[^>]*href=|@import|\burl\()\s*["']?(?:https?:)?//""")


def test_site(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: make test installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    pages = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert (tmp_path / "deploy/index.html") in pages
    canonical = '<link rel="canonical"'
    found = {str(page): LOADED.findall(page.read_text("utf-8").replace(canonical, "")) for page in pages}
    assert not {page: loads for page, loads in found.items() if loads}
    start = (tmp_path / "index.html").read_text("utf-8")
    assert 'href="deploy/#many-machines"' in start
    assert 'src="images/citation.png"' in start
