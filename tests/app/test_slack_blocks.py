from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answer import Answer
from app.citations import Citation
from app.quoting import Reading
from app.settings import Settings
from app.slack_blocks import (
    INSTEAD,
    MOST_BLOCKS,
    MOST_TEXT,
    answer_messages,
    draft_message,
    help_message,
    literal,
    pieces,
    plain_message,
    transcript_address,
)
from app.slack_events import Delivery, is_allowed, question_of, words
from ingest.model import Source
from tests.slack_server import BOT_USER, fault
from tests.slack_workspace import event

HOSTILE = [
    "<!channel> look",
    "<@U0001>",
    "<#C0001|general>",
    "<https://evil.example.com|our site>",
    "https://evil.example.com",
    "@here :smile: *bold* _it_ ~no~ `code`",
    "&lt;!channel&gt;",
    "[1](https://evil.example.com)",
]


def citation(marker: int, quote: str = "We raised prices.", **fields: Any) -> Citation:
    source = Source("an interview", "a.txt", "An interview", "transcript", date="2024-05-01")
    usual: dict[str, Any] = {
        **{"speaker": "Jane Doe", "attribution": "stated", "start": 65.0, "end": 70.0, "timestamp": "1:05"},
        **{"locator": None, "url": "https://example.org/a#t=65", "passage_id": "p", "source": source},
        **{"turn": 12, "offset": 34},
    }
    return Citation(marker, quote, **{**usual, **fields})


def elements(part: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for element in part["elements"]:
        found += elements(element) if "elements" in element else [element]
    return found


def text_of(blocks: list[dict[str, Any]]) -> str:
    texts = [each.get("text", "") for block in blocks for each in elements(block)]
    return "".join(text if isinstance(text, str) else text["text"] for text in texts)


def check(messages: list[Any]) -> None:
    """What our server, which has Slack's limits, has against the messages."""
    for message in messages:
        assert fault({"text": message.text, "blocks": message.blocks}) is None


def test_a_citation_says_who_when_and_where() -> None:
    [message] = answer_messages(Answer("answered", "Jane did. [1]", "id", citations=(citation(1),)))
    text = text_of(message.blocks)
    assert "[1] Jane Doe · 1:05 · An interview · 2024-05-01" in text
    assert "“We raised prices.”" in text  # since the answer does not quote it
    links = [(each["text"], each["url"]) for block in message.blocks for each in elements(block) if "url" in each]
    assert links == [("[1]", "https://example.org/a#t=65"), ("1:05", "https://example.org/a#t=65")]
    check([message])


def test_words_that_the_answer_quotes_are_not_said_twice() -> None:
    [message] = answer_messages(Answer("answered", "“We raised prices.” [1]", "id", citations=(citation(1),)))
    assert text_of(message.blocks).count("We raised prices.") == 1


def test_a_source_without_a_recording_is_linked_to_its_transcript() -> None:
    found = citation(1, url=None)
    address = "https://record.example.org/sources/an%20interview#turn-12.34-51"
    assert transcript_address(found, "https://record.example.org/") == address
    [message] = answer_messages(Answer("answered", "Yes. [1]", "id", citations=(found,)), "https://record.example.org")
    assert [each["url"] for block in message.blocks for each in elements(block) if "url" in each] == [address] * 3


def test_without_an_address_there_are_no_links() -> None:
    [message] = answer_messages(Answer("answered", "Yes. [1]", "id", citations=(citation(1, url=None),)))
    assert not [each for block in message.blocks for each in elements(block) if "url" in each]


def test_a_refusal_shows_what_is_on_record_instead() -> None:
    near = citation(1, speaker="Ann", attribution="inferred", question="Why?", asked_by="Bob")
    [message] = answer_messages(Answer("no_answer", "These documents do not answer that.", "id", near_misses=(near,)))
    text = text_of(message.blocks)
    assert f"{INSTEAD}\n• Ann (inferred) · 1:05 · An interview" in text
    assert "asked by Bob: “Why?”" in text
    assert "“We raised prices.”" in text


def test_how_a_question_was_read_and_that_a_model_failed_are_said_quietly() -> None:
    reading = Reading("What did Jane Doe say about prices?", "Jane Doe")
    answer = Answer("answered", "Yes. [1]", "id", citations=(citation(1),), reading=reading, degraded="No model.")
    [message] = answer_messages(answer)
    quiet = [each["text"] for block in message.blocks if block["type"] == "context" for each in block["elements"]]
    assert quiet == ["Understood as: What did Jane Doe say about prices?", "No model."]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_markup_of_documents_and_models_is_text(hostile: str) -> None:
    source = Source("s", "s.txt", hostile, "transcript", date=hostile)
    bad = citation(1, hostile, speaker=hostile, timestamp=None, locator=hostile, url=None, source=source)
    near = citation(2, hostile, question=hostile, asked_by=hostile, speaker=hostile, source=source)
    answer = Answer(
        "no_answer", f"{hostile} [1]", "id", citations=(bad,), near_misses=(near,), degraded=hostile,
        reading=Reading(hostile),
    )  # fmt: skip
    messages = [*answer_messages(answer), draft_message([hostile], hostile, [bad], None), help_message([hostile])]
    for message in messages:
        for block in message.blocks:
            # rich_text and plain_text are the two in which nothing is markup
            assert block["type"] in ("rich_text", "context", "actions")
            for each in elements(block):
                assert each["type"] in ("text", "link", "plain_text", "button")
                assert each["type"] != "link" or each["url"] == "https://example.org/a#t=65"
                assert each["type"] != "plain_text" or each["emoji"] is False
        assert "<" not in message.text
        for active in ("@here", "@U0001", ":smile:", "*bold*", "https:", "evil.example"):
            assert active not in message.text
    check(messages)


def test_text_where_slack_parses_is_literal() -> None:
    assert literal("a < b & c > d") == "a &lt; b &amp; c &gt; d"
    assert literal("<!channel>").startswith("&lt;!channel")
    assert literal("*a*").replace("\u2060", "") == "*a*"


@given(st.text(alphabet=st.sampled_from("ab .\n[1]😀é"), max_size=400), st.integers(8, 60))
def test_pieces_hold_all_words_within_the_limit(text: str, most: int) -> None:
    cut = list(pieces(text, most))
    assert all(len(piece.encode("utf-16-le")) // 2 <= most for piece in cut)
    assert "".join("".join(cut).split()) == "".join(text.split())


def test_pieces_end_after_lines_markers_and_sentences() -> None:
    assert list(pieces("One is here.\nTwo is there.", 20)) == ["One is here.", "Two is there."]
    assert list(pieces("One is here [1] and two [2].", 20)) == ["One is here [1]", "and two [2]."]
    assert list(pieces("One is here. Two is there.", 20)) == ["One is here.", "Two is there."]


def test_a_long_answer_is_split_within_the_limits_of_slack() -> None:
    text = "\n".join(f"Jane said something of some length, which takes a line of its own. [{n}]" for n in range(1, 301))
    cited = tuple(citation(n, f"Quotation {n} " * 40) for n in range(1, 301))
    messages = answer_messages(Answer("answered", text, "id", citations=cited), "https://record.example.org")
    check(messages)
    assert len(messages) > 1
    assert all(len(message.blocks) <= MOST_BLOCKS for message in messages)
    whole = "".join(text_of(message.blocks) for message in messages)
    assert all(f"[{n}]" in whole and f"Quotation {n} " in whole for n in range(1, 301))
    assert sum(block["type"] == "actions" for message in messages for block in message.blocks) == 1


@given(st.text(max_size=5000), st.text(max_size=MOST_TEXT * 2), st.text(max_size=300), st.one_of(st.none(), st.text()))
def test_whatever_is_said_can_be_posted(text: str, quote: str, name: str, url: str | None) -> None:
    source = Source("s", "s.txt", name, "transcript")
    cited = citation(
        1, quote, speaker=name or None, locator=name, timestamp=None, url=url, source=source, question=quote
    )
    answer = Answer("answered", f"{text} [1]", "id", citations=(cited,), degraded=name or None)
    check(answer_messages(answer, "https://record.example.org", share="key", shared_by="U1"))
    check([draft_message([name], text, [cited], None), plain_message(text or "…")])


def test_words_of_a_message_are_read_as_people_read_them() -> None:
    said = "<@U0BOT> what did <@U0002|jane> say in <#C1|general> about <https://a.example/b|this> &amp; <!here>?"
    assert words(said, BOT_USER) == "what did jane say in general about this & @here?"
    assert words("<https://a.example/b>", None) == "https://a.example/b"


def delivery(kind: str, text: str, **fields: Any) -> Delivery:
    return Delivery.model_validate(event(kind, text, "1.0", channel="C1", user="U1", **fields))


def test_a_mention_and_the_message_that_holds_it_are_one_question() -> None:
    mention = question_of(delivery("app_mention", f"<@{BOT_USER}> why?"))
    message = question_of(delivery("message", f"<@{BOT_USER}> why?"))
    assert mention == message
    assert mention is not None
    assert (mention.text, mention.thread) == ("why?", "1.0")


@pytest.mark.parametrize(
    "fields",
    [{"bot_id": "B1"}, {"subtype": "message_changed"}, {"subtype": "bot_message"}, {"subtype": "channel_join"}],
    ids=str,
)
def test_what_nobody_wrote_is_no_question(fields: dict[str, str]) -> None:
    assert question_of(delivery("message", "why?", **fields)) is None


def test_where_questions_are_answered() -> None:
    anywhere, somewhere = Settings(), Settings(slack_teams=("T1",), slack_channels=("C1", "im"))
    assert is_allowed(anywhere, "C9", "T9", "T8")
    assert is_allowed(somewhere, "C1", "T1", None)
    assert is_allowed(somewhere, "D1", "T1")
    assert not is_allowed(somewhere, "C2", "T1")
    assert not is_allowed(somewhere, "C1", "T2")
    assert not is_allowed(somewhere, "C1", "T1", "T2")
