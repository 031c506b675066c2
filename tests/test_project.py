"""What stands in two places says the same in both: dependencies, locks, versions, documented samples."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from ingest.limits import Limits
from ingest.model import Turn, format_timestamp
from ingest.readers import read_document

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "index", "ingest")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TORCH = "torch"  # not locked: its build differs from machine to machine

_SAMPLE = re.compile(r"^```(?P<kind>\w+) (?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLES = list(_SAMPLE.finditer((ROOT / "docs/formats.md").read_text()))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirements: list[str]) -> set[str]:
    """The names alone: `pyright[nodejs]>=1.1` -> `pyright`."""
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def locked(file: str) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    return {normal(name): pin for name, pin in pins}


def used_modules(tree: ast.AST) -> Iterator[str]:
    """Top-level modules that are imported, or whose data is read with `files` or `find_spec`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.Call(func=ast.Name(id="files" | "find_spec"), args=[ast.Constant(value=str(module))]):
                yield module
            case _:
                pass


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_imported_is_declared(package: str) -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = named(PROJECT["project"]["dependencies"] + [each for extra in extras for each in extra])
    distributions = packages_distributions()
    for file in (ROOT / package).rglob("*.py"):
        modules = {name.partition(".")[0] for name in used_modules(ast.parse(file.read_text()))}
        for module in modules - set(sys.stdlib_module_names) - set(PACKAGES):
            assert declared & set(map(normal, distributions.get(module, [module]))), f"{file} uses {module}"


def test_locks_hold_all_that_is_declared() -> None:
    runtime, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert named(PROJECT["project"]["dependencies"]) <= runtime.keys()
    assert named(PROJECT["project"]["optional-dependencies"]["postgres"]) <= runtime.keys()
    assert named(PROJECT["dependency-groups"]["dev"]) - {TORCH} <= dev.keys()
    assert runtime.items() <= dev.items()
    assert named(PROJECT["dependency-groups"]["build"]) <= locked("requirements-build.lock").keys()


def test_torch_is_the_same_everywhere() -> None:
    (pin,) = [each for each in PROJECT["dependency-groups"]["dev"] if each.startswith(f"{TORCH}==")]
    (metadata,) = [each for each in PROJECT["tool"]["uv"]["dependency-metadata"] if each["name"] == TORCH]
    assert pin == f"{TORCH}=={metadata['version']}"
    assert re.findall(rf"{TORCH}==\S+", (ROOT / "Makefile").read_text()) == [pin]
    assert TORCH not in locked("requirements-dev.lock")


def test_licences_of_all_that_runs_are_listed() -> None:
    """As for Linux: what only other systems need is not installed where the list is made."""
    lines = re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    pins = [Requirement(line.strip()) for line in lines]
    needed = {normal(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate(linux)}
    rows = re.findall(r"^\| ([\w.-]+) \| (.+?) \|", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    listed = {normal(name): licence for name, licence in rows}
    assert len(needed) > 50
    assert needed <= listed.keys(), "make licences writes the list anew"
    assert not {name for name, licence in listed.items() if re.search(r"UNKNOWN|\bA?GPL", licence)}


def test_version_is_the_newest_change() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["project"]["version"] == version("onrecord")


def test_the_documented_arrow_is_the_enforced_one() -> None:
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    assert contract["layers"] == list(PACKAGES) == PROJECT["tool"]["pyright"]["include"]


def as_documented(turn: Turn) -> str:
    place = turn.locator_at(0) if turn.start is None else format_timestamp(turn.start)
    return f"{turn.speaker or 'nobody'} · {place} · {turn.text}\n"


@pytest.mark.parametrize("expected", [pytest.param(s, id=s["name"]) for s in SAMPLES if s["kind"] == "turns"])
def test_documented_sample_is_read_as_documented(expected: re.Match[str], tmp_path: Path) -> None:
    for sample in SAMPLES:
        if sample["kind"] != "turns":
            (tmp_path / sample["name"]).write_text(sample["text"])
    document = read_document(tmp_path / expected["name"], Limits())
    assert "".join(map(as_documented, document.turns)) == expected["text"]
