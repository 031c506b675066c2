"""WebVTT: captions with a clock, `<v Name>` voice tags or `Name:` prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import webvtt
from webvtt.errors import MalformedCaptionError

from ingest.errors import ReadError
from ingest.model import Document
from ingest.readers.captions import Caption, pieces_of
from ingest.readers.transcript import transcript
from ingest.sidecar import Sidecar
from ingest.turns import Flaw

_ARROW = "-->"
_NO_CUES = ("NOTE", "STYLE", "REGION")


def matches(text: str) -> bool:
    """Whether the text begins as the format demands: `WEBVTT`, alone or before white space."""
    first = text.lstrip()[:7]
    return first.startswith("WEBVTT") and not first[6:].strip()


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The transcript; raises ReadError with the line of the first cue whose clock is malformed."""
    return transcript(path, pieces_of(list(_captions(path, text)), sidecar), sidecar, warnings=_outside_cues(text))


def _captions(path: Path, text: str) -> Iterator[Caption]:
    blank = len(text) - len(text.lstrip())
    first_line = text.count("\n", 0, blank) + 1
    body = text[blank:]
    lines = body.split("\n")
    clocks = [n for n, line in enumerate(lines) if _ARROW in line and not line.startswith("NOTE")]
    captions = _parsed(body)
    # The library passes over a cue that it cannot read; we don't lose one silently.
    if captions is None or len(captions) != len(clocks):
        malformed = next((n for n in clocks if len(_parsed(f"WEBVTT\n\n{lines[n]}\nx") or ()) != 1), None)
        reason = (
            "is not valid WebVTT: a cue's clock reads `00:01:02.345 --> 00:01:04.000`, and no other line has an arrow"
        )
        raise ReadError(path, reason, None if malformed is None else first_line + malformed)
    for n, caption in zip(clocks, captions, strict=True):
        start, end = caption.start_time.in_milliseconds() / 1000, caption.end_time.in_milliseconds() / 1000
        yield Caption(tuple(caption.lines), start, end, first_line + n)


def _outside_cues(text: str) -> Iterator[Flaw]:
    """A warning for each block that the format has no place for; players don't show its words either."""
    numbered = list(enumerate(text.split("\n"), 1))
    in_header = True
    for words, group in groupby(numbered, key=lambda each: each[1] != ""):
        block = list(group)
        if not words or not any(line.strip() for _, line in block):
            continue
        number, first = block[0]
        if not (in_header or first.startswith(_NO_CUES) or any(_ARROW in line for _, line in block)):
            yield number, "these words stand outside any cue and are left out: a cue has no blank line in it"
        in_header = False


def _parsed(text: str) -> list[webvtt.Caption] | None:
    try:
        return webvtt.WebVTT.from_string(text).captions
    except MalformedCaptionError:
        return None
