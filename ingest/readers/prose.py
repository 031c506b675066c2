"""What the prose readers share: quotation marks, lines holding only a time, paragraphs out of lines."""

from __future__ import annotations

import re

from ingest.model import Attribution, Cue, Turn
from ingest.turns import fold

CLOSING_MARKS = {'"': '"', "“": "”", "«": "»", "„": "“”"}
"""Quotation marks that open, each with those that may close it."""
_CLOCK = re.compile(r"[\[(]?(?:(?P<hours>\d{1,2}):)?(?P<minutes>\d{1,3}):(?P<seconds>[0-5]\d)(?:[.,]\d{1,3})?[\])]?")
_SENTENCE_END = re.compile(r"[.!?…:;][\"”’»)\]*_]{0,4}$")
_WIDEST_WRAP = 120
_NARROWEST_WRAP = 45


def ends_sentence(text: str) -> bool:
    """Whether the text ends in final punctuation, quotation marks and brackets aside."""
    return _SENTENCE_END.search(text[-8:]) is not None


def unclosed_quotations(text: str) -> int:
    """How many quotations the text opens and does not close; 0 where it does not begin with a quotation mark."""
    if text[:1] not in CLOSING_MARKS:
        return 0
    if text[0] == '"':
        return text.count('"') % 2
    return max(0, text.count(text[0]) - sum(text.count(mark) for mark in CLOSING_MARKS[text[0]]))


def unquote(text: str) -> str | None:
    """The words between the quotation marks around the whole text; null where it is not one quotation."""
    if len(text) > 2 and text[0] in CLOSING_MARKS and text[-1] in CLOSING_MARKS[text[0]]:
        return text[1:-1].strip()
    return None


def clock(text: str) -> float | None:
    """Seconds, where the text is nothing but a time such as `49:14`, `[1:01:14]` or `(00:12.5)`."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes = int(found["hours"] or 0), int(found["minutes"])
    return float(hours * 3600 + minutes * 60 + int(found["seconds"]))


def written_turn(
    position: int,
    line: int,
    text: str,
    speaker: str | None,
    *,
    start: float | None = None,
    attribution: Attribution = "stated",
    heading: tuple[str, ...] = (),
    note: str = "",
) -> Turn:
    """A turn of one paragraph: `position` counts the paragraphs of the document, `line` is where it begins."""
    cue = Cue(position=position, offset=0, start=start, line=line)
    return Turn(speaker, fold(text), (cue,), attribution, heading, note)


def is_wrapped(line: str, following: str, width: int) -> bool:
    """Whether `line` breaks off only because the next word had no room in a paragraph `width` characters wide."""
    if not _NARROWEST_WRAP <= len(line) <= width <= _WIDEST_WRAP or ends_sentence(line):
        return False
    first_word = following.split(maxsplit=1)[0] if following.strip() else ""
    return len(line) + 1 + len(first_word) > width - 2
