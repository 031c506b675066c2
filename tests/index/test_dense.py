from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.dense import BREADTH, STEP, DenseIndex, Rows, VectorFiles, write_graph, write_vectors
from index.embed import Matrix, unit
from index.errors import SnapshotError

COUNT, DIMENSION = 203, 24


@pytest.fixture(scope="module")
def vectors() -> Matrix:
    return unit(np.random.default_rng(7).normal(size=(COUNT, DIMENSION)).astype(np.float32))


@pytest.fixture(scope="module")
def dense(vectors: Matrix, tmp_path_factory: pytest.TempPathFactory) -> DenseIndex:
    path = tmp_path_factory.mktemp("dense") / "vectors.faiss"
    write_vectors(path, vectors)
    return DenseIndex([VectorFiles(path)], DIMENSION)


def query(seed: int = 1) -> Matrix:
    return unit(np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32))


def test_what_is_written_is_read_to_the_precision_of_half_floats(dense: DenseIndex, vectors: Matrix) -> None:
    assert (len(dense), dense.dimension) == (COUNT, DIMENSION)
    stored = dense.vectors(np.arange(COUNT))
    assert np.allclose(stored, vectors, rtol=2**-10, atol=2**-24)
    assert np.array_equal(dense.vectors(np.asarray([5, 0, 5])), stored[[5, 0, 5]])
    assert dense.vectors(np.empty(0, np.int64)).shape == (0, DIMENSION)


def test_vectors_taken_over_from_one_index_to_the_next_stay_the_same(dense: DenseIndex, tmp_path: Path) -> None:
    stored = dense.vectors(np.arange(COUNT))
    for name in ("second", "third"):
        write_vectors(tmp_path / name, stored)
        stored = DenseIndex([VectorFiles(tmp_path / name)], DIMENSION).vectors(np.arange(COUNT))
    assert np.array_equal(stored, dense.vectors(np.arange(COUNT)))
    assert (tmp_path / "second").read_bytes() == (tmp_path / "third").read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_are_those_of_numpy(dense: DenseIndex, seed: int) -> None:
    rows, scores = dense.search(query(seed), 20)
    cosines = dense.vectors(np.arange(COUNT)) @ query(seed)
    assert rows.tolist() == np.argsort(-cosines)[:20].tolist()
    assert scores == pytest.approx(cosines[rows], abs=1e-5)


@pytest.fixture(scope="module")
def segments(vectors: Matrix, tmp_path_factory: pytest.TempPathFactory) -> list[VectorFiles]:
    """The same vectors in four segments, one of them empty."""
    folder = tmp_path_factory.mktemp("segments")
    for number, part in enumerate(np.split(vectors, [120, 120, 200])):
        write_vectors(folder / str(number), part)
    return [VectorFiles(folder / str(number)) for number in range(4)]


positions = st.sets(st.integers(0, COUNT - 1)).map(lambda chosen: np.asarray(sorted(chosen), np.int64))


@given(positions, st.none() | positions, st.integers(0, 2 * COUNT))
def test_segments_are_searched_as_one_without_the_dead(
    dense: DenseIndex, segments: list[VectorFiles], dead: Rows, allowed: Rows | None, limit: int
) -> None:
    split = DenseIndex(segments, DIMENSION, dead)
    living = np.setdiff1d(np.arange(COUNT) if allowed is None else allowed, dead)
    found, scores = split.search(query(), limit, allowed)
    expected = dense.search(query(), limit, living)
    assert found.tolist() == expected[0].tolist()
    assert scores == pytest.approx(expected[1], abs=1e-6)


def test_positions_run_on_through_the_segments(dense: DenseIndex, segments: list[VectorFiles]) -> None:
    split = DenseIndex(segments, DIMENSION)
    assert (len(split), split.dimension) == (COUNT, DIMENSION)
    chosen = np.random.default_rng(3).permutation(COUNT)
    assert np.array_equal(split.vectors(chosen), dense.vectors(chosen))


def test_no_segments() -> None:
    none = DenseIndex([], DIMENSION)
    assert (len(none), none.dimension) == (0, DIMENSION)
    rows, scores = none.search(query(), 5)
    assert (rows.tolist(), scores.tolist()) == ([], [])
    assert none.vectors(np.empty(0, np.int64)).shape == (0, DIMENSION)


def test_equal_scores_come_in_order_of_position(vectors: Matrix, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_vectors(tmp_path / name, np.repeat(vectors[:2], 3, axis=0))
    twice = DenseIndex([VectorFiles(tmp_path / "first"), VectorFiles(tmp_path / "second")], DIMENSION)
    assert twice.search(vectors[1], 12)[0].tolist() == [3, 4, 5, 9, 10, 11, 0, 1, 2, 6, 7, 8]


@given(st.sets(st.integers(0, COUNT - 1)), st.integers(0, 2 * COUNT))
def test_only_allowed_rows_and_none_missed(dense: DenseIndex, allowed: set[int], limit: int) -> None:
    rows, scores = dense.search(query(), limit, np.asarray(sorted(allowed), np.int64))
    cosines = dense.vectors(np.arange(COUNT)) @ query()
    assert rows.tolist() == sorted(allowed, key=lambda row: -cosines[row])[:limit]
    assert len(scores) == len(rows)


def test_more_than_there_are(dense: DenseIndex) -> None:
    rows, scores = dense.search(query(), 10 * COUNT)
    assert sorted(rows.tolist()) == list(range(COUNT))
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_nothing_asked_for_and_nothing_there(dense: DenseIndex, tmp_path: Path) -> None:
    assert dense.search(query(), 0)[0].tolist() == []
    assert dense.search(query(), 5, np.empty(0, np.int64))[0].tolist() == []
    write_vectors(tmp_path / "none", np.empty((0, DIMENSION), np.float32))
    none = DenseIndex([VectorFiles(tmp_path / "none")], DIMENSION)
    assert (len(none), none.dimension) == (0, DIMENSION)
    rows, scores = none.search(query(), 5)
    assert (rows.tolist(), scores.tolist()) == ([], [])
    assert none.search(query(), 5, np.empty(0, np.int64))[0].tolist() == []


LARGE = 2 * STEP * BREADTH
"""Vectors at which a filter that keeps three quarters is searched by the graph."""


@pytest.fixture(scope="module")
def clustered() -> Matrix:
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(60, DIMENSION))
    return unit((centres[np.arange(LARGE) // (LARGE // 60)] + rng.normal(size=(LARGE, DIMENSION))).astype(np.float32))


@pytest.fixture(scope="module")
def large(clustered: Matrix, tmp_path_factory: pytest.TempPathFactory) -> VectorFiles:
    folder = tmp_path_factory.mktemp("large")
    write_vectors(folder / "vectors", clustered)
    write_graph(folder / "graph", clustered)
    return VectorFiles(folder / "vectors", folder / "graph")


def clusters(*chosen: int) -> Rows:
    return np.flatnonzero(np.isin(np.arange(LARGE) // (LARGE // 60), chosen))


ALL = np.arange(LARGE)


@pytest.mark.parametrize(
    ("allowed", "dead"),
    [
        pytest.param(None, clusters(), id="all"),
        pytest.param(None, ALL[::7], id="a seventh dead"),
        pytest.param(ALL[ALL % 4 > 0], clusters(), id="three quarters"),
        pytest.param(clusters(*range(45)), clusters(), id="three quarters of the clusters"),
        pytest.param(clusters(*range(45)), ALL[::50], id="three quarters of the clusters, some dead"),
        pytest.param(clusters(*range(20)), ALL[::50], id="a third"),
        pytest.param(clusters(5), ALL[::50], id="a sixtieth"),
        pytest.param(ALL[5:LARGE:900], clusters(3), id="few"),
    ],
)
@pytest.mark.parametrize("limit", [10, 300])
def test_a_graph_finds_the_nearest_under_any_filter(
    clustered: Matrix, large: VectorFiles, allowed: Rows | None, dead: Rows, limit: int
) -> None:
    dense = DenseIndex([large], DIMENSION, dead)
    living = np.setdiff1d(ALL if allowed is None else allowed, dead)
    found = 0
    for near in range(0, LARGE, LARGE // 20):
        asked = unit(clustered[near] + 0.5 * query(near))
        cosines = dense.vectors(living) @ asked
        expected = living[np.argsort(-cosines)]
        rows, scores = dense.search(asked, limit, allowed)
        assert len(rows) == len(set(rows.tolist())) == min(limit, len(living))
        assert set(rows.tolist()) <= set(living.tolist())
        assert scores == pytest.approx(dense.vectors(rows) @ asked, abs=1e-5)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        found += len(set(rows[:10].tolist()) & set(expected[:10].tolist()))
    assert found >= 0.95 * 20 * 10


def test_more_than_a_graph_keeps_in_sight(large: VectorFiles) -> None:
    assert sorted(DenseIndex([large], DIMENSION).search(query(), LARGE)[0].tolist()) == ALL.tolist()


def test_segments_with_and_without_a_graph(clustered: Matrix, large: VectorFiles, segments: list[VectorFiles]) -> None:
    both = DenseIndex([segments[0], large, *segments[1:]], DIMENSION, np.asarray([3, 120]))
    assert len(both) == COUNT + LARGE
    assert np.array_equal(both.vectors(np.asarray([121])), DenseIndex([large], DIMENSION).vectors(np.asarray([1])))
    assert both.search(both.vectors(np.asarray([121]))[0], 1)[0].tolist() == [121]
    last = both.vectors(np.asarray([COUNT + LARGE - 1]))[0]
    assert both.search(last, 1)[0].tolist() == [COUNT + LARGE - 1]
    assert both.search(last, 1, np.asarray([5, 600, LARGE + 121]))[0].shape == (1,)


def test_a_graph_of_other_vectors_is_refused(large: VectorFiles, segments: list[VectorFiles]) -> None:
    with pytest.raises(SnapshotError, match="graph does not belong to"):
        DenseIndex([VectorFiles(segments[0].vectors, large.graph)], DIMENSION)
    with pytest.raises(SnapshotError, match="vectors does not belong to"):
        DenseIndex([VectorFiles(large.vectors, large.vectors)], DIMENSION)


@pytest.mark.parametrize("keep", [0, 3, 40, 5000, -1])
def test_a_damaged_graph_is_refused(large: VectorFiles, tmp_path: Path, keep: int) -> None:
    assert large.graph is not None
    (tmp_path / "graph").write_bytes(large.graph.read_bytes()[:keep])
    with pytest.raises(SnapshotError, match="graph is not an index that faiss reads"):
        DenseIndex([VectorFiles(large.vectors, tmp_path / "graph")], DIMENSION)


def test_many_threads_find_the_same(dense: DenseIndex) -> None:
    def search(seed: int) -> list[int]:
        return dense.search(query(seed), 10, np.arange(seed, COUNT))[0].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, list(range(8)) * 8)) == [search(seed) for seed in range(8)] * 8


@pytest.mark.parametrize("keep", [0, 3, 40, -1])
def test_a_damaged_file_is_refused(vectors: Matrix, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "vectors.faiss"
    write_vectors(path, vectors)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SnapshotError, match=r"vectors\.faiss is not an index that faiss reads"):
        DenseIndex([VectorFiles(path)], DIMENSION)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("No vectors here. " * 100)
    with pytest.raises(SnapshotError, match="notes is not an index"):
        DenseIndex([VectorFiles(tmp_path / "notes")], DIMENSION)
    with pytest.raises(SnapshotError, match="missing is not an index"):
        DenseIndex([VectorFiles(tmp_path / "missing")], DIMENSION)
