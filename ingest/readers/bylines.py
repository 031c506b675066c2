"""What prose says about itself near its top: title, author, the book it is about, date; and what is page furniture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from ingest.names import FULL_NAME, is_full_name
from ingest.readers.front_matter import FrontMatter
from ingest.readers.paragraphs import Paragraph
from ingest.readers.prose import ends_sentence

_FURNITURE = re.compile(
    r"(?:share|follow(?:ing)?|listen|subscribe|save|clap|reply|write|search|sign (?:in|up|out)|log in|open in app"
    r"|top highlight|member-only story|advertisement|read more|see (?:all|more)|share this (?:post|article)"
    r"|skip to (?:main )?content"
    r"|\d+ (?:claps?|responses?|comments?|likes?|followers?|views?|shares?)|(?:responses?|comments?) \(\d+\)"
    r"|(?:location|loc\.?|page|p\.) \d+(?:\s?[-–]\s?\d+)?|page \d+ (?:of|/) \d+"
    r"|(?:your )?(?:highlight|bookmark)(?: ?\([\w ]+\))?(?: (?:-|on|at)|:) .*(?:page|location) .*)",
    re.IGNORECASE,
)
_EXPORT = re.compile(r"(?:your )?highlight\b.{0,60}\b(?:page|location) \d", re.IGNORECASE)
_NOTE_MARKER = re.compile(r"(?:your )?note(?: (?:-|on|at)) (?:page|location|chapter) .*", re.IGNORECASE)
_READING_TIME = re.compile(r"\d+ min(?:ute)?s? read(?:\s*[·•|-]?\s*)(?P<date>.{0,30})", re.IGNORECASE)
_DATED = re.compile(r"(?:(?:published|posted|updated|last updated|date)(?: on)?:? )?(?P<date>.{6,30})", re.IGNORECASE)
_DATE_FORMATS = ("%Y-%m-%d", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%d.%m.%Y")
_BY = re.compile(rf"(?:(?:[Ww]ritten |[Pp]osted )?[Bb]y)[ ](?P<name>{FULL_NAME})")
_AUTHOR = re.compile(r"(?:book )?authors?: (?P<name>.{3,60})", re.IGNORECASE)
_WEEKDAY = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)day,? ", re.IGNORECASE)
_BOOK_BY = re.compile(rf"(?:.{{1,120}}[,:]? )?by (?P<name>{FULL_NAME})\b(?P<rest>.{{0,120}})")
_BOOK_IN_BRACKETS = re.compile(rf"[^()]{{2,150}} \((?P<name>{FULL_NAME})\)")
_ABOUT_A_BOOK = re.compile(r"\b(?:notes|highlights?|excerpts?|quotes|summary|reflections|book|review)\b", re.IGNORECASE)
_NOTES = re.compile(r"\b(?:notes|highlights?|minutes)\b", re.IGNORECASE)
_TOP = 8
_LONGEST_TITLE = 150
_LONGEST_BYLINE = 60


@dataclass(frozen=True, slots=True)
class Top:
    """What the head of a text says about it. `used` are the indices of the paragraphs that say nothing else.

    `named_author` stands after "Author:", which may mean the text's or the book's; `book_line` names book and author.
    """

    title: str | None
    author: str | None = None
    book_author: str | None = None
    named_author: str | None = None
    book_line: int | None = None
    date: str | None = None
    is_notes: bool = False
    is_export: bool = False
    used: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Findings:
    author: str | None = None
    book_author: str | None = None
    named_author: str | None = None
    book_line: int | None = None
    date: str | None = None
    used: set[int] = field(default_factory=set[int])


def is_furniture(text: str) -> bool:
    """Whether a line belongs to the page and not to the text: "21 min read", "Share", "Location 123"."""
    return _FURNITURE.fullmatch(text) is not None or _READING_TIME.fullmatch(text) is not None


def is_note_marker(text: str) -> bool:
    """Whether a line of an e-reader's export says that the reader's own note follows."""
    return _NOTE_MARKER.fullmatch(text) is not None


def read_top(paragraphs: list[Paragraph], front: FrontMatter) -> Top:
    """Title, byline, date and book as the first paragraphs tell them, the front matter's word going first."""
    found = _Findings()
    title = front.title or _title(paragraphs, found)
    head = [i for i in range(min(_TOP, len(paragraphs))) if i not in found.used]
    about_a_book = bool(title and _ABOUT_A_BOOK.search(title))
    for i in head:
        _read_line(paragraphs, i, found, about_a_book)
    if found.book_author is None and title and (bracketed := _BOOK_IN_BRACKETS.fullmatch(title)):
        found.book_author = bracketed["name"]
    lines = " ".join(paragraphs[i].text for i in head if len(paragraphs[i].text) <= _LONGEST_BYLINE)
    return Top(
        title=title,
        author=next((person.name for person in front.people if person.role == "author"), found.author),
        book_author=found.book_author,
        named_author=found.named_author,
        book_line=found.book_line,
        date=front.date or found.date,
        is_export=any(_EXPORT.match(paragraph.text) for paragraph in paragraphs),
        is_notes=bool(_NOTES.search(f"{title} {lines}")),
        used=frozenset(found.used),
    )


def _title(paragraphs: list[Paragraph], found: _Findings) -> str | None:
    """The first heading of the highest level if it stands on top, else the first line if it is short enough."""
    for i, paragraph in enumerate(paragraphs[:_TOP]):
        if is_furniture(paragraph.text):
            found.used.add(i)
            continue
        is_title = paragraph.role == "heading" or (
            paragraph.role == "text"
            and len(paragraph.text) <= _LONGEST_TITLE
            and (not ends_sentence(paragraph.text) or paragraph.text[-1] in "?!")
        )
        if not is_title or _day(_WEEKDAY.sub("", paragraph.text)):
            return None
        found.used.add(i)
        return paragraph.text
    return None


def _read_line(paragraphs: list[Paragraph], i: int, found: _Findings, about_a_book: bool) -> None:
    text = paragraphs[i].text
    if len(text) > 2 * _LONGEST_BYLINE or i in found.used:
        return
    reading_time = _READING_TIME.fullmatch(text)
    dated = _DATED.fullmatch(reading_time["date"] if reading_time else text)
    if dated and (day := _day(dated["date"])):
        found.date = found.date or day
        found.used.add(i)
    if reading_time:
        found.used.update(_same_block(paragraphs, i))
    if by := _BY.fullmatch(text):
        if about_a_book and found.author:
            found.book_author = found.book_author or by["name"]
        else:
            found.author = found.author or by["name"]
        found.used.add(i)
    elif named := _AUTHOR.fullmatch(text):
        found.named_author = named["name"]
        found.used.add(i)
    elif (book := _BOOK_BY.fullmatch(text)) and (about_a_book or _ABOUT_A_BOOK.search(text)):
        found.book_author = found.book_author or book["name"]
        found.book_line = paragraphs[i].line
    elif found.author is None and len(text) <= _LONGEST_BYLINE and is_full_name(text):
        found.author = text
        found.used.add(i)


def _same_block(paragraphs: list[Paragraph], i: int) -> set[int]:
    """The indices of the byline's lines around a reading time: the short ones without a blank line between."""
    block = {i}
    while i and not paragraphs[i].blank_above and len(paragraphs[i - 1].text) <= _LONGEST_BYLINE:
        i -= 1
        block.add(i)
    return block


def _day(text: str) -> str | None:
    """The ISO date that the text spells, day and year included; else null."""
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text.strip(), form).date().isoformat()
        except ValueError:
            continue
    return None
