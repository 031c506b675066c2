"""Canonical names: which of the names that documents use belong to one speaker."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jellyfish import metaphone
from numpy.typing import NDArray
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.process import cdist

from ingest.model import Document, Person
from ingest.names import is_usual_surname, mixed_alphabets

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


class Speakers(tuple[Speaker, ...]):
    """Who speaks in a corpus or a source, by name. Its hash is worked out once: what is made of it is found by it."""

    @classmethod
    def of(cls, speakers: Iterable[Speaker]) -> Speakers:
        """Themselves, where they are such already."""
        return speakers if isinstance(speakers, Speakers) else cls(speakers)

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def fold_name(name: str) -> str:
    """What two spellings of one name share: no case, accents, punctuation or honorifics.

    Honorifics go only from a name that keeps two words without them: "Mr. Hill" and "Mrs. Hill" are two people.
    """
    plain = name if name.isascii() else _without_accents(name)
    plain = plain.casefold().replace("’", "'")
    words = _WORD.findall(plain) or [plain.strip() or name]
    while len(words) > 2 and _BEFORE.fullmatch(words[0]):
        words = words[1:]
    return " ".join(words)


def is_honorific(word: str) -> bool:
    """Whether a folded word is what may stand before a name."""
    return _BEFORE.fullmatch(word) is not None


def _without_accents(text: str) -> str:
    """Without what nobody sees, too: a name with a zero-width space in it looks as it does without."""
    kept = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c for c in kept if unicodedata.category(c) != "Cf")


@lru_cache(maxsize=8192)
def bare_name(name: str) -> str:
    """The folded name without what labels add to it: `Mr. Bob Ray (Leeds, Lab)` and `Bob Ray MP` are both `bob ray`.

    People are asked for by it. Labels keep their additions, since a citation names its speaker as the document does.
    """
    words = fold_name(_BRACKETS.sub(" ", name)).split() or fold_name(name).split()
    while len(words) > 2 and _AFTER.fullmatch(words[-1]):
        words = words[:-1]
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Naming:
    """Under which names people speak in a document, each with the number of its turns, and whom the document lists.

    `access` are the groups that may know of it; where empty, everybody may.
    """

    turns: Mapping[str, int]
    people: tuple[Person, ...] = ()
    access: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Document) -> Naming:
        """As the document has them."""
        return cls(Counter(turn.speaker for turn in document.turns if turn.speaker), document.people, document.access)


def merge_speakers(documents: Sequence[Naming]) -> tuple[list[Speaker], list[dict[str, str]]]:
    """All speakers by name, and for each document the canonical name for every name that it uses.

    Two names are one person where they fold alike or a document's `people` lists one as an alias of the other. An alias
    that is listed for two people means, in each document, the one listed there: so are namesakes kept apart. The
    canonical name is the one under which a document lists the person, else the one used in most turns. One that mixes
    alphabets, to look like another, says so.

    What a private document says of names counts in no document that has other readers, and a person goes in it by the
    name that those documents give him. So the names of all that some groups may read are the same without the rest.
    """
    speakers, canonical = _merge(documents)
    accesses = {document.access for document in documents}
    if accesses <= {()}:
        return speakers, canonical
    settled: list[dict[str, str]] = [{} for _ in documents]
    # What more may read comes first: of two lists of groups, the one that holds the other.
    for access in sorted(accesses, key=lambda groups: (len(groups) > 0, -len(groups), groups)):
        wider = [i for i, d in enumerate(documents) if not d.access or (access and set(access) <= set(d.access))]
        _, merged = _merge([documents[i] for i in wider])
        names = _names_given([(merged[at], settled[i]) for at, i in enumerate(wider) if settled[i]])
        for at, i in enumerate(wider):
            if documents[i].access == access:
                settled[i] = {name: names.get(meant, meant) for name, meant in merged[at].items()}
    return _described(documents, speakers, canonical, settled), settled


def _names_given(pairs: Iterable[tuple[Mapping[str, str], Mapping[str, str]]]) -> dict[str, str]:
    """For speakers who are merged, the name that each goes by already: of one alone, and of nobody else.

    Each pair are the speakers of a document's names as they are merged, and as they were settled before.
    """
    given: dict[str, set[str]] = {}
    bearers: dict[str, set[str]] = {}
    for merged, settled in pairs:
        for name, meant in merged.items():
            given.setdefault(meant, set()).add(settled[name])
            bearers.setdefault(settled[name], set()).add(meant)
    return {
        meant: name for meant, names in given.items() if len(names) == 1 for name in names if len(bearers[name]) == 1
    }


def _described(
    documents: Sequence[Naming],
    speakers: Sequence[Speaker],
    merged: Sequence[Mapping[str, str]],
    settled: Sequence[Mapping[str, str]],
) -> list[Speaker]:
    """Speakers under the names that were settled, with what is known of them as they are merged."""
    known = {speaker.name: speaker for speaker in speakers}
    meant: dict[str, dict[str, None]] = {}
    for document, theirs, names in zip(documents, merged, settled, strict=True):
        for name in document.turns:
            meant.setdefault(names[name], {})[theirs[name]] = None
    described: list[Speaker] = []
    for name in sorted(meant):
        people = [known[each] for each in sorted(meant[name])]
        aliases = dict.fromkeys(alias for each in people for alias in (each.name, *each.aliases) if alias != name)
        described.append(Speaker(name, tuple(aliases), tuple({role: None for each in people for role in each.roles})))
    return described


def _merge(documents: Sequence[Naming]) -> tuple[list[Speaker], list[dict[str, str]]]:
    """As `merge_speakers` does, where all is for the same readers."""
    owners: dict[str, set[str]] = {}
    for person in (person for document in documents for person in document.people):
        for alias in person.aliases:
            owners.setdefault(fold_name(alias), set()).add(person.name)
    shared = {alias: names for alias, names in owners.items() if len({fold_name(name) for name in names}) > 1}
    turns: Counter[str] = Counter()
    listed: Counter[str] = Counter()
    known_as: dict[str, dict[str, None]] = {}
    roles: dict[str, dict[str, None]] = {}
    groups = _Groups()
    own_names = [_names_of(document, shared) for document in documents]
    for document, names in zip(documents, own_names, strict=True):
        for name, count in document.turns.items():
            turns[names[name]] += count
        for person in document.people:
            listed[person.name] += 1
            roles.setdefault(person.name, {}).update({person.role: None} if person.role else {})
            for alias in person.aliases:
                if fold_name(alias) in shared:
                    known_as.setdefault(person.name, {})[alias] = None
                else:
                    turns[alias] += 0
                    groups.join(fold_name(person.name), fold_name(alias))
    members: dict[str, list[str]] = {}
    for name in sorted({*turns, *listed}):
        members.setdefault(groups.root(fold_name(name)), []).append(name)
    speakers: list[Speaker] = []
    canonical: dict[str, str] = {}
    for names in members.values():
        best = max(names, key=lambda name: (listed[name], turns[name], -len(name), name))
        aliases = dict.fromkeys(name for name in names if name != best)
        aliases.update({alias: None for name in names for alias in known_as.get(name, {})})
        known = {role: None for name in names for role in roles.get(name, {})}
        shown = best
        if mixed := mixed_alphabets(best):
            shown = f"{best} ({' and '.join(mixed)} letters)"
            aliases[best] = None
        speakers.append(Speaker(shown, tuple(aliases), tuple(known)))
        canonical.update(dict.fromkeys(names, shown))
    ordered = sorted(speakers, key=lambda speaker: speaker.name)
    return ordered, [{name: canonical[meant] for name, meant in names.items()} for names in own_names]


def _names_of(document: Naming, shared: Mapping[str, set[str]]) -> dict[str, str]:
    """For each name that the turns of a document use, itself, or whom the document lists under that shared alias."""
    if not shared:
        return {name: name for name in document.turns}
    listed = {fold_name(alias): person.name for person in document.people for alias in person.aliases}
    return {name: listed.get(fold_name(name), name) if fold_name(name) in shared else name for name in document.turns}


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


FULL_NAME_LIKENESS = 0.68
WORD_LIKENESS = 0.79
"""How alike a single word and a surname or first name must be."""
USUAL_LIKENESS = 0.86
"""The same where the word is a usual surname itself."""
MARGIN = 0.08
"""How much likelier one must be than the next to be taken for whom a misspelt name means."""
NEARLY = 0.08
"""How far below the threshold somebody is still worth a "did you mean"."""
JOINED = 0.20
"""How much less a likeness counts that disregards where words begin."""
SHORTEST_GUESS = 4
MOST_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Guess:
    """Whom a misspelt name means, where that is clear: all who bear the name. Else who comes near, nearest first."""

    speakers: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


class Spellings:
    """The names of speakers, to find the one that a misspelt name means. All that can be is worked out beforehand."""

    def __init__(self, speakers: Iterable[Speaker], *, whole: bool = False) -> None:
        """`whole` leaves out single words of longer names."""
        forms: dict[tuple[str, ...], dict[str, None]] = {}
        words: dict[str, dict[str, None]] = {}
        for speaker in speakers:
            for spelling in (speaker.name, *speaker.aliases):
                if mixed_alphabets(spelling):  # it is like another's, and meant to be
                    continue
                form = tuple(bare_name(spelling).split())
                forms.setdefault(form, {})[speaker.name] = None
                if len(form) > 2:
                    forms.setdefault((form[0], form[-1]), {})[speaker.name] = None
                for word in {*form[:1], *form[-1:]} if len(form) == 1 or not whole else set[str]():
                    if len(word) >= SHORTEST_GUESS:
                        words.setdefault(word, {})[speaker.name] = None
        self._bearers = [tuple(names) for names in forms.values()]
        self._joined = _Words(["".join(form) for form in forms])
        self._word_bearers = [tuple(names) for names in words.values()]
        self._words = _Words(words)
        self._by_length: dict[int, tuple[NDArray[np.intp], list[_Words]]] = {}
        for length in {len(form) for form in forms if len(form) > 1}:
            rows = [row for row, form in enumerate(forms) if len(form) == length]
            columns = zip(*(form for form in forms if len(form) == length), strict=True)
            self._by_length[length] = np.asarray(rows, np.intp), [_Words(column) for column in columns]

    def closest(self, words: str) -> Guess:
        """Whom `words` may mean: full names are compared word by word, a single word with surnames and first names.

        Names written in one or split in two are found too.
        """
        parts = bare_name(words).split()
        joined = "".join(parts)
        if len(joined) < SHORTEST_GUESS or not self._bearers:
            return Guess()
        full = self._joined.likeness(joined) - JOINED
        if len(parts) in self._by_length:
            rows, columns = self._by_length[len(parts)]
            likes = np.stack([column.likeness(part) for column, part in zip(columns, parts, strict=True)])
            # One word alike and one that is another's is a namesake: the least alike word counts most.
            full[rows] = np.maximum(full[rows], (likes.mean(axis=0) + likes.min(axis=0)) / 2)
        guess = _decide(full, self._bearers, FULL_NAME_LIKENESS)
        if guess.speakers or not self._word_bearers:
            return guess
        single = self._words.likeness(joined)
        if len(parts) > 1:
            single = np.where(single > 1 - _ROUNDING, single, 0)  # split, and nothing else wrong with it
        # A surname that many bear is likelier somebody else's than a slip.
        threshold = USUAL_LIKENESS if is_usual_surname(joined) else WORD_LIKENESS
        by_word = _decide(single, self._word_bearers, threshold)
        return by_word if by_word.speakers or by_word.suggestions else guess


class _Words:
    """Folded words, to be compared with one."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        self._sounds = [metaphone(word) for word in self._words]

    def likeness(self, word: str) -> NDArray[np.float64]:
        """How alike each is, 0 to 1: .35 Jaro-Winkler, .40 optimal string alignment, .25 the same of the metaphones."""
        bare, sound = self._words, metaphone(word)
        letters: NDArray[np.float64] = cdist([word], bare, scorer=JaroWinkler.similarity, dtype=np.float64)[0]
        edits: NDArray[np.float64] = cdist([word], bare, scorer=OSA.normalized_similarity, dtype=np.float64)[0]
        sounds: NDArray[np.float64] = cdist([sound], self._sounds, scorer=OSA.normalized_similarity, dtype=np.float64)[
            0
        ]
        return 0.35 * letters + 0.40 * edits + 0.25 * sounds


_ROUNDING = 1e-9


def _decide(likeness: NDArray[np.float64], bearers: Sequence[tuple[str, ...]], threshold: float) -> Guess:
    best = float(likeness.max())
    if best < threshold - NEARLY:
        return Guess()
    order: list[int] = np.argsort(-likeness, kind="stable").tolist()
    near = [row for row in order if likeness[row] > best - MARGIN]
    every = dict.fromkeys(name for row in near for name in bearers[row])
    first = bearers[near[0]]
    if best >= threshold and (len(every) == len(first) or best > 1 - _ROUNDING):
        return Guess(tuple(sorted(first)))
    return Guess(suggestions=tuple(every)[:MOST_SUGGESTIONS])
