"""The samples of the README, run as they stand there, but for the port."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder
from tests.serving import served

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
WRITTEN = "http://127.0.0.1:8000"
CURL = re.findall(r"^curl (?:.*\\\n)*.*$", README, re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def url(sample_index: Path, embedder: Embedder) -> Iterator[str]:
    with served(create_app(Settings(index_dir=sample_index, conversations=":memory:"), embedder)) as url:
        yield url


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_curl(url: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    printed = [run(["bash", "-c", sample.replace(WRITTEN, url)]) for sample in CURL]
    assert len(printed) == 4
    assert all('"status":"answered"' in each for each in printed)
    assert '"reading":{"question":"What did Kayvon Beykpour say about customers?"' in printed[2]
    assert printed[3].startswith("event: passages")


def test_python(url: str) -> None:
    (sample,) = PYTHON
    printed = run([sys.executable, "-c", sample.replace(WRITTEN, url)])
    assert "Sources:\n[1] Kayvon Beykpour · 49:14" in printed
    assert printed.splitlines()[-1].startswith("Kayvon Beykpour ")
