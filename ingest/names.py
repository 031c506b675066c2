"""Telling a person's name from other capitalised words, by the names of a census and a dictionary of English."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files

from rapidfuzz import fuzz

from ingest.model import Person

_WORD = r"[A-ZÀ-ÖØ-Þ][\w’'-]{0,30}[a-zß-öø-ÿ]"
_INITIAL = r"[A-Z]\."
_PARTICLE = r"(?:de|der|den|del|della|da|di|dos|van|von|al|bin|ibn|el|la|le|ten|ter)"
FULL_NAME = rf"\b{_WORD}(?:[ ](?:{_INITIAL}|{_PARTICLE}|{_WORD})){{0,3}}[ ]{_WORD}\b"
"""A pattern for two to five capitalised words in a row, which need not be a name."""

_FULL_NAME = re.compile(FULL_NAME)
_NEVER_SURNAMES = re.compile(r"(?:ing|tion|ment|ness|ity|ware|board|ics|ism|map|base)s?$")
# "Musk" is rarer than this in the dictionary's English, "metrics" and "pirate" are more frequent.
_FREQUENT = 1_500_000
_USUAL = 5000
_SAME_PERSON = 80.0


# Whose letters look like one another's: а, е and о are Cyrillic here.
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")


@lru_cache(maxsize=8192)
def mixed_alphabets(name: str) -> tuple[str, ...]:
    """The alphabets of a name that has a word in several, as nobody's has who is not to look like somebody else; else
    none."""
    mixed = (alphabets for word in name.split() if len(alphabets := _alphabets(word)) > 1)
    return () if name.isascii() else next(mixed, ())


def _alphabets(word: str) -> tuple[str, ...]:
    used = {unicodedata.name(c, "").partition(" ")[0] for c in unicodedata.normalize("NFKD", word) if c.isalpha()}
    return tuple(alphabet.title() for alphabet in _ALPHABETS if alphabet in used)


@cache
def _census(name: str) -> frozenset[str]:
    lines = files("names").joinpath(f"dist.{name}").read_text(encoding="utf-8").splitlines()
    return frozenset(line.split(maxsplit=1)[0].casefold() for line in lines if line.strip())


@cache
def _usual_surnames() -> frozenset[str]:
    """The commonest surnames of the census, which lists them from the commonest on: Brown, Stone and Page, not Plan."""
    lines = files("names").joinpath("dist.all.last").read_text(encoding="utf-8").splitlines()
    return frozenset(line.split(maxsplit=1)[0].casefold() for line in lines[:_USUAL])


@cache
def _english() -> dict[str, int]:
    """Words of English with their counts; given names are among them."""
    text = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    return {word: int(count) for word, count in (line.split() for line in text.splitlines() if line.strip())}


def is_given_name(word: str) -> bool:
    """Whether the census knows the word as a given name; some are words of English too (Grace, Mark, Will)."""
    return word.casefold() in _census("male.first") or word.casefold() in _census("female.first")


def is_usual_surname(word: str) -> bool:
    """Whether the word is among the commonest surnames of the census."""
    return word.casefold() in _usual_surnames()


def is_english_word(word: str) -> bool:
    """Whether the dictionary has the word."""
    return word.casefold() in _english()


def is_full_name(label: str) -> bool:
    """Whether the label is a person's given name and surname, told by the words alone.

    "Jeff Bezos", "Satya Nadella" and "Vincent van Gogh" are; "Pirate Metrics" and "Grace Period" are not.
    """
    if not _FULL_NAME.fullmatch(label):
        return False
    given, last = label.split()[0].casefold(), label.split()[-1].casefold()
    if is_given_name(given) and any(word.islower() for word in label.split()):
        return True
    is_rare = _english().get(last, 0) < _FREQUENT
    if is_given_name(given):
        return is_rare or last in _census("all.last")
    if given in _english():
        return False
    return last in _usual_surnames() or (is_rare and not _NEVER_SURNAMES.search(last))


def same_person(one: str, other: str) -> bool:
    """Whether two spellings are near enough for one name, as "Kyvon Bakepour" and "Kayvon Beykpour" are."""
    return fuzz.ratio(one.casefold(), other.casefold()) >= _SAME_PERSON


def canonical(name: str, people: tuple[Person, ...]) -> str:
    """The name as the first of `people` with that spelling, or one near it, writes it; else `name` as it stands."""
    for person in people:
        if any(same_person(name, spelling) for spelling in (person.name, *person.aliases)):
            return person.name
    return name
