from __future__ import annotations

import itertools
import re
import string
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.citations import cite, quoted_span
from index.search import Hit
from ingest.model import Cue, Passage, Source, Span, Turn

SOURCE = Source("talk", "talk.vtt", "A talk", "transcript", url="https://youtu.be/abc")
FILLERS = ["um", "Uh,", "you know,", "I mean,", "so", "And", "like,", "well...", "Yeah.", "—", "mm-hmm", "er", "…"]


def hit(*turns: Turn, sentences: list[tuple[int, int, int]] | None = None, source: Source = SOURCE) -> Hit:
    """A passage of whole turns, each one sentence, unless `sentences` say otherwise."""
    spans = [Span(*each) for each in sentences or [(i, 0, len(turn.text)) for i, turn in enumerate(turns)]]
    passage = Passage("p1", source.id, 0, tuple(spans), 0)
    return Hit(1, 1.0, 1.0, passage, source, dict(enumerate(turns)), np.zeros((len(spans), 4), dtype=np.int8))


def spoken(text: str, start: float | None = 61.5, end: float | None = 64.0, **fields: object) -> Turn:
    return Turn("Ann Lee", text, (Cue(0, 0, start, end, 7),), **fields)  # pyright: ignore[reportArgumentType]


@st.composite
def monologues(draw: st.DrawFn) -> tuple[Hit, int, int]:
    """One turn of several cues, some without times, cut into sentences anywhere between words, and a run of those."""
    word = st.text(string.ascii_letters + "éß–'-.,?!💥", min_size=1, max_size=8)
    words = draw(st.lists(st.one_of(st.sampled_from(FILLERS), word), min_size=1, max_size=40))
    text = " ".join(words)
    at = [0, *(match.end() for match in re.finditer(" ", text))]
    offsets = sorted({0, *draw(st.lists(st.sampled_from(at), max_size=5))})
    starts = sorted(draw(st.lists(st.floats(0, 9999), min_size=len(offsets), max_size=len(offsets))))
    cues = tuple(
        Cue(i, offset, *draw(st.sampled_from([(start, None), (start, start + 5), (None, None)])))
        for i, (offset, start) in enumerate(zip(offsets, starts, strict=True))
    )
    cuts = sorted({0, *draw(st.lists(st.sampled_from(at), max_size=5)), len(text) + 1})
    sentences = [(0, begin, end - 1) for begin, end in itertools.pairwise(cuts)]
    first = draw(st.integers(0, len(sentences) - 1))
    last = draw(st.integers(first, len(sentences) - 1))
    return hit(Turn("Ann Lee", text, cues), sentences=sentences), first, last


@given(monologues())
def test_a_quote_is_a_contiguous_piece_of_its_sentences(made: tuple[Hit, int, int]) -> None:
    found, first, last = made
    span, citation = quoted_span(found, first, last), cite(found, first, last, 3)
    sentences = found.passage.sentences
    assert sentences[first].begin <= span.begin < span.end <= sentences[last].end
    assert citation.quote == found.turns[span.turn].text[span.begin : span.end]
    assert (citation.marker, citation.passage_id, citation.source) == (3, "p1", SOURCE)


@given(monologues())
def test_the_time_is_that_of_the_cue_in_which_the_quote_begins(made: tuple[Hit, int, int]) -> None:
    found, first, last = made
    citation, span = cite(found, first, last), quoted_span(found, first, last)
    cue = [cue for cue in found.turns[0].cues if cue.offset <= span.begin][-1]
    assert citation.start == cue.start
    assert (citation.timestamp is None) == (cue.start is None)
    assert citation.start is None or citation.end is None or citation.end >= citation.start


@given(monologues())
def test_fillers_never_take_all_words_nor_parts_of_one(made: tuple[Hit, int, int]) -> None:
    found, first, last = made
    span, text = quoted_span(found, first, last), found.turns[0].text
    whole = text[found.passage.sentences[first].begin : found.passage.sentences[last].end]
    assert bool(re.search(r"\w", whole)) == bool(re.search(r"\w", text[span.begin : span.end]))
    assert not re.search(r"\w-?$", text[: span.begin])
    assert not re.match(r"-?\w", text[span.end :])


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("Um, I think so.", "I think so."),
        ("So, um, you know, I think so.", "I think so."),
        ("And uh I think so.", "I think so."),
        ("Yeah. Well... maybe.", "maybe."),
        ("You know, it is fine.", "it is fine."),
        ("It is fine, you know.", "It is fine"),
        ("It is, um.", "It is"),
        ("Okay — it works — you know?", "it works"),
        ("Mm-hmm, I see.", "I see."),
    ],
)
def test_fillers_at_the_edges_are_left_out(said: str, quoted: str) -> None:
    assert cite(hit(spoken(said)), 0, 0).quote == quoted


@pytest.mark.parametrize(
    "said",
    [
        *(
            "So-called experts fail.",
            "Well-being matters.",
            "Right-wing politics.",
            "Like-minded people.",
            "Uh-oh, no.",
        ),
        *(
            "ER doctors know.",
            "It is 5 mm.",
            "He is a do-er.",
            "That is what I mean.",
            "How do you know?",
            "As you know.",
        ),
        *("I mean it.", "You know nothing.", "So you know the answer.", "And I think so.", "Right now it works."),
        *("Mm-hmm.", "Um, uh.", "Yeah.", "…", "— um.", "?", "Well, you know", "The end is near, and, you know..."),
    ],
)
def test_what_only_looks_like_a_filler_stays(said: str) -> None:
    quote = cite(hit(spoken(said)), 0, 0).quote
    assert quote == said or said in ("Well, you know", "Um, uh.")
    assert re.search(r"\w", quote) or not re.search(r"\w", said)


@pytest.mark.parametrize(
    "part", ["um, ", "um ", "so, ", "you know, ", "— ", "—", "…", ", ", "-", ". ", "you know ", "mm"]
)
def test_a_long_sentence_is_trimmed_in_time_in_proportion(part: str) -> None:
    found = hit(spoken(f"a{part * 20_000}b{part * 20_000}"))
    began = time.process_time()
    cite(found, 0, 0)
    assert time.process_time() - began < 0.5


def test_sentences_of_two_turns_are_no_quotation() -> None:
    found = hit(spoken("Is it?"), spoken("It is."))
    with pytest.raises(ValueError, match="not of one turn"):
        cite(found, 0, 1)


def test_a_quotation_takes_the_time_of_its_own_cue_and_link() -> None:
    turn = Turn("Ann Lee", "First this. Then that.", (Cue(0, 0, 10.0, 12.0), Cue(1, 12, 3674.9, 3680.0)))
    found = hit(turn, sentences=[(0, 0, 11), (0, 12, 22)])
    later = cite(found, 1, 1)
    assert (later.start, later.end, later.timestamp) == (3674.9, 3680.0, "1:01:14")
    assert later.url == "https://youtu.be/abc?t=3674s"
    both = cite(found, 0, 1)
    assert (both.start, both.end, both.timestamp) == (10.0, 3680.0, "0:10")


def test_the_time_is_that_of_the_first_word_kept() -> None:
    turn = Turn("Ann Lee", "Um, you know, it works.", (Cue(0, 0, 1.0, 2.0), Cue(1, 14, 5.0, 6.0)))
    citation = cite(hit(turn), 0, 0)
    assert (citation.quote, citation.start) == ("it works.", 5.0)


def test_without_a_clock_there_is_a_locator_and_no_time() -> None:
    turn = spoken("It works.", None, None, heading=("Part I", "Why"), attribution="inferred")
    citation = cite(hit(turn), 0, 0)
    assert (citation.start, citation.end, citation.timestamp) == (None, None, None)
    assert citation.locator == "Part I › Why › line 7"
    assert citation.attribution == "inferred"
    assert citation.url == "https://youtu.be/abc"


def test_a_note_is_never_quoted() -> None:
    found = hit(spoken("It works.", note="The author claims that it works."))
    assert cite(found, 0, 0).quote == "It works."
