"""Which words before a colon are somebody's name: `Jane Doe: hello` is, `Note: mind the gap` is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ingest.turns import fold

MAX_NAME_WORDS = 6
MAX_NAME_LENGTH = 80

# What people write before a colon that is nobody: labels of editors, of forms, and of rhetoric.
_LABELS_TEXT = """
abstract action actions added advice agenda answer attendees audio author background bonus but caption caveat
changed chapter conclusion cons copyright correction date description disclaimer duration edit episode error example
fact fixed following fun goal hint however idea important info intro introduction item keywords language lesson link
links location meaning meeting music narrative note notes number ok okay one option order outro p.s page part place
plus point problem program pros ps q&a question quote re reason recorded remember reminder removed result review
rule section solution source sponsor step subject subtitles summary takeaway theme thesis thing time timestamps tip
title today topic transcribed transcript translation update url version video warning website why yes
"""
_LABELS = frozenset(_LABELS_TEXT.split())
_PARTICLES_TEXT = "al and bin da de del della den der di do dos du e el ibn la le of san ten the van von y zu &"
_PARTICLES = frozenset(_PARTICLES_TEXT.split())
_PREFIX = re.compile(r"[*_]{0,3}(?P<name>[^\s:：<>*_\"“‘'(\[][^:：<>*]{0,79}?)[*_]{0,3}(?:：|:[*_]{0,3}(?=\s|$))")
_IN_PARENTHESES = re.compile(r"\([^()]*\)")
_NOT_IN_NAMES = re.compile(r"[?!;/\\=<>{}|]|\w{5}\.\s|\.\.|www\.")
_NUMBERED_LABEL = re.compile(r"(?P<label>\D+?)\s*#?\d+\.?")


@dataclass(frozen=True, slots=True)
class Prefix:
    """A possible name at the beginning of a line; the words begin at `words_at`."""

    name: str
    words_at: int


def prefix_of(line: str, at: int = 0) -> Prefix | None:
    """What stands before the first colon of the line from `at` on, if that could be a name by its form."""
    found = _PREFIX.match(line, at)
    if found is None or not could_be_name(found["name"]):
        return None
    return Prefix(fold(found["name"]), found.end())


def could_be_name(text: str) -> bool:
    """Whether the text has the form of a name or label: short, no sentence, not a number."""
    words = _IN_PARENTHESES.sub(" ", text).split()
    return (
        0 < len(words) <= MAX_NAME_WORDS
        and len(text) <= MAX_NAME_LENGTH
        and not _NOT_IN_NAMES.search(text)
        and any(not (char.isdigit() or char in ".,-:'#()[] _") for char in text)
    )


def looks_like_name(text: str) -> bool:
    """Whether the text is written as names are: each word begins with no small letter, and it is no label."""
    words = _IN_PARENTHESES.sub(" ", text).replace(",", " ").split()
    if not words or is_label(text) or words[0][0].islower():
        return False
    return all(not word[0].islower() or word.casefold() in _PARTICLES for word in words)


def is_label(text: str) -> bool:
    """Whether the words are a well-known label and nobody's name: `Note`, `Step 2`."""
    plain = text.casefold().strip(" .#*_")
    numbered = _NUMBERED_LABEL.fullmatch(plain)
    return plain in _LABELS or (numbered is not None and numbered["label"].strip() in _LABELS)


def names_among(prefixes: Iterable[str], places: int, known: Iterable[str]) -> frozenset[str]:
    """Those of the prefixes that are names, in a text that has `places` where one could stand.

    `known` people always are. What is written as names are is believed where prefixes are the rule, where it comes
    again, or, having several words, where another comes again. Anything else must come often.
    """
    counts = Counter(prefixes)
    trusted = {fold(name).casefold() for name in known}
    likely = {name: count for name, count in counts.items() if looks_like_name(name)}
    are_the_rule = sum(likely.values()) * 5 >= places
    come_again = any(count >= 2 for count in likely.values())

    def is_believed(name: str, count: int) -> bool:
        if name.casefold() in trusted:
            return True
        if name in likely:
            return are_the_rule or count >= 2 or (come_again and " " in name)
        return not is_label(name) and count >= 3 and count * 5 >= places

    return frozenset(name for name, count in counts.items() if is_believed(name, count))
