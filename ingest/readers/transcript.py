"""What the transcript readers share: pieces of speech and what a file says about itself -> a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ingest.model import Document, Person, Turn
from ingest.sidecar import Sidecar
from ingest.turns import Flaw, Piece, join_pieces, settle_clocks


def title_from(path: Path) -> str:
    """The title of a file that states none: `board-meeting_2024.vtt` -> `board meeting 2024`."""
    return " ".join(path.stem.replace("-", " ").replace("_", " ").split()) or path.stem


def transcript(
    path: Path,
    pieces: Iterable[Piece],
    sidecar: Sidecar,
    *,
    title: str | None = None,
    people: tuple[Person, ...] = (),
    url: str | None = None,
    date: str | None = None,
    warnings: Iterable[Flaw] = (),
) -> Document:
    """The document of these pieces; those with a clock and no speaker are inferred to be the default speaker's."""
    settled, flaws = settle_clocks(pieces)
    turns = tuple(_spoken_by_default(turn, sidecar.default_speaker) for turn in join_pieces(settled))
    return Document(title or title_from(path), "transcript", turns, people, url, date, (*warnings, *flaws))


def _spoken_by_default(turn: Turn, speaker: str | None) -> Turn:
    # Words without a clock and a name stand outside the conversation: a description above it, say.
    if speaker is None or turn.speaker is not None or turn.start is None:
        return turn
    return replace(turn, speaker=speaker, attribution="inferred")
