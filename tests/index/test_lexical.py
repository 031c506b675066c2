from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.errors import SnapshotError
from index.lexical import (
    LexicalIndex,
    LexicalRecord,
    count_deleted,
    rarest,
    terms,
    update_words,
    write_words,
)

TEXTS = [
    "Ships are built of oak and of steel.",
    "The ships, the ships! Who ships the shipping of ships?",
    "Oak trees grow slowly.",
    "We were building what nobody wanted to buy, and we were building it quickly.",
    "Le café est fermé; naïve Übersetzung, o'clock.",
    "Oak oak oak oak oak.",
    "Корабли строят из дуба",
    "to be or not to be",
    "",
    "Steel.",
]
K1, B = 1.2, 0.75


def write(folder: Path, records: Sequence[LexicalRecord]) -> LexicalIndex:
    folder.mkdir(exist_ok=True)
    write_words(folder, records)
    return LexicalIndex(folder)


@pytest.fixture(scope="module")
def lexical(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    records = [LexicalRecord(row, "talk", ["Ann"], text) for row, text in enumerate(TEXTS)]
    return write(tmp_path_factory.mktemp("lexical"), records)


def found(lexical: LexicalIndex, query: str, limit: int = 100, **filters: Any) -> list[int]:
    return lexical.search(terms(query), limit, **filters)[0].tolist()


def bm25(documents: Sequence[Sequence[str]], terms: Sequence[str]) -> dict[int, float]:
    """Robertson & Zaragoza 2009, equation 3.15, with Lucene's idf, which is never negative."""
    mean = sum(map(len, documents)) / len(documents)
    scores: dict[int, float] = {}
    for number, document in enumerate(documents):
        counts = Counter(document)
        for term in terms:
            if counts[term]:
                n = sum(term in other for other in documents)
                idf = log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                norm = K1 * (1 - B + B * len(document) / mean)
                scores[number] = scores.get(number, 0) + idf * counts[term] * (K1 + 1) / (counts[term] + norm)
    return scores


def tokens(text: str) -> list[str]:
    """What the index makes of these texts, worked out by hand for the words that are not their own stems."""
    stems = {"ships": "ship", "shipping": "ship", "building": "build", "trees": "tree"}
    stems |= {"slowly": "slowli", "wanted": "want", "nobody": "nobodi", "quickly": "quick"}
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    folded = (word.translate(str.maketrans("éïü", "eiu")) for word in words)
    return [stems.get(word, word) for word in folded]


@pytest.mark.parametrize(
    "query", ["ships", "oak steel", "building ships of oak", "oak oak", "café oak", "wanted quickly"]
)
def test_scores_are_those_of_the_published_formula(lexical: LexicalIndex, query: str) -> None:
    rows, scores = lexical.search(terms(query), 100)
    expected = bm25([tokens(text) for text in TEXTS], terms(query))
    assert rows.tolist() == sorted(expected, key=lambda row: (-expected[row], row))
    assert scores.tolist() == pytest.approx([expected[row] for row in rows.tolist()], rel=1e-4)


def test_idf_is_that_of_the_formula(lexical: LexicalIndex) -> None:
    assert len(lexical) == len(TEXTS)
    assert lexical.idf("oak") == pytest.approx(log(1 + (10 - 3 + 0.5) / (3 + 0.5)))
    assert lexical.idf("nowhere") == pytest.approx(log(1 + 10.5 / 0.5))


def test_terms_are_stems_once_each_in_order() -> None:
    assert terms("Is it the shipping of ships, and of Oak?") == ["ship", "oak"]
    assert terms("to be or not to be") == ["to", "be", "or", "not"]
    assert terms("?! …") == []


def test_inflections_accents_and_case_do_not_matter(lexical: LexicalIndex) -> None:
    assert found(lexical, "shipping") == found(lexical, "SHIPS") == [1, 0]
    assert found(lexical, "cafe naive ubersetzung") == found(lexical, "CAFÉ NAÏVE ÜBERSETZUNG") == [4]


def test_words_of_other_languages(lexical: LexicalIndex) -> None:
    assert found(lexical, "КОРАБЛИ") == [6]
    assert found(lexical, "корабль") == []


def test_stop_words_count_only_where_there_is_nothing_else(lexical: LexicalIndex) -> None:
    assert found(lexical, "to be or not to be")[0] == 7
    assert found(lexical, "to be or not to be steel") == [9, 0]


@pytest.mark.parametrize("query", ["", "   ", "?", "“—”", "🎉", "nowhere", "x" * 61])
def test_queries_that_match_nothing(lexical: LexicalIndex, query: str) -> None:
    rows, scores = lexical.search(terms(query), 10)
    assert (rows.tolist(), scores.tolist()) == ([], [])


@pytest.mark.parametrize(
    "query",
    [
        '"oak',
        "oak AND (",
        "speaker:oak",
        "oak^9 +oak -steel",
        "[oak TO steel]",
        "/oak/",
        "oak~2 *",
        "\\oak\x00",
        "{oak}'",
    ],
)
def test_a_query_has_no_syntax(lexical: LexicalIndex, query: str) -> None:
    assert set(found(lexical, query)) >= {0, 2, 5}


@given(st.text(max_size=40))
def test_any_query_can_be_asked(lexical: LexicalIndex, query: str) -> None:
    rows, scores = lexical.search(query, 5)
    assert len(rows) == len(scores) <= 5
    assert (scores > 0).all()


def test_limit_counts_what_comes_first(lexical: LexicalIndex) -> None:
    rows = found(lexical, "oak steel ships")
    assert [found(lexical, "oak steel ships", limit) for limit in range(len(rows) + 1)] == [
        rows[:limit] for limit in range(len(rows) + 1)
    ]


def test_equal_scores_come_in_row_order(tmp_path: Path) -> None:
    records = [LexicalRecord(row, "talk", [], "oak" if row % 3 else "oak and steel") for row in range(400)]
    lexical = write(tmp_path / "ties", records)
    rows = [row for row in range(400) if row % 3] + [row for row in range(400) if not row % 3]
    for limit in (1, 7, 300, 400):
        assert found(lexical, "oak", limit) == rows[:limit]


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """Each row matches "oak" less than the one before."""
    speakers = [["Ann"], ["Ann", "Ben"], ["Ben"], [], ["ann"], ["Ann Lee"], ["Ben"]]
    sources = ["one", "one", "one", "two", "two", "two", "two-b"]
    texts = ["oak " * (9 - row) + "steel " * row for row in range(7)]
    records = [LexicalRecord(row, *fields) for row, fields in enumerate(zip(sources, speakers, texts, strict=True))]
    return write(tmp_path_factory.mktemp("filtered"), records)


@pytest.mark.parametrize(
    ("source_id", "speakers", "rows"),
    [
        (None, [], [0, 1, 2, 3, 4, 5, 6]),
        ("two", [], [3, 4, 5]),
        (None, ["Ben"], [1, 2, 6]),
        (None, ["Ben", "Ann Lee"], [1, 2, 5, 6]),
        ("one", ["Ben"], [1, 2]),
        ("two", ["Ben"], []),
        ("three", [], []),
        ("", [], []),
        (None, ["Cy"], []),
        (None, ["Ann"], [0, 1]),
    ],
)
def test_filters_hold_before_the_cut(
    filtered: LexicalIndex, source_id: str | None, speakers: list[str], rows: list[int]
) -> None:
    for limit in (1, 2, 10):
        assert found(filtered, "oak", limit, source_id=source_id, speakers=speakers) == rows[:limit]


def test_filters_do_not_change_scores(filtered: LexicalIndex) -> None:
    rows, scores = filtered.search(["oak", "steel"], 10)
    of = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    rows, scores = filtered.search(["oak", "steel"], 10, source_id="one", speakers=["Ben"])
    assert scores.tolist() == pytest.approx([of[row] for row in rows.tolist()])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def updated(older: Path, newer: Path, removed: Sequence[str], records: Sequence[LexicalRecord]) -> LexicalIndex:
    """An index made of links to the files of an older one and brought up to date, while that one stays as it is."""
    newer.mkdir()
    for name in files(older):
        (newer / name).hardlink_to(older / name)
    before = files(older)
    update_words(newer, removed, records)
    assert files(older) == before
    return LexicalIndex(newer)


def test_sources_are_taken_out_and_put_in(tmp_path: Path) -> None:
    first = [LexicalRecord(row, f"talk-{row}", ["Ann"], text) for row, text in enumerate(TEXTS)]
    old = write(tmp_path / "old", first)
    added = [LexicalRecord(100, "talk-2", ["Ben"], "Oak and elm."), LexicalRecord(101, "new", ["Ben"], "An elm.")]
    new = updated(tmp_path / "old", tmp_path / "new", ["talk-2", "talk-9", "never there"], added)
    assert (len(old), len(new), count_deleted(tmp_path / "new")) == (10, 10, 2)
    assert sorted(found(new, "oak steel elm")) == [0, 5, 100, 101]
    assert found(new, "elm", speakers=["Ben"], source_id="talk-2") == [100]
    assert found(new, "trees") == []
    assert sorted(found(old, "oak steel elm")) == [0, 2, 5, 9]
    assert new.idf("oak") == pytest.approx(log(1 + (12 - 4 + 0.5) / (4 + 0.5)))
    assert new.idf("tree") > 0


def test_an_index_can_be_updated_again_and_again(tmp_path: Path) -> None:
    """Often enough that parts of it are merged."""
    lexical = write(tmp_path / "0", [LexicalRecord(0, "0", [], "oak")])
    for row in range(1, 30):
        lexical = updated(
            tmp_path / str(row - 1), tmp_path / str(row), [str(row - 3)], [LexicalRecord(row, str(row), [], "oak")]
        )
        assert found(lexical, "oak") == list(range(max(0, row - 2), row + 1))
    assert LexicalIndex(tmp_path / "7").search(["oak"], 10)[0].tolist() == [5, 6, 7]


def test_nothing_left(tmp_path: Path) -> None:
    write(tmp_path / "old", [LexicalRecord(0, "talk", [], "oak")])
    none = updated(tmp_path / "old", tmp_path / "new", ["talk"], [])
    assert (len(none), found(none, "oak")) == (0, [])
    assert found(updated(tmp_path / "new", tmp_path / "newer", [], [LexicalRecord(5, "b", [], "oak")]), "oak") == [5]


@pytest.mark.parametrize(
    ("most", "kept"), [(0, "c"), (9, "c"), (10, "c"), (15, "ce"), (59, "ce"), (60, "cea"), (1000, "ceab")]
)
def test_the_rarest_terms_are_read(most: int, kept: str) -> None:
    assert rarest({"a": 45, "b": 200, "c": 5, "d": 0, "e": 10}, most) == list(kept)


def test_no_term_is_read_that_stands_nowhere() -> None:
    assert rarest({}, 10) == rarest({"a": 0}, 10) == []


def test_an_index_of_nothing(tmp_path: Path) -> None:
    lexical = write(tmp_path / "none", [])
    assert len(lexical) == 0
    assert found(lexical, "oak") == []


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="is not an index that tantivy reads"):
        LexicalIndex(tmp_path)
    with pytest.raises(SnapshotError, match="is not an index that tantivy reads"):
        LexicalIndex(tmp_path / "missing")
    write(tmp_path / "broken", [LexicalRecord(0, "talk", [], "oak")])
    (tmp_path / "broken" / "meta.json").write_text("{")
    with pytest.raises(SnapshotError, match="is not an index that tantivy reads"):
        LexicalIndex(tmp_path / "broken")
