from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRIC_INNER_PRODUCT: int
IO_FLAG_MMAP_IFC: int
IO_FLAG_SKIP_STORAGE: int

class ScalarQuantizer:
    QT_fp16: int

class IDSelectorBitmap:
    def __init__(self, n: int, bitmap: Any) -> None: ...

class SearchParameters:
    def __init__(self, *, sel: IDSelectorBitmap | None = ...) -> None: ...

class SearchParametersHNSW(SearchParameters):
    def __init__(self, *, sel: IDSelectorBitmap | None = ..., efSearch: int = ...) -> None: ...

class Index:
    ntotal: int
    d: int
    def train(self, x: NDArray[np.float32]) -> None: ...
    def add(self, x: NDArray[np.float32]) -> None: ...
    def search(
        self, x: NDArray[np.float32], k: int, *, params: SearchParameters | None = ...
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def reconstruct_batch(self, key: NDArray[np.int64]) -> NDArray[np.float32]: ...

class IndexScalarQuantizer(Index):
    def __init__(self, d: int, qtype: int, metric: int) -> None: ...

class HNSW:
    efConstruction: int

class IndexHNSW(Index):
    hnsw: HNSW
    storage: Index
    own_fields: bool

class IndexHNSWSQ(IndexHNSW):
    def __init__(self, d: int, qtype: int, M: int, metric: int) -> None: ...

def read_index(path: str, io_flags: int = ...) -> Index: ...

class IOWriter: ...

class PyCallbackIOWriter(IOWriter):
    def __init__(self, callback: Callable[[bytes], int], bsz: int = ...) -> None: ...

def write_index(index: Index, path: str | IOWriter, io_flags: int = ...) -> None: ...
def omp_set_num_threads(n: int) -> None: ...
def swig_ptr(array: NDArray[Any]) -> Any: ...
