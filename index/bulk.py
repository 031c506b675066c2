"""Embedding many passages (TEMPORARY: being written)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from index.embed import Embedder, Matrix
from index.prepare import PassageText


def embed_passages(texts: Iterable[PassageText], embedder: Embedder) -> Iterator[tuple[Matrix, NDArray[np.int8]]]:
    def embed(text: PassageText) -> tuple[Matrix, NDArray[np.int8]]:
        vector, rows = embedder.embed_passage(text.text, text.ranges)
        return vector, quantise(rows)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque = deque()
        for text in texts:
            ahead.append(pool.submit(embed, text))
            if len(ahead) > 64:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def quantise(rows: Matrix) -> NDArray[np.int8]:
    """Each row scaled so that its largest component is 127: a cosine does not depend on the length."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=1e-12)
    return np.rint(rows * (127.0 / largest)).astype(np.int8)
