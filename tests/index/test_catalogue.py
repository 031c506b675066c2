from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.catalogue import Entry, read_catalogue, write_catalogue
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
            source, f"/{draw(TEXT)}", draw(TEXT), naming, canonical, draw(COUNT), draw(COUNT), draw(WARNINGS)
        )
        found.append(Entry(record, number, draw(TEXT), draw(COUNT)))
    return found


SPEAKERS = st.lists(
    st.builds(Speaker, NAME, st.lists(TEXT).map(tuple), st.lists(TEXT).map(tuple)), unique_by=lambda s: s.name
)


@settings(deadline=None)
@given(entries(), SPEAKERS)
def test_what_is_written_is_read(written: list[Entry], speakers: list[Speaker]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalogue ?#%.sqlite")
        write_catalogue(path, written, speakers)
        assert read_catalogue(path) == (written, sorted(speakers, key=lambda speaker: speaker.name.encode()))


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
