"""Answers that a model writes, over a real connection to a server that plays a script."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from app.answer import Answer, Answerer, Asked, Event, stream
from app.events import Cited, Passages, Token
from app.llm import open_model
from app.settings import Settings
from app.writing import MAX_REPAIRS, MAX_SENTENCES, Tally
from index.embed import Embedder
from index.search import Index
from tests.asking import answer
from tests.chat_server import ChatServer, Hang, Messages, Raw, Reply, Tear, refusal

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"
BEYKPOUR = "Kayvon Beykpour"


@pytest.fixture(scope="module")
def sample(sample_index: Path, embedder: Embedder) -> Iterator[Index]:
    index = Index.open(sample_index, embedder)
    yield index
    index.close()


def settings(server: ChatServer, **more: Any) -> Settings:
    quick: dict[str, Any] = {"llm_try_seconds": 5.0, "llm_total_seconds": 10.0, "llm_retries": 0}
    return Settings(openai_base_url=server.url, llm_model="scripted", **(quick | more))


def offered(messages: Messages) -> dict[int, str]:
    """The numbered sentences of a prompt."""
    return {int(n): text for n, text in re.findall(r"^\[(\d+)\] (.*)$", messages[1]["content"], re.MULTILINE)}


def said_by(name: str, messages: Messages, word: str) -> int:
    """The number of the first sentence that somebody says and that holds a word."""
    speaker = ""
    for line in messages[1]["content"].splitlines():
        if numbered := re.match(r"\[(\d+)\] (.*)", line):
            if speaker.startswith(name) and word in numbered[2]:
                return int(numbered[1])
        else:
            speaker = line
    raise AssertionError(f"{name} says nothing of {word}")


def reply(*sentences: tuple[str, list[int]], answered: bool = True) -> str:
    drafted = [{"cites": cites, "text": text} for text, cites in sentences]
    return json.dumps({"answered": answered, "sentences": drafted})


def about_okrs(*before: tuple[str, list[int]], text: str = f"{BEYKPOUR} warns of OKRs alone.") -> Callable[..., str]:
    """A model that answers rightly, after whatever else it says."""
    return lambda messages: reply(*before, (text, [said_by(BEYKPOUR, messages, "OKRs")]))


def events(index: Index, chosen: Settings, question: str, tallies: list[Tally] | None = None) -> list[Event]:
    async def collected() -> list[Event]:
        model = open_model(chosen, lambda outcome, seconds, usage: None)

        def count(given: Answer, tally: Tally | None) -> None:
            if tallies is not None and tally is not None:
                tallies.append(tally)

        try:
            async with aclosing(stream(index, Answerer(chosen, model, count=count), Asked(question))) as found:
                return [event async for event in found]
        finally:
            await model.close()

    return asyncio.run(collected())


def test_what_a_model_writes_is_cited_by_us(sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [about_okrs()]
    given = answer(sample, settings(chat_server), OKRS)
    assert (given.status, given.answerer, given.model, given.degraded) == ("answered", "llm", "scripted", None)
    assert given.answer == f"{BEYKPOUR} warns of OKRs alone. [1]"
    [citation] = given.citations
    assert (citation.speaker, citation.timestamp) == (BEYKPOUR, "49:14")
    assert "OKRs" in citation.quote
    assert given.usage is not None
    assert given.usage.completion_tokens > 0


def test_events_come_in_order_and_make_the_answer(sample: Index, chat_server: ChatServer) -> None:
    def model(messages: Messages) -> str:
        cited = said_by(BEYKPOUR, messages, "OKRs")
        return reply((f"{BEYKPOUR} warns of OKRs.", [cited]), ("OKRs alone are unhelpful, he says.", [cited]))

    chat_server.script = [model]
    found = events(sample, settings(chat_server), OKRS)
    assert isinstance(found[0], Passages)
    assert isinstance(found[-1], Answer)
    assert "".join(event.text for event in found if isinstance(event, Token)) == found[-1].answer
    assert [type(event) for event in found] == [Passages, Cited, Token, Token, Answer]
    assert found[-1].answer.count("[1]") == 2
    assert found[0].answer_id == found[-1].id


def test_ids_that_were_not_offered_are_dropped_and_counted(sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [
        lambda messages: reply((f"{BEYKPOUR} warns of OKRs.", [said_by(BEYKPOUR, messages, "OKRs"), 998, 999]))
    ]
    tallies: list[Tally] = []
    given = events(sample, settings(chat_server), OKRS, tallies)[-1]
    assert isinstance(given, Answer)
    assert [citation.marker for citation in given.citations] == [1]
    assert tallies[0].dropped_ids == 2


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Zaphod Quux warns of OKRs.", "Zaphod"),
        (f"{BEYKPOUR} warns of 37 OKRs.", "37"),
        (f"{BEYKPOUR} said “OKRs are a disease”.", "OKRs are a disease"),
        ("OKRs: see https://evil.example/x", "link"),
    ],
)
def test_a_sentence_that_fails_is_asked_for_once_more_with_the_reason(
    text: str, word: str, sample: Index, chat_server: ChatServer
) -> None:
    wrong = lambda messages: reply((text, [said_by(BEYKPOUR, messages, "OKRs")]))  # noqa: E731
    chat_server.script = [wrong, about_okrs()]
    tallies: list[Tally] = []
    given = events(sample, settings(chat_server), OKRS, tallies)[-1]
    assert isinstance(given, Answer)
    assert given.answer == f"{BEYKPOUR} warns of OKRs alone. [1]"
    assert word in chat_server.last.body["messages"][-1]["content"]
    assert (tallies[0].shown, tallies[0].repaired, tallies[0].removed) == (0, 1, 0)
    chat_server.script = [wrong, wrong]
    given = answer(sample, settings(chat_server), OKRS)
    assert (given.status, given.answerer) == ("answered", "quotes")
    assert given.degraded is not None
    assert "not borne out" in given.degraded
    assert text not in given.answer
    assert len(chat_server.requests) == 4


def test_a_mended_sentence_keeps_its_place(sample: Index, chat_server: ChatServer) -> None:
    def model(messages: Messages) -> str:
        cited = [said_by(BEYKPOUR, messages, "OKRs")]
        return reply(("Zaphod speaks of OKRs.", cited), (f"{BEYKPOUR} warns of OKRs alone.", cited))

    chat_server.script = [model, about_okrs(text=f"OKRs are what {BEYKPOUR} speaks of.")]
    given = answer(sample, settings(chat_server), OKRS)
    assert given.answer == f"OKRs are what {BEYKPOUR} speaks of. [1] {BEYKPOUR} warns of OKRs alone. [1]"


def test_one_persons_words_are_not_given_to_another(sample: Index, chat_server: ChatServer) -> None:
    wrong = lambda messages: reply(("Melissa Perri warns of OKRs.", [said_by(BEYKPOUR, messages, "OKRs")]))  # noqa: E731
    chat_server.script = [wrong, wrong]
    given = answer(sample, settings(chat_server), OKRS)
    assert given.answerer == "quotes"
    assert "Perri" not in given.answer


def test_repairs_and_sentences_are_bounded(sample: Index, chat_server: ChatServer) -> None:
    many = [(f"Zaphod says OKRs {n}.", [1]) for n in range(MAX_SENTENCES + 5)]
    chat_server.script = [lambda messages: reply(*many)]
    chat_server.otherwise = lambda messages: reply(answered=False)
    tallies: list[Tally] = []
    events(sample, settings(chat_server), OKRS, tallies)
    assert len(chat_server.requests) == 1 + MAX_REPAIRS
    assert tallies[0].removed == MAX_SENTENCES


def test_what_is_said_twice_is_shown_once(sample: Index, chat_server: ChatServer) -> None:
    def model(messages: Messages) -> str:
        cited = [said_by(BEYKPOUR, messages, "OKRs")]
        return reply(*[(f"{BEYKPOUR} warns of OKRs alone.", cited)] * 5)

    chat_server.script = [model]
    assert answer(sample, settings(chat_server), OKRS).answer == f"{BEYKPOUR} warns of OKRs alone. [1]"


@pytest.mark.parametrize(
    "said",
    [reply(answered=False), reply(("The passages do not mention that.", [])), '{"answered": false}', "I don't know."],
)
def test_no_answer(said: str, sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [lambda messages: said]
    found = events(sample, settings(chat_server), OKRS)
    given = found[-1]
    assert isinstance(given, Answer)
    assert (given.status, given.answerer, given.citations) == ("no_answer", "llm", ())
    assert given.near_misses
    assert "[1]" not in given.answer
    assert given.confidence < 0.5
    assert "".join(event.text for event in found if isinstance(event, Token)) == given.answer


@pytest.mark.parametrize(
    "wrapped",
    [
        "<think>Is it [3]? {}</think>\n{}",
        "I think of OKRs [3].\n</think>{}",
        "Here is the answer:\n```json\n{}\n```",
        "{}  ",
    ],
)
def test_thoughts_and_wrappings_are_left_out(wrapped: str, sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [lambda messages: wrapped.replace("{}", about_okrs()(messages))]
    assert answer(sample, settings(chat_server), OKRS).answer == f"{BEYKPOUR} warns of OKRs alone. [1]"


def test_plain_text_with_markers_will_do(sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [lambda messages: f"{BEYKPOUR} warns of OKRs. [{said_by(BEYKPOUR, messages, 'OKRs')}]"]
    given = answer(sample, settings(chat_server), OKRS)
    assert (given.answer, given.answerer) == (f"{BEYKPOUR} warns of OKRs. [1]", "llm")


def test_a_server_without_schemas(sample: Index, chat_server: ChatServer) -> None:
    chat_server.refuses = {"response_format": refusal(400, "response_format is not supported", param="response_format")}
    chat_server.script = [about_okrs()]
    assert answer(sample, settings(chat_server), OKRS).answerer == "llm"


TOO_LONG = refusal(400, "too long", code="context_length_exceeded")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (refusal(401, "bad key", code="invalid_api_key"), "key"),
        (refusal(404, "no such model", code="model_not_found"), "model"),
        (refusal(429, "slow down"), "no more requests"),
        (refusal(500, "oh dear"), "cannot be reached"),
        (TOO_LONG, "too long"),
        (Reply("{", finish="content_filter"), "refused"),
        (Reply(""), "nothing"),
        (Reply('{"answered": true, "sent', end="tear"), "broke off"),
        (Reply("{", end="hang"), "in time"),
        (Raw(200, "<html>", "text/html"), "no answer"),
        (Reply('{"answers": [17]}'), "no answer"),
        (Hang(), "in time"),
        (Tear(), "cannot be reached"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_every_trouble_ends_in_quotations(trouble: Any, words: str, sample: Index, chat_server: ChatServer) -> None:
    chat_server.otherwise = trouble
    given = answer(sample, settings(chat_server, llm_try_seconds=0.3, llm_total_seconds=1.0), OKRS)
    assert (given.status, given.answerer, given.model) == ("answered", "quotes", None)
    assert given.citations
    assert given.degraded is not None
    assert words in given.degraded


def test_what_was_checked_before_the_connection_was_lost_stands(sample: Index, chat_server: ChatServer) -> None:
    whole: list[str] = []
    chat_server.script = [lambda messages: whole.append(about_okrs()(messages)) or "{}"]
    answer(sample, settings(chat_server), OKRS)
    chat_server.script = [Reply([whole[0][:-2], ', {"cites": [1], "te'], end="tear")]
    given = answer(sample, settings(chat_server), OKRS)
    assert given.answer == f"{BEYKPOUR} warns of OKRs alone. [1]"
    assert given.answerer == "llm"
    assert given.degraded is not None
    assert "broke off" in given.degraded


def test_a_prompt_that_is_too_long_is_halved_once(sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [TOO_LONG, about_okrs()]
    assert answer(sample, settings(chat_server, llm_context_tokens=4096), OKRS).answerer == "llm"
    first, second = (offered(request.body["messages"]) for request in chat_server.requests)
    assert 0 < len(second) < len(first)


@pytest.mark.parametrize("question", ["What is the capital of France?", "What did Zaphod Quux say about OKRs?", "hm?"])
def test_where_nothing_is_found_no_model_is_asked(question: str, sample: Index, chat_server: ChatServer) -> None:
    given = answer(sample, settings(chat_server), question)
    assert (given.status, given.answerer, given.degraded) == ("no_answer", "quotes", None)
    assert not chat_server.requests


def test_leaving_early_ends_the_call(sample: Index, chat_server: ChatServer) -> None:
    chat_server.script = [Reply("{", end="hang")]
    chosen = settings(chat_server)

    async def left() -> None:
        model = open_model(chosen, lambda outcome, seconds, usage: None)
        async with aclosing(stream(sample, Answerer(chosen, model), Asked(OKRS))) as found:
            async for _ in found:
                while not chat_server.requests:
                    waiting = asyncio.ensure_future(anext(found))
                    await asyncio.wait([waiting], timeout=0.1)
                    waiting.cancel()
                    await asyncio.wait([waiting])
                break
        await model.close()

    asyncio.run(left())
    assert chat_server.last.gone.wait(5)


def test_the_key_stays_here(sample: Index, chat_server: ChatServer, capfd: pytest.CaptureFixture[str]) -> None:
    chat_server.script = [refusal(401, "Incorrect API key provided: sk-secret-123")]
    given = answer(sample, settings(chat_server, openai_api_key="sk-secret-123"), OKRS)
    assert chat_server.last.headers["authorization"] == "Bearer sk-secret-123"
    out, err = capfd.readouterr()
    assert "sk-secret-123" not in repr(given) + out + err


def test_a_real_model_however_badly_it_behaves(sample: Index, llama_server: str) -> None:
    chosen = Settings(
        openai_base_url=llama_server,
        llm_model="smollm2",
        llm_context_tokens=2048,
        llm_max_tokens=128,
        llm_try_seconds=60,
        llm_total_seconds=60,
    )
    found = events(sample, chosen, OKRS)
    given = found[-1]
    assert isinstance(given, Answer)
    assert "".join(event.text for event in found if isinstance(event, Token)) == given.answer
    assert {int(n) for n in re.findall(r"\[(\d+)\]", given.answer)} == {c.marker for c in given.citations}
    assert given.degraded is None or given.answerer == "quotes" or "missing" in given.degraded
