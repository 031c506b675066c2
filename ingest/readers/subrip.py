"""SubRip: numbered captions with a clock, speakers from `Name:` prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import srt

from ingest.errors import ReadError
from ingest.model import Document
from ingest.readers.captions import Caption, pieces_of
from ingest.readers.transcript import transcript
from ingest.sidecar import Sidecar

_ARROW = "-->"
_FIRST_CUE = re.compile(r"\s*(?P<number>\d+[ \t]*\n\s*)?\d{1,4}[:.,]\d{1,2}[:.,]\d{1,2}[.,:]?\d{0,9} *-->")
_MAX_CLOCK_LENGTH = 32


def matches(text: str) -> bool:
    """Whether the text begins with a cue: a number, which some tools leave out, and a clock."""
    return _FIRST_CUE.match(text) is not None


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The transcript; raises ReadError with the line of the first cue whose clock is malformed."""
    return transcript(path, pieces_of(list(_captions(path, text)), sidecar), sidecar)


# The library's own search for cues takes time quadratic in a run of digits or blanks, so only clocks are left to it.
def _captions(path: Path, text: str) -> Iterator[Caption]:
    lines = text.split("\n")
    first = _FIRST_CUE.match(text)
    numbered = first is not None and first["number"] is not None
    clocks = [n for n, line in enumerate(lines) if _ARROW in line]
    for clock, following in pairwise([*clocks, len(lines)]):
        words = lines[clock + 1 : following]
        while words and not words[-1].strip():
            words.pop()
        if numbered and following < len(lines) and words and words[-1].strip().isdigit():
            words.pop()
        start, _, rest = lines[clock].partition(_ARROW)
        end = rest.split(maxsplit=1)[:1]
        try:
            yield Caption(tuple(words), _seconds(start.strip()), _seconds("".join(end)), clock + 1)
        except (ValueError, OverflowError, srt.TimestampParseError) as error:
            reason = "is not valid SubRip: a line with an arrow must be a clock, `00:01:02,345 --> 00:01:04,000`"
            raise ReadError(path, reason, clock + 1) from error


def _seconds(clock: str) -> float:
    if len(clock) > _MAX_CLOCK_LENGTH:
        raise ValueError("no clock is so long")
    return srt.srt_timestamp_to_timedelta(clock).total_seconds()
