from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import SnapshotError
from index.records import PassageRecord, Records, SourceRecord, write_records
from ingest.model import Cue, Document, Passage, Person, Source, Span, Turn
from ingest.speakers import Speaker

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a\0b", "👩‍👩‍👧", "'\";--", "é\r\n"]
)
NAME = TEXT.filter(bool)
SECONDS = st.none() | st.floats(0, 1e7)
CUES = st.lists(st.builds(Cue, st.integers(0, 1 << 40), st.integers(0, 99), SECONDS, SECONDS), max_size=3)
TURNS = st.lists(
    st.builds(
        Turn,
        st.none() | NAME,
        NAME,
        CUES.map(lambda cues: (Cue(0, 0, line=3), *cues)),
        st.sampled_from(["stated", "inferred"]),
        st.lists(TEXT, max_size=2).map(tuple),
        TEXT,
    ),
    max_size=4,
).map(tuple)
PEOPLE = st.lists(st.builds(Person, TEXT, st.none() | TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=2)
WARNINGS = st.lists(st.tuples(st.none() | st.integers(1, 9), TEXT), max_size=2).map(tuple)


@st.composite
def source_records(draw: st.DrawFn) -> list[SourceRecord]:
    records: list[SourceRecord] = []
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["transcript", "insights", "notes", "article"]))
        url, date = draw(st.none() | TEXT), draw(st.none() | TEXT)
        people, turns = tuple(draw(PEOPLE)), draw(TURNS)
        source = Source(f"source-{number}", draw(TEXT), draw(TEXT), kind, url, date, people)
        names = tuple(None if turn.speaker is None else draw(NAME) for turn in turns)
        records.append(SourceRecord(source, f"/corpus/{number}", draw(TEXT), turns, names, draw(WARNINGS)))
    return records


def passages_of(records: list[SourceRecord]) -> list[PassageRecord]:
    """A passage for each turn, in two sentences where it can be."""
    passages: list[PassageRecord] = []
    first = 0
    for record in records:
        for number, turn in enumerate(record.turns):
            middle = len(turn.text) // 2
            spans = [Span(number, 0, middle), Span(number, middle, len(turn.text))] if middle else [Span(number, 0, 1)]
            row = len(passages)
            passage = Passage(f"id-{row}", record.source.id, number, tuple(spans), len(turn.text.split()))
            passages.append(PassageRecord(passage, row, first, f"digest-{row}"))
            first += len(spans)
    return passages


@contextmanager
def written(
    sources: list[SourceRecord], passages: list[PassageRecord], speakers: list[Speaker] | None = None
) -> Generator[Records]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records ?#%.sqlite")
        write_records(path, sources, passages, speakers or [])
        with closing(Records(path)) as records:
            yield records


@settings(deadline=None)
@given(source_records(), st.lists(st.builds(Speaker, NAME, st.lists(TEXT).map(tuple)), unique_by=lambda s: s.name))
def test_what_is_written_is_read(sources: list[SourceRecord], speakers: list[Speaker]) -> None:
    passages = passages_of(sources)
    with written(sources, passages, speakers) as records:
        assert records.source_records() == sources
        assert records.sources() == [record.source for record in sources]
        assert records.passages() == passages
        assert list(records.speakers()) == sorted(speakers, key=lambda speaker: speaker.name.encode())
        assert records.words.tolist() == [record.passage.words for record in passages]
        assert records.flaws() == []
        for record in sources:
            assert records.turns(record.source.id) == record.turns
            assert records.source_counts()[record.source.id] == (len(record.turns), len(record.turns))


def turn(speaker: str | None, text: str) -> Turn:
    return Turn(speaker, text, (Cue(0, 0, 1.0, 2.0, 3),))


DAY, NIGHT = (
    SourceRecord(
        Source(name, f"{name}.txt", name.title(), "transcript"),
        "/corpus",
        f"sha-{name}",
        turns,
        tuple(None if t.speaker is None else t.speaker.upper() for t in turns),
    )
    for name, turns in {
        "day": (turn("Ann", "One two three."), turn("Ben", "Four."), turn("Ann", "Five six."), turn(None, "Seven.")),
        "night": (turn("Ben", "Eight nine ten."), turn("Cy", "Eleven.")),
    }.items()
)
PASSAGES = [
    PassageRecord(Passage("p0", "day", 0, (Span(0, 0, 14), Span(1, 0, 5), Span(2, 0, 4)), 5), 0, 0, "d0"),
    PassageRecord(Passage("p1", "day", 1, (Span(2, 5, 9), Span(3, 0, 6)), 2), 1, 3, "d1"),
    PassageRecord(Passage("p2", "night", 0, (Span(0, 0, 15), Span(1, 0, 7)), 4), 2, 5, "d2"),
]
SPEAKERS = [Speaker("Cy"), Speaker("Ann", ("ANN", "Anne"), ("host",)), Speaker("Ben")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_records(tmp_path / "records.sqlite", [DAY, NIGHT], PASSAGES, SPEAKERS)
    return tmp_path / "records.sqlite"


@pytest.fixture
def records(path: Path) -> Generator[Records]:
    with closing(Records(path)) as records:
        yield records


def test_the_document_bears_the_names_it_was_read_with(records: Records) -> None:
    document = records.source_records()[0].document
    assert [turn.speaker for turn in document.turns] == ["ANN", "BEN", "ANN", None]
    assert document == Document(
        "Day", "transcript", tuple(Turn(name, t.text, t.cues) for t, name in zip(DAY.turns, DAY.names, strict=True))
    )


def test_windows_of_turns(records: Records) -> None:
    def window(*bounds: int) -> list[str]:
        return [turn.text for turn in records.turns("day", *bounds)]

    assert window(1, 2) == ["Four.", "Five six."]
    assert window(3) == window(3, 99) == ["Seven."]
    assert window(0, 0) == ["One two three."]
    assert window(4) == window(2, 1) == []
    with pytest.raises(KeyError):
        records.turns("dusk")


def test_passages_come_in_the_order_asked_for(records: Records) -> None:
    assert records.passages([2, 0]) == [PASSAGES[2], PASSAGES[0]]
    assert records.passages([]) == []
    with pytest.raises(KeyError):
        records.passages([7])


def test_sources_by_id(records: Records) -> None:
    assert records.source("night") == NIGHT.source
    assert records.source("dusk") is None
    assert records.source_numbers.tolist() == [0, 0, 1]
    assert records.source_counts() == {"day": (4, 2), "night": (2, 1)}


def test_speakers_of_all_and_of_one_source(records: Records) -> None:
    assert list(records.speakers()) == sorted(SPEAKERS, key=lambda speaker: speaker.name)
    assert [speaker.name for speaker in records.speakers("night")] == ["Ben", "Cy"]
    assert records.speaker_counts() == [("Ann", "day", 2), ("Ben", "day", 1), ("Ben", "night", 1), ("Cy", "night", 1)]


def test_rows_by_source_and_speaker(records: Records) -> None:
    assert records.rows().tolist() == [0, 1, 2]
    assert records.rows("day").tolist() == [0, 1]
    assert records.rows(None, ["Ben"]).tolist() == [0, 2]
    assert records.rows("day", ["Ben"]).tolist() == [0]
    assert records.rows(None, ["Cy", "Ann"]).tolist() == [0, 1, 2]
    assert records.rows("dusk").tolist() == records.rows(None, ["ann"]).tolist() == []


def test_shares_of_the_words_of_a_passage(records: Records) -> None:
    rows = np.asarray([2, 0, 1])
    assert records.shares(["Ann"], rows).tolist() == [0, 4 / 5, 1 / 2]
    assert records.shares(["Ben", "Cy"], rows).tolist() == [1, 1 / 5, 0]
    assert records.shares(["Nobody"], rows).tolist() == [0, 0, 0]


def test_threads_share_one_file(records: Records) -> None:
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: (records.passages([i % 3])[0], len(records.turns("day"))), range(60)))
    assert read == [(PASSAGES[i % 3], 4) for i in range(60)]


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("DELETE FROM turn WHERE source = 0 AND number = 3", "passage p1 cites words that day lacks"),
        ("UPDATE turn SET text = 'One.' WHERE number = 0", "passage p0 cites words that day lacks"),
        ("UPDATE passage SET sentences = '[[-1,0,1]]' WHERE row = 1", "passage p1 cites words that day lacks"),
        ("UPDATE passage SET sentences = '[[0,5,5]]' WHERE row = 1", "passage p1 cites words that day lacks"),
        ("UPDATE turn SET cues = '[]' WHERE number = 1", "turn 1 of day has no cue at its first character"),
        ("UPDATE turn SET cues = '[[0,4,null,null,1]]' WHERE number = 1", "turn 1 of night has no cue at its first"),
        ("DELETE FROM passage WHERE row = 2", "spoken None refers to nothing"),
        ("DELETE FROM source WHERE number = 1", "passage 2 refers to nothing"),
    ],
)
def test_rows_altered_by_hand_are_found(path: Path, statement: str, flaw: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    with closing(Records(path)) as records:
        assert any(flaw in found for found in records.flaws())


def test_what_is_no_database_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Nothing of the kind. " * 50)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut").write_bytes(path.read_bytes()[:5000])
    for name in ("text", "empty", "cut", "missing"):
        with pytest.raises(SnapshotError, match=f"{name} is not a database that SQLite reads"):
            Records(tmp_path / name)
