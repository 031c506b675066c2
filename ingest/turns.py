"""Timed pieces -> turns: pieces of one speaker are joined, and a back-channel does not tear a turn apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ingest.model import Turn


@dataclass(frozen=True, slots=True)
class Piece:
    """One cue, segment or block as it stands in the file. Times are seconds, `line` is 1-based."""

    speaker: str | None
    text: str
    start: float | None = None
    end: float | None = None
    line: int | None = None


def join_pieces(pieces: Iterable[Piece]) -> tuple[Turn, ...]:
    """Turns in the order they begin, each with a cue for every piece it was joined from."""
    raise NotImplementedError
