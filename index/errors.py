"""What can go wrong with an index.

IndexingError             base of all
├── ModelError            the embedding model or the reranker cannot be loaded; says what to install
├── NoSnapshotError       nothing has been ingested yet
├── SnapshotError         a snapshot is damaged, or of another format or model; says which command rebuilds it
├── StoreError            the database that holds the index cannot be reached, or used as it is; says what to do
├── WriteError            the folder of the index cannot be written: a full disk, a closed one; says what to do
└── LockedError           another ingest is writing
"""

from __future__ import annotations


class IndexingError(Exception):
    """Base of all errors of this package (the built-in `IndexError` is another thing)."""


class ModelError(IndexingError):
    """The embedding model or the reranker cannot be loaded."""


class NoSnapshotError(IndexingError):
    """There is no snapshot to open."""


class SnapshotError(IndexingError):
    """A snapshot cannot be vouched for."""


class StoreError(IndexingError):
    """The database that holds the index fails us."""


class WriteError(IndexingError):
    """The disk fails us while an index is written."""


class LockedError(IndexingError):
    """Another process is writing the index."""
