"""The embedder that most tests of an index use: instant, deterministic, and alike for texts that share words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from index.embed import Matrix, unit

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Counts words in buckets."""

    dimension = 64
    max_tokens = 254

    def __init__(self, fingerprint: str = "hashing-64") -> None:
        self.fingerprint = fingerprint

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def embed(self, texts: Sequence[str]) -> Matrix:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        rows[:, 0] = 1  # as a model's special tokens do, it keeps a text without words from being a row of zeros
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.casefold()):
                row[zlib.crc32(word.encode()) % self.dimension] += 1
        return unit(rows)

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        return self.embed([text])[0], self.embed([text[begin:end] for begin, end in ranges])
