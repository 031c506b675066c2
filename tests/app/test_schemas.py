from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.schemas import AskRequest, SearchRequest, passage_out, turns_out
from index.search import Hit
from ingest.model import Cue, Passage, Source, Span, Turn

SOURCE = Source("talk", "talk.vtt", "A talk", "transcript", url="https://youtu.be/abc", date="2024-05-06")
ASKED = Turn("Ann", "Why though? Tell me.", (Cue(0, 0, 10.0, 12.0),))
TOLD = Turn(
    "Bob", "First this. Then that. And so on.", (Cue(1, 0, 12.0, 15.0), Cue(2, 12, 15.5, 20.0), Cue(3, 23, 21.0))
)


def hit(turns: dict[int, Turn], *sentences: Span, source: Source = SOURCE) -> Hit:
    passage = Passage("p1", source.id, 0, sentences, 9)
    return Hit(1, 0.5, 0.4, passage, source, turns, np.zeros((len(sentences), 2), np.int8))


def test_a_passage_gives_each_turn_its_own_words_and_time() -> None:
    found = passage_out(hit({0: ASKED, 1: TOLD}, Span(0, 12, 20), Span(1, 0, 11), Span(1, 12, 22)))
    assert found.text == "Tell me.\nFirst this. Then that."
    assert [turn.model_dump() for turn in found.turns] == [
        {"speaker": "Ann", "start": 10.0, "end": 12.0, "text": "Tell me."},
        {"speaker": "Bob", "start": 12.0, "end": 20.0, "text": "First this. Then that."},
    ]
    assert found.speakers == ["Ann", "Bob"]
    assert (found.start, found.end, found.timestamp) == (10.0, 20.0, "0:10")
    assert found.url == "https://youtu.be/abc?t=10s"


def test_a_passage_that_begins_inside_a_turn_has_the_time_of_its_own_words() -> None:
    found = passage_out(hit({1: TOLD}, Span(1, 12, 22), Span(1, 23, 33)))
    assert (found.start, found.end, found.timestamp) == (15.5, 20.0, "0:15")
    assert found.url == "https://youtu.be/abc?t=15s"


def test_without_a_clock_there_is_a_locator_and_no_time() -> None:
    turn = Turn("Ann", "Words.", (Cue(0, 0, line=7),), heading=("Part I", "Why"))
    found = passage_out(hit({3: turn}, Span(3, 0, 6), source=Source("n", "n.txt", "Notes", "notes")))
    assert (found.start, found.end, found.timestamp, found.url) == (None, None, None, None)
    assert found.locator == "Part I › Why › line 7"


def test_turns_keep_their_index() -> None:
    assert [(turn.index, turn.start, turn.end, turn.timestamp) for turn in turns_out([ASKED, TOLD], [4, 7])] == [
        (4, 10.0, 12.0, "0:10"),
        (7, 12.0, 20.0, "0:12"),
    ]


def test_turns_link_to_the_moment_they_begin_where_there_is_a_recording() -> None:
    urls = [turn.url for turn in turns_out([ASKED, TOLD], [4, 7], "https://youtu.be/abc")]
    assert urls == ["https://youtu.be/abc?t=10s", "https://youtu.be/abc?t=12s"]
    assert [turn.url for turn in turns_out([ASKED], [4])] == [None]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": " \n\t\u3000"}, "question"),
        ({"question": "x" * 4001}, "question"),
        ({"question": 7}, "question"),
        ({"question": "a \ud800 b"}, "question"),
        ({"question": "x", "top_k": 0}, "top_k"),
        ({"question": "x", "top_k": 101}, "top_k"),
        ({"question": "x", "top_k": "8"}, "top_k"),
        ({"question": "x", "top_k": 8.5}, "top_k"),
        ({"question": "x", "top_k": True}, "top_k"),
        ({"question": "x", "speaker": " "}, "speaker"),
        ({"question": "x", "source": ["a"]}, "source"),
        ({"question": "x", "stream": "yes"}, "stream"),
        ({"question": "x", "conversation_id": "c" * 201}, "conversation_id"),
        ({"question": "x", "temperature": 1}, "temperature"),
    ],
)
def test_a_request_at_fault_names_the_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AskRequest.model_validate(fields)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@given(st.text(min_size=1, max_size=4000).filter(str.strip), st.integers(1, 100))
def test_any_other_text_is_a_query_as_it_stands(query: str, top_k: int) -> None:
    asked = SearchRequest.model_validate({"query": query, "top_k": top_k})
    assert (asked.query, asked.top_k, asked.speaker, asked.source) == (query, top_k, None, None)
