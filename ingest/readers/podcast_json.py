"""Podcasting 2.0 JSON transcripts: `{"version", "segments": [{"speaker", "startTime", "endTime", "body"}]}`.

https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/examples/transcripts/transcripts.md
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, StrictStr

from ingest.model import Document
from ingest.readers.segments import Seconds, has_segments, read_segments, speaker_name
from ingest.readers.transcript import transcript
from ingest.sidecar import Sidecar
from ingest.turns import Piece

_FIELD = re.compile(r'"(?:startTime|endTime|body)"\s*:')


class _Segment(BaseModel):
    startTime: Seconds
    endTime: Seconds | None = None
    body: StrictStr
    speaker: StrictStr | None = None


class _Transcript(BaseModel):
    segments: list[_Segment]


def matches(text: str) -> bool:
    """Whether the text is JSON with segments that have a field of this shape."""
    return has_segments(text) and _FIELD.search(text) is not None


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The transcript; raises ReadError with the line, and the segment and field at fault."""
    segments = read_segments(path, text, _Transcript).segments
    pieces = (Piece(speaker_name(each.speaker), each.body, each.startTime, each.endTime) for each in segments)
    return transcript(path, pieces, sidecar)
