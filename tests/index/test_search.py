from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.build import ingest
from index.embed import Embedder
from index.fuse import fuse, smooth, union
from index.lexical import terms
from index.local import LocalStore
from index.prepare import passage_text
from index.search import CANDIDATES, FAVOUR, Hit, Index
from ingest.limits import Limits
from ingest.model import Passage

PEOPLE = ["Ann Lee", "Bob Ray", "Cy Fox"]
TOPICS = ["oak", "steel", "glass", "straw"]


def said(topic: str, words: int) -> str:
    return " ".join(f"The {topic} number {i} is of {topic}." for i in range(words // 7))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, hashing_type: Callable[..., Embedder]) -> Generator[Index]:
    """Each person in turn about each topic in three talks, the last talk shorter."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "corpus").mkdir()
    for number, words in enumerate((140, 140, 30)):
        lines: list[str] = []
        for minute, topic in enumerate(TOPICS * 3):
            lines += [f"{PEOPLE[minute % 3]} (00:{minute:02d}:00):", said(f"{topic} {number}", words), ""]
        (folder / "corpus" / f"talk-{number}.txt").write_text("\n".join(lines))
    (folder / "corpus" / "aside.txt").write_text("Dee Low (00:00:01):\nNothing but straw.\n")
    report = ingest([folder / "corpus"], folder / "snapshots", hashing_type(), Limits())
    assert not report.errors
    with closing(Index.open(folder / "snapshots", hashing_type())) as index:
        yield index


def find(index: Index, query: str, top_k: int = 8, **filters: Any) -> list[Hit]:
    return index.search(query, index.embedder.embed([query])[0], top_k, **filters)


def all_passages(index: Index) -> list[Passage]:
    """In the order of their rows."""
    return [passage for source in index.store.sources() for passage in index.store.passages_of(source.id)]


def names(index: Index, passage: Passage) -> set[str]:
    turns = index.store.turns(passage.source_id)
    return {turns[s.turn].speaker or "" for s in passage.sentences}


def of(index: Index, speaker: str) -> list[Passage]:
    return [passage for passage in all_passages(index) if speaker in names(index, passage)]


def test_hits_come_ranked_with_their_source_and_words(index: Index) -> None:
    hits = find(index, "nothing but straw", 5)
    assert hits[0].source.id == "aside"
    assert hits[0].turns[0].text == "Nothing but straw."
    assert hits[0].speakers() == ["Dee Low"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.passage.id for hit in hits}) == 5


def test_turns_of_a_hit_are_those_its_passage_cites(index: Index) -> None:
    for hit in find(index, "steel", 100):
        assert list(hit.turns) == list(range(min(hit.turns), max(hit.turns) + 1))
        assert {s.turn for s in hit.passage.sentences} <= hit.turns.keys()
        turns = index.store.turns(hit.source.id)
        assert all(turns[number] == turn for number, turn in hit.turns.items())
        said = [turns[s.turn].text[s.begin : s.end] for s in hit.passage.sentences]
        assert all(sentence.endswith(".") for sentence in said)
        assert hit.speakers() == list(dict.fromkeys(turns[s.turn].speaker for s in hit.passage.sentences))


def test_similarity_is_the_cosine_with_the_passage(index: Index) -> None:
    query = index.embedder.embed(["steel 1"])[0]
    for hit in index.search("steel 1", query, 20):
        text = passage_text(hit.passage, index.store.turns(hit.source.id))
        vector, sentences = index.embedder.embed_passage(text.text, text.ranges)
        assert hit.similarity == pytest.approx(float(vector @ query), abs=2e-3)
        assert hit.similarities(query) == pytest.approx((sentences @ query).tolist(), abs=0.02)


@pytest.mark.parametrize("query", ["steel", "glass number 3 of straw", "the", "nowhere", ""])
@pytest.mark.parametrize("filters", [{}, {"speakers": ["Bob Ray"]}, {"source_id": "talk-1"}])
def test_scores_are_those_of_the_two_rankings_fused(index: Index, query: str, filters: dict[str, Any]) -> None:
    passages = all_passages(index)
    vector = index.embedder.embed([query])[0]
    speakers, source_id = filters.get("speakers", ()), filters.get("source_id")
    allowed = [
        row
        for row, passage in enumerate(passages)
        if source_id in (None, passage.source_id) and (not speakers or set(speakers) & names(index, passage))
    ]
    assert isinstance(index.store, LocalStore)
    cosines = index.store.dense.vectors(np.asarray(allowed)) @ vector
    order = np.argsort(-cosines, kind="stable")
    lexical = index.store.lexical.search(terms(query), CANDIDATES, source_id=source_id, speakers=speakers)
    dense = np.asarray(allowed)[order], cosines[order]
    rows = union(lexical, dense)
    middles, sources, end = [], [], 0
    for passage in passages:
        end = 0 if passage.ordinal == 0 else end
        middles.append(end + passage.words / 2)
        end += passage.words
        sources.append(hash(passage.source_id))
    scores = smooth(rows, fuse(rows, lexical, dense), np.asarray(sources)[rows], np.asarray(middles)[rows])
    hits = index.search(query, vector, 100, **filters)
    assert {hit.passage.id for hit in hits} == {passages[row].id for row in rows}
    assert [hit.score for hit in hits] == pytest.approx(sorted(scores.tolist(), reverse=True), rel=1e-4)


@pytest.mark.parametrize("query", ["oak", "Zebras?", ""])
def test_filters_leave_all_that_pass_them(index: Index, query: str) -> None:
    total = len(index)
    assert len(find(index, query, 100)) == total
    for speaker in PEOPLE:
        hits = find(index, query, 100, speakers=[speaker])
        assert len(hits) == len(of(index, speaker)) > 3
        assert all(speaker in hit.speakers() for hit in hits)
    of_talk = find(index, query, 100, source_id="talk-2")
    assert len(of_talk) == index.count("talk-2") > 1
    assert {hit.source.id for hit in of_talk} == {"talk-2"}
    both = find(index, query, 100, speakers=["Bob Ray", "Dee Low"], source_id="aside")
    assert [hit.speakers() for hit in both] == [["Dee Low"]]
    assert find(index, query, speakers=["Dee Low"], source_id="talk-0") == []
    assert find(index, query, speakers=["Nobody"]) == find(index, query, source_id="nowhere") == []


def test_the_best_of_those_who_pass_comes_first(index: Index) -> None:
    for speaker in PEOPLE:
        (first,) = find(index, "straw", 1, speakers=[speaker])
        assert first.passage == find(index, "straw", 100, speakers=[speaker])[0].passage
        assert speaker in first.speakers()
        assert any("straw" in turn.text for turn in first.turns.values() if turn.speaker == speaker)


def test_count(index: Index) -> None:
    assert index.count() == len(index) == sum(index.count(f"talk-{i}") for i in range(3)) + index.count("aside")
    assert index.count("aside") == 1
    assert index.count("nowhere") == 0


def test_favoured_speakers_gain_by_their_share(index: Index) -> None:
    plain = {hit.passage.id: hit.score for hit in find(index, "steel", 100)}
    favoured = find(index, "steel", 100, favoured=["Bob Ray", "Cy Fox"])
    assert favoured[0].speakers() != ["Ann Lee"]
    for hit in favoured:
        texts = [(hit.turns[s.turn].speaker, hit.turns[s.turn].text[s.begin : s.end]) for s in hit.passage.sentences]
        his = sum(len(text.split()) for speaker, text in texts if speaker in ("Bob Ray", "Cy Fox"))
        share = his / sum(len(text.split()) for _, text in texts)
        assert hit.score == pytest.approx(plain[hit.passage.id] * (1 + FAVOUR * share), rel=1e-6)
    unheard = find(index, "steel", 100, favoured=["Nobody"])
    assert {hit.passage.id: hit.score for hit in unheard} == plain


def test_top_k_cuts_the_same_ranking(index: Index) -> None:
    ranked = [hit.passage.id for hit in find(index, "glass number 2", 100)]
    for top_k in (1, 3, 8):
        assert [hit.passage.id for hit in find(index, "glass number 2", top_k)] == ranked[:top_k]
    assert find(index, "glass", 0) == []


def test_many_threads_find_the_same(index: Index) -> None:
    def search(topic: str) -> list[tuple[str, float]]:
        return [(hit.passage.id, hit.score) for hit in find(index, topic, speakers=["Bob Ray"])]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, TOPICS * 8)) == [search(topic) for topic in TOPICS] * 8


def test_the_real_model_over_the_sample_corpus(sample_index: Path, embedder: Embedder) -> None:
    with closing(Index.open(sample_index, embedder)) as index:
        query = "what is the product death cycle?"
        best = find(index, query, 3)[0]
        assert "product death cycle" in " ".join(turn.text for turn in best.turns.values()).casefold()
        assert best.similarity > 0.3
        for speaker in index.store.speakers():
            hits = find(index, query, 100, speakers=[speaker.name])
            assert len(hits) == len(of(index, speaker.name))
            assert all(speaker.name in hit.speakers() for hit in hits)
