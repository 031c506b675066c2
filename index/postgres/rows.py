"""Records <-> the columns that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, LiteralString

from index.prepare import SourceRecord
from ingest.model import Cue, Document, Passage, Person, Source, Span, Turn
from ingest.speakers import Naming, Speaker

PLACES = 20
"""Bits of a row that are a passage's place in its source; above them stands the source's number."""
SOURCE: LiteralString = (
    "number, id, root, path, digest, title, kind, url, date, people, warnings, naming, canonical, turns, passages, "
    "seconds, access"
)
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
TURN = "text, cues, attribution, heading, note"


def first_row(number: int) -> int:
    """The row of the first passage of a source, by its number; the last stands before that of the next number."""
    return number << PLACES


def source_fields(number: int, record: SourceRecord) -> tuple[Any, ...]:
    """The columns `SOURCE`."""
    s = record.source
    described = (s.title, s.kind, s.url, s.date, dump(_listed(s.people)), dump(record.warnings))
    named = (dump(record.naming.turns), dump(record.canonical))
    sizes = (record.turns, record.passages, record.seconds)
    return (number, s.id, record.root, s.path, record.digest, *described, *named, *sizes, list(s.access))


def source_record(
    source_id: str,
    root: str,
    path: str,
    digest: str,
    title: str,
    kind: Any,
    url: str | None,
    date: str | None,
    people: Sequence[Any],
    warnings: Sequence[Any],
    naming: dict[str, int],
    canonical: dict[str, str],
    turns: int,
    passages: int,
    seconds: float | None,
    access: Sequence[str],
) -> SourceRecord:
    """From the columns `SOURCE` but the first."""
    listed, groups = _people(people), tuple(access)
    source = Source(source_id, path, title, kind, url, date, listed, groups)
    names = Naming(naming, listed, groups)
    flaws = tuple((line, reason) for line, reason in warnings)
    return SourceRecord(source, root, digest, names, canonical, turns, passages, flaws, seconds)


def turn_fields(turn: Turn) -> tuple[Any, ...]:
    """The columns `TURN`."""
    cues = dump([[c.position, c.offset, c.start, c.end, c.line] for c in turn.cues])
    return (turn.text, cues, turn.attribution, dump(turn.heading), turn.note)


def turn_from(
    speaker: str | None, text: str, cues: Sequence[Any], attribution: Any, heading: Sequence[str], note: str
) -> Turn:
    """A turn from whose it is and the columns `TURN`."""
    return Turn(speaker, text, tuple(Cue(*cue) for cue in cues), attribution, tuple(heading), note)


def passage_from(source_id: str, row: int, passage_id: str, words: int, sentences: Sequence[int]) -> Passage:
    """A passage from its columns; `sentences` has three numbers for each."""
    numbers = iter(sentences)
    spans = tuple(Span(*span) for span in zip(numbers, numbers, numbers, strict=True))
    return Passage(passage_id, source_id, row & ((1 << PLACES) - 1), spans, words)


def speaker_from(name: str, aliases: Sequence[str], roles: Sequence[str]) -> Speaker:
    """A speaker from its columns."""
    return Speaker(name, tuple(aliases), tuple(roles))


def document_json(document: Document) -> str:
    """A document as it was read, on one line."""
    d = document
    turns = [[t.speaker, *turn_fields(t)] for t in d.turns]
    return dump([d.title, d.kind, turns, _listed(d.people), d.url, d.date, d.warnings, d.access])


def document_from(fields: Sequence[Any]) -> Document:
    """What `document_json` wrote, parsed."""
    title, kind, turns, people, url, date, warnings, access = fields
    read = tuple(
        turn_from(speaker, text, json.loads(cues), attribution, json.loads(heading), note)
        for speaker, text, cues, attribution, heading, note in turns
    )
    flaws = tuple((line, reason) for line, reason in warnings)
    return Document(title, kind, read, _people(people), url, date, flaws, tuple(access))


def naming_json(naming: Naming) -> str:
    """Who speaks, whom a document lists, and who may know."""
    return dump([naming.turns, _listed(naming.people), naming.access])


def naming_from(fields: Sequence[Any]) -> Naming:
    """What `naming_json` wrote, parsed."""
    turns, people, access = fields
    return Naming(turns, _people(people), tuple(access))


def dump(value: Any) -> str:
    """JSON for a column; in place of the one character that PostgreSQL cannot hold stands the one for what is unknown.

    Documents go through here before anything is made of them.
    """
    return _NUL.sub(r"\1\\ufffd", json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _listed(people: Sequence[Person]) -> list[Any]:
    return [[person.name, person.role, person.aliases] for person in people]


def _people(listed: Sequence[Any]) -> tuple[Person, ...]:
    return tuple(Person(name, role, tuple(aliases)) for name, role, aliases in listed)
