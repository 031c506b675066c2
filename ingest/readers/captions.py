"""What the subtitle readers share: markup, voices, speaker prefixes, and captions that roll up the screen."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html.entities import html5
from itertools import pairwise

from ingest.readers.speaker_names import names_among, prefix_of
from ingest.sidecar import Sidecar
from ingest.turns import Piece, fold

_TAG = re.compile(
    r"<(?:v(?:\.[^\s<>]*)?\s(?P<voice>[^<>]+)"
    r"|(?P<silence>/v)"
    r"|br\s*/?"
    r"|/?(?:b|c|em|font|i|lang|rt|ruby|s|span|strong|u|v)(?:[.\s][^<>]*)?"
    r"|[\d:.]+)>",
    re.IGNORECASE,
)
# Placing codes of SubStation stray into SubRip: {\an8}
_PLACING = re.compile(r"\{\\[^{}]*\}")
# Without its semicolon an entity is as likely a plain ampersand: "R&D", "profit&loss".
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_CHANGE = re.compile(r"(?:^|(?<=[.?!…\"”)\]♪—-]) )>>+ ?")
_DASH = re.compile(r"[-–—] ?")
_MAX_ROLLED_LINES = 4
# Two captions of one roll touch; after a pause the words were said again.
_MAX_ROLL_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Caption:
    """One cue as the file has it, markup included. Times are seconds, `line` is 1-based."""

    lines: tuple[str, ...]
    start: float
    end: float
    line: int


@dataclass(frozen=True, slots=True)
class _Utterance:
    """Words of one line of a caption. `voice` is the tag's; `changes` is true after a mark of a change of speakers."""

    caption: Caption
    text: str
    voice: str | None = None
    changes: bool = False


@dataclass(slots=True)
class _Spoken:
    """Words of one caption by one speaker."""

    speaker: str | None
    caption: Caption
    words: list[str]

    def piece(self) -> Piece:
        return Piece(self.speaker, " ".join(self.words), self.caption.start, self.caption.end, self.caption.line)


def pieces_of(captions: Sequence[Caption], sidecar: Sidecar) -> list[Piece]:
    """The pieces of speech, speakers taken from voice tags, else from `Name:` prefixes.

    A prefix holds until the next one, a voice tag, or a mark of a change of speakers (`>>`), which leaves it unknown.
    """
    utterances = [each for caption in _unrolled(captions) for each in _utterances(caption)]
    prefixes = [(prefix_of(each.text, _after_dash(each.text)) if each.voice is None else None) for each in utterances]
    known = [name for person in sidecar.people for name in (person.name, *person.aliases)]
    names = names_among((prefix.name for prefix in prefixes if prefix), len(captions), known)
    spoken: list[_Spoken] = []
    speaker: str | None = None
    for utterance, prefix in zip(utterances, prefixes, strict=True):
        named = prefix if prefix is not None and prefix.name in names else None
        if named:
            speaker = named.name
        elif utterance.voice is not None or utterance.changes:
            speaker = None
        words = utterance.text[named.words_at :] if named else utterance.text
        by = utterance.voice or speaker
        last = spoken[-1] if spoken and not (named or utterance.changes) else None
        if last and last.caption is utterance.caption and last.speaker == by:
            last.words.append(words)
        else:
            spoken.append(_Spoken(by, utterance.caption, [words]))
    return [each.piece() for each in spoken]


def _after_dash(text: str) -> int:
    found = _DASH.match(text)
    return found.end() if found else 0


def _utterances(caption: Caption) -> Iterator[_Utterance]:
    for voice, text in _voices("\n".join(caption.lines)):
        if voice is not None:
            yield _Utterance(caption, fold(text), voice)
            continue
        for line in text.split("\n"):
            first, *others = _CHANGE.split(fold(line))
            yield from (_Utterance(caption, words) for words in (first,) if words)
            yield from (_Utterance(caption, words, changes=True) for words in others)


def _voices(markup: str) -> Iterator[tuple[str | None, str]]:
    """Runs of text under one voice tag or none, with other tags dropped and entities resolved."""
    voice: str | None = None
    text: list[str] = []
    at = 0
    for tag in _TAG.finditer(markup):
        text.append(markup[at : tag.start()])
        at = tag.end()
        if tag["voice"] is not None or tag["silence"] is not None:
            yield voice, _plain("".join(text))
            voice, text = fold(_plain(tag["voice"] or "")) or None, []
        elif tag[0][1:3].lower() == "br":
            text.append("\n")
    yield voice, _plain("".join([*text, markup[at:]]))


def _plain(text: str) -> str:
    return _ENTITY.sub(_resolved, _PLACING.sub("", text))


def _resolved(entity: re.Match[str]) -> str:
    known = entity[0].startswith("&#") or entity[0][1:] in html5
    return html.unescape(entity[0]) if known else entity[0]


def _unrolled(captions: Sequence[Caption]) -> Sequence[Caption]:
    """The captions; where each repeats the end of the one before as it rolls up, without what is repeated."""
    captions = [replace(caption, lines=tuple(line for line in caption.lines if _shown(line))) for caption in captions]
    rolled = [_rolled_lines(before, after) for before, after in pairwise(captions)]
    if len(captions) < 3 or sum(count > 0 for count in rolled) * 2 < len(rolled):
        return captions
    unrolled = [replace(after, lines=after.lines[n:]) for after, n in zip(captions[1:], rolled, strict=True)]
    return [captions[0], *unrolled]


def _rolled_lines(before: Caption, after: Caption) -> int:
    """How many of the last lines of one caption the next begins with."""
    if after.start - before.end > _MAX_ROLL_PAUSE_SECONDS:
        return 0
    last = [_shown(line) for line in before.lines[-_MAX_ROLLED_LINES:]]
    first = [_shown(line) for line in after.lines[:_MAX_ROLLED_LINES]]
    return next((n for n in range(min(len(last), len(first)), 0, -1) if last[-n:] == first[:n]), 0)


def _shown(line: str) -> str:
    return fold(_plain(_TAG.sub("", line)))
