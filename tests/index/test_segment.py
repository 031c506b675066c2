from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.embed import unit
from index.embedded import Embedded
from index.errors import SnapshotError
from index.prepare import Prepared, SourceRecord, passage_text
from index.segment import PASSAGES, RECORDS, SENTENCES, Segment, SegmentWriter, source_flaws
from ingest.model import Cue, Passage, Source, Span, Turn
from ingest.speakers import Naming

DIMENSION = 16
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


def embedded(source_id: str, turns: Sequence[Turn], passages: Sequence[Passage], seed: int = 0) -> Embedded:
    """A source whose document writes all names in capitals."""
    rng = np.random.default_rng(seed)
    names = tuple(None if turn.speaker is None else turn.speaker.upper() for turn in turns)
    source = Source(source_id, f"{source_id}.txt", source_id.title(), "transcript")
    record = SourceRecord(source, "/corpus", f"sha-{source_id}", Naming({}), {}, len(turns), len(passages))
    texts = tuple(passage_text(passage, turns) for passage in passages)
    vectors = unit(rng.standard_normal((len(passages), DIMENSION)).astype(np.float32))
    count = sum(len(passage.sentences) for passage in passages)
    sentences = rng.integers(-127, 128, (count, DIMENSION)).astype(np.int8)
    return Embedded(Prepared(record, tuple(turns), names, tuple(passages), texts), vectors, sentences)


def one_for_each_turn(source_id: str, turns: Sequence[Turn]) -> list[Passage]:
    """In two sentences where it can be."""
    passages: list[Passage] = []
    for number, turn in enumerate(turns):
        middle = len(turn.text) // 2
        spans = [Span(number, 0, middle), Span(number, middle, len(turn.text))] if middle else [Span(number, 0, 1)]
        passages.append(Passage(f"{source_id}-{number}", source_id, number, tuple(spans), len(turn.text.split())))
    return passages


@given(sources=st.lists(TURNS, max_size=3), first=st.integers(0, 1 << 40))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sources: list[tuple[Turn, ...]], first: int
) -> None:
    folder = tmp_path_factory.mktemp("segment ?#%")
    writer = SegmentWriter(folder, DIMENSION)
    written: list[tuple[int, int, Embedded]] = []
    for i, turns in enumerate(sources):
        source = embedded(f"s{i}", turns, one_for_each_turn(f"s{i}", turns), seed=i)
        written.append((first + 3 * i, first + 10 * i, source))
        writer.add(*written[-1])
    writer.close()
    with closing(Segment(folder)) as segment:
        assert segment.flaws() == []
        for number, first_row, source in written:
            read = segment.embedded(source.prepared.record, number, first_row)
            assert read.prepared == source.prepared
            assert read.sentences.tolist() == source.sentences.tolist()
            assert read.vectors == pytest.approx(source.vectors, abs=1e-3)
            assert segment.turns(number) == source.prepared.turns
        numbers = np.asarray([number for number, _, _ in written], np.int64)
        assert segment.count_sentences(numbers) == sum(len(source.sentences) for _, _, source in written)


def turn(speaker: str | None, text: str) -> Turn:
    return Turn(speaker, text, (Cue(0, 0, 1.0, 2.0, 3),))


DAY = [turn("Ann", "One two three."), turn("Ben", "Four."), turn("Ann", "Five six."), turn(None, "Seven.")]
NIGHT = [turn("Ben", "Eight nine ten."), turn("Cy", "Eleven.")]
OF_DAY = [
    Passage("p0", "day", 0, (Span(0, 0, 14), Span(1, 0, 5), Span(2, 0, 4)), 5),
    Passage("p1", "day", 1, (Span(2, 5, 9), Span(3, 0, 6)), 2),
]
OF_NIGHT = [Passage("p2", "night", 0, (Span(0, 0, 15), Span(1, 0, 7)), 4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A segment of two sources, numbered 5 and 7, whose rows begin at 40 and 50."""
    (tmp_path / "segment").mkdir()
    writer = SegmentWriter(tmp_path / "segment", DIMENSION)
    writer.add(5, 40, embedded("day", DAY, OF_DAY))
    writer.add(7, 50, embedded("night", NIGHT, OF_NIGHT, seed=1))
    writer.close()
    return tmp_path / "segment"


@pytest.fixture
def segment(folder: Path) -> Generator[Segment]:
    with closing(Segment(folder)) as segment:
        yield segment


def test_windows_of_turns(segment: Segment) -> None:
    def window(*bounds: int) -> list[str]:
        return [turn.text for turn in segment.turns(5, *bounds)]

    assert window(1, 2) == ["Four.", "Five six."]
    assert window(3) == window(3, 99) == ["Seven."]
    assert window(0, 0) == ["One two three."]
    assert window(4) == window(2, 1) == []
    assert segment.turns(6) == ()
    assert segment.names(5) == ("ANN", "BEN", "ANN", None)


def test_passages_come_in_the_order_asked_for(segment: Segment) -> None:
    assert segment.passages([50, 40], ["night", "day"]) == [OF_NIGHT[0], OF_DAY[0]]
    assert segment.passages([], []) == []


def test_columns_say_where_a_passage_stands_in_its_source(segment: Segment) -> None:
    columns = segment.columns
    assert columns["row"].tolist() == [40, 41, 50]
    assert columns["source"].tolist() == [5, 5, 7]
    assert columns["words"].tolist() == [5, 2, 4]
    assert columns["middle"].tolist() == [2.5, 6.0, 2.0]
    assert columns["first_sentence"].tolist() == [0, 3, 5]
    assert segment.places(np.asarray([50, 40])).tolist() == [2, 0]
    assert segment.count_sentences(np.asarray([7])) == 2


def test_who_speaks_where(segment: Segment) -> None:
    def spoken(name: str) -> list[list[int]]:
        return [array.tolist() for array in segment.spoken(name)]

    assert spoken("Ann") == [[0, 1], [4, 1]]
    assert spoken("Ben") == [[0, 2], [1, 3]]
    assert spoken("ann") == [[], []]


def test_what_was_embedded_is_known_by_its_text(segment: Segment) -> None:
    known = segment.known(passage_text(OF_NIGHT[0], NIGHT).digest)
    assert known is not None
    source = embedded("night", NIGHT, OF_NIGHT, seed=1)
    assert known[0] == pytest.approx(source.vectors[0], abs=1e-3)
    assert known[1].tolist() == source.sentences.tolist()
    assert segment.known("0" * 32) is None


def test_threads_share_one_file(segment: Segment) -> None:
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: (segment.passages([40 + i % 2], ["day"])[0], len(segment.turns(5))), range(60)))
    assert read == [(OF_DAY[i % 2], 4) for i in range(60)]


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("DELETE FROM turn WHERE source = 5 AND number = 3", "day: passage p1 cites words that are not there"),
        ("UPDATE turn SET text = 'One.' WHERE number = 0", "day: passage p0 cites words that are not there"),
        ("UPDATE passage SET sentences = '[[-1,0,1]]' WHERE row = 41", "passage p1 cites words that are not there"),
        ("UPDATE passage SET sentences = '[[0,5,5]]' WHERE row = 41", "passage p1 cites words that are not there"),
        ("UPDATE turn SET cues = '[]' WHERE number = 1", "day: turn 1 has no cue at its first character"),
        ("UPDATE turn SET cues = '[[0,4,null,null,1]]' WHERE number = 1", "day: turn 1 has no cue at its first"),
        ("DELETE FROM passage WHERE row = 50", "its passages are not those of passages.npy"),
        ("UPDATE spoken SET places = x'0900000000000000' WHERE speaker = 'Cy'", "'Cy' speaks in passages that are not"),
    ],
)
def test_rows_altered_by_hand_are_found(folder: Path, statement: str, flaw: str) -> None:
    with closing(sqlite3.connect(folder / RECORDS)) as db, db:
        db.execute(statement)
    with closing(Segment(folder)) as segment:
        flaws = segment.flaws()
        if not flaws:
            flaws = source_flaws("day", segment.turns(5), segment.passages([40, 41], ["day", "day"]))
        assert any(flaw in found for found in flaws)


@pytest.mark.parametrize("name", [RECORDS, PASSAGES, SENTENCES])
def test_what_is_no_segment_is_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for content in (b"Nothing of the kind. " * 50, whole[: len(whole) // 2]):
        (folder / name).write_bytes(content)
        with pytest.raises(SnapshotError, match=r"cannot read|is not a database"):
            Segment(folder)
    (folder / name).unlink()
    with pytest.raises(SnapshotError, match=r"cannot read|is not a database"):
        Segment(folder)
