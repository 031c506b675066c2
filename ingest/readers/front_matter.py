"""YAML front matter between `---` lines at the top of a text file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ingest.errors import ReadError
from ingest.links import is_web_url
from ingest.model import Person
from ingest.plain_yaml import load_plain_yaml
from ingest.sidecar import iso_date
from ingest.turns import fold

_OPENING = re.compile(r"\s*---[ \t]*\n(?=(?:[ \t]*(?:#[^\n]*)?\n)*[A-Za-z_][\w -]*:(?:\s|$))")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
_URL_FIELDS = ("youtube_url", "video_url", "url", "link", "audio_url")
_DATE_FIELDS = ("publish_date", "published", "date", "recorded")
_ROLES = {"guest": "guest", "guests": "guest", "host": "host", "hosts": "host", "author": "author", "authors": "author"}


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What a file says about itself at its top."""

    title: str | None = None
    url: str | None = None
    date: str | None = None
    people: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True)
class _Block:
    """The YAML is `text[begin:end]`; what follows the front matter begins at `after`."""

    begin: int
    end: int
    after: int


def without_front_matter(text: str) -> str:
    """The text with its front matter blanked out, so that every other line keeps its number."""
    block = _block(text)
    return text if block is None else "\n" * text.count("\n", 0, block.after) + text[block.after :]


def read_front_matter(path: Path, text: str) -> FrontMatter:
    """What its known fields say; raises ReadError with the line where the YAML is malformed."""
    block = _block(text)
    if block is None:
        return FrontMatter()
    plain = load_plain_yaml(path, text[block.begin : block.end], text.count("\n", 0, block.begin) + 1)
    value = plain.value
    if not isinstance(value, dict):
        raise ReadError(path, "has front matter that is no list of fields, such as `title: …`", plain.first_line)
    fields = {str(name).casefold(): each for name, each in cast("dict[object, object]", value).items()}
    urls = (url for name in _URL_FIELDS for url in _texts(fields.get(name)) if is_web_url(url))
    dates = (date for name in _DATE_FIELDS if (date := iso_date(fields.get(name))))
    people = tuple(Person(name, role) for field, role in _ROLES.items() for name in _texts(fields.get(field)))
    return FrontMatter(next(iter(_texts(fields.get("title"))), None), next(urls, None), next(dates, None), people)


def _block(text: str) -> _Block | None:
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return None
    return _Block(opening.end(), closing.start(), closing.end())


def _texts(value: object) -> list[str]:
    """The texts of a field that may hold one or a list of them."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [folded for each in values if isinstance(each, str | int | float) and (folded := fold(str(each)))]
