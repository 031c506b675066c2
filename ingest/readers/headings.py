"""Which paragraphs of prose are headings, marked or plain, and under which headings each paragraph stands."""

from __future__ import annotations

import re

from ingest.readers.paragraphs import Paragraph
from ingest.readers.prose import ends_sentence

_DIVISION = re.compile(
    r"(?:(?:part|chapter|section|book|volume|lesson|module|appendix)\b"
    r"(?: (?:[ivxlc]+|\d{1,3}|[a-z]|one|two|three|four|five|six|seven|eight|nine|ten)\b)?"
    r"|afterword|foreword|preface|epilogue|prologue)(?=$|[ :.—–-])",
    re.IGNORECASE,
)
EXCERPTS = re.compile(
    r"(?:(?:my |key |selected |favou?rite |book |kindle )*(?:excerpts?|highlights?|quotes?|quotations|passages)"
    r"(?: (?:from|of) .{1,80})?|(?:reading |book )?notes)",
    re.IGNORECASE,
)
"""A heading under which a book's own words stand."""
OWN_WORDS = re.compile(
    r"(?:(?:my|personal|own|closing|final) (?:own )?"
    r"(?:thoughts|reflections?|takeaways?|commentary|opinion|review|comments|notes)"
    r"|thoughts|reflections|takeaways|commentary)(?: (?:on|about) .{1,80})?",
    re.IGNORECASE,
)
"""A heading under which whoever read the book speaks again."""
_DIVISION_LEVEL, _SECTION_LEVEL, _SUBSECTION_LEVEL = 1, 2, 3
_LONGEST = 80
_MOST_WORDS = 12
_MOST_PLAIN_WORDS = 6
_MOST_IN_A_ROW = 3


def heading_levels(paragraphs: list[Paragraph]) -> dict[int, int]:
    """The level of each paragraph that is a heading, by its index; lower levels are higher up.

    Where headings are marked, only those and lines wholly in bold count. Elsewhere a plain heading is a short line in
    the manner of a title: a division ("Part II …") on top, then a line standing alone, then one right above its text.
    """
    marked = {i: paragraph.level for i, paragraph in enumerate(paragraphs) if paragraph.role == "heading"}
    if marked:
        lowest = max(marked.values()) + 1
        return marked | {i: lowest for i, p in enumerate(paragraphs) if p.is_bold and _is_title_like(p.text)}
    plain = {i: level for i in range(len(paragraphs)) if (level := _plain_level(paragraphs, i))}
    return {i: level for i, level in plain.items() if level < _SECTION_LEVEL or not _is_in_long_run(plain, i)}


def is_division(text: str) -> bool:
    """Whether a heading is one of a book's own divisions: a part, a chapter, an appendix and their like."""
    return _DIVISION.match(text) is not None


def is_title_case(text: str) -> bool:
    """Whether most words of four letters or more begin with a capital."""
    long_words = [word for word in re.findall(r"[^\W\d_][\w’'-]*", text) if len(word) > 3]
    return sum(word[0].isupper() for word in long_words) * 5 >= len(long_words) * 3


def _plain_level(paragraphs: list[Paragraph], i: int) -> int | None:
    """The level of the unmarked paragraph `i` as a heading, null where it is none."""
    paragraph = paragraphs[i]
    if paragraph.role != "text" or i + 1 == len(paragraphs) or not _is_title_like(paragraph.text):
        return None
    above = paragraphs[i - 1] if i else None
    if paragraph.blank_below:
        if not (paragraph.blank_above or (above and above.role == "text" and ends_sentence(above.text))):
            return None
        if any(shape.fullmatch(paragraph.text) for shape in (EXCERPTS, OWN_WORDS)) or is_division(paragraph.text):
            return _DIVISION_LEVEL
        return _SECTION_LEVEL
    below = paragraphs[i + 1]
    is_body = ends_sentence(below.text) or ": " in below.text or len(below.text) > 2 * _LONGEST
    if ": " in paragraph.text or not (is_body or (below.role == "item" and paragraph.blank_above)):
        return None
    return _SUBSECTION_LEVEL


def _is_title_like(text: str) -> bool:
    words = text.split()
    if len(text) > _LONGEST or len(words) > _MOST_WORDS or not (text[0].isupper() or text[0].isdigit()):
        return False
    if (
        ends_sentence(text)
        or text.endswith(",")
        or any(sign in text for sign in ("->", "<", ">", "=", "|", "→", "http"))
    ):
        return False
    if ": " in text or len(words) > _MOST_PLAIN_WORDS:
        return is_title_case(text)
    return any(letter.isalpha() for letter in text)


def _is_in_long_run(plain: dict[int, int], i: int) -> bool:
    """Whether `i` is one of many would-be headings of one level in a row: then they are a list, not headings."""
    first = last = i
    while plain.get(first - 1) == plain[i] and i - first < _MOST_IN_A_ROW:
        first -= 1
    while plain.get(last + 1) == plain[i] and last - i < _MOST_IN_A_ROW:
        last += 1
    return last - first >= _MOST_IN_A_ROW
