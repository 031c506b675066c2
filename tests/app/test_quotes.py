from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quotes import CUTOFF, WHOLE_TURN_WORDS, Scored, Topic, candidates, choose_quotes, score_sentences
from index.embed import Embedder
from index.search import Hit, Index
from ingest.model import Cue, Passage, Source, Span, Turn
from ingest.passages import split_sentences


def turn(speaker: str | None, *cues: str, position: int = 0, note: str = "") -> Turn:
    """What somebody says in cues ten seconds apart; `position` is that of the first."""
    offsets = itertools.accumulate((len(cue) + 1 for cue in cues), initial=0)
    made = (
        Cue(position + i, offset, 10.0 * (position + i)) for i, offset in zip(range(len(cues)), offsets, strict=False)
    )
    return Turn(speaker, " ".join(cues), tuple(made), note=note)


def passage(*turns: Turn, source: str = "talk", ordinal: int = 0) -> Hit:
    """A passage of whole turns, in sentences."""
    sentences = tuple(
        Span(i, begin + first, begin + last)
        for i, each in enumerate(turns)
        for begin, end in itertools.pairwise([*(cue.offset for cue in each.cues), len(each.text)])
        for first, last in split_sentences(each.text[begin:end])
    )
    about = Source(source, f"{source}.vtt", f"The {source}", "transcript")
    made = Passage(f"{source}-{ordinal}", source, ordinal, sentences, 0)
    return Hit(1, 1.0, 1.0, made, about, dict(enumerate(turns)), np.zeros((len(sentences), 4), dtype=np.int8))


def scored(hit: Hit, index: int, score: float, similarity: float = 0.9) -> Scored:
    return Scored(hit, index, index, score, similarity, coverage=0.0)


def quotes(*given: Scored, limit: int = 5) -> list[str]:
    best_first = sorted(given, key=lambda each: -each.score)
    return [citation.quote for citation in choose_quotes(best_first, limit)]


CATS = passage(turn("Ann Lee", "Cats sleep all day long."), turn("Bob Ray", "Dogs bark at strangers.", position=1))
BIRDS = passage(turn("Ann Lee", "Birds sing early every morning.", position=2), ordinal=1)
FISH = passage(turn("Ann Lee", "Fish never close their eyes."), source="book")


def test_nothing_found_is_nothing_quoted() -> None:
    assert choose_quotes([], 5) == []


def test_the_best_comes_first_and_the_rest_by_speaker_source_and_time() -> None:
    found = [scored(BIRDS, 0, 0.9), scored(FISH, 0, 0.8), scored(CATS, 1, 0.7), scored(CATS, 0, 0.6)]
    chosen = choose_quotes(found, 5)
    assert [(c.speaker, c.source.id, c.quote) for c in chosen] == [
        ("Ann Lee", "talk", "Birds sing early every morning."),
        ("Ann Lee", "talk", "Cats sleep all day long."),
        ("Ann Lee", "book", "Fish never close their eyes."),
        ("Bob Ray", "talk", "Dogs bark at strangers."),
    ]
    assert [citation.marker for citation in chosen] == [1, 2, 3, 4]


def test_those_after_the_best_are_in_the_order_of_time() -> None:
    three = passage(turn("Ann Lee", "Cats sleep all day.", "Dogs bark at strangers.", "Birds sing every morning."))
    assert quotes(scored(three, 1, 0.9), scored(three, 2, 0.8), scored(three, 0, 0.7)) == [
        "Dogs bark at strangers.",
        "Cats sleep all day.",
        "Birds sing every morning.",
    ]


def test_no_more_than_asked_for() -> None:
    found = [scored(CATS, 0, 0.9), scored(CATS, 1, 0.8), scored(FISH, 0, 0.7)]
    assert quotes(*found, limit=2) == ["Cats sleep all day long.", "Dogs bark at strangers."]


def test_what_is_far_behind_the_best_is_left_out() -> None:
    assert quotes(scored(CATS, 0, 0.9), scored(FISH, 0, 0.9 - CUTOFF - 0.01)) == ["Cats sleep all day long."]


def test_a_loose_quotation_is_left_out_beside_a_good_one() -> None:
    assert quotes(scored(CATS, 0, 0.9), scored(FISH, 0, 0.8, similarity=0.1)) == ["Cats sleep all day long."]
    assert quotes(scored(CATS, 0, 0.9, similarity=0.1)) == ["Cats sleep all day long."]
    held = replace(scored(FISH, 0, 0.8, similarity=0.1), coverage=0.9)
    assert len(quotes(scored(CATS, 0, 0.9), held)) == 2


def test_what_says_the_same_is_left_out() -> None:
    again = passage(turn("Cy Orr", "Well, cats, they sleep all day long."), source="other")
    assert quotes(scored(CATS, 0, 0.9), scored(again, 0, 0.8)) == ["Cats sleep all day long."]


def test_a_sentence_is_quoted_once() -> None:
    two = passage(turn("Ann Lee", "Cats sleep all day. Dogs bark at strangers."))
    assert quotes(scored(two, 0, 0.9), scored(two, 1, 0.8)) == ["Cats sleep all day. Dogs bark at strangers."]


def test_short_words_are_quoted_whole() -> None:
    talk = passage(turn("Ann Lee", "We tried it once. Periscope failed. Retention was bad."))
    assert quotes(scored(talk, 1, 0.9)) == ["We tried it once. Periscope failed. Retention was bad."]


LONG = "The second sentence is about something else altogether and has a great many words in it " * 3 + "indeed."


@pytest.mark.parametrize(
    "opening", ["It failed in the end.", "That's why we stopped.", "And they left us.", "This was bad.", "Which hurt."]
)
def test_a_pronoun_takes_the_sentence_before_with_it(opening: str) -> None:
    talk = passage(turn("Ann Lee", f"{LONG} Periscope had bad retention. {opening} {LONG}"))
    assert quotes(scored(talk, 2, 0.9)) == [f"Periscope had bad retention. {opening}"]


@pytest.mark.parametrize(
    "opening", ["Periscope failed in the end.", "Items cost money.", "Thatcher left us.", "Italy won."]
)
def test_a_sentence_that_stands_alone_is_quoted_alone(opening: str) -> None:
    talk = passage(turn("Ann Lee", f"{LONG} Retention was bad. {opening} {LONG}"))
    assert quotes(scored(talk, 2, 0.9)) == [opening]


def test_the_sentence_before_is_left_when_it_is_too_long() -> None:
    talk = passage(turn("Ann Lee", f"{LONG[:-1]}, {LONG} It failed in the end. {LONG}"))
    assert quotes(scored(talk, 1, 0.9)) == ["It failed in the end."]


def test_a_quotation_stays_within_one_utterance_and_one_turn() -> None:
    talk = passage(
        turn("Ann Lee", "Why did it fail?", "We had no retention.", "It was over soon."),
        turn("Bob Ray", "That is sad.", position=3),
    )
    for index, expected in enumerate(["Why did it fail?", "We had no retention.", "It was over soon.", "That is sad."]):
        assert quotes(scored(talk, index, 0.9)) == [expected]


def test_an_interrupted_turn_is_not_quoted_across_the_interruption() -> None:
    said = turn("Ann Lee", "Cats sleep.", "They dream too.")
    said = replace(said, cues=(said.cues[0], replace(said.cues[1], position=2)))
    assert quotes(scored(passage(said), 1, 0.9)) == ["They dream too."]


@st.composite
def found(draw: st.DrawFn) -> list[Scored]:
    """Some of the sentences of a few passages of a few people's words, best first."""
    names = st.sampled_from([None, "Ann Lee", "Bob Ray"])
    sentence = st.lists(st.sampled_from(["cats", "dogs", "it", "that", "sleep"]), min_size=1, max_size=20)
    cue = st.lists(sentence.map(lambda words: " ".join(words).capitalize() + "."), min_size=1, max_size=3).map(" ".join)
    hits = [
        passage(*(turn(draw(names), *draw(st.lists(cue, min_size=1, max_size=3)), note="Noted."),), ordinal=ordinal)
        for ordinal in range(draw(st.integers(1, 3)))
    ]
    picked = draw(
        st.lists(st.tuples(st.sampled_from(hits), st.integers(0, 8), st.floats(0, 1), st.floats(0, 1)), max_size=12)
    )
    made = [scored(hit, i % len(hit.passage.sentences), score, near) for hit, i, score, near in picked]
    return sorted(made, key=lambda each: -each.score)


@given(found(), st.integers(1, 6))
def test_whatever_is_found_is_quoted_verbatim_once_and_in_order(given: list[Scored], limit: int) -> None:
    chosen = choose_quotes(given, limit)
    assert len(chosen) <= limit
    assert bool(chosen) == bool(given)
    assert [citation.marker for citation in chosen] == list(range(1, len(chosen) + 1))
    turns = {(s.hit.passage.id, t.text): t for s in given for t in s.hit.turns.values()}
    groups = [(citation.speaker, citation.source.id) for citation in chosen]
    assert len(list(itertools.groupby(groups))) == len(set(groups))
    for citation in chosen:
        home = [t for (place, text), t in turns.items() if place == citation.passage_id and citation.quote in text]
        assert any(t.speaker == citation.speaker for t in home)
        assert "Noted" not in citation.quote
    if chosen:
        span = given[0].hit.passage.sentences[given[0].first]
        assert chosen[0].passage_id == given[0].hit.passage.id
        assert given[0].hit.turns[span.turn].text[span.begin : span.end] in chosen[0].quote


def test_only_those_asked_for_are_candidates(sample_index: Path, embedder: Embedder) -> None:
    index = Index.open(sample_index, embedder)
    vector = embedder.embed(["product"])[0]
    topic = Topic("product", vector, index.store)
    hits = index.search("product", vector, 30)
    everybody = candidates(topic, hits)
    own = candidates(topic, hits, {"Kayvon Beykpour"})
    assert len(everybody) == sum(len(hit.passage.sentences) for hit in hits)
    assert 0 < len(own) < len(everybody)
    assert {c.hit.turns[c.hit.passage.sentences[c.index].turn].speaker for c in own} == {"Kayvon Beykpour"}
    ranked = score_sentences(topic, own)
    assert len(ranked) == len(own)
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)
    assert {citation.speaker for citation in choose_quotes(ranked, 20)} == {"Kayvon Beykpour"}
    index.close()


def test_coverage_weighs_rare_words_more(sample_index: Path, embedder: Embedder) -> None:
    index = Index.open(sample_index, embedder)
    topic = Topic("product OKRs", embedder.embed(["product OKRs"])[0], index.store)
    assert topic.coverage("Products and OKRs!") == pytest.approx(1.0)
    assert 0 < topic.coverage("our product") < 0.5 < topic.coverage("one OKR") < 1
    assert topic.coverage("nothing of it") == 0
    empty = Topic("", embedder.embed([""])[0], index.store)
    assert (empty.mass, empty.coverage("anything")) == (0, 0)
    index.close()


def test_long_turns_are_quoted_in_part() -> None:
    sentences = [f"Sentence {number} speaks of matter {number} in nine words." for number in range(20)]
    talk = passage(turn("Ann Lee", " ".join(sentences)))
    (quote,) = quotes(scored(talk, 7, 0.9))
    assert quote == sentences[7]
    assert len(quote.split()) <= WHOLE_TURN_WORDS
