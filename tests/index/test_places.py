from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.places import Places, find_quote, word_offsets
from ingest.model import Span, Turn
from ingest.turns import Piece, join_pieces

INTERRUPTED = join_pieces(
    [
        Piece("Ann", "We begin here.", 0.0, 2.0),
        Piece("Ben", "Mm-hmm.", 2.5, 3.0),
        Piece("Ann", "And don't stop.", 3.5, 5.0),
        Piece("Ben", "Why not?", 5.5, 6.0),
    ]
)


def words(text: str) -> list[str]:
    offsets = word_offsets(text)
    return [text[begin:end].split()[0] for begin, end in pairwise([*offsets, len(text)])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, DON'T stop", ["Well,", "DON'T", "stop"]),
        ("it’s e-mail", ["it’s", "e-", "mail"]),
        ("'quoted' words_here", ["quoted'", "words_", "here"]),
        ("so, 3.5 (ok)", ["so,", "3.", "5", "ok)"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("– … !", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_word_that_nfkc_makes_longer_stays_in_its_token() -> None:
    assert word_offsets("so…and then") == [0, 5, 7]
    assert word_offsets("½ of it") == [0, 0, 2, 5]  # 1⁄2 is two words


@given(st.text(max_size=60))
def test_offsets_rise_and_lie_in_the_text(text: str) -> None:
    offsets = word_offsets(text)
    assert offsets == sorted(offsets)
    assert all(0 <= offset < len(text) for offset in offsets)


def test_words_are_numbered_as_spoken_not_as_joined() -> None:
    assert [turn.text for turn in INTERRUPTED] == ["We begin here. And don't stop.", "Mm-hmm.", "Why not?"]
    places = Places(INTERRUPTED)
    assert places.words(Span(0, 0, len(INTERRUPTED[0].text))) == [0, 1, 2, 5, 6, 7]
    assert places.words(Span(1, 0, len(INTERRUPTED[1].text))) == [3, 4]
    assert places.words(Span(0, 3, 18)) == [1, 2, 5]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 2.5, [0, 1, 2, 3, 4]),
        (3.5, 3.5, [5, 6, 7]),
        (3.54, 5.0, [5, 6, 7]),
        (3.56, 5.4, []),
        (0.0, 100.0, list(range(10))),
    ],
)
def test_a_stretch_of_time_holds_the_cues_that_start_in_it(start: float, end: float, expected: list[int]) -> None:
    assert list(Places(INTERRUPTED).words_between(start, end)) == expected


def test_a_source_without_a_clock_has_words_but_no_times() -> None:
    turns = join_pieces([Piece(None, "No clock ticks here.", line=4)])
    places = Places(turns)
    assert list(places.words_between(0, 1e9)) == []
    assert places.words(Span(0, 0, 100)) == [0, 1, 2, 3]
    assert places.starts(Span(0, 0, 100)) == []


def test_a_span_starts_with_the_cues_it_touches() -> None:
    places = Places(INTERRUPTED)
    assert places.starts(Span(0, 3, 30)) == [0.0, 3.5]
    assert places.starts(Span(0, 20, 30)) == [3.5]
    assert places.starts(Span(0, 0, 10)) == [0.0]


def test_a_quote_is_found_letter_by_letter_within_the_spans() -> None:
    turns: dict[int, Turn] = dict(enumerate(INTERRUPTED))
    everything = [Span(0, 0, 30), Span(1, 0, 7), Span(2, 0, 8)]
    assert find_quote("begin\n  here. And", turns, everything) == [Span(0, 3, 18)]
    assert find_quote("begin here, And", turns, everything) == []
    assert find_quote("Begin here", turns, everything) == []
    assert find_quote("stop. Mm-hmm.", turns, everything) == []
    assert find_quote("e", turns, [Span(0, 0, 5)]) == [Span(0, 1, 2), Span(0, 4, 5)]
    assert find_quote(" ", turns, everything) == []
