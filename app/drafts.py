"""What a language model writes, as it comes in -> drafts: sentences, each with the ids that it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from pydantic_core import from_json

from ingest.passages import split_sentences

LARGEST_ID = 10**9
LONGEST_RANGE = 5
"""Of `[3-9]` only so many ids are taken."""
LONGEST_LEAD = 200
"""Characters of prose before the answer ("Here is the JSON:"); more may be a thought whose tag is yet to come."""

MARKER = re.compile(
    r"\[\s*(?:S|sources?|sentences?)?\s*\d+(?:(?:\s*[,;–-]\s*|\s+)(?:S\s*)?\d+)*\s*\]",
    re.IGNORECASE,
)
"""Ids of sentences as they stand in a text: `[3]`, `[S3]`, `[3, 4]`, `[3-5]`."""
_AFTER_STOP = re.compile(rf"([.!?…][”\"’)]*)((?: ?{MARKER.pattern})+)", re.IGNORECASE)
_IDS = re.compile(r"(?<![\d.])(\d{1,10})(?!\d)(?:\s*[–-]\s*S?\s*(\d{1,10})(?!\d))?", re.IGNORECASE)

_THOUGHT = r"(?:think|thinking|thought|reasoning)\s{0,9}>"
_BEGINS = re.compile(rf'(?P<opens><{_THOUGHT})|(?P<closes></{_THOUGHT})|\{{\s{{0,99}}"(?:answered|sentences)"', re.I)
_THOUGHT_ENDS = re.compile(rf"</{_THOUGHT}", re.IGNORECASE)
_THOUGHT_BEGINS = re.compile(rf"<{_THOUGHT}", re.IGNORECASE)
_LONGEST_BEGINNING = 120
_ENDS_SOMETHING = re.compile(r'[">}\]]')
_OUTSIDE_STRING = re.compile(r'["{}\[\]]')
_INSIDE_STRING = re.compile(r'["\\]')
_ANSWERED = re.compile(r'\s*:\s*"?(true|false)"?\s*[,}]', re.IGNORECASE)
_LIKE_JSON = re.compile(r"[{}]|\"\w+\"\s*:|\A\s*\[\s*[\"\[]")
_LIST_ITEM = re.compile(r"^(?:\d{1,2}[.)]|[-*•])\s+")
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Draft:
    """A sentence of the model's, without markers, and the ids of the sentences that it cites, each once."""

    text: str
    cites: tuple[int, ...]


class DraftReader:
    """Reads `{"answered": true, "sentences": [{"cites": [3], "text": "…"}]}` from pieces of text, cut anywhere.

    Thoughts between tags, all before a closing tag, and prose around the object are skipped. A sentence is given out
    once its brace is closed; one torn off at the end is lost. Where no such object comes, the whole counts as plain
    text with markers, which is known only at the end.
    """

    def __init__(self) -> None:
        self.malformed = False
        """After `finish`: no such object was found, whether or not plain text was."""
        self._text = ""
        self._since = 0  # where the last thought ends, or the last object that held nothing
        self._searched = 0
        self._thinking = False
        self._waits = False
        self._object: _Object | None = None
        self._answered_at: int | None = None
        self._began = self._found = self._done = False

    @property
    def answered(self) -> bool | None:
        """What the model said, null where it has not."""
        if self._answered_at is None:
            return None
        said = _ANSWERED.match(self._text, self._answered_at)
        return said[1].casefold() == "true" if said else None

    def feed(self, delta: str) -> list[Draft]:
        """The drafts that are complete with this piece of text, each given out once."""
        self._text += delta.encode(errors="replace").decode()
        return [] if self._waits or not _ENDS_SOMETHING.search(delta) else self._read(LONGEST_LEAD)

    def finish(self) -> list[Draft]:
        """The rest, once the text has ended."""
        drafts: list[Draft] = []
        if self._waits:
            self._text = without_thoughts(self._text[self._since :])
            self._since = self._searched = 0
            self._waits, self._answered_at = False, None
            drafts = self._read(len(self._text))
        if not self._began and not self._thinking:
            drafts = _plain_drafts(self._text[self._since :])
        self.malformed = not self._found and self.answered is None
        return drafts

    def _read(self, longest_lead: int) -> list[Draft]:
        drafts: list[Draft] = []
        while not self._done and (found := self._object or self._find_object(longest_lead)):
            for element in found.elements(self._text):
                draft = _draft(element)
                drafts += [draft] if draft else []
                self._found = self._found or draft is not None
            self._answered_at = found.answered_at or self._answered_at
            self._object = None if found.closed else found
            if self._object:
                break
            # An object without sentences may be the model repeating the format to itself.
            self._done = self._found or self.answered is False
            self._since = self._searched = found.at
        return drafts

    def _find_object(self, longest_lead: int) -> _Object | None:
        """The object that begins after thoughts and no more prose than that, if it has begun."""
        while not self._waits:
            pattern = _THOUGHT_ENDS if self._thinking else _BEGINS
            begins = pattern.search(self._text, max(self._since, self._searched - _LONGEST_BEGINNING))
            if not begins:
                self._searched = len(self._text)
                return None
            if not self._thinking and begins.lastgroup is None:
                self._waits = begins.start() - self._since > longest_lead
                self._began = self._began or not self._waits
                return None if self._waits else _Object(begins.start())
            self._thinking = not self._thinking and begins.lastgroup == "opens"
            self._since = self._searched = begins.end()
        return None


class _Object:
    """The JSON object that begins at a place in a text, looked through once as the text grows."""

    def __init__(self, begin: int) -> None:
        self.at = begin
        self.closed = False
        self.answered_at: int | None = None
        self._depth = 0
        self._string: int | None = None
        self._key = ""
        self._in_sentences = False
        self._element = begin

    def elements(self, text: str) -> Iterator[str]:
        """The JSON of each element of "sentences" that has ended since the last call."""
        while not self.closed:
            pattern = _OUTSIDE_STRING if self._string is None else _INSIDE_STRING
            found = pattern.search(text, self.at)
            if not found or (found.group() == "\\" and found.end() == len(text)):
                self.at = found.start() if found else len(text)
                return
            self.at = found.end() + (found.group() == "\\")
            if self._ends_element(text, found):
                yield text[self._element : self.at]

    def _ends_element(self, text: str, found: re.Match[str]) -> bool:
        """Takes in a quotation mark, a bracket or an escape; whether it ends an element of "sentences"."""
        sign = found.group()
        if sign == '"' and self._string is None:
            self._string = found.start()
        elif sign == '"' and self._string is not None:
            begin, self._string = self._string, None
            if self._depth == 1:
                self._key = text[begin : self.at]
                self.answered_at = self.at if self._key == '"answered"' else self.answered_at
            elif self._depth == 2 and self._in_sentences:
                self._element = begin
                return True
        elif sign in "{[":
            if self._depth == 1:
                self._in_sentences = sign == "[" and self._key == '"sentences"'
            elif self._depth == 2:
                self._element = found.start()
            self._depth += 1
        elif sign in "}]":
            self._depth -= 1
            self.closed = self._depth == 0
            return self._depth == 2 and self._in_sentences
        return False


def _draft(element: str) -> Draft | None:
    """The draft in the JSON of an object or a string, null where there is none."""
    # Line breaks inside strings and \' are no JSON, but small models write them.
    element = _ESCAPE.sub(lambda escape: escape[0] if escape[1] in '"\\/bfnrtu' else escape[1], element)
    try:
        item: object = from_json(_CONTROL.sub(" ", element))
    except ValueError:
        return None
    if isinstance(item, str):
        return _drafted(item, [])
    fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    text = fields.get("text")
    return _drafted(text, _ids(fields.get("cites"))) if isinstance(text, str) else None


def _drafted(text: str, cites: list[int]) -> Draft | None:
    """The draft of a text that may hold markers too; null where it has no words."""
    folded = " ".join(text.split())
    for marker in MARKER.finditer(folded):
        cites += _ids(marker.group())
    bare = re.sub(rf" ?{MARKER.pattern}", "", folded, flags=re.IGNORECASE).strip()
    return Draft(bare, tuple(dict.fromkeys(cites))) if re.search(r"\w", bare) else None


def _ids(value: object) -> list[int]:
    """The ids in whatever stands in place of a list of them: 3, 3.0, "3", "S3", "[3, 4]", "3-5"."""
    if isinstance(value, list):
        return [each for item in cast("list[object]", value) for each in _ids(item)]
    if isinstance(value, str):
        found = [(int(ids[1]), int(ids[2] or ids[1])) for ids in _IDS.finditer(value)]
        ids = [
            each
            for first, last in found
            for each in (range(first, min(last, first + LONGEST_RANGE - 1) + 1) if first <= last else (first, last))
        ]
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID:
        ids = [int(value)] if value == int(value) else []
    else:
        ids = []
    return [each for each in ids if each <= LARGEST_ID]


def without_thoughts(text: str) -> str:
    """What comes after the last thought, up to one that does not end."""
    ends = [thought.end() for thought in _THOUGHT_ENDS.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    begins = _THOUGHT_BEGINS.search(rest)
    return rest[: begins.start()] if begins else rest


def _plain_drafts(text: str) -> list[Draft]:
    """The sentences of plain text; those of what was to be JSON are not worth showing."""
    if _LIKE_JSON.search(text):
        return []
    drafts: list[Draft] = []
    for line in text.splitlines():
        # A marker after the full stop belongs to the sentence before it.
        folded = _AFTER_STOP.sub(r"\2\1", _LIST_ITEM.sub("", " ".join(line.split())))
        pieces = [folded[begin:end] for begin, end in split_sentences(folded)] if not folded.startswith("```") else []
        drafts += [draft for piece in pieces if (draft := _drafted(piece, []))]
    return drafts
