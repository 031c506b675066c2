"""Answers as Slack shows them: blocks, and the plain text for notifications, within the limits of a message.

What documents and models wrote is put into `rich_text` blocks: their texts are taken literally, whereas `mrkdwn` would
have to be escaped and still turns `*`, `_`, `:smile:` and addresses into something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote as url_quote

from app.answer import Answer
from app.citations import Citation
from app.markup import WORD_JOINER
from ingest.links import is_web_url

MOST_TEXT = 3000
"""Characters of a block."""
MOST_BLOCKS = 50
MOST_OF_MESSAGE = 10_000
"""Characters of all blocks of a message; Slack refuses more than some 13,000."""
LONGEST_URL = 3000
LONGEST_TITLE = 100
LONGEST_WHERE = 250
SHOWN_TITLES = 4

RATE_UP, RATE_DOWN, SHARE, OPEN = "rate_up", "rate_down", "share", "open_transcript"
INSTEAD = "On the record instead"
LOOKING = "Looking for it in the documents…"
FAILED = "Something went wrong here, more than once. Please ask again later."
TOO_LONG = "That is longer than {most} characters. Please ask it in fewer words."
TOO_MANY = "You have asked {most} questions in an hour, as many as are answered here. Please ask again a little later."
NOT_HERE = "Questions are not answered here."
TOO_OLD = "That answer is too old to be shared. Please ask again."
HELP = "Ask me a question about the documents, and I answer with who said what, and when."
RATED = "Thank you, that is kept with the answer."
NOT_RATED = "That could not be kept; the answer may be too old."
GREETING = "Ask what was said. For example:"
SHARED_BY = "Shared by"

Block = dict[str, Any]
Element = dict[str, Any]

_MARKER = re.compile(r"(\[\d+\])")
# A good place to end a piece: after a line, else after a marker or a sentence, else between words.
_ENDS = (re.compile(r"\n"), re.compile(r"\[\d+\](?=\s)|[.!?]['\"”’)]*(?=\s)"), re.compile(r"\s"))
# What `mrkdwn` or the parsing of plain text could take for more than a character.
_ACTIVE = re.compile(r"[*_~`:@#|]|(?<=\w)\.(?=\w)")


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its blocks, and the text that stands for them in notifications."""

    text: str
    blocks: list[Block]


def answer_messages(
    given: Answer, public_url: str | None = None, *, share: str | None = None, shared_by: str | None = None
) -> list[Message]:
    """An answer, as one message or as many as it takes.

    `public_url` is where this service's pages are; `share` names a private answer, which then has a button to share it;
    `shared_by` is the id of the user who did.
    """
    blocks = list(_texts(given.answer, {c.marker: _address(c, public_url) for c in given.citations}))
    if given.reading and given.reading.question not in given.answer:
        blocks.append(_aside(f"Understood as: {given.reading.question}"))
    lines = [_cited(c, public_url, f"[{c.marker}] ", given.answer) for c in given.citations]
    if given.near_misses:
        lines.append([_text(INSTEAD, bold=True)])
        lines += [_cited(c, public_url, "• ", given.answer) for c in given.near_misses]
    blocks += _lines(lines)
    if given.degraded:
        blocks.append(_aside(given.degraded))
    if shared_by:
        blocks.append(_rich([_section([_text(f"{SHARED_BY} "), {"type": "user", "user_id": shared_by}])]))
    blocks.append(_buttons(given, public_url, share))
    texts = list(pieces(given.answer, MOST_TEXT))
    messages = list(_messages(blocks))
    return [Message(literal(texts[min(n, len(texts) - 1)]), each) for n, each in enumerate(messages)]


def draft_message(titles: Sequence[str], text: str, citations: Sequence[Citation], public_url: str | None) -> Message:
    """What there is of an answer that is being written: what is read for it, and what of it is verified."""
    reading = dict.fromkeys(_cut(title, LONGEST_TITLE) for title in titles)
    more = "…" if len(reading) > SHOWN_TITLES else ""
    doing = f"Reading: {'; '.join(list(reading)[:SHOWN_TITLES])}{more}" if reading else LOOKING
    if not text.strip():
        return plain_message(doing)
    shown = next(pieces(text.rstrip(), MOST_TEXT))
    links = {citation.marker: _address(citation, public_url) for citation in citations}
    return Message(literal(shown), [*_texts(f"{shown} …", links), _aside(doing)])


def plain_message(text: str) -> Message:
    """A sentence of ours."""
    return Message(literal(text), [_rich([_section([_text(text)])])])


def help_message(questions: Sequence[str]) -> Message:
    """What the bot is for, and questions to begin with."""
    listed = [_section([_text(question)]) for question in questions]
    blocks = [_rich([_section([_text(HELP)])])]
    if listed:
        blocks.append(
            _rich(
                [
                    _section([_text("For example:")]),
                    {"type": "rich_text_list", "style": "bullet", "elements": listed},
                ]
            )
        )
    return Message(literal("\n".join([HELP, *questions])), blocks)


def literal(text: str) -> str:
    """The text for where Slack parses: nothing in it is a mention, a link, an emoji or a style."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ACTIVE.sub(lambda found: f"{WORD_JOINER}{found.group()}{WORD_JOINER}", escaped)


def pieces(text: str, most: int) -> Iterator[str]:
    """The text in pieces of at most `most` UTF-16 units, cut after lines, markers or sentences where that can be."""
    rest = text
    while _length(rest) > most:
        window = _cut(rest, most, "")
        cut = len(window)
        for ends in _ENDS:
            found = [match.end() for match in ends.finditer(rest, 0, cut + 1) if cut // 3 < match.end() <= cut]
            if found:
                cut = found[-1]
                break
        yield rest[:cut].rstrip()
        rest = rest[cut:].lstrip()
    if rest or not text:
        yield rest


def transcript_address(citation: Citation, public_url: str | None) -> str | None:
    """The page of ours that shows the quotation in its source; null where nobody said where our pages are."""
    if public_url is None:
        return None
    place = f"#turn-{citation.turn}.{citation.offset}-{citation.offset + len(citation.quote)}"
    return f"{public_url.rstrip('/')}/sources/{url_quote(citation.source.id, safe='')}{place}"


def _address(citation: Citation, public_url: str | None) -> str | None:
    """Where the words can be heard, else read."""
    address = citation.url or transcript_address(citation, public_url)
    return address if address and len(address) <= LONGEST_URL and is_web_url(address) else None


def _texts(text: str, links: Mapping[int, str | None]) -> Iterator[Block]:
    for piece in pieces(text, MOST_TEXT):
        elements: list[Element] = []
        for part in _MARKER.split(piece):
            marker = int(part[1:-1]) if _MARKER.fullmatch(part) else None
            if marker is not None and marker in links:
                elements.append(_linked(part, links[marker]))
            elif part:
                elements.append(_text(part))
        yield _rich([_section(elements or [_text("…")])])


def _cited(citation: Citation, public_url: str | None, lead: str, answer: str) -> list[Element]:
    """A line on a citation; its words too, where the answer does not hold them."""
    elements = [_text(lead)]
    if citation.speaker:
        elements.append(_text(_cut(citation.speaker, LONGEST_TITLE), bold=True))
        if citation.attribution == "inferred":
            elements.append(_text(" (inferred)", italic=True))
        elements.append(_text(" · "))
    where = _cut(citation.timestamp or citation.locator or "", LONGEST_WHERE)
    title = _cut(citation.source.title, LONGEST_TITLE) or citation.source.id
    address = _address(citation, public_url)
    if where:
        elements += [_linked(where, address), _text(f" · {title}")]
    else:
        elements.append(_linked(title, address))
    if citation.source.date:
        elements.append(_text(f" · {citation.source.date}"))
    if citation.question:
        asker = f" by {_cut(citation.asked_by, LONGEST_TITLE)}" if citation.asked_by else ""
        elements.append(_text(f"\nasked{asker}: “{_cut(citation.question, MOST_TEXT // 6)}”", italic=True))
    if citation.quote not in answer.replace(WORD_JOINER, ""):
        elements.append(_text(f"\n“{_cut(citation.quote, MOST_TEXT // 2)}”"))
    return elements


def _lines(lines: Sequence[list[Element]]) -> Iterator[Block]:
    """The lines in as few blocks as hold them."""
    held: list[Element] = []
    for line in lines:
        if held and _size(held) + _size(line) + 1 > MOST_TEXT:
            yield _rich([_section(held)])
            held = []
        held += [*([_text("\n")] if held else []), *line]
    if held:
        yield _rich([_section(held)])


def _buttons(given: Answer, public_url: str | None, share: str | None) -> Block:
    elements: list[Element] = []
    first = next(iter((*given.citations, *given.near_misses)), None)
    address = transcript_address(first, public_url) if first else None
    if address and len(address) <= LONGEST_URL and is_web_url(address):
        elements.append({**_button(OPEN, "Read in the transcript"), "url": address})
    if share:
        elements.append({**_button(SHARE, "Share to channel"), "value": share})
    elements.append({**_button(RATE_UP, "👍"), "value": given.id, "accessibility_label": "This helped"})
    elements.append({**_button(RATE_DOWN, "👎"), "value": given.id, "accessibility_label": "This did not help"})
    return {"type": "actions", "elements": elements}


def _messages(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    held: list[Block] = []
    size = 0
    for block in blocks:
        more = _block_size(block)
        if held and (len(held) == MOST_BLOCKS or size + more > MOST_OF_MESSAGE):
            yield held
            held, size = [], 0
        held.append(block)
        size += more
    if held:
        yield held


def _block_size(block: Block) -> int:
    return sum(_size(part["elements"]) for part in block["elements"] if "elements" in part)


def _size(elements: Sequence[Element]) -> int:
    return sum(_length(element.get("text", "")) + len(element.get("url", "")) for element in elements)


def _length(text: str) -> int:
    """In UTF-16 units, which is the most that anybody counts."""
    return len(text) + sum(c > "\uffff" for c in text)


def _cut(text: str, most: int, end: str = "…") -> str:
    if _length(text) <= most:
        return text
    kept = text[: most - len(end)]
    while _length(kept) > most - len(end):
        kept = kept[: most - len(end) - (_length(kept) - len(kept))] if len(kept) > 1 else ""
    return kept + end


def _aside(text: str) -> Block:
    """A quiet line; `emoji` is off so that no `:word:` becomes a picture."""
    return {"type": "context", "elements": [{"type": "plain_text", "text": _cut(text, 2000), "emoji": False}]}


def _rich(parts: list[Element]) -> Block:
    return {"type": "rich_text", "elements": parts}


def _section(elements: list[Element]) -> Element:
    return {"type": "rich_text_section", "elements": elements}


def _text(text: str, **style: bool) -> Element:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


def _linked(text: str, url: str | None) -> Element:
    return {"type": "link", "url": url, "text": text} if url else _text(text)


def _button(action: str, label: str) -> Element:
    return {"type": "button", "action_id": action, "text": {"type": "plain_text", "text": label, "emoji": True}}
