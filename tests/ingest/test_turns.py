from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.turns import Piece, fold, is_back_channel, join_pieces, settle_clocks

WORDS = st.text(st.sampled_from("ab .?\n\t"), min_size=1, max_size=12) | st.sampled_from(["Yeah.", "Mm-hm", "Right?"])
PIECES = st.lists(
    st.builds(
        Piece,
        st.sampled_from(["Ann", "Ben", None]),
        WORDS,
        st.none() | st.floats(0, 100),
        st.none() | st.floats(0, 100),
        st.integers(1, 99),
        st.sampled_from([(), ("Part",)]),
    ),
    max_size=14,
)


def test_pieces_of_one_speaker_are_one_turn_with_a_cue_for_each() -> None:
    turns = join_pieces([Piece("Ann", "So  the\nfirst", 1.0, 2.0, 3), Piece("Ann", "and second.", 2.5, 4.0, 6)])
    assert [turn.text for turn in turns] == ["So the first and second."]
    first, second = turns[0].cues
    assert (first.position, first.offset, first.start, first.end, first.line) == (0, 0, 1.0, 2.0, 3)
    assert (second.position, second.offset, second.start, second.line) == (1, 13, 2.5, 6)
    assert (turns[0].start, turns[0].end) == (1.0, 4.0)


def test_a_back_channel_does_not_tear_the_turn_around_it() -> None:
    pieces = [
        Piece("Ann", "We shipped", 1),
        Piece("Ben", "Mm-hm.", 2),
        Piece("Ann", "late.", 3),
        Piece("Ben", "I see, okay", 4),
    ]
    turns = join_pieces([*pieces, Piece("Ann", "Then twice.", 5), Piece("Ben", "Why late, though?", 6)])
    assert [(turn.speaker, turn.text) for turn in turns] == [
        ("Ann", "We shipped late. Then twice."),
        ("Ben", "Mm-hm."),
        ("Ben", "I see, okay"),
        ("Ben", "Why late, though?"),
    ]
    assert [cue.position for cue in turns[0].cues] == [0, 2, 4]


def test_yeah_after_a_question_is_an_answer() -> None:
    turns = join_pieces([Piece("Ann", "Did you?"), Piece("Ben", "Yeah."), Piece("Ann", "Good.")])
    assert [turn.text for turn in turns] == ["Did you?", "Yeah.", "Good."]


def test_a_back_channel_between_two_speakers_tears_nothing_and_joins_nothing() -> None:
    turns = join_pieces([Piece("Ann", "One."), Piece("Ben", "Yeah."), Piece("Cy", "Two.")])
    assert [turn.speaker for turn in turns] == ["Ann", "Ben", "Cy"]


def test_unknown_speakers_are_not_joined_across_a_named_one() -> None:
    turns = join_pieces([Piece(None, "One."), Piece("Ben", "Yeah."), Piece(None, "Two.")])
    assert [turn.text for turn in turns] == ["One.", "Yeah.", "Two."]


def test_a_heading_ends_a_turn() -> None:
    turns = join_pieces([Piece("Ann", "One.", heading=("A",)), Piece("Ann", "Two.", heading=("B",))])
    assert [(turn.heading, turn.text) for turn in turns] == [(("A",), "One."), (("B",), "Two.")]


@pytest.mark.parametrize(
    "text", ["Mm-hm.", "uh-huh", "Yeah, yeah.", "'Kay.", "Oh, I see.", "OK", "Mmhmm…", "Right. Sure."]
)
def test_back_channels(text: str) -> None:
    assert is_back_channel(text)


@pytest.mark.parametrize("text", ["No.", "Yeah but no", "right yeah okay sure", "Rightly", "I", "", "Yeah, Ann."])
def test_not_back_channels(text: str) -> None:
    assert not is_back_channel(text)


def test_an_end_before_its_start_is_dropped_with_a_warning() -> None:
    settled, warnings = settle_clocks([Piece("Ann", "a", 65.0, 64.0, 7), Piece("Ann", "b", 66.0, 66.0, 9)])
    assert [(piece.start, piece.end) for piece in settled] == [(65.0, None), (66.0, 66.0)]
    assert warnings == ((7, "what starts at 1:05 ends before it: its end is dropped"),)


def test_a_clock_that_runs_backwards_is_kept_with_one_warning() -> None:
    settled, warnings = settle_clocks(
        [Piece("A", "a", 9.0, line=1), Piece("B", "b", 3.0, line=2), Piece("A", "c", 1.0, line=3)]
    )
    assert [piece.start for piece in settled] == [9.0, 3.0, 1.0]
    assert warnings == ((2, "the clock runs backwards, from 0:09 to 0:03"),)


def test_overlapping_speech_is_no_fault() -> None:
    assert settle_clocks([Piece("A", "a", 1.0, 9.0), Piece("B", "b", 2.0, 3.0)])[1] == ()


@given(PIECES)
def test_every_word_and_clock_survives_in_its_place(pieces: list[Piece]) -> None:
    turns = join_pieces(pieces)
    cues = {cue.position: (turn, cue) for turn in turns for cue in turn.cues}
    spoken = [piece for piece in pieces if fold(piece.text)]
    assert sorted(cues) == list(range(len(spoken)))
    for position, piece in enumerate(spoken):
        turn, cue = cues[position]
        assert turn.text[cue.offset :].startswith(fold(piece.text))
        assert (turn.speaker, turn.heading, cue.start, cue.end, cue.line) == (
            piece.speaker,
            piece.heading,
            piece.start,
            piece.end,
            piece.line,
        )
    assert [turn.cues[0].position for turn in turns] == sorted(turn.cues[0].position for turn in turns)
    for turn in turns:
        assert turn.cues[0].offset == 0
        assert turn.text == fold(turn.text)
