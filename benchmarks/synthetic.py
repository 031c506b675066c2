"""A corpus of any size: documents with words, speakers and vectors as real ones have them, without embedding a text.

Words follow the frequencies of English, with a tail of made-up ones; a quarter of a document's are its topic's. Vectors
have length 1 and about the cosines that the default model gives 10,586 passages of meetings and questions about them:

| mean cosine of | there | here |
| --- | --- | --- |
| two passages | .19 | .20 |
| two passages of a document | .41 | .49 |
| a passage and the next | .57 | .61 |
| a passage and its nearest, its tenth nearest | .73, .65 | .73, .64 |
| a question and its nearest passage, its tenth nearest | .60, .51 | .58, .49 |
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from index.embed import Matrix, unit
from index.embedded import Embedded
from index.prepare import Prepared, SourceRecord, passage_text
from ingest.model import Cue, Document, Passage, Source, Span, Turn
from ingest.speakers import Naming

DIMENSION = 384
SHARES = (0.1, 0.01, 0.001)
"""Of all passages, those in which each of three speakers speaks; whoever speaks in few topics, speaks there often."""
SENTENCES = 8
"""Of a passage."""
SUBJECTS = 24
"""Of a topic."""
TOPIC_WORDS = 300
MADE_UP = 100_000
NOISE = 4096

Draw = NDArray[np.float32]


def spectrum(fall: float) -> Draw:
    """Standard deviations of the components of a vector about as long as 1; the higher `fall`, the fewer matter."""
    variance = np.arange(1, DIMENSION + 1) ** -fall
    return np.sqrt(variance / variance.sum()).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and a vector near what it asks for."""

    text: str
    vector: Matrix


class Corpus:
    """About `passages` passages, the same for the same number."""

    def __init__(self, passages: int) -> None:
        self.passages = passages
        self._random = random = np.random.default_rng(passages)
        self._topics = max(5, round(3 * sqrt(passages / 75)))
        self._words, self._reached = _vocabulary(random)
        ranks = np.arange(300, 30_000)
        chance = ranks**-0.7 / (ranks**-0.7).sum()
        self._topic_words = [random.choice(ranks, TOPIC_WORDS, replace=False, p=chance) for _ in range(self._topics)]
        falling = np.cumsum(1 / np.arange(3, TOPIC_WORDS + 3))
        self._topic_reached = falling / falling[-1]
        self._wide, self._even = spectrum(1.0), spectrum(0.8)
        self._common = np.zeros(DIMENSION, np.float32)
        self._common[0] = 0.4
        fields = 0.34 * self._draw(8, self._wide)
        of_topics = fields[random.integers(0, 8, self._topics)] + 0.32 * self._draw(self._topics, self._wide)
        self._centres: Draw = self._common + of_topics
        self._subjects: Draw = 0.42 * self._draw(self._topics * SUBJECTS, self._even)
        self._noise = random.integers(-127, 128, (NOISE, DIMENSION)).astype(np.int8)
        people = _people(random, max(20, passages // 150))
        self.frequent, self._people = people[: len(SHARES)], people[len(SHARES) :]

    def _draw(self, count: int, deviations: Draw) -> Draw:
        return self._random.standard_normal((count, DIMENSION), dtype=np.float32) * deviations

    def sources(self) -> Iterator[Embedded]:
        """All documents, of 75 passages in the mean, as they are stored."""
        left = self.passages
        for number in range(self.passages):
            if not left:
                return
            count = min(left, int(np.clip(self._random.lognormal(4.1, 0.6), 5, 400)))
            left -= count
            yield self._source(f"source-{number:06d}", count)

    def queries(self, count: int) -> list[Query]:
        """Questions of three to seven words, half of them their topic's."""
        random = self._random
        topics, subjects = random.integers(0, self._topics, count), random.integers(0, SUBJECTS, count)
        near = unit(self._centres[topics] - self._common / 2 + self._subjects[topics * SUBJECTS + subjects])
        vectors = unit(0.68 * near + 0.73 * unit(self._draw(count, self._even)))
        return [
            Query(f"what did they say about {' '.join(self._text(int(random.integers(3, 8)), topic, 0.5))}?", vector)
            for topic, vector in zip(topics.tolist(), vectors, strict=True)
        ]

    def document(self, count: int) -> Document:
        """One more document, of so many passages, as a reader gives it."""
        source = self._source("one-more", count).prepared
        return Document(source.record.source.title, "transcript", source.turns)

    def _text(self, count: int, topic: int, share: float) -> NDArray[np.object_]:
        random = self._random
        ids = np.searchsorted(self._reached, random.random(count))
        own = random.random(count) < share
        ids[own] = self._topic_words[topic][np.searchsorted(self._topic_reached, random.random(int(own.sum())))]
        return self._words[ids]

    def _vectors(self, count: int, topic: int) -> Matrix:
        random = self._random
        runs = random.integers(2, 9, count)
        subjects = np.repeat(random.integers(0, SUBJECTS, count), runs)[:count]
        own = 0.58 * self._draw(count, self._even) * random.uniform(0.6, 1.4, (count, 1)).astype(np.float32)
        document = self._centres[topic] + 0.22 * self._draw(1, self._wide)
        return unit(document + self._subjects[topic * SUBJECTS + subjects] + own)

    def _speakers(self, count: int, topic: int) -> list[tuple[str, str]]:
        """For each passage, who speaks first in it, and who then."""
        random = self._random
        here = random.choice(self._people, int(random.integers(2, 7)), replace=False)
        speakers = here[random.integers(0, len(here), (count, 2))].tolist()
        for share, name in zip(SHARES, self.frequent, strict=True):
            topics = ceil(2.5 * share * self._topics)
            if topic < topics:
                for place in np.flatnonzero(random.random(count) < share * self._topics / topics).tolist():
                    speakers[place][1] = name
        return speakers

    def _source(self, source_id: str, count: int) -> Embedded:
        random = self._random
        topic = int(random.integers(0, self._topics))
        sizes = np.clip(150 - random.exponential(25, count), 3 * SENTENCES, 150).astype(np.int64)
        words = self._text(int(sizes.sum()), topic, 0.25).tolist()
        ends, sizes = np.cumsum(sizes).tolist(), sizes.tolist()
        turns: list[Turn] = []
        passages: list[Passage] = []
        for place, speakers in enumerate(self._speakers(count, topic)):
            cuts = [ends[place] - sizes[place] * left // SENTENCES for left in range(SENTENCES, -1, -1)]
            sentences = [f"{' '.join(words[begin:end])}." for begin, end in pairwise(cuts)]
            spans: list[Span] = []
            for speaker, said in zip(speakers, (sentences[: SENTENCES // 2], sentences[SENTENCES // 2 :]), strict=True):
                begin = 0
                for sentence in said:
                    spans.append(Span(len(turns), begin, begin + len(sentence)))
                    begin += len(sentence) + 1
                cue = Cue(len(turns), 0, 30.0 * len(turns), 30.0 * len(turns) + 29, len(turns) + 1)
                turns.append(Turn(speaker, " ".join(said), (cue,)))
            passages.append(Passage(f"{source_id}-{place}", source_id, place, tuple(spans), sizes[place]))
        source = Source(source_id, f"{source_id}.json", f"Talk {source_id}", "transcript")
        naming = Naming.of(Document(source.title, source.kind, tuple(turns)))
        names, digest = {name: name for name in naming.turns}, hashlib.sha256(source_id.encode()).hexdigest()
        record = SourceRecord(source, "/synthetic", digest, naming, names, len(turns), count)
        texts = tuple(passage_text(passage, turns) for passage in passages)
        prepared = Prepared(record, tuple(turns), tuple(turn.speaker for turn in turns), tuple(passages), texts)
        first = int(random.integers(0, NOISE))
        noise = self._noise[(first + np.arange(count * SENTENCES)) % NOISE]
        return Embedded(prepared, self._vectors(count, topic), noise)


def _vocabulary(random: np.random.Generator) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Words, most frequent first, then made-up ones; and the share of a text that each and those before it make up."""
    text = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    pairs = [line.split() for line in text.splitlines()]
    pairs.sort(key=lambda pair: -int(pair[1]))
    real = np.asarray([int(count) for _, count in pairs], np.float64)
    syllables = [c + v + e for c in "bcdfgklmnprstvz" for v in "aeiou" for e in ("", "l", "n", "r")]
    chosen = random.permutation(len(syllables) ** 3)[:MADE_UP].tolist()
    made_up = [syllables[i % 300] + syllables[i // 300 % 300] + syllables[i // 90_000] for i in chosen]
    tail = 1 / np.arange(1, MADE_UP + 1)
    share = np.concatenate([0.985 * real / real.sum(), 0.015 * tail / tail.sum()])
    reached = np.cumsum(share)
    return np.asarray([word for word, _ in pairs] + made_up, dtype=object), reached / reached[-1]


def _people(random: np.random.Generator, count: int) -> list[str]:
    """Different names."""
    first, last = _names("dist.female.first"), _names("dist.all.last")
    names = dict[str, None]()
    while len(names) < count:
        names[f"{first[random.integers(0, 1000)]} {last[random.integers(0, 20_000)]}"] = None
    return list(names)


def _names(file: str) -> list[str]:
    return [line.split()[0].title() for line in files("names").joinpath(file).read_text().splitlines()]
