from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.embed import Embedder
from ingest.model import Cue, Passage, Turn
from ingest.passages import SPLIT_CHARACTERS, TARGET_WORDS, build_passages, speaker_label, split_sentences
from ingest.turns import Piece, join_pieces

SENTENCES = st.builds(
    lambda words, end: " ".join(words) + end,
    st.lists(st.sampled_from(["one", "Two", "three", "naïve", "四", "🎉", "e.g.", "1.5"]), min_size=1, max_size=30),
    st.sampled_from([".", "?", "!", ",", "…", ""]),
)
PIECES = st.lists(
    st.builds(
        Piece,
        st.sampled_from(["Ann Lee", "Ben", None]),
        st.lists(SENTENCES, min_size=1, max_size=8).map(" ".join) | st.sampled_from(["Mm-hm.", "Yeah.", "Right?"]),
        heading=st.sampled_from([(), ("Part",), ("Part", "Chapter")]),
    ),
    max_size=20,
)
NOTES = st.sampled_from(["", "It shows why."])


def words_in(text: str) -> int:
    return len(text.split())


def letters_in(text: str) -> int:
    return sum(map(len, text.split()))


def said(speaker: str | None, text: str, heading: tuple[str, ...] = (), position: int = 0) -> Turn:
    return Turn(speaker, text, (Cue(position, 0),), heading=heading)


def words(count: int, first: int = 0) -> str:
    """Distinct words in sentences of ten."""
    return " ".join(f"w{i}." if i % 10 == 9 else f"w{i}" for i in range(first, first + count - 1)) + " end."


def texts(passage: Passage, turns: Sequence[Turn]) -> list[str]:
    return [turns[s.turn].text[s.begin : s.end] for s in passage.spans]


def build(turns: Sequence[Turn], max_tokens: int = 254) -> list[list[str]]:
    return [texts(passage, turns) for passage in build_passages("talk", turns, words_in, max_tokens)]


def noted(turns: Sequence[Turn], note: str) -> list[Turn]:
    return [Turn(t.speaker, t.text, t.cues, t.attribution, t.heading, note) for t in turns]


@given(PIECES, NOTES, st.integers(30, 90))
def test_every_word_of_every_turn_in_one_passage_in_the_order_spoken(
    pieces: list[Piece], note: str, max_tokens: int
) -> None:
    turns = noted(join_pieces(pieces), note)
    passages = build_passages("talk", turns, words_in, max_tokens)
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))
    spans = [s for passage in passages for s in passage.sentences]
    for index, turn in enumerate(turns):
        mine = [s for s in spans if s.turn == index]
        assert all(one.end <= other.begin for one, other in pairwise(mine))
        assert [w for s in mine for w in turn.text[s.begin : s.end].split()] == turn.text.split()
    positions = [turns[s.turn].cue_at(s.begin).position for s in spans]
    assert positions == sorted(positions)
    for passage in passages:
        assert passage.words == sum(words_in(text) for text in texts(passage, turns))


@given(PIECES, NOTES, st.integers(30, 90))
def test_no_passage_is_longer_than_the_model_reads(pieces: list[Piece], note: str, max_tokens: int) -> None:
    turns = noted(join_pieces(pieces), note)
    for passage in build_passages("talk", turns, words_in, max_tokens):
        labels = [speaker_label(turns[s.turn]) + turns[s.turn].note for s in passage.spans]
        assert sum(words_in(text) for text in [*labels, *texts(passage, turns)]) <= max_tokens


@given(st.lists(st.lists(SENTENCES, min_size=1, max_size=20).map(" ".join), max_size=6), st.integers(20, 60))
def test_only_a_sentence_too_long_for_a_passage_is_cut(spoken: list[str], max_tokens: int) -> None:
    turns = [said(None, text, position=i) for i, text in enumerate(spoken)]
    for passage in build_passages("talk", turns, words_in, max_tokens):
        for s in passage.sentences:
            text = turns[s.turn].text
            begin, end = next(r for r in split_sentences(text) if r[0] <= s.begin < r[1])
            assert (s.begin, s.end) == (begin, end) or words_in(text[begin:end]) > max_tokens


@given(PIECES, st.integers(1, 3))
def test_ids_are_unique_and_the_same_each_time(pieces: list[Piece], times: int) -> None:
    turns = join_pieces(pieces * times)
    ids = [passage.id for passage in build_passages("talk", turns, words_in, 40)]
    assert len(set(ids)) == len(ids)
    assert ids == [passage.id for passage in build_passages("talk", turns, words_in, 40)]
    assert not set(ids) & {passage.id for passage in build_passages("other", turns, words_in, 40)}


@given(st.text(max_size=200))
def test_sentences_hold_all_that_is_not_white_space(text: str) -> None:
    ranges = split_sentences(text)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    assert all(text[b:e] == text[b:e].strip() != "" for b, e in ranges)
    assert "".join("".join(text[b:e].split()) for b, e in ranges) == "".join(text.split())


def test_sentences_of_english() -> None:
    text = "  Dr. Lee paid $1.5 million. Why?  “Growth.” \n\nIt was, e.g. in the U.S., fast!"
    assert [text[b:e] for b, e in split_sentences(text)] == [
        "Dr. Lee paid $1.5 million.",
        "Why?",
        "“Growth.”",
        "It was, e.g. in the U.S., fast!",
    ]


def test_no_turns_no_passages() -> None:
    assert build_passages("talk", [], words_in, 254) == ()
    assert build_passages("talk", [said("Ann", "  ")], words_in, 254) == ()


def test_short_turns_share_a_passage_up_to_its_target() -> None:
    turns = [said(name, words(40, 40 * i), position=i) for i, name in enumerate(["Ann", "Ben", "Ann", "Cy", "Ann"])]
    assert build(turns) == [[turn.text for turn in turns[:3]], [turn.text for turn in turns[3:]]]


def test_a_long_turn_is_cut_at_sentence_ends_into_passages_of_about_the_target() -> None:
    turn = said("Ann", words(1000))
    passages = build_passages("talk", [turn], words_in, 254)
    assert [passage.words for passage in passages] == [TARGET_WORDS] * 6 + [100]
    assert all(text.endswith(".") for passage in passages for text in texts(passage, [turn]))


def test_a_long_turn_fills_up_the_passage_that_a_short_one_began() -> None:
    turns = [said("Ben", "Tell us."), said("Ann", words(200), position=1)]
    passages = build_passages("talk", turns, words_in, 254)
    assert [passage.words for passage in passages] == [142, 60]
    assert [s.turn for s in passages[0].spans] == [0, 1]


def test_an_interrupted_turn_keeps_the_back_channel_where_it_was() -> None:
    turns = join_pieces([Piece("Ann", "We shipped late."), Piece("Ben", "Mm-hm."), Piece("Ann", "Then twice. Thrice.")])
    assert [turn.speaker for turn in turns] == ["Ann", "Ben"]
    passages = build_passages("talk", turns, words_in, 254)
    assert [texts(passage, turns) for passage in passages] == [["We shipped late.", "Mm-hm.", "Then twice. Thrice."]]
    assert [s.turn for s in passages[0].sentences] == [0, 1, 0, 0]


def test_a_question_goes_with_its_answer() -> None:
    turns = [
        said("Ann", words(120), position=0),
        said("Ben", "So why did it fail?", position=1),
        said("Ann", words(80), position=2),
    ]
    assert build(turns) == [[turns[0].text], [turns[1].text, turns[2].text]]


def test_what_is_no_question_stays_with_what_it_follows() -> None:
    turns = [
        said("Ann", words(120), position=0),
        said("Ben", "So it did fail.", position=1),
        said("Ann", words(80), position=2),
    ]
    assert build(turns) == [[turns[0].text, turns[1].text], [turns[2].text]]


def test_lines_of_captions_are_no_sentence_ends() -> None:
    turns = join_pieces(
        [Piece("Ann", "If the only way"), Piece("Ann", "is goals, you miss"), Piece("Ann", "things. Yes")]
    )
    (passage,) = build_passages("talk", turns, words_in, 254)
    assert [turns[0].text[s.begin : s.end] for s in passage.sentences] == [
        "If the only way is goals, you miss things.",
        "Yes",
    ]


def test_utterances_end_sentences_even_where_they_break_off() -> None:
    long = "We shipped it to everybody at once " * 4 + "in May."
    turns = join_pieces([Piece("Ann", "I was going to"), Piece("Ann", long), Piece("Ann", "Then we left.")])
    (passage,) = build_passages("talk", turns, words_in, 254)
    assert [turns[0].text[s.begin : s.end] for s in passage.sentences] == ["I was going to", long, "Then we left."]


def test_a_sentence_too_long_is_cut_at_its_cues() -> None:
    turns = join_pieces([Piece("Ann", " ".join(f"{name}{i}" for i in range(30))) for name in "abcdefgh"])
    passages = build_passages("talk", turns, words_in, 100)
    cut = [text.split() for passage in passages for text in texts(passage, turns)]
    assert [(part[0], part[-1]) for part in cut] == [("a0", "c29"), ("d0", "f29"), ("g0", "h29")]


def test_a_sentence_too_long_without_cues_is_cut_between_words() -> None:
    turn = said("Ann", " ".join(f"w{i}" for i in range(300)))
    cut = [texts(passage, [turn]) for passage in build_passages("talk", [turn], words_in, 101)]
    assert [part.split()[0] for (part,) in cut] == ["w0", "w100", "w200"]


def test_one_endless_word_is_cut_anywhere() -> None:
    turn = said(None, "x" * 5000)
    passages = build_passages("talk", [turn], letters_in, 254)
    assert "".join(text for passage in passages for text in texts(passage, [turn])) == turn.text
    assert max(letters_in(text) for passage in passages for text in texts(passage, [turn])) <= 254


def test_a_heading_begins_a_passage_unless_the_last_is_short() -> None:
    turns = [
        said("Ann", words(60), ("One",), 0),
        said("Ann", words(20, 60), ("Two",), 1),
        said("Ann", words(40, 80), ("Three",), 2),
    ]
    assert build(turns) == [[turns[0].text], [turns[1].text, turns[2].text]]


def test_ids_do_not_depend_on_what_comes_before() -> None:
    turns = [said("Ann", words(60, 60 * i), (f"Part {i}",), i) for i in range(4)]
    ids = [passage.id for passage in build_passages("talk", turns, words_in, 254)]
    assert len(ids) == 4
    assert [passage.id for passage in build_passages("talk", turns[1:], words_in, 254)] == ids[1:]
    assert re.fullmatch(r"[0-9a-f]{16}", ids[0])


def test_ids_follow_the_words_and_who_says_them() -> None:
    def id_of(speaker: str, text: str) -> str:
        return build_passages("talk", [said(speaker, text)], words_in, 254)[0].id

    assert len({id_of("Ann", "We left."), id_of("Ben", "We left."), id_of("Ann", "We stayed.")}) == 3
    assert id_of("Ann", "We left.") == id_of("Ann", "We left.")


@pytest.mark.parametrize(
    "text",
    ["각." * 400, "漢字" * 500, "x.y" * 700, "½⅓" * 700, "🎉" * 900, "naïve " * 600, "ﷺ." * 400, "ab-" * 600],
)
def test_the_real_tokenizer_finds_no_passage_too_long(text: str, embedder: Embedder) -> None:
    turn = said("Ann Lee", text)
    parts = [texts(p, [turn])[0] for p in build_passages("talk", [turn], embedder.count_tokens, embedder.max_tokens)]
    assert max(embedder.count_tokens(f"{speaker_label(turn)}{part}") for part in parts) <= embedder.max_tokens
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize("piece", ["It works. ", "'", "x", " ", "“no ", "a' b. C", "<!--"])
@pytest.mark.parametrize("end", ["", "Done."])
def test_a_text_of_any_length_is_split_without_loss(piece: str, end: str) -> None:
    text = piece * (2 * SPLIT_CHARACTERS // len(piece)) + end
    ranges = split_sentences(text)
    assert "".join(text[begin:last] for begin, last in ranges).replace(" ", "") == text.replace(" ", "")
    assert all(begin >= before for (_, before), (begin, _) in pairwise(ranges))


def test_sentences_of_a_long_text_are_whole() -> None:
    sentences = [f"This is sentence {number} of many." for number in range(1000)]
    text = " ".join(sentences)
    assert len(text) > 3 * SPLIT_CHARACTERS
    assert [text[begin:end] for begin, end in split_sentences(text)] == sentences


def test_one_quotation_mark_too_many_holds_no_long_text_together() -> None:
    text = "“We shipped it. " + "Then it broke. " * 2000
    assert len(split_sentences(text)) > 1000
