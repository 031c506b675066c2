"""Canonical names: which of the names that documents use belong to one speaker."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from jellyfish import metaphone
from rapidfuzz.distance import OSA, JaroWinkler

from ingest.model import Document

_BEFORE = re.compile(r"mr|mrs|ms|miss|mx|dr|prof|professor|hon|honou?rable|rt|right|sir|dame|lord|lady|rev|the")
_AFTER = re.compile(r"am|ac|as|mp|ms|mla|msp|phd|md|jr|sr|esq|obe|cbe|mbe|kc|qc")
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_WORD = re.compile(r"[\w']+(?:-[\w']+)*")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody under one canonical name; `aliases` are the other spellings met, `roles` what sidecars call them."""

    name: str
    aliases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


def fold_name(name: str) -> str:
    """What two spellings of one name share: no case, accents, punctuation or honorifics.

    Honorifics go only from a name that keeps two words without them: "Mr. Hill" and "Mrs. Hill" are two people.
    """
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold().replace("’", "'")
    words = _WORD.findall(plain) or [plain.strip() or name]
    while len(words) > 2 and _BEFORE.fullmatch(words[0]):
        words = words[1:]
    return " ".join(words)


def bare_name(name: str) -> str:
    """The folded name without what labels add to it: `Mr. Bob Ray (Leeds, Lab)` and `Bob Ray MP` are both `bob ray`.

    People are asked for by it. Labels keep their additions, since a citation names its speaker as the document does.
    """
    words = fold_name(_BRACKETS.sub(" ", name)).split() or fold_name(name).split()
    while len(words) > 2 and _AFTER.fullmatch(words[-1]):
        words = words[:-1]
    return " ".join(words)


def merge_speakers(documents: Iterable[Document]) -> tuple[list[Speaker], dict[str, str]]:
    """All speakers by name, and the canonical name for every name in use.

    Two names are one person where they fold alike or a document's `people` lists one as an alias of the other. The
    canonical name is the one under which a document lists the person, else the one used in most turns.
    """
    turns: Counter[str] = Counter()
    listed: Counter[str] = Counter()
    roles: dict[str, dict[str, None]] = {}
    groups = _Groups()
    for document in documents:
        turns.update(turn.speaker for turn in document.turns if turn.speaker)
        for person in document.people:
            listed[person.name] += 1
            roles.setdefault(person.name, {})
            if person.role:
                roles[person.name][person.role] = None
            for alias in person.aliases:
                turns[alias] += 0
                groups.join(fold_name(person.name), fold_name(alias))
    members: dict[str, list[str]] = {}
    for name in sorted({*turns, *listed}):
        members.setdefault(groups.root(fold_name(name)), []).append(name)
    speakers: list[Speaker] = []
    canonical: dict[str, str] = {}
    for names in members.values():
        best = max(names, key=lambda name: (listed[name], turns[name], -len(name), name))
        aliases = tuple(name for name in names if name != best)
        known = {role: None for name in names for role in roles.get(name, {})}
        speakers.append(Speaker(best, aliases, tuple(known)))
        canonical.update(dict.fromkeys(names, best))
    return sorted(speakers, key=lambda speaker: speaker.name), canonical


class _Groups:
    """Disjoint sets of keys (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        while (parent := self._parent.get(key, key)) != key:
            key = parent
        return key

    def join(self, one: str, other: str) -> None:
        a, b = self.root(one), self.root(other)
        if a != b:
            self._parent[b] = a


FULL_NAME_LIKENESS = 0.84
SURNAME_LIKENESS = 0.80
MARGIN = 0.10
"""How much likelier a surname alone must be than the next one to be taken for a misspelling of it."""
SHORTEST_GUESS = 4


def likeness(one: str, other: str) -> float:
    """How alike two folded words are, 0 to 1: .35 Jaro-Winkler, .40 optimal string alignment, .25 metaphone."""
    sound = OSA.normalized_similarity(metaphone(one), metaphone(other))
    return 0.35 * JaroWinkler.similarity(one, other) + 0.40 * OSA.normalized_similarity(one, other) + 0.25 * sound


def closest(words: str, speakers: Iterable[Speaker]) -> tuple[str, ...]:
    """The speakers that a misspelt name may mean: one where it is clear, none where none is near.

    A full name is compared word by word with full names, a single word with surnames and first names. More than one
    comes back where the second is nearly as close as the first.
    """
    folded = bare_name(words)
    single = " " not in folded
    if len(folded) < SHORTEST_GUESS:
        return ()
    best: dict[str, float] = {}
    for speaker in speakers:
        for spelling in (speaker.name, *speaker.aliases):
            parts = bare_name(spelling).split()
            if single:
                scores = [likeness(folded, part) for part in {*parts[:1], *parts[-1:]} if len(part) >= SHORTEST_GUESS]
            else:
                scores = [_full_likeness(folded.split(), parts)]
            best[speaker.name] = max([best.get(speaker.name, 0.0), *scores])
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    threshold = SURNAME_LIKENESS if single else FULL_NAME_LIKENESS
    if not ranked or ranked[0][1] < threshold:
        return ()
    return tuple(name for name, score in ranked if score > ranked[0][1] - MARGIN and score >= threshold - MARGIN / 2)


def _full_likeness(one: list[str], other: list[str]) -> float:
    if len(one) != len(other):
        return likeness(" ".join(one), " ".join(other))
    return sum(likeness(a, b) for a, b in zip(one, other, strict=True)) / len(one)
