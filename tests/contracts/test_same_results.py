"""The same documents, kept in each of the stores, are found alike."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from index.embed import Embedder
from index.lexical import terms
from index.search import CANDIDATES, Index
from index.store import Scope, Store
from index.where import Server, ingest
from ingest.limits import Limits

ROOT = Path(__file__).parent.parent.parent
LEAST_OVERLAP = 0.95
"""Of the first ten, how many both find at least."""


@pytest.fixture(scope="module")
def both(places: tuple[Path, Server], embedder: Embedder) -> Generator[tuple[Index, Index]]:
    for place in places:
        report = ingest([ROOT / "corpus"], place, embedder, Limits())
        assert (report.added, report.errors) == (3, [])
    local, postgres = (Index.open(place, embedder) for place in places)
    with closing(local), closing(postgres):
        yield local, postgres


@pytest.fixture(scope="module")
def questions() -> list[str]:
    lines = (ROOT / "tests/golden/sample.jsonl").read_text().splitlines()
    return [json.loads(line)["question"] for line in lines]


def scopes(store: Store) -> list[Scope]:
    return [
        Scope(),
        *(Scope(source.id) for source in store.sources()),
        *(Scope(speakers=[speaker.name]) for speaker in store.speakers()),
    ]


def test_what_is_there(both: tuple[Index, Index]) -> None:
    local, postgres = (index.store for index in both)
    assert postgres.holdings.counts == local.holdings.counts
    assert list(postgres.sources()) == list(local.sources())
    assert list(postgres.speakers()) == list(local.speakers())
    assert list(postgres.speaker_counts()) == list(local.speaker_counts())
    assert postgres.source_counts() == local.source_counts()
    assert postgres.durations() == local.durations()
    for source in local.sources():
        assert postgres.turns(source.id) == local.turns(source.id)
        assert list(postgres.passages_of(source.id)) == list(local.passages_of(source.id))
        assert list(postgres.speakers(source.id)) == list(local.speakers(source.id))


def test_scores(both: tuple[Index, Index], questions: list[str]) -> None:
    local, postgres = both
    assert postgres.store.idf(terms(" ".join(questions))) == local.store.idf(terms(" ".join(questions)))
    for question in questions[::3]:
        vector = local.vector(question)
        for scope in scopes(local.store):
            favoured = [local.store.speakers()[0].name]
            wanted = scored(local.store, question, vector, scope, favoured)
            found = scored(postgres.store, question, vector, scope, favoured)
            assert found.keys() == wanted.keys()
            for passage, scores in found.items():
                assert scores == pytest.approx(wanted[passage], rel=1e-4, abs=1e-4)


def scored(store: Store, question: str, vector: Any, scope: Scope, favoured: list[str]) -> dict[str, list[float]]:
    """BM25, cosine, position and share of each passage that is found."""
    found = store.find(terms(question), vector, CANDIDATES, scope, favoured)
    columns = [dict(zip(*(column.tolist() for column in pair), strict=True)) for pair in (found.lexical, found.dense)]
    columns += [dict(zip(found.rows.tolist(), each.tolist(), strict=True)) for each in (found.middles, found.shares)]
    passages = store.passages(found.rows, vector)
    return {stored.passage.id: [column.get(stored.row, -1.0) for column in columns] for stored in passages}


def test_hits(both: tuple[Index, Index], questions: list[str]) -> None:
    overlaps: list[float] = []
    for question in questions:
        for scope in scopes(both[0].store):
            ids = [
                [hit.passage.id for hit in index.search(question, index.vector(question), 10, **as_filters(scope))]
                for index in both
            ]
            overlaps.append(len({*ids[0]} & {*ids[1]}) / len(ids[0]))
    assert sum(overlaps) / len(overlaps) >= LEAST_OVERLAP
    assert min(overlaps) >= 0.8


def as_filters(scope: Scope) -> dict[str, Any]:
    return {"source_id": scope.source_id, "speakers": scope.speakers}
