from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from structlog.testing import capture_logs

from app.errors import (
    ContentFilterError,
    ContextOverflowError,
    EmptyCompletionError,
    InvalidResponseError,
    KeyRefusedError,
    ModelBusyError,
    ModelError,
    ModelPausedError,
    ModelRequestError,
    ModelSettingError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitedError,
    TornStreamError,
    UnknownModelError,
)
from app.llm import Message, OpenAIModel, Usage, complete, model_error, open_model
from app.settings import Settings
from tests.chat_server import Behaviour, ChatServer, Hang, Raw, Reply, Tear, events, refusal

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

KEY = "sk-the-secret-key"
QUESTION = [Message("system", "Be brief."), Message("user", "What are ships built of?")]
SCHEMA = {
    "type": "object",
    "properties": {"material": {"type": "string", "enum": ["oak", "steel"]}},
    "required": ["material"],
    "additionalProperties": False,
}

Outcomes = list[tuple[str, float]]


def given(server: ChatServer | str, **others: Any) -> Settings:
    """Settings under which nothing takes long, unless `others` say so."""
    url = server if isinstance(server, str) else server.url
    quick = {"llm_model": "scripted", "llm_retries": 0, "llm_try_seconds": 5, "llm_total_seconds": 10}
    return Settings(**{"openai_base_url": url, "openai_api_key": KEY, **quick, **others})


@asynccontextmanager
async def opened(
    server: ChatServer | str, outcomes: Outcomes | None = None, *, pause_seconds: float = 30, **others: Any
) -> AsyncGenerator[OpenAIModel]:
    seen: Outcomes = [] if outcomes is None else outcomes
    model = open_model(
        given(server, **others), lambda word, seconds, usage: seen.append((word, seconds)), pause_seconds=pause_seconds
    )
    try:
        yield model
    finally:
        await model.close()


async def pieces_of(model: OpenAIModel, schema: dict[str, Any] | None = None) -> list[str | Usage]:
    async with aclosing(model.stream(QUESTION, schema)) as pieces:
        return [piece async for piece in pieces]


def asked(server: ChatServer | str, schema: dict[str, Any] | None = None, **others: Any) -> str:
    """One whole answer."""

    async def ask() -> str:
        async with opened(server, **others) as model:
            return await complete(model, QUESTION, schema)

    return asyncio.run(ask())


def failed(server: ChatServer | str, **others: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        asked(server, **others)
    return caught.value


def test_pieces_come_as_they_are_written_and_the_usage_last(chat_server: ChatServer) -> None:
    chat_server.script = [Reply(["Of ", "oak", "."])]
    outcomes: Outcomes = []

    async def ask() -> list[str | Usage]:
        async with opened(chat_server, outcomes) as model:
            assert model.name == "scripted"
            return await pieces_of(model)

    assert asyncio.run(ask()) == ["Of ", "oak", ".", Usage(2, 3)]
    [(word, seconds)] = outcomes
    assert word == "ok"
    assert seconds > 0
    [request] = chat_server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What are ships built of?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": 1024,
    }


def test_the_first_piece_does_not_wait_for_the_last(chat_server: ChatServer) -> None:
    chat_server.script = [Reply(["Of", " oak"], end="hang")]

    async def ask() -> str | Usage:
        async with opened(chat_server) as model, aclosing(model.stream(QUESTION)) as pieces:
            return await anext(pieces)

    assert asyncio.run(ask()) == "Of"


def test_a_schema_and_a_length_are_passed_on(chat_server: ChatServer) -> None:
    chat_server.script = [Reply('{"material": "oak"}')]

    async def ask() -> str:
        async with opened(chat_server) as model:
            return await complete(model, QUESTION, SCHEMA, max_tokens=64)

    assert json.loads(asyncio.run(ask())) == {"material": "oak"}
    assert chat_server.last.body["max_tokens"] == 64
    assert chat_server.last.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }


def test_thoughts_are_not_given_out(chat_server: ChatServer) -> None:
    chat_server.script = [Reply(["Of oak."], thoughts=["Ships, ", "hm."])]
    assert asked(chat_server) == "Of oak."


def test_what_was_written_stands_where_the_length_ended_it(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of oa", finish="length")]
    assert asked(chat_server) == "Of oa"


def test_a_server_may_want_no_key_and_tell_no_usage(chat_server: ChatServer) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Oak."}, "finish_reason": "stop"}], "usage": {}}
    chat_server.script = [events(json.dumps(chunk), "[DONE]")]

    async def ask() -> list[str | Usage]:
        async with opened(chat_server, openai_api_key=None) as model:
            return await pieces_of(model)

    assert asyncio.run(ask()) == ["Oak."]


def test_the_text_stands_where_only_what_follows_it_is_lost(chat_server: ChatServer) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Oak."}, "finish_reason": "stop"}]}
    chat_server.script = [events(json.dumps(chunk), "{torn")]
    assert asked(chat_server) == "Oak."


def chunk(**choice: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "finish_reason": None, "delta": {}, **choice}]})


BEGUN = chunk(delta={"content": "Of"})
HTML = "<html><body>Bad gateway</body></html>"
OUTCOMES: list[tuple[type[ModelError], Behaviour]] = [
    (KeyRefusedError, refusal(401, "Incorrect API key provided", code="invalid_api_key")),
    (KeyRefusedError, refusal(403, "Country not supported")),
    (UnknownModelError, refusal(404, "The model does not exist", code="model_not_found")),
    (UnknownModelError, refusal(403, "Project has no access to the model", code="model_not_found")),
    (UnknownModelError, Raw(404, HTML, "text/html")),
    (ContextOverflowError, refusal(400, "Please reduce the length", code="context_length_exceeded", param="messages")),
    (
        ContextOverflowError,
        Raw(
            400,
            '{"error":{"code":400,"message":"request (6031 tokens) exceeds the available context size (4096 tokens), '
            'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":6031,"n_ctx":4096}}',
        ),
    ),
    (
        ContextOverflowError,
        Raw(
            400,
            '{"object":"error","message":"\'max_tokens\' or \'max_completion_tokens\' is too large: 5000. This model\'s'
            ' maximum context length is 4096 tokens and your request has 20 input tokens","code":400}',
        ),
    ),
    (ContextOverflowError, refusal(400, "prompt is too long: 208310 tokens > 200000 maximum")),
    (ContextOverflowError, Raw(413, HTML, "text/html")),
    (ContextOverflowError, events(BEGUN, '{"error": {"message": "context window exceeded", "code": 400}}')),
    (ContentFilterError, refusal(400, "The prompt was filtered", code="content_filter")),
    (ContentFilterError, Reply("Of oak", finish="content_filter")),
    (ContentFilterError, Reply((), refusal="I cannot help with that.")),
    (EmptyCompletionError, Reply(())),
    (EmptyCompletionError, Reply([" ", "\n"])),
    (EmptyCompletionError, Reply((), thoughts=["Hm."], finish="length")),
    (TornStreamError, Reply("Of oak", end="tear")),
    (TornStreamError, Reply("Of oak", finish=None)),
    (TornStreamError, events()),
    (InvalidResponseError, Raw(200, HTML, "text/html")),
    (InvalidResponseError, Raw(200, '{"answer": "oak"}')),
    (InvalidResponseError, events(BEGUN, "{broken")),
    (InvalidResponseError, events(BEGUN, "5")),
    (InvalidResponseError, events('{"answer": "oak"}')),
    (InvalidResponseError, events('{"choices": [{"delta": {"content": 5}}]}')),
    (InvalidResponseError, events('{"choices": null}')),
    (ModelTimeoutError, Hang()),
    (ModelTimeoutError, Reply("Of oak", end="hang")),
    (ModelTimeoutError, refusal(408, "Timed out")),
    (RateLimitedError, refusal(429, "Slow down", code="rate_limit_exceeded")),
    (RateLimitedError, refusal(429, "You exceeded your current quota", code="insufficient_quota")),
    (RateLimitedError, events(BEGUN, '{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}')),
    (ModelUnavailableError, refusal(500, "Oops")),
    (ModelUnavailableError, Raw(502, HTML, "text/html")),
    (ModelUnavailableError, refusal(503, "Loading model")),
    (ModelUnavailableError, Tear()),
    (ModelUnavailableError, events(BEGUN, '{"error": {"message": "Provider disconnected", "code": 502}}')),
    (ModelUnavailableError, events(BEGUN, '{"error": {"message": "The server had an error", "type": "server_error"}}')),
    (ModelRequestError, refusal(400, "messages: must alternate", param="messages")),
    (ModelRequestError, Raw(422, '{"detail": [{"loc": ["body", "messages"], "msg": "too few"}]}')),
    (ModelRequestError, refusal(402, "Pay first")),
    (ModelRequestError, refusal(418, "Teapot")),
]


@pytest.mark.parametrize(("kind", "behaviour"), OUTCOMES, ids=lambda value: getattr(value, "__name__", None))
def test_each_way_to_fail_has_its_error(chat_server: ChatServer, kind: type[ModelError], behaviour: Behaviour) -> None:
    chat_server.script = [behaviour]
    outcomes: Outcomes = []
    with capture_logs() as logs:
        error = failed(chat_server, outcomes=outcomes, llm_try_seconds=0.3 if kind is ModelTimeoutError else 5)
    assert type(error) is kind
    assert [word for word, _ in outcomes] == [kind.kind]
    [line] = logs
    host = chat_server.url.removeprefix("http://").removesuffix("/v1")
    assert (line["log_level"], line["kind"], line["model"], line["host"]) == ("warning", kind.kind, "scripted", host)
    assert line["status"] == error.status
    if isinstance(behaviour, Raw) and behaviour.status >= 400:
        assert error.status == behaviour.status
    assert len(chat_server.requests) == 1


def test_what_came_before_a_stream_was_torn_is_given_out(chat_server: ChatServer) -> None:
    chat_server.script = [Reply(["Of", " oak"], end="tear")]
    came: list[str | Usage] = []

    async def ask() -> None:
        async with opened(chat_server) as model, aclosing(model.stream(QUESTION)) as pieces:
            async for piece in pieces:
                came.append(piece)

    with pytest.raises(TornStreamError):
        asyncio.run(ask())
    assert came == ["Of", " oak"]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with ChatServer() as gone:
        url = gone.url
    error = failed(url)
    assert (type(error), error.status) == (ModelUnavailableError, None)


def test_every_error_has_a_kind_and_a_reason_of_its_own() -> None:
    kinds = ModelError.__subclasses__()
    assert len({kind.kind for kind in kinds}) == len({kind.reason for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert str(kind()) == kind.reason
        assert kind.reason.startswith("The ")
        assert kind.reason.endswith(".")
    assert {kind for kind in kinds if kind.retryable} == {
        ModelTimeoutError,
        ModelUnavailableError,
        RateLimitedError,
        TornStreamError,
        ModelPausedError,
        ModelBusyError,
    }


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def made(kind: type[Any]) -> openai.OpenAIError:
    """An error of the client's, as it would be raised."""
    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions", headers={"Authorization": f"Bearer {KEY}"})
    if issubclass(kind, openai.OAuthError):
        return kind(response=httpx2.Response(401, request=request), body=None)
    if issubclass(kind, openai.APIStatusError):
        status = vars(kind).get("status_code", 500)
        return kind("no", response=httpx2.Response(status, request=request), body=None)
    if issubclass(kind, openai.APITimeoutError | openai.APIConnectionError):
        return kind(request=request)
    if issubclass(kind, openai.APIResponseValidationError):
        return kind(httpx2.Response(200, request=request), None)
    if issubclass(kind, openai.APIError):
        return kind("no", request, body=None)
    return kind.__new__(kind)


def test_no_error_of_the_client_is_missed() -> None:
    public = [each for each in subclasses(openai.OpenAIError) if each.__name__ in openai.__all__]
    found = {each.__name__: type(model_error(made(each), begun=False)) for each in public}
    assert found == {
        "APIConnectionError": ModelUnavailableError,
        "APIError": ModelUnavailableError,
        "APIResponseValidationError": InvalidResponseError,
        "APIStatusError": ModelUnavailableError,
        "APITimeoutError": ModelTimeoutError,
        "AuthenticationError": KeyRefusedError,
        "BadRequestError": ModelRequestError,
        "ConflictError": ModelRequestError,
        "ContentFilterFinishReasonError": ContentFilterError,
        "InternalServerError": ModelUnavailableError,
        "LengthFinishReasonError": ModelRequestError,
        "NotFoundError": UnknownModelError,
        "OAuthError": KeyRefusedError,
        "PermissionDeniedError": KeyRefusedError,
        "RateLimitError": RateLimitedError,
        "UnprocessableEntityError": ModelRequestError,
        "WebSocketConnectionClosedError": ModelRequestError,
        "WebSocketQueueFullError": ModelRequestError,
    }
    for each in subclasses(openai.OpenAIError):
        assert isinstance(model_error(made(each), begun=True), ModelError)


@pytest.mark.parametrize(
    "trouble",
    [refusal(429, "Slow down", retry_after="0.01"), refusal(503, "Loading", retry_after_ms="10"), Tear()],
    ids=["429", "503", "torn"],
)
def test_a_call_that_has_not_begun_is_tried_again(chat_server: ChatServer, trouble: Behaviour) -> None:
    chat_server.script = [trouble, Reply("Of oak.")]
    assert asked(chat_server, llm_retries=1) == "Of oak."
    assert len(chat_server.requests) == 2


def test_a_call_that_has_begun_is_not(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of", end="tear"), Reply("Of oak.")]
    assert isinstance(failed(chat_server, llm_retries=2), TornStreamError)
    assert len(chat_server.requests) == 1


def test_tries_come_to_an_end(chat_server: ChatServer) -> None:
    chat_server.otherwise = refusal(429, "Slow down", retry_after="0.01")
    assert isinstance(failed(chat_server, llm_retries=2), RateLimitedError)
    assert len(chat_server.requests) == 3


@pytest.mark.parametrize("after", ["100", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_wait_that_outlasts_the_call_is_not_begun(chat_server: ChatServer, after: str) -> None:
    chat_server.otherwise = refusal(429, "Slow down", retry_after=after)
    began = time.monotonic()
    assert isinstance(failed(chat_server, llm_retries=2, llm_total_seconds=60), RateLimitedError)
    assert time.monotonic() - began < 30
    assert len(chat_server.requests) == 1


def test_all_tries_and_the_stream_share_one_budget(chat_server: ChatServer) -> None:
    chat_server.otherwise = Hang()
    began = time.monotonic()
    error = failed(chat_server, llm_retries=10, llm_try_seconds=0.2, llm_total_seconds=0.8)
    assert isinstance(error, ModelTimeoutError)
    chat_server.otherwise = Reply("Oak. " * 1000, seconds=0.05)
    error = failed(chat_server, llm_try_seconds=5, llm_total_seconds=0.5)
    assert isinstance(error, ModelTimeoutError)
    assert time.monotonic() - began < 10
    assert chat_server.last.gone.wait(10)


def test_a_call_may_stand_in_a_budget_of_the_callers(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of oak.", seconds=0.01), Reply("Of", end="hang"), Reply("Of oak.")]
    outcomes: Outcomes = []

    async def ask() -> None:
        async with opened(chat_server, outcomes) as model:
            async with asyncio.timeout(5):
                assert await complete(model, QUESTION) == "Of oak."
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await complete(model, QUESTION)
            assert await complete(model, QUESTION) == "Of oak."

    asyncio.run(ask())
    assert [word for word, _ in outcomes] == ["ok", "cancelled", "ok"]
    assert chat_server.requests[1].gone.wait(10)


def test_a_time_limit_never_cancels_what_the_caller_does_between_pieces(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of oak", end="hang")]

    async def ask() -> str:
        text = ""
        async with opened(chat_server, llm_total_seconds=0.5) as model, aclosing(model.stream(QUESTION)) as pieces:
            text = str(await anext(pieces))
            await asyncio.sleep(0.7)
            with pytest.raises(ModelTimeoutError):
                async for piece in pieces:
                    text += str(piece)
        return text

    assert "Of oak".startswith(asyncio.run(ask()))


def test_closing_ends_the_call_at_the_server(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of", end="hang")]
    outcomes: Outcomes = []

    async def ask() -> None:
        async with opened(chat_server, outcomes) as model:
            async with aclosing(model.stream(QUESTION)) as pieces:
                async for _ in pieces:
                    break
            assert await asyncio.to_thread(chat_server.last.gone.wait, 10)

    asyncio.run(ask())
    assert [word for word, _ in outcomes] == ["cancelled"]


@pytest.mark.parametrize("behaviour", [Hang(), Reply("Of", end="hang")], ids=["before", "amid"])
def test_cancelling_ends_the_call_at_the_server(chat_server: ChatServer, behaviour: Behaviour) -> None:
    chat_server.script = [behaviour]

    async def ask() -> None:
        async with opened(chat_server) as model:
            asking = asyncio.create_task(complete(model, QUESTION))
            while not chat_server.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(chat_server.last.gone.wait, 10)

    asyncio.run(ask())


def test_no_more_calls_run_at_once_than_are_allowed(chat_server: ChatServer) -> None:
    chat_server.otherwise = Reply(["Of", " oak"], seconds=0.01)
    chat_server.script = [Reply("Of", end="hang")]
    outcomes: Outcomes = []

    async def ask() -> None:
        async with opened(chat_server, outcomes, llm_concurrency=1, llm_try_seconds=1) as model:
            async with aclosing(model.stream(QUESTION)) as first:
                await anext(first)
                with pytest.raises(ModelBusyError):
                    await complete(model, QUESTION)
                assert len(chat_server.requests) == 1
            # The slot is free again, and passed on from one to the next.
            assert await asyncio.gather(*(complete(model, QUESTION) for _ in range(3))) == ["Of oak"] * 3

    asyncio.run(ask())
    assert [word for word, _ in outcomes] == ["busy", "cancelled", "ok", "ok", "ok"]


async def tell(model: OpenAIModel, times: int) -> list[str]:
    """What becomes of so many calls in a row."""
    kinds: list[str] = []
    for _ in range(times):
        try:
            await complete(model, QUESTION)
            kinds.append("ok")
        except ModelError as error:
            kinds.append(error.kind)
    return kinds


def test_a_model_that_fails_too_often_is_left_alone_for_a_while(chat_server: ChatServer) -> None:
    chat_server.script = [refusal(500, "Oops")] * 6
    chat_server.otherwise = Reply("Of oak.")

    async def ask() -> None:
        async with opened(chat_server, pause_seconds=0.3) as model:
            assert await tell(model, 7) == ["unavailable"] * 5 + ["paused"] * 2
            assert len(chat_server.requests) == 5
            await asyncio.sleep(0.4)
            assert await tell(model, 2) == ["unavailable", "paused"]  # one more failure is enough
            await asyncio.sleep(0.4)
            assert await tell(model, 2) == ["ok", "ok"]

    asyncio.run(ask())


@pytest.mark.parametrize("between", [Reply("Of oak."), refusal(400, "No"), Reply(())], ids=["ok", "refused", "empty"])
def test_only_failures_of_the_server_in_a_row_count(chat_server: ChatServer, between: Behaviour) -> None:
    trouble: Sequence[Behaviour] = [refusal(500, "Oops"), refusal(429, "No"), Tear(), Reply("Of", end="tear")]
    chat_server.script = [*trouble, between, *trouble]
    chat_server.otherwise = Reply("Of oak.")

    async def ask() -> list[str]:
        async with opened(chat_server) as model:
            return await tell(model, 10)

    kinds = asyncio.run(ask())
    assert kinds[:4] == kinds[5:9] == ["unavailable", "rate limited", "unavailable", "torn"]
    assert kinds[9] == "ok"


def test_a_caller_that_goes_away_is_no_failure_and_no_success(chat_server: ChatServer) -> None:
    chat_server.script = [refusal(500, "Oops")] * 4
    chat_server.otherwise = Hang()

    async def ask() -> list[str]:
        async with opened(chat_server) as model:
            await tell(model, 4)
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await complete(model, QUESTION)
            chat_server.otherwise = refusal(500, "Oops")
            return await tell(model, 2)

    assert asyncio.run(ask()) == ["unavailable", "paused"]


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("response_format", refusal(400, "Invalid parameter", param="response_format")),
        ("response_format", refusal(400, "This model does not support json_schema")),
        ("response_format", refusal(400, "Failed to parse grammar")),
        ("temperature", refusal(400, "Unsupported value: 'temperature' does not support 0 with this model.")),
        ("stream_options", Raw(422, '{"detail": [{"loc": ["body", "stream_options"], "msg": "extra forbidden"}]}')),
        ("max_tokens", refusal(400, "Use 'max_completion_tokens' instead.", param="max_tokens")),
        ("max_tokens", Raw(400, "'max_tokens' is not supported: use 'max_completion_tokens'", "text/plain")),
    ],
)
def test_a_parameter_that_the_server_refuses_is_left_out_from_then_on(
    chat_server: ChatServer, parameter: str, refused: Raw
) -> None:
    chat_server.refuses = {parameter: refused}
    chat_server.otherwise = Reply("Of oak.")

    async def ask() -> None:
        async with opened(chat_server) as model:
            for _ in range(2):
                assert await complete(model, QUESTION, SCHEMA) == "Of oak."

    with capture_logs() as logs:
        asyncio.run(ask())
    [line] = logs
    assert line["parameter"] == parameter
    first, *others = [request.body for request in chat_server.requests]
    assert len(others) == 2
    for body in others:
        instead = {"max_completion_tokens"} if parameter == "max_tokens" else set[str]()
        assert body.keys() == first.keys() - {parameter} | instead


def test_several_parameters_may_be_refused(chat_server: ChatServer) -> None:
    names = ["max_tokens", "max_completion_tokens", "temperature", "stream_options", "response_format"]
    chat_server.refuses = {name: refusal(400, "Unknown parameter", param=name) for name in names}
    chat_server.otherwise = Reply("Of oak.")
    assert asked(chat_server, SCHEMA) == "Of oak."
    assert chat_server.last.body.keys() == {"model", "messages", "stream"}


def test_a_parameter_stays_where_something_else_was_wrong(chat_server: ChatServer) -> None:
    chat_server.script = [refusal(400, "Cannot read: what temperature does oak burn at?")] * 2 + [Reply("Of oak.")]

    async def ask() -> None:
        async with opened(chat_server) as model:
            with pytest.raises(ModelRequestError):
                await complete(model, QUESTION)
            await complete(model, QUESTION)

    asyncio.run(ask())
    assert chat_server.last.body["temperature"] == 0


SECRETS = (KEY, "the-user", "the-password")
ECHO = f"key {KEY} of the-user with the-password, asked: {QUESTION[1].content}"


@pytest.mark.parametrize("address", ["", "the-user:the-password@"], ids=["plain", "credentials"])
@pytest.mark.parametrize(
    "behaviour",
    [
        refusal(401, f"Incorrect API key: {ECHO}", code=ECHO, param=ECHO),
        refusal(400, ECHO),
        refusal(429, ECHO, x_request_id=ECHO),
        Raw(500, f"<html>{ECHO}</html>", "text/html"),
        Raw(200, f"<html>{ECHO}</html>", "text/html"),
        events(f'{{"choices": "{ECHO}"}}'),
        events(json.dumps({"error": {"message": ECHO}})),
        events(f"{{{ECHO}"),
        Hang(),
        Tear(),
        Reply("Of", end="tear"),
        Reply("Of oak."),
    ],
    ids=lambda behaviour: type(behaviour).__name__,
)
def test_no_secret_and_no_question_is_ever_told(
    chat_server: ChatServer,
    address: str,
    behaviour: Behaviour,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    chat_server.script = [behaviour]
    url = chat_server.url.replace("http://", f"http://{address}")
    told: list[str] = []
    try:
        asked(url, llm_try_seconds=0.3 if isinstance(behaviour, Hang) else 5)
    except ModelError as error:
        told = [str(error), repr(error), *map(str, vars(error).values()), *traceback.format_exception(error)]
    told += [caplog.text, *capfd.readouterr()]
    assert "no answer from the model" in "".join(told) or isinstance(behaviour, Reply)
    for secret in (*SECRETS, QUESTION[1].content):
        assert secret not in "".join(told)
    sent = chat_server.last.headers["authorization"]
    assert sent.startswith("Basic ") if address else sent == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000/v1",
        "the-password",
        "//the-password/v1",
        "ftp://the-password/v1",
        "http://",
        "http://[::1",
        "http://the password/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1/v1?key=the-password",
        "http://\x00",
    ],
)
def test_an_address_that_is_none_is_an_error_that_names_the_variable(address: str) -> None:
    with pytest.raises(ModelSettingError, match="OPENAI_BASE_URL") as caught:
        open_model(given(address), lambda *_: None)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-the\nsecret", "sk-the-sécret", "sk-the\x00secret"])
def test_a_key_that_cannot_be_sent_is_an_error_that_names_the_variable(key: str) -> None:
    with pytest.raises(ModelSettingError, match="OPENAI_API_KEY") as caught:
        open_model(given("http://127.0.0.1/v1", openai_api_key=key), lambda *_: None)
    assert "cret" not in str(caught.value)


def test_a_key_from_a_file_may_end_in_a_line_break(chat_server: ChatServer) -> None:
    chat_server.script = [Reply("Of oak.")]
    assert asked(chat_server, openai_api_key=f"{KEY}\n") == "Of oak."
    assert chat_server.last.headers["authorization"] == f"Bearer {KEY}"


def test_the_client_is_loaded_only_when_a_model_is_opened() -> None:
    script = "import sys, app.llm; sys.exit('openai' in sys.modules or 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_a_scripted_answer_can_be_made_of_the_question(chat_server: ChatServer) -> None:
    chat_server.otherwise = lambda messages: messages[-1]["content"].upper()
    assert asked(chat_server) == "WHAT ARE SHIPS BUILT OF?"


def test_a_real_server_streams(llama_server: str) -> None:
    async def ask() -> list[str | Usage]:
        async with opened(llama_server, llm_try_seconds=60, llm_total_seconds=60, llm_max_tokens=64) as model:
            return await pieces_of(model)

    *pieces, usage = asyncio.run(ask())
    assert isinstance(usage, Usage)
    assert usage.prompt_tokens > 10
    assert 1 < len(pieces) <= usage.completion_tokens <= 64
    assert len("".join(map(str, pieces)).split()) > 1


def test_a_real_server_honours_a_schema(llama_server: str) -> None:
    answer = asked(llama_server, SCHEMA, llm_try_seconds=60, llm_total_seconds=60)
    assert json.loads(answer)["material"] in ("oak", "steel")


def test_a_real_server_says_that_messages_are_too_long(llama_server: str) -> None:
    async def ask() -> None:
        async with opened(llama_server, llm_try_seconds=60, llm_total_seconds=60) as model:
            await complete(model, [Message("user", "oak " * 10_000)])

    with pytest.raises(ContextOverflowError):
        asyncio.run(ask())
