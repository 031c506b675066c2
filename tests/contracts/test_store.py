"""What holds for every store: it is read here through the protocol alone, and held to sums done by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from index.errors import NoSnapshotError
from index.lexical import indexed_terms, terms
from index.prepare import passage_text
from index.search import CANDIDATES
from index.store import Candidates, Scope, Store
from index.where import Where, ingest, live_id, open_store, verify
from ingest.limits import Limits
from ingest.model import Passage, Turn
from tests.hashing import HashingEmbedder

PEOPLE = ["Ann Lee", "Bob Ray", "Cy Fox"]
TOPICS = ["oak", "steel", "glass", "straw"]
QUERIES = ["steel", "glass number 3 of straw", "the", "nowhere", ""]
SCOPES = [
    Scope(),
    Scope("talk-1"),
    Scope(speakers=["Bob Ray"]),
    Scope(speakers=["Ann Lee", "Dee Low"]),
    Scope("talk-2", ["Cy Fox"]),
    Scope("aside", ["Cy Fox"]),
    Scope("nowhere"),
    Scope(speakers=["Nobody"]),
]


def said(topic: str, words: int) -> str:
    return " ".join(f"The {topic} number {i} is of {topic}." for i in range(words // 7))


def write_talks(folder: Path) -> None:
    """Each person in turn about each topic in three talks, the last talk shorter, and one word more."""
    folder.mkdir()
    for number, words in enumerate((140, 140, 30)):
        lines: list[str] = []
        for minute, topic in enumerate(TOPICS * 3):
            lines += [f"{PEOPLE[minute % 3]} (00:{minute:02d}:00):", said(f"{topic} {number}", words), ""]
        (folder / f"talk-{number}.txt").write_text("\n".join(lines))
    (folder / "aside.txt").write_text("Dee Low (00:00:01):\nNothing but straw.\n")


@dataclass(frozen=True)
class Row:
    """A passage with what a search knows of it, worked out from its source's turns."""

    number: int
    passage: Passage
    turns: dict[int, Turn]
    text: str
    middle: float

    @property
    def counts(self) -> Counter[str]:
        return Counter(indexed_terms(self.text))

    def words_of(self, speakers: Sequence[str]) -> int:
        sentences = [
            (self.turns[s.turn].speaker, self.turns[s.turn].text[s.begin : s.end]) for s in self.passage.sentences
        ]
        return sum(len(text.split()) for speaker, text in sentences if not speakers or speaker in speakers)

    def is_in(self, scope: Scope) -> bool:
        heard = {self.turns[s.turn].speaker for s in self.passage.sentences}
        return scope.source_id in (None, self.passage.source_id) and (
            not scope.speakers or not heard.isdisjoint(scope.speakers)
        )


class Talks:
    """An index of the talks in one of the stores, and what there is to know of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.embedder = HashingEmbedder()
        everything = store.find([], self.vector("anything"), 10_000, Scope(), ())
        of_source: dict[int, list[int]] = {}
        for row, source in zip(everything.rows.tolist(), everything.sources.tolist(), strict=True):
            of_source.setdefault(source, []).append(row)
        self.rows: list[Row] = []
        for rows in of_source.values():
            (first,) = store.passages(np.asarray(rows[:1]), self.vector("anything"))
            turns = store.turns(first.source.id)
            end = 0
            for row, passage in zip(rows, store.passages_of(first.source.id), strict=True):
                heard = dict(enumerate(turns))
                self.rows.append(Row(row, passage, heard, passage_text(passage, turns).text, end + passage.words / 2))
                end += passage.words

    def vector(self, text: str) -> np.ndarray:
        return self.embedder.embed([text])[0]

    def find(
        self, query: str, scope: Scope = SCOPES[0], limit: int = CANDIDATES, favoured: Sequence[str] = ()
    ) -> Candidates:
        return self.store.find(terms(query), self.vector(query), limit, scope, favoured)

    def bm25(self, query: str) -> dict[int, float]:
        """Lucene's: lengths are told apart by four leading bits."""
        counts = {row.number: row.counts for row in self.rows}
        average = sum(each.total() for each in counts.values()) / len(counts)
        scores: dict[int, float] = {}
        for term in terms(query):
            having = sum(term in each for each in counts.values())
            idf = math.log(1 + (len(counts) - having + 0.5) / (having + 0.5))
            for number, each in counts.items():
                if each[term]:
                    length = each.total()
                    if length >= 40:
                        shift = (length - 24).bit_length() - 4
                        length = ((length - 24) >> shift << shift) + 24
                    norm = 1.2 * (1 - 0.75 + 0.75 * length / average)
                    scores[number] = scores.get(number, 0) + idf * 2.2 * each[term] / (each[term] + norm)
        return scores


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory, new_place: Callable[[], Where]) -> Generator[Talks]:
    place = new_place()
    folder = tmp_path_factory.mktemp("contract") / "talks"
    write_talks(folder)
    report = ingest([folder], place, HashingEmbedder(), Limits())
    assert not report.errors
    assert report.added == 4
    with closing(open_store(place)) as store:
        yield Talks(store)


class TestWhatIsThere:
    def test_counts(self, talks: Talks) -> None:
        store = talks.store
        counts = store.source_counts()
        assert [source.id for source in store.sources()] == sorted(counts) == ["aside", "talk-0", "talk-1", "talk-2"]
        for source_id, (turns, passages) in counts.items():
            assert len(store.turns(source_id)) == turns
            assert len(store.passages_of(source_id)) == passages
        assert store.holdings.counts == {
            "sources": 4,
            "turns": sum(turns for turns, _ in counts.values()),
            "passages": sum(passages for _, passages in counts.values()),
            "sentences": sum(len(row.passage.sentences) for row in talks.rows),
            "speakers": 4,
        }
        assert (store.holdings.model, store.holdings.dimension) == ("hashing-64", 64)
        assert store.live_id() == store.holdings.id

    def test_durations(self, talks: Talks) -> None:
        lengths = {"talk-0": 11 * 60.0, "talk-1": 11 * 60.0, "talk-2": 11 * 60.0}
        assert talks.store.durations() == {"aside": 0.0, **lengths}

    def test_sources(self, talks: Talks) -> None:
        for source in talks.store.sources():
            assert talks.store.source(source.id) == source
        assert talks.store.source("nowhere") is None

    def test_turns(self, talks: Talks) -> None:
        turns = talks.store.turns("talk-0")
        assert [turn.speaker for turn in turns] == PEOPLE * 4
        assert turns[1].text == said("steel 0", 140)
        assert [turn.start for turn in turns] == [60.0 * minute for minute in range(12)]
        assert talks.store.turns("talk-0", 3) == turns[3:]
        assert talks.store.turns("talk-0", 3, 5) == turns[3:6]

    def test_passages_of_a_source(self, talks: Talks) -> None:
        for source in talks.store.sources():
            passages = talks.store.passages_of(source.id)
            assert [passage.ordinal for passage in passages] == list(range(len(passages)))
            assert {passage.source_id for passage in passages} == {source.id}
        assert len({row.passage.id for row in talks.rows}) == len(talks.rows)

    def test_speakers(self, talks: Talks) -> None:
        assert [speaker.name for speaker in talks.store.speakers()] == [*PEOPLE, "Dee Low"]
        assert [speaker.name for speaker in talks.store.speakers("aside")] == ["Dee Low"]
        assert list(talks.store.speaker_counts()) == [
            *((name, f"talk-{number}", 4) for name in PEOPLE for number in range(3)),
            ("Dee Low", "aside", 1),
        ]

    def test_idf(self, talks: Talks) -> None:
        counts = [row.counts for row in talks.rows]
        wanted = [*terms("the straw of steel is not glass"), "nowhere"]
        having = {term: sum(term in each for each in counts) for term in wanted}
        assert talks.store.idf(wanted) == pytest.approx(
            {term: math.log(1 + (len(counts) - n + 0.5) / (n + 0.5)) for term, n in having.items()}
        )
        assert talks.store.idf([]) == {}


class TestFinding:
    @pytest.mark.parametrize("query", QUERIES)
    @pytest.mark.parametrize("scope", SCOPES, ids=str)
    def test_words(self, talks: Talks, query: str, scope: Scope) -> None:
        scores = talks.bm25(query)
        wanted = {row.number: scores[row.number] for row in talks.rows if row.number in scores and row.is_in(scope)}
        rows, found = talks.find(query, scope).lexical
        assert dict(zip(rows.tolist(), found.tolist(), strict=True)) == pytest.approx(wanted, rel=1e-4)
        assert_ranked(rows, found)

    @pytest.mark.parametrize("query", QUERIES)
    @pytest.mark.parametrize("scope", SCOPES, ids=str)
    def test_vectors(self, talks: Talks, query: str, scope: Scope) -> None:
        vector = talks.vector(query)
        wanted = {
            row.number: float(talks.embedder.embed([row.text])[0] @ vector) for row in talks.rows if row.is_in(scope)
        }
        rows, found = talks.find(query, scope).dense
        assert dict(zip(rows.tolist(), found.tolist(), strict=True)) == pytest.approx(wanted, abs=2e-3)
        assert_ranked(rows, found)

    @pytest.mark.parametrize("scope", SCOPES, ids=str)
    def test_a_limit_is_filled_with_the_best(self, talks: Talks, scope: Scope) -> None:
        every = talks.find("glass of straw", scope)
        for limit in (0, 1, 5):
            few = talks.find("glass of straw", scope, limit)
            for (rows, scores), (best, best_scores) in zip(
                (few.lexical, few.dense), (every.lexical, every.dense), strict=True
            ):
                assert scores.tolist() == pytest.approx(best_scores[:limit].tolist())
                # Of equal ones at the end, either may be left out.
                known = dict(zip(best.tolist(), best_scores.tolist(), strict=True))
                assert scores.tolist() == pytest.approx([known[row] for row in rows.tolist()])
                assert len(set(rows.tolist())) == min(limit, len(best))

    @pytest.mark.parametrize("favoured", [[], ["Bob Ray"], ["Ann Lee", "Cy Fox", "Nobody"]], ids=str)
    def test_where_what_is_found_stands(self, talks: Talks, favoured: list[str]) -> None:
        found = talks.find("steel", favoured=favoured)
        assert found.rows.tolist() == sorted({*found.lexical[0].tolist(), *found.dense[0].tolist()})
        by_number = {row.number: row for row in talks.rows}
        rows = [by_number[number] for number in found.rows.tolist()]
        assert found.middles.tolist() == [row.middle for row in rows]
        shares = [row.words_of(favoured) / row.words_of([]) if favoured else 0.0 for row in rows]
        assert found.shares.tolist() == pytest.approx(shares)
        numbers = {(source, row.passage.source_id) for source, row in zip(found.sources.tolist(), rows, strict=True)}
        assert len(numbers) == 4
        for one, other in pairwise(rows):
            if one.passage.source_id == other.passage.source_id:
                assert (other.number, other.passage.ordinal) == (one.number + 1, one.passage.ordinal + 1)

    def test_passages_come_as_they_were_asked_for(self, talks: Talks) -> None:
        rows = talks.rows[::-2]
        vector = talks.vector("glass number 3")
        stored = talks.store.passages(np.asarray([row.number for row in rows]), vector)
        for row, each in zip(rows, stored, strict=True):
            assert (each.row, each.passage) == (row.number, row.passage)
            assert each.source == talks.store.source(row.passage.source_id)
            spans = [s.turn for s in row.passage.sentences]
            assert each.turns == {number: row.turns[number] for number in range(min(spans), max(spans) + 1)}
            text = passage_text(row.passage, list(row.turns.values()))
            whole, sentences = talks.embedder.embed_passage(text.text, text.ranges)
            assert each.similarity == pytest.approx(float(whole @ vector), abs=2e-3)
            lengths = np.linalg.norm(each.sentence_vectors.astype(np.float32), axis=1)
            assert each.sentence_vectors @ vector / lengths == pytest.approx(sentences @ vector, abs=0.02)
        assert talks.store.passages(np.empty(0, np.int64), vector) == []

    def test_many_threads_find_the_same(self, talks: Talks) -> None:
        def search(topic: str) -> list[list[float]]:
            found = talks.find(topic, Scope(speakers=["Bob Ray"]), 10)
            return [column.tolist() for pair in (found.lexical, found.dense) for column in pair]

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(search, TOPICS * 8)) == [search(topic) for topic in TOPICS] * 8


def assert_ranked(rows: np.ndarray, scores: np.ndarray) -> None:
    """Best first; equal scores in row order."""
    keys = list(zip((-scores).tolist(), rows.tolist(), strict=True))
    assert keys == sorted(keys)


class TestIngests:
    """What an ingest makes of an index, as who reads it sees it."""

    def test_nothing_yet(self, place: Where) -> None:
        for look in (open_store, live_id, verify):
            with pytest.raises(NoSnapshotError, match="onrecord ingest"):
                look(place)

    def test_an_empty_folder_makes_an_index(self, place: Where, tmp_path: Path) -> None:
        ingest([tmp_path], place, HashingEmbedder(), Limits())
        with closing(open_store(place)) as store:
            assert set(store.holdings.counts.values()) == {0}
            assert list(store.sources()) == list(store.speakers()) == []
            found = store.find(["oak"], HashingEmbedder().embed(["oak"])[0], 10, Scope(), ["Ann Lee"])
            assert not len(found.rows)
        assert verify(place) == []

    def test_only_what_changed_is_done(self, place: Where, tmp_path: Path) -> None:
        folder, embedder = tmp_path / "talks", HashingEmbedder()
        write_talks(folder)
        first = ingest([folder], place, embedder, Limits())
        assert (first.added, first.embedded) == (4, first.passages)
        again = ingest([folder], place, embedder, Limits())
        assert (again.snapshot, again.unchanged, again.added, again.embedded) == (first.snapshot, 4, 0, 0)
        with closing(open_store(place)) as older:
            words = (folder / "talk-1.txt").read_text()
            (folder / "talk-1.txt").write_text(words.replace("Bob Ray (00:10:00)", "Eve Oak (00:10:00)"))
            (folder / "aside.txt").unlink()
            (folder / "other.txt").write_text("Dee Low (00:00:01):\nNothing but hay.\n")
            report = ingest([folder], place, embedder, Limits())
            assert (report.added, report.updated, report.unchanged, report.removed) == (1, 1, 2, 1)
            assert 0 < report.embedded < first.embedded / 2
            assert older.live_id() == report.snapshot != first.snapshot
            with closing(older.newer()) as store:
                assert store.holdings.id == report.snapshot
                assert [source.id for source in store.sources()] == ["other", "talk-0", "talk-1", "talk-2"]
                assert "Eve Oak" in [speaker.name for speaker in store.speakers("talk-1")]
                assert store.turns("other")[0].text == "Nothing but hay."
                assert Talks(store).find("hay").lexical[0].tolist()
                assert not Talks(store).find("nothing", Scope("aside")).rows.tolist()
            assert len(older.sources()) == 4
        assert verify(place) == []

    def test_another_folder_leaves_what_is_there(self, place: Where, tmp_path: Path) -> None:
        for name in ("one", "two"):
            write_talks(tmp_path / name)
        ingest([tmp_path / "one"], place, HashingEmbedder(), Limits())
        report = ingest([tmp_path / "two"], place, HashingEmbedder(), Limits())
        assert (report.added, report.removed, report.embedded) == (4, 0, 0)
        with closing(open_store(place)) as store:
            ids = [source.id for source in store.sources()]
            assert len(ids) == 8
            assert {"aside", "talk-0", "talk-1", "talk-2"} < set(ids)
        removed = ingest([tmp_path / "one"], place, HashingEmbedder(), Limits())
        assert (removed.unchanged, removed.removed) == (4, 0)
        assert verify(place) == []

    def test_a_file_that_moves_is_there_all_the_time(self, place: Where, tmp_path: Path) -> None:
        folder = tmp_path / "talks"
        write_talks(folder)
        ingest([folder], place, HashingEmbedder(), Limits())
        (folder / "aside.txt").rename(folder / "aside.md")
        report = ingest([folder], place, HashingEmbedder(), Limits())
        assert report.embedded == 0
        with closing(open_store(place)) as store:
            source = store.source("aside")
            assert source and source.path == "aside.md"
            assert len(store.sources()) == 4
        assert verify(place) == []

    def test_a_file_that_cannot_be_read_is_named_and_not_there(self, place: Where, tmp_path: Path) -> None:
        folder = tmp_path / "talks"
        write_talks(folder)
        ingest([folder], place, HashingEmbedder(), Limits())
        (folder / "talk-1.txt").write_bytes(b"\xff\xfe\x00\x00\xff")
        for _ in range(2):
            report = ingest([folder], place, HashingEmbedder(), Limits())
            assert [Path(flaw.path).name for flaw in report.errors] == ["talk-1.txt"]
            with closing(open_store(place)) as store:
                assert store.source("talk-1") is None
                assert len(store.sources()) == 3
        assert verify(place) == []

    def test_one_person_goes_by_one_name(self, place: Where, tmp_path: Path) -> None:
        """Who the second document says he is, is seen in the first too, in what is embedded and what is filtered."""
        (tmp_path / "first.txt").write_text("Bob Ray (00:00:01):\nOak and steel.\n\nAnn Lee (00:00:09):\nGlass.\n")
        ingest([tmp_path], place, HashingEmbedder(), Limits())
        (tmp_path / "second.txt").write_text("Robert Ray (00:00:01):\nStraw and hay.\n")
        (tmp_path / "second.meta.yaml").write_text("people: [{name: Robert Ray, aliases: [Bob Ray], role: guest}]\n")
        report = ingest([tmp_path], place, HashingEmbedder(), Limits())
        assert (report.added, report.unchanged) == (1, 1)
        with closing(open_store(place)) as store:
            assert [speaker.name for speaker in store.speakers()] == ["Ann Lee", "Robert Ray"]
            assert store.speakers()[1].aliases == ("Bob Ray",)
            assert store.speakers()[1].roles == ("guest",)
            assert [turn.speaker for turn in store.turns("first")] == ["Robert Ray", "Ann Lee"]
            found = Talks(store).find("robert", Scope("first", ["Robert Ray"]))
            assert len(found.lexical[0]) == len(found.dense[0]) == 1
        (tmp_path / "second.txt").unlink()
        ingest([tmp_path], place, HashingEmbedder(), Limits())
        with closing(open_store(place)) as store:
            assert [speaker.name for speaker in store.speakers()] == ["Ann Lee", "Bob Ray"]
        assert verify(place) == []

    def test_what_was_said_into_a_turn_comes_with_it(self, place: Where, tmp_path: Path) -> None:
        """The turn goes on after it: the last sentence of the passage is not of its last turn."""
        (tmp_path / "talk.txt").write_text(
            "Ann Lee (00:00:01):\nWe shipped.\n\nBob Ray (00:00:04):\nMm-hm.\n\nAnn Lee (00:00:05):\nThen twice.\n"
        )
        ingest([tmp_path], place, HashingEmbedder(), Limits())
        with closing(open_store(place)) as store:
            talks = Talks(store)
            (stored,) = store.passages(np.asarray([talks.rows[0].number]), talks.vector("shipped"))
            assert [span.turn for span in stored.passage.sentences] == [0, 1, 0]
            assert [turn.speaker for turn in stored.turns.values()] == ["Ann Lee", "Bob Ray"]
