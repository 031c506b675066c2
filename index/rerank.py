"""A second look at the first passages found: the reranker protocol, and a cross-encoder of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from index.errors import ModelError

RERANK_DEPTH = 50
"""Passages that a reranker reads, each in a forward pass of its own; those behind them stay where they are."""


class Reranker(Protocol):
    """Judges texts together with a query. Safe to use from several threads at once."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in order; higher answers the query better, on a scale of the model's own."""
        ...


def load_reranker(model: str | None) -> Reranker | None:
    """The cross-encoder of that path or hub name; none where none is named."""
    return CrossEncoderReranker(model) if model else None


class CrossEncoderReranker:
    """Any cross-encoder that sentence-transformers loads, from a local path or, where one can be reached, a model hub.

    What is longer than the model reads is cut off.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import CrossEncoder
        except ModuleNotFoundError as error:
            raise ModelError(
                f"the reranker {model!r} needs sentence-transformers: pip install 'onrecord[models]'"
            ) from error
        try:
            self._model = CrossEncoder(model, model_kwargs={"use_safetensors": True})  # no pickles
        except Exception as error:  # each of the libraries that it loads through has errors of its own
            raise ModelError(f"the reranker {model!r} cannot be loaded: {error}") from error
        if self._model.num_labels != 1:
            raise ModelError(
                f"the model {model!r} is no reranker: it gives a pair {self._model.num_labels} scores instead of one"
            )

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return self._model.predict([(query, text) for text in texts], show_progress_bar=False).tolist()
