from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.dense import DenseIndex, write_vectors
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
    return DenseIndex(path)


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
        stored = DenseIndex(tmp_path / name).vectors(np.arange(COUNT))
    assert np.array_equal(stored, dense.vectors(np.arange(COUNT)))
    assert (tmp_path / "second").read_bytes() == (tmp_path / "third").read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_are_those_of_numpy(dense: DenseIndex, seed: int) -> None:
    rows, scores = dense.search(query(seed), 20)
    cosines = dense.vectors(np.arange(COUNT)) @ query(seed)
    assert rows.tolist() == np.argsort(-cosines)[:20].tolist()
    assert scores == pytest.approx(cosines[rows], abs=1e-5)


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
    none = DenseIndex(tmp_path / "none")
    assert (len(none), none.dimension) == (0, DIMENSION)
    rows, scores = none.search(query(), 5)
    assert (rows.tolist(), scores.tolist()) == ([], [])
    assert none.search(query(), 5, np.empty(0, np.int64))[0].tolist() == []


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
        DenseIndex(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("No vectors here. " * 100)
    with pytest.raises(SnapshotError, match="notes is not an index"):
        DenseIndex(tmp_path / "notes")
    with pytest.raises(SnapshotError, match="missing is not an index"):
        DenseIndex(tmp_path / "missing")
