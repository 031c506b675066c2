"""What can be typed, called or set is written down for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.api import create_app
from app.cli import cli
from app.settings import Settings
from index.embed import Embedder

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def documented() -> str:
    return "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def commands(group: Any, called: str) -> Iterator[tuple[str, Any]]:
    """All commands under their full names, groups looked into."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{called} {name}")
        else:
            yield f"{called} {name}", command


def test_commands_and_options(documented: str) -> None:
    wanted = set[str]()
    for name, command in commands(get_command(cli), "onrecord"):
        wanted.add(name)
        wanted |= {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert "onrecord feedback purge" in wanted
    missing = {text for text in wanted - {"--help"} if not re.search(rf"{text}\b", documented)}
    assert not missing


def test_routes(documented: str, tmp_path: Path, embedder: Embedder) -> None:
    paths = create_app(Settings(index_dir=tmp_path), embedder).openapi()["paths"]
    assert not {path for path in {*paths, "/docs", "/openapi.json"} if path not in documented}


def test_settings(documented: str) -> None:
    fields = Settings.model_fields.items()
    wanted = {str(field.validation_alias or f"ONRECORD_{name.upper()}") for name, field in fields}
    assert not {name for name in wanted if name not in documented}
