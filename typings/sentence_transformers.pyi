from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class SentenceTransformer:
    tokenizer: Any
    device: Any
    def named_parameters(self) -> Iterator[tuple[str, Any]]: ...
    def bfloat16(self) -> SentenceTransformer: ...
    def __init__(self, model_name_or_path: str, *, model_kwargs: dict[str, Any] = ...) -> None: ...
    def get_embedding_dimension(self) -> int | None: ...
    def get_max_seq_length(self) -> int | None: ...
    def encode(
        self,
        sentences: Sequence[str],
        *,
        batch_size: int = ...,
        output_value: str | None = ...,
        normalize_embeddings: bool = ...,
        show_progress_bar: bool = ...,
    ) -> Any: ...

class CrossEncoder:
    num_labels: int
    def __init__(self, model_name_or_path: str, *, model_kwargs: dict[str, Any] = ...) -> None: ...
    def predict(self, inputs: Sequence[tuple[str, str]], *, show_progress_bar: bool = ...) -> NDArray[np.float32]: ...
