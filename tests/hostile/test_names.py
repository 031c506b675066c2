"""Names that look like somebody else's: their bearers are never taken for one another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.drafts import Draft
from app.prompts import answer_prompt
from app.question import resolve_speaker
from app.quoting import Quoted, quote
from app.settings import Settings
from app.support import Checker, Supported
from index.build import ingest
from index.search import Index
from ingest.limits import Limits
from ingest.names import mixed_alphabets
from ingest.speakers import fold_name
from tests.hashing import HashingEmbedder

JANE = "Jane Doe"
FALSE_JANE = "Jаne Doe"  # the first а is Cyrillic
SHOWN = f"{FALSE_JANE} (Latin and Cyrillic letters)"
TRUE, FALSE = (
    "We keep the manuals in the library.",
    "Last winter somebody fed every one of the manuals to the library fire.",
)
ABOUT = "what about the manuals in the library?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("names")
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "true.txt").write_text(f"{JANE} (00:01):\n{TRUE}\n\nBob Ray (00:20):\nGood for the manuals.\n")
    (corpus / "false.txt").write_text(f"{FALSE_JANE} (00:01):\n{FALSE}\n\nBob Ray (00:20):\nBad for the manuals.\n")
    assert not ingest([corpus], folder / "snapshots", HashingEmbedder(), Limits()).errors
    with_names = Index.open(folder / "snapshots", HashingEmbedder())
    yield with_names
    with_names.close()


def asked(index: Index, question: str, speaker: str | None = None) -> Quoted:
    return quote(index, Settings(min_confidence=0.0), question, speaker=speaker)


def quoted(given: Quoted) -> set[tuple[str | None, str]]:
    return {(citation.speaker, citation.quote) for citation in (*given.citations, *given.near_misses)}


def test_they_are_two_and_told_apart(index: Index) -> None:
    assert [speaker.name for speaker in index.store.speakers()] == ["Bob Ray", JANE, SHOWN]


@pytest.mark.parametrize("called", [JANE, "Doe", "Jane", "Ms. Doe", "Jane D", "Jain Doe"])
def test_whoever_is_asked_for_is_not_the_other(index: Index, called: str) -> None:
    assert quoted(asked(index, f"what did {called} say about the manuals?")) == {(JANE, TRUE)}
    assert quoted(asked(index, "the manuals in the library", speaker=called)) == {(JANE, TRUE)}
    assert resolve_speaker(called, index.store.speakers()) == (JANE,)


@pytest.mark.parametrize("called", [FALSE_JANE, SHOWN])
def test_the_other_is_asked_for_by_every_letter(index: Index, called: str) -> None:
    assert quoted(asked(index, "the manuals in the library", speaker=called)) == {(SHOWN, FALSE)}


def test_in_what_is_found_each_has_a_name_of_his_own(index: Index) -> None:
    hits = index.search(ABOUT, index.vector(ABOUT))
    said = {(turn.speaker, turn.text) for hit in hits for turn in hit.turns.values()}
    assert {(JANE, TRUE), (SHOWN, FALSE)} <= said


def test_a_model_cannot_give_the_words_of_one_to_the_other(index: Index) -> None:
    hits = index.search(ABOUT, index.vector(ABOUT))
    offered = answer_prompt(ABOUT, hits, "", 6000).offered
    checker = Checker(offered, index.store.speakers())
    (false,) = [number for number, each in offered.items() if each.text == FALSE]
    (true,) = [number for number, each in offered.items() if each.text == TRUE]
    claim = "Jane Doe said that somebody fed every one of the manuals to the library fire."
    assert not isinstance(checker.check(Draft(claim, (false,))), Supported)
    claim = "Jane Doe said that they keep the manuals in the library."
    assert isinstance(checker.check(Draft(claim, (true,))), Supported)


@pytest.mark.parametrize(
    ("name", "mixed"),
    [
        ("Jane Doe", ()),
        ("Kаyvon Beykpour", ("Latin", "Cyrillic")),
        ("Kayvon Βeykpour", ("Latin", "Greek")),
        ("Анна Каренина", ()),
        ("Anna Каренина", ()),
        ("Zoë Ångström-Ñuñez", ()),
        ("村上 Haruki", ()),
        ("ＫＡＹＶＯＮ", ()),
        ("Speaker 1", ()),
        ("", ()),
    ],
)
def test_names_that_mix_alphabets(name: str, mixed: tuple[str, ...]) -> None:
    assert mixed_alphabets(name) == mixed


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u202e", "\u200d", "\u0301" * 200])
def test_what_nobody_sees_makes_no_other_name(unseen: str) -> None:
    assert fold_name(f"Ja{unseen}ne Doe") == fold_name(JANE)
