from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest

from index.embed import Embedder, Matrix
from index.query_vectors import KEPT, QueryVectors


class CountingEmbedder:
    """Remembers what it was asked to embed; it waits while `go` is not set, and fails while `broken`."""

    def __init__(self, embedder: Embedder) -> None:
        self.fingerprint, self.dimension, self.max_tokens = embedder.fingerprint, embedder.dimension, 254
        self.count_tokens, self.embed_passage = embedder.count_tokens, embedder.embed_passage
        self._embed = embedder.embed
        self.asked: list[str] = []
        self.begun, self.go, self.broken = Event(), Event(), False
        self.go.set()

    def embed(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        self.begun.set()
        assert self.go.wait(60)
        if self.broken:
            raise MemoryError
        return self._embed(texts)


@pytest.fixture
def counting(hashing: Embedder) -> CountingEmbedder:
    return CountingEmbedder(hashing)


def test_a_query_is_embedded_once(counting: CountingEmbedder, hashing: Embedder) -> None:
    vectors = QueryVectors(counting)
    for text in ("why boats?", "why not?", "why boats?", "why not?", ""):
        np.testing.assert_array_equal(vectors.vector(text), hashing.embed([text])[0])
    assert counting.asked == ["why boats?", "why not?", ""]


def test_models_are_kept_apart(hashing_type: type, counting: CountingEmbedder) -> None:
    others = hashing_type("other")
    others.dimension = 32
    assert QueryVectors(counting).vector("why?").shape == (64,)
    assert QueryVectors(others).vector("why?").shape == (32,)


def test_nobody_can_change_what_others_get(counting: CountingEmbedder) -> None:
    with pytest.raises(ValueError, match="read-only"):
        QueryVectors(counting).vector("why?")[0] = 1


def test_the_one_unasked_for_longest_is_forgotten(counting: CountingEmbedder) -> None:
    vectors = QueryVectors(counting)
    for number in range(KEPT):
        vectors.vector(str(number))
    vectors.vector("0")
    vectors.vector("one more")
    vectors.vector("0")
    assert len(counting.asked) == KEPT + 1
    vectors.vector("1")
    assert counting.asked[-1] == "1"


def test_threads_that_ask_the_same_at_once_embed_it_once(counting: CountingEmbedder) -> None:
    vectors = QueryVectors(counting)
    together = Barrier(8)

    def ask() -> Matrix:
        together.wait(60)
        return vectors.vector("why?")

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        assert len({id(each.result()) for each in asked}) == 1
    assert counting.asked == ["why?"]


def test_a_slow_query_holds_up_no_other(counting: CountingEmbedder) -> None:
    vectors = QueryVectors(counting)
    vectors.vector("known")
    counting.begun.clear()
    counting.go.clear()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(vectors.vector, "slow")
        try:
            assert counting.begun.wait(60)
            pool.submit(vectors.vector, "known").result(60)
            assert not slow.done()
        finally:
            counting.go.set()


def test_after_a_failure_it_is_tried_again(counting: CountingEmbedder) -> None:
    vectors = QueryVectors(counting)
    counting.broken = True
    with pytest.raises(MemoryError):
        vectors.vector("why?")
    counting.broken = False
    assert vectors.vector("why?").shape == (64,)
