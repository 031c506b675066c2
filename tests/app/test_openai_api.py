"""The OpenAI-compatible route, asked by OpenAI's own client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import ChatServer, Messages
from tests.serving import served

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"


@pytest.fixture(scope="module")
def url(sample_index: Path, embedder: Embedder) -> Iterator[str]:
    with served(create_app(Settings(index_dir=sample_index), embedder)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": text}


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["onrecord"]
    assert client.models.retrieve("onrecord").owned_by == "onrecord"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-4.1")


def test_a_completion_ends_in_its_sources(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="onrecord", messages=[user(OKRS)])
    choice = completion.choices[0]
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    text, _, listed = (choice.message.content or "").partition("\n\nSources:\n")
    extra: Any = completion.model_extra
    citations = extra["citations"]
    assert listed.splitlines()[0] == "[1] Kayvon Beykpour · 49:14 · Kayvon Beykpour: insights by skill"
    assert len(listed.splitlines()) == len(citations) == len(set(re.findall(r"\[\d+\]", text)))
    assert citations[0]["timestamp"] == "49:14"
    assert extra["onrecord"]["answer"] == text
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="onrecord", messages=[user(OKRS)])
    options: Any = {"include_usage": True}
    with client.chat.completions.create(
        model="onrecord", messages=[user(OKRS)], stream=True, stream_options=options
    ) as stream:
        chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "stop"
    extra, expected = last.model_extra, whole.model_extra
    assert extra is not None
    assert expected is not None
    assert extra["citations"] == expected["citations"]
    assert (usage.choices, usage.usage is not None) == ([], True)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_what_cannot_be_answered_has_no_sources(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="onrecord", messages=[user("What is the capital of France?")])
    extra: Any = completion.model_extra
    assert "Sources:" not in (completion.choices[0].message.content or "")
    assert (extra["citations"], extra["onrecord"]["status"]) == ([], "no_answer")


def test_earlier_messages_are_the_conversation(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Be brief."},
        user(OKRS),
        {"role": "assistant", "content": "Kayvon Beykpour, in his insights: “If the only way …” [1]"},
        user("and what did he say about jobs-to-be-done?"),
    ]
    completion = client.chat.completions.create(model="onrecord", messages=messages)
    extra: Any = completion.model_extra
    assert "Kayvon Beykpour" in extra["onrecord"]["reading"]["question"]
    assert "jobs-to-be-done" in extra["citations"][0]["quote"]
    assert {citation["speaker"] for citation in extra["citations"]} == {"Kayvon Beykpour"}


def test_parts_of_text_and_filters(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "What is a good"}, {"type": "text", "text": "product?"}]
    completion = client.chat.completions.create(
        model="onrecord", messages=[{"role": "user", "content": parts}], extra_body={"speaker": "Beykpour", "top_k": 3}
    )
    extra: Any = completion.model_extra
    assert {citation["speaker"] for citation in extra["citations"]} <= {"Kayvon Beykpour"}


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.2, "top_p": 0.9, "max_tokens": 5, "seed": 7, "stop": ["x"], "user": "u", "n": 1},
        {"presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"1": 2}, "metadata": {"a": "b"}},
        {"response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "logprobs": False},
        {"max_completion_tokens": 9, "reasoning_effort": "low", "store": False, "parallel_tool_calls": True},
    ],
)
def test_what_only_tunes_a_model_is_ignored(client: openai.OpenAI, more: dict[str, Any]) -> None:
    completion = client.chat.completions.create(model="onrecord", messages=[user(OKRS)], extra_body=more)
    assert "[1]" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"n": 2}, "n", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "invalid_value"),
        ({"response_format": {"type": "json_object"}}, "response_format", "invalid_value"),
        ({"logprobs": True}, "logprobs", "invalid_value"),
        ({"frobnicate": 1}, "frobnicate", "unknown_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [[]] * 201}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": [[]] * 201}]}, "messages.0.content", "invalid_value"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages.0.content", "string_above_max_length"),
        ({"speaker": "Zaphod"}, "speaker", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ],
)
def test_what_would_be_another_answer_is_refused(
    client: openai.OpenAI, more: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="onrecord", messages=[user(OKRS)], extra_body=more)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.response.headers["content-type"] == "application/problem+json"
    problem = refused.value.response.json()
    assert (problem["status"], problem["detail"]) == (400, problem["error"]["message"])


def test_an_unknown_model_and_an_image_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-4.1", messages=[user(OKRS)])
    assert refused.value.code == "model_not_found"
    image: Any = [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="onrecord", messages=[{"role": "user", "content": image}])


def test_without_an_index(tmp_path: Path, embedder: Embedder) -> None:
    with (
        served(create_app(Settings(index_dir=tmp_path), embedder)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as refused,
    ):
        client.chat.completions.create(model="onrecord", messages=[user(OKRS)], stream=True)
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"]


def test_with_a_model_the_sources_hold_the_words(
    sample_index: Path, embedder: Embedder, chat_server: ChatServer
) -> None:
    def model(messages: Messages) -> str:
        numbers = re.findall(r"^\[(\d+)\] If the only way", messages[1]["content"], re.MULTILINE)
        drafts = [{"cites": [int(numbers[0])], "text": "Kayvon Beykpour warns of OKRs."}]
        return json.dumps({"answered": True, "sentences": drafts})

    chat_server.otherwise = model
    settings = Settings(index_dir=sample_index, openai_base_url=chat_server.url, llm_model="scripted")
    with (
        served(create_app(settings, embedder)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        style: ChatCompletionMessageParam = {"role": "system", "content": "Answer like a pirate."}
        completion = client.chat.completions.create(model="onrecord", messages=[style, user(OKRS)])
    text = completion.choices[0].message.content or ""
    assert text.startswith("Kayvon Beykpour warns of OKRs. [1]\n\nSources:\n[1] “If the only way")
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0
    assert "like a pirate" in chat_server.last.body["messages"][1]["content"]
