"""Files -> documents: `read_document` is the only door, and each shape of file has a module here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document, Person
from ingest.readers import commentary, dialogue, insights, notes, podcast_json, subrip, webvtt, whisper_json
from ingest.readers.convert import convert, sniff
from ingest.readers.decode import decode, read_bytes
from ingest.readers.segments import refuse_other_json
from ingest.sidecar import Sidecar, load_sidecar

__all__ = ["read_document"]


class _Reader(Protocol):
    """What each module of this package offers."""

    def matches(self, text: str) -> bool: ...

    def read(self, path: Path, text: str, sidecar: Sidecar) -> Document: ...


# The first that knows its shape reads; the notes reader takes any text.
_READERS: tuple[_Reader, ...] = (podcast_json, whisper_json, webvtt, subrip, dialogue, insights, commentary, notes)


def read_document(path: Path, limits: Limits) -> Document:
    """The document at `path`, with what its sidecar says put over what it says itself.

    Raises ReadError, on the file or on its sidecar, for whatever cannot be read.
    """
    sidecar = load_sidecar(path)
    document = _read(path, sidecar, limits)
    if not document.turns:
        raise ReadError(path, "holds no words")
    return replace(
        document,
        title=sidecar.title or document.title,
        kind=sidecar.kind or document.kind,
        url=sidecar.url or document.url,
        date=sidecar.date or document.date,
        people=_people(sidecar.people, document.people),
        access=sidecar.access,
    )


def _read(path: Path, sidecar: Sidecar, limits: Limits) -> Document:
    data = read_bytes(path, limits)
    if sniff(data) is None:
        return _read_text(path, decode(path, data), sidecar)
    try:
        return _without_lines(_read_text(path, convert(path, data, limits), sidecar))
    except ReadError as error:
        raise ReadError(path, error.reason) from error


def _read_text(path: Path, text: str, sidecar: Sidecar) -> Document:
    refuse_other_json(path, text)
    for reader in _READERS:
        if reader.matches(text):
            return reader.read(path, text, sidecar)
    raise ReadError(path, "holds no words")


def _without_lines(document: Document) -> Document:
    """The document without the lines of a text that nobody but the converter has seen."""
    turns = tuple(replace(turn, cues=tuple(replace(cue, line=None) for cue in turn.cues)) for turn in document.turns)
    return replace(document, turns=turns, warnings=tuple((None, reason) for _, reason in document.warnings))


def _people(known: tuple[Person, ...], stated: tuple[Person, ...]) -> tuple[Person, ...]:
    """The sidecar's people, then whom only the document names."""
    names = {name.casefold() for person in known for name in (person.name, *person.aliases)}
    return known + tuple(person for person in stated if person.name.casefold() not in names)
