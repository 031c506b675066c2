from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.catalogue import Entry, read_catalogue, update_catalogue, write_catalogue
from index.errors import SnapshotError
from index.prepare import SourceRecord
from ingest.model import Person, Source
from ingest.speakers import Naming, Speaker

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a\0b", "👩‍👩‍👧", "'\";--", "é\r\n"]
)
NAME = TEXT.filter(bool)
PEOPLE = st.lists(st.builds(Person, TEXT, st.none() | TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=2)
WARNINGS = st.lists(st.tuples(st.none() | st.integers(1, 9), TEXT), max_size=2).map(tuple)
COUNT = st.integers(0, 1 << 40)
SECONDS = st.none() | st.floats(0, 1e9)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    found: list[Entry] = []
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["transcript", "insights", "notes", "article"]))
        people = tuple(draw(PEOPLE))
        url, date = draw(st.none() | TEXT), draw(st.none() | TEXT)
        source = Source(f"source-{number}", f"{number}{draw(TEXT)}", draw(TEXT), kind, url, date, people)
        naming = Naming(draw(st.dictionaries(NAME, st.integers(1, 99), max_size=3)), people)
        canonical = {name: draw(NAME) for name in naming.turns}
        record = SourceRecord(
            source,
            f"/{draw(TEXT)}",
            draw(TEXT),
            naming,
            canonical,
            draw(COUNT),
            draw(COUNT),
            draw(WARNINGS),
            draw(SECONDS),
        )
        found.append(Entry(record, number, draw(TEXT), draw(COUNT)))
    return found


SPEAKERS = st.lists(
    st.builds(Speaker, NAME, st.lists(TEXT).map(tuple), st.lists(TEXT).map(tuple)), unique_by=lambda s: s.name
)


@given(entries(), SPEAKERS)
def test_what_is_written_is_read(written: list[Entry], speakers: list[Speaker]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalogue ?#%.sqlite")
        write_catalogue(path, written, speakers)
        assert read_catalogue(path) == (written, sorted(speakers, key=lambda speaker: speaker.name.encode()))


@given(entries(), SPEAKERS, SPEAKERS, st.data())
def test_what_is_brought_up_to_date_is_read(
    written: list[Entry], speakers: list[Speaker], later: list[Speaker], data: st.DataObject
) -> None:
    """Sources that go, come, move to another segment or are read anew, under a number of their own as ever."""
    kinds = [data.draw(st.sampled_from(["stays", "goes", "comes", "moves", "changes"])) for _ in written]
    old = {kind: [e for e, k in zip(written, kinds, strict=True) if k == kind] for kind in set(kinds) - {"comes"}}
    moved = [replace(entry, segment="other") for entry in old.get("moves", [])]
    changed = [
        replace(entry, number=entry.number + 9, record=replace(entry.record, digest="new"))
        for entry in old.get("changes", [])
    ]
    new = [entry for entry, kind in zip(written, kinds, strict=True) if kind == "comes"] + moved + changed
    with tempfile.TemporaryDirectory() as folder:
        older, path = Path(folder, "older.sqlite"), Path(folder, "newer.sqlite")
        write_catalogue(older, [entry for part in old.values() for entry in part], speakers)
        before = older.read_bytes()
        gone = [entry for kind in ("goes", "moves", "changes") for entry in old.get(kind, [])]
        update_catalogue(path, older, gone, new, later)
        left = sorted([*old.get("stays", []), *new], key=lambda entry: entry.record.source.id)
        assert read_catalogue(path) == (left, sorted(later, key=lambda speaker: speaker.name.encode()))
        assert older.read_bytes() == before


def test_turns_are_counted_by_speaker_not_by_name() -> None:
    naming = Naming({"Liz": 2, "Elizabeth Ray": 3, "Bob": 1})
    canonical = {"Liz": "Elizabeth Ray", "Elizabeth Ray": "Elizabeth Ray", "Bob": "Bob"}
    record = SourceRecord(Source("talk", "talk.txt", "Talk", "transcript"), "/c", "d", naming, canonical, 6, 1)
    assert record.spoken == {"Elizabeth Ray": 5, "Bob": 1}


def test_what_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "whole", [], [])
    (tmp_path / "text").write_text("Nothing of the kind. " * 50)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:5000])
    for name in ("text", "empty", "cut", "missing"):
        with pytest.raises(SnapshotError, match=f"{name} is not a database that SQLite reads"):
            read_catalogue(tmp_path / name)
