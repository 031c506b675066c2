"""What may not be read is not there, in each of the stores: a view is an index of the rest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from index.lexical import terms
from index.search import Index
from index.store import Scope, Store
from index.where import Where, ingest, open_store, verify
from ingest.limits import Limits
from tests.hashing import HashingEmbedder

EMBEDDER = HashingEmbedder()
# Titles, names and some words are those of one talk alone; what is said of straw, more of it is private than public.
TALKS: dict[str, tuple[list[str], str, str]] = {
    "bridge": ([], "Ann Lee", "The bridge is of oak and straw."),
    "cellar": ([], "Bob", "The cellar is of stone, and the stone is cold."),
    "merger": (["board"], "Eve Oak", "The merger is of straw, straw and straw, said Zanzibar."),
    "names": (["board"], "Robert Ray", "Straw is what Quokka calls it."),
    "trial": (["legal"], "Cy Fox", "The trial is about the bridge, the oak and the stone; Yttrium."),
    "both": (["board", "legal"], "ANN LEE", "Straw of stone, and Xylophone. The bridge is sold."),
}
GROUPS = [frozenset[str](), frozenset({"board"}), frozenset({"legal"}), frozenset({"board", "legal", "press"})]
QUERIES = ["bridge of straw", "Zanzibar Quokka Yttrium Xylophone", "the stone", "nowhere", "Eve Oak", ""]


def write(folder: Path, talks: Sequence[str]) -> None:
    folder.mkdir()
    for name in talks:
        access, speaker, words = TALKS[name]
        lines = [f"{speaker} (00:{minute:02d}:00):\n{words} Number {minute}. " * 20 + "\n" for minute in range(3)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
        sidecar = f"title: The {name} talk\n"
        if access:
            sidecar += f"access: [{', '.join(access)}]\n"
        if name == "names":
            sidecar += "people: [{name: Robert Ray, role: chair, aliases: [Bob, Ann Lee]}]\n"
        (folder / f"{name}.meta.yaml").write_text(sidecar)


def readable(groups: frozenset[str]) -> list[str]:
    return [name for name, (access, *_) in TALKS.items() if not access or groups & set(access)]


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, new_place: Callable[[], Where]
) -> Generator[tuple[Store, dict[frozenset[str], Store]]]:
    """All talks, and for each set of groups an index of those that they may read and of no other."""
    with ExitStack() as stack:

        def opened(talks: Sequence[str]) -> Store:
            folder, place = tmp_path_factory.mktemp("private") / "talks", new_place()
            write(folder, talks)
            assert not ingest([folder], place, EMBEDDER, Limits()).errors
            assert verify(place) == []
            return stack.enter_context(closing(open_store(place)))

        yield opened(list(TALKS)), {groups: opened(readable(groups)) for groups in GROUPS}


def described(store: Store) -> dict[str, Any]:
    """All that is to be known of a store without a search."""
    sources = store.sources()
    return {
        "counts": dict(store.holdings.counts),
        "groups": store.groups,
        "sources": [(s.id, s.title, s.path, s.access) for s in sources],
        "by id": [store.source(name) is not None for name in TALKS],
        "turns": [store.turns(s.id) for s in sources],
        "passages": [list(store.passages_of(s.id)) for s in sources],
        "speakers": list(store.speakers()),
        "speakers of": [list(store.speakers(s.id)) for s in sources],
        "speaker counts": list(store.speaker_counts()),
        "source counts": dict(store.source_counts()),
        "durations": dict(store.durations()),
        "idf": store.idf(terms(" ".join(QUERIES))),
    }


def scopes() -> list[Scope]:
    people = ["Ann Lee", "Bob", "Robert Ray", "Eve Oak", "Nobody"]
    return [
        Scope(),
        *map(Scope, TALKS),
        *(Scope(speakers=[name]) for name in people),
        Scope("bridge", ["Ann Lee", "Eve Oak"]),
        Scope("merger", people),
    ]


def found(store: Store, query: str, scope: Scope, limit: int) -> dict[str, Any]:
    vector = EMBEDDER.embed([query])[0]
    candidates = store.find(terms(query), vector, limit, scope, ["Ann Lee", "Eve Oak"])
    ids = {each.row: each.passage.id for each in store.passages(candidates.rows, vector)}
    assert len(ids) == len(candidates.rows)
    columns = (candidates.middles, candidates.shares)
    return {
        "words": [(ids[row], score) for row, score in zip(*map(list, candidates.lexical), strict=True)],
        "vectors": [(ids[row], score) for row, score in zip(*map(list, candidates.dense), strict=True)],
        "places": [(ids[row], *each) for row, *each in zip(candidates.rows.tolist(), *columns, strict=True)],
    }


@pytest.mark.parametrize("groups", GROUPS, ids=lambda groups: " and ".join(sorted(groups)) or "nobody")
class TestViews:
    def test_all_that_is_known_without_a_search(
        self, stores: tuple[Store, dict[frozenset[str], Store]], groups: frozenset[str]
    ) -> None:
        store, without = stores
        assert described(store.readable(groups)) == described(without[groups])

    @pytest.mark.parametrize("limit", [3, 300])
    @pytest.mark.parametrize("query", QUERIES)
    def test_what_is_found(
        self, stores: tuple[Store, dict[frozenset[str], Store]], groups: frozenset[str], query: str, limit: int
    ) -> None:
        store, without = stores
        for scope in scopes():
            assert found(store.readable(groups), query, scope, limit) == found(without[groups], query, scope, limit)

    def test_rows_of_what_is_hidden_are_not_given(
        self, stores: tuple[Store, dict[frozenset[str], Store]], groups: frozenset[str]
    ) -> None:
        store, _ = stores
        vector = EMBEDDER.embed(["straw"])[0]
        rows = store.find(["straw"], vector, 300, Scope(), ()).rows
        assert {each.source.id for each in store.passages(rows, vector)} == set(TALKS)
        view = store.readable(groups)
        assert {each.source.id for each in view.passages(rows, vector)} == set(readable(groups))
        for row in rows:
            assert [each.source.id for each in view.passages(rows[rows == row], vector)] in [
                [],
                *([name] for name in readable(groups)),
            ]


def test_whoever_may_read_all_reads_all(stores: tuple[Store, dict[frozenset[str], Store]]) -> None:
    store, _ = stores
    assert store.groups == {"board", "legal"}
    assert described(store.readable(frozenset({"board", "legal"}))) == described(store)
    assert {source.id for source in store.sources()} == set(TALKS)


def test_an_index_keeps_what_its_readers_see_ready(stores: tuple[Store, dict[frozenset[str], Store]]) -> None:
    index = Index(stores[0], EMBEDDER)
    public, board = index.readable(frozenset()), index.readable(frozenset({"board"}))
    assert index.readable(frozenset({"press"})) is public
    assert index.readable(frozenset({"press", "board"})) is board
    assert (public.groups, board.groups, index.groups) == (frozenset(), {"board"}, None)
    assert index.readable(None) is index
    assert len(public) < len(board) < len(index)
    assert public.count("merger") == 0 < board.count("merger")
    vector = index.vector("Zanzibar")
    assert all(hit.source.id in ("bridge", "cellar") for hit in public.search("Zanzibar", vector, 100))
    assert board.search("Zanzibar", vector)[0].source.id == "merger"


class TestIngests:
    def test_who_may_read_changes_with_the_sidecar_alone(self, place: Where, tmp_path: Path) -> None:
        folder = tmp_path / "talks"
        write(folder, ["bridge", "cellar", "merger", "trial"])
        ingest([folder], place, EMBEDDER, Limits())

        def titles(groups: frozenset[str]) -> set[str]:
            with closing(open_store(place)) as store:
                return {source.id for source in store.readable(groups).sources()}

        (folder / "bridge.meta.yaml").write_text("title: The bridge talk\naccess: [press]\n")
        (folder / "merger.meta.yaml").write_text("title: The merger talk\n")
        (folder / "trial.meta.yaml").unlink()
        report = ingest([folder], place, EMBEDDER, Limits())
        assert (report.updated, report.unchanged, report.embedded) == (3, 1, 0)
        assert titles(frozenset()) == {"cellar", "merger", "trial"}
        assert titles(frozenset({"press"})) == {"bridge", "cellar", "merger", "trial"}
        assert verify(place) == []
        for path in folder.iterdir():
            if path.name.startswith("merger"):
                path.unlink()
        ingest([folder], place, EMBEDDER, Limits())
        assert titles(frozenset({"board"})) == {"cellar", "trial"}
        assert verify(place) == []

    @pytest.mark.parametrize("broken", ["acess: [board]\n", "access: board\n", "access: [\n", "", "title: \x00\n"])
    def test_a_document_whose_sidecar_cannot_be_read_is_not_there(
        self, place: Where, tmp_path: Path, broken: str
    ) -> None:
        folder = tmp_path / "talks"
        write(folder, ["bridge", "merger"])
        ingest([folder], place, EMBEDDER, Limits())
        (folder / "merger.meta.yaml").write_text(broken)
        for _ in range(2):
            report = ingest([folder], place, EMBEDDER, Limits())
            assert [Path(flaw.path).name for flaw in report.errors] == ["merger.meta.yaml"]
            with closing(open_store(place)) as store:
                for view in (store, store.readable(frozenset())):
                    assert [source.id for source in view.sources()] == ["bridge"]

    def test_what_becomes_private_is_hidden_from_the_next_view_on(self, place: Where, tmp_path: Path) -> None:
        folder = tmp_path / "talks"
        write(folder, ["bridge", "cellar"])
        ingest([folder], place, EMBEDDER, Limits())
        vector = EMBEDDER.embed(["oak"])[0]
        with closing(open_store(place)) as store:
            older = store.readable(frozenset())
            assert described(older) == described(store)
            (folder / "bridge.meta.yaml").write_text("access: [board]\n")
            (folder / "bridge.txt").write_text("Ann Lee (00:00:01):\nThe oak is rotten.\n")
            ingest([folder], place, EMBEDDER, Limits())
            rows = older.find(["oak", "rotten"], vector, 10, Scope(), ()).rows
            said = [turn.text for each in older.passages(rows, vector) for turn in each.turns.values()]
            said += [turn.text for turn in older.turns("bridge")]
            assert not any("rotten" in text for text in said)
            with closing(older.newer()) as newer:
                assert [source.id for source in newer.sources()] == ["cellar"]
                assert not newer.find(["oak"], vector, 10, Scope("bridge"), ()).rows.tolist()
