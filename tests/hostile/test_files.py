"""What stands where a document or its sidecar should, and is none: nothing is waited for, nothing outside is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from index.build import ingest
from index.search import Index
from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.readers import read_document
from tests.hashing import HashingEmbedder

TALK = "Ann (00:01): We threw the manuals away.\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a talk in it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "talk.txt").write_text(TALK)
    return folder


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(".pipe"))
    path.symlink_to(".pipe")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_passwords(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def folder(path: Path) -> None:
    path.mkdir()


STRANGE = [pipe, link_to_pipe, listening, link_to_device, link_to_passwords, folder]


def ingested(corpus: Path) -> tuple[set[str], dict[str, str]]:
    """The ids of what was read, and the reasons why else was not."""
    where = corpus.parent / "snapshots"
    report = ingest([corpus], where, HashingEmbedder(), Limits())
    index = Index.open(where, HashingEmbedder())
    try:
        return {source.id for source in index.store.sources()}, {Path(e.path).name: e.error for e in report.errors}
    finally:
        index.close()


@pytest.mark.parametrize("strange", STRANGE)
def test_in_place_of_a_document(corpus: Path, strange: Callable[[Path], None]) -> None:
    strange(corpus / "strange.txt")
    read, errors = ingested(corpus)
    assert read == {"talk"}
    outside = {"strange.txt": "is a symlink out of the corpus folder: copy the file instead"}
    assert errors == (outside if strange in (link_to_device, link_to_passwords) else {})


@pytest.mark.parametrize("strange", STRANGE)
def test_in_place_of_a_sidecar(corpus: Path, strange: Callable[[Path], None]) -> None:
    (corpus / "other.txt").write_text(TALK.replace("manuals", "books"))
    strange(corpus / "other.meta.yaml")
    read, errors = ingested(corpus)
    assert read == {"talk"}
    assert errors.keys() == {"other.meta.yaml"}
    assert "root:" not in str(errors)


@pytest.mark.parametrize("strange", [pipe, listening])
def test_given_by_name(corpus: Path, strange: Callable[[Path], None]) -> None:
    strange(corpus / "strange.txt")
    with pytest.raises(ReadError, match="cannot be read"):
        read_document(corpus / "strange.txt", Limits())
    report = ingest([corpus / "strange.txt", corpus / "talk.txt"], corpus.parent / "one", HashingEmbedder(), Limits())
    assert [error.error for error in report.errors] == ["is not a file or folder"]
