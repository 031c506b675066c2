"""Whisper and WhisperX JSON: `{"segments": [{"start", "end", "text", "speaker"?}]}`; lists of words are not read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, StrictStr

from ingest.model import Document
from ingest.readers.segments import Seconds, has_segments, read_segments, speaker_name
from ingest.readers.transcript import transcript
from ingest.sidecar import Sidecar
from ingest.turns import Piece


class _Segment(BaseModel):
    start: Seconds
    end: Seconds | None = None
    text: StrictStr
    speaker: StrictStr | None = None


class _Transcript(BaseModel):
    segments: list[_Segment]


def matches(text: str) -> bool:
    """Whether the text is JSON with segments; the Podcasting 2.0 shape is asked for first."""
    return has_segments(text)


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The transcript; raises ReadError with the line, and the segment and field at fault."""
    segments = read_segments(path, text, _Transcript).segments
    pieces = (Piece(speaker_name(each.speaker), each.text, each.start, each.end) for each in segments)
    return transcript(path, pieces, sidecar)
