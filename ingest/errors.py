"""What can go wrong between a file and its passages.

IngestError
└── ReadError     one file cannot be read: path, line, reason
"""

from __future__ import annotations

from pathlib import Path


class IngestError(Exception):
    """Base of all errors of this package."""


class ReadError(IngestError):
    """A file cannot be read. `line` is 1-based and null where no single line is at fault; `reason` says what to do."""

    def __init__(self, path: Path, reason: str, line: int | None = None) -> None:
        self.path, self.line, self.reason = path, line, reason
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {reason}")
