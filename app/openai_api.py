"""The OpenAI-compatible route: chat completions in, `answer()` behind, its citations in the text and beside it.

The shapes are those of https://platform.openai.com/docs/api-reference/chat. What would change the answer and is not
served is refused; what would only tune a model is ignored.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints
from sse_starlette import ServerSentEvent

from app.access import caller_of
from app.answer import Answer, Answerer, Asked, Event, answer
from app.citations import Citation
from app.errors import UnknownFilterError
from app.events import Cited, Passages, Token
from app.live import LiveIndex
from app.markup import inert
from app.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Problem, openai_error, problem_responses
from app.schemas import MAX_TEXT, AskResponse, Body, CitationOut, Name, TopK, whole
from app.streaming import described_stream, event_stream, events_of, sent, unless_gone
from index.errors import NoSnapshotError

MODEL = "onrecord"
MAX_MESSAGES = 200
MAX_INSTRUCTIONS = 2000
BROKE_OFF = "Something went wrong here; the server's log has the details."

_log = structlog.get_logger()

Text = Annotated[str, StringConstraints(max_length=100_000)]


class _TextPart(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: Text


def _few(entries: object) -> object:
    """The entries, unless there are more than are ever taken: to find fault with each would keep others waiting."""
    if isinstance(entries, list) and len(cast(list[object], entries)) > MAX_MESSAGES:
        raise ValueError(f"has more than {MAX_MESSAGES} entries")
    return cast(object, entries)


def _joined(content: str | list[_TextPart] | None) -> str | list[_TextPart] | None:
    return "\n".join(part.text for part in content) if isinstance(content, list) else content


class ChatMessage(BaseModel):
    """A message; content is text, or parts that are all text."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text | list[_TextPart] | None, BeforeValidator(_few), AfterValidator(_joined)] = None

    @property
    def text(self) -> str:
        """The content; empty where there is none."""
        return self.content if isinstance(self.content, str) else ""


class StreamOptions(BaseModel):
    """What a stream may hold besides."""

    model_config = ConfigDict(extra="ignore", strict=True)

    include_usage: bool = False


_NOTHING: list[JsonValue] = [None, False, 0, [], {}, "none", {"type": "text"}]


def _unserved(value: object) -> object:
    if value not in _NOTHING:
        raise ValueError("is not supported here")
    return None


_Unserved = Annotated[Any, BeforeValidator(_unserved), Field(json_schema_extra={"enum": _NOTHING})]
_Ignored = Annotated[Any, Field(description="ignored")]
_Count = Annotated[int, Field(ge=1), BeforeValidator(whole)]


class ChatRequest(Body):
    """A chat completion request; `speaker`, `source` and `top_k` limit it as they do in `/v1/ask`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(json_schema_extra={"enum": [MODEL]})]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES), BeforeValidator(_few)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[Annotated[int, Field(ge=1, le=1), BeforeValidator(whole)] | None, Field(description="one choice")] = 1
    speaker: Name | None = None
    source: Name | None = None
    top_k: TopK = 8

    temperature: Annotated[float | None, Field(ge=0, le=2, description="ignored")] = None
    top_p: Annotated[float | None, Field(ge=0, le=1, description="ignored")] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2, description="ignored")] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2, description="ignored")] = None
    max_tokens: Annotated[_Count | None, Field(description="ignored")] = None
    max_completion_tokens: Annotated[_Count | None, Field(description="ignored")] = None
    stop: _Ignored = None
    seed: _Ignored = None
    user: _Ignored = None
    metadata: _Ignored = None
    store: _Ignored = None
    logit_bias: _Ignored = None
    service_tier: _Ignored = None
    reasoning_effort: _Ignored = None
    verbosity: _Ignored = None
    safety_identifier: _Ignored = None
    prompt_cache_key: _Ignored = None
    parallel_tool_calls: _Ignored = None
    top_logprobs: _Unserved = None
    logprobs: _Unserved = None
    response_format: _Unserved = None
    tools: _Unserved = None
    tool_choice: _Unserved = None
    functions: _Unserved = None
    function_call: _Unserved = None
    modalities: Annotated[list[Literal["text"]] | None, Field(description="text alone")] = None
    audio: _Unserved = None
    prediction: _Ignored = None
    web_search_options: _Unserved = None


class UsageOut(BaseModel):
    """What the model behind read and wrote; nothing where there was none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ReplyMessage(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one choice."""

    index: Literal[0] = 0
    message: ReplyMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class ChatCompletion(BaseModel):
    """A completion. `citations` are those of the markers in the text, `onrecord` is what `/v1/ask` would have said."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: list[Choice]
    usage: UsageOut
    citations: list[CitationOut]
    onrecord: AskResponse


class Delta(BaseModel):
    """The next piece of a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """The one choice, going on."""

    index: Literal[0] = 0
    delta: Delta
    logprobs: None = None
    finish_reason: Literal["stop"] | None = None


class ChatChunk(BaseModel):
    """A piece of a completion; the last with a choice has `citations` and `onrecord`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str = MODEL
    choices: list[ChunkChoice]
    usage: UsageOut | None = None
    citations: list[CitationOut] | None = None
    onrecord: AskResponse | None = None


class ModelOut(BaseModel):
    """What can be named as `model`."""

    id: str = MODEL
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = MODEL


class ModelsResponse(BaseModel):
    """The models there are: one."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class RefusedError(Exception):
    """A request that the real API would refuse too: status, message, the parameter at fault and a code."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        self.status, self.param, self.code = status, param, code
        super().__init__(message)


def _described(error: RefusedError) -> dict[str, str | None]:
    return openai_error(error.status, str(error), param=error.param, code=error.code)


def _error(error: RefusedError) -> JSONResponse:
    """A problem document whose member `error` is as OpenAI's clients expect it."""
    body = Problem(title=HTTPStatus(error.status).phrase, status=error.status, detail=str(error))
    waits = error.status == HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if waits else None
    return JSONResponse(
        body.model_dump(exclude_none=True) | {"error": _described(error)}, error.status, headers, MEDIA_TYPE
    )


class _OpenAIRoute(APIRoute):
    """Errors as OpenAI's clients read them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _error(_not_valid(error))
            except UnknownFilterError as error:
                return _error(RefusedError(400, f"{error.field}: {error}", error.field, "invalid_value"))
            except NoSnapshotError as error:
                return _error(RefusedError(503, str(error), None, "no_snapshot"))
            except RefusedError as error:
                return _error(error)

        return handled


def _not_valid(error: RequestValidationError) -> RefusedError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return RefusedError(400, "We could not parse the JSON body of your request.")
    param = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "extra_forbidden":
        return RefusedError(400, f"Unrecognized request argument supplied: {param}", param, "unknown_parameter")
    if first["type"] == "missing":
        return RefusedError(400, f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    reason = str(first["msg"]).removeprefix("Value error, ")
    return RefusedError(400, f"Invalid value for '{param}': {reason}.", param, "invalid_value")


def chat_router(live: LiveIndex, answerer: Answerer) -> APIRouter:
    """`/v1/models` and `/v1/chat/completions`."""
    router = APIRouter(route_class=_OpenAIRoute)
    chat_responses = {
        **problem_responses(400, 404, 413, 503),
        200: described_stream("The completion, or its chunks and at last `[DONE]`"),
    }

    @router.get("/v1/models")
    async def models() -> ModelsResponse:
        """The models that `/v1/chat/completions` knows: one."""
        return ModelsResponse(data=[ModelOut()])

    @router.get("/v1/models/{model}", responses=problem_responses(404))
    async def model(model: str) -> ModelOut:
        """A model."""
        _known(model)
        return ModelOut()

    @router.post("/v1/chat/completions", response_model=ChatCompletion, responses=chat_responses)
    async def complete(body: ChatRequest, request: Request) -> Response | ChatCompletion:
        """The answer to the last user message, in the words of OpenAI's API."""
        _known(body.model)
        asked, groups = _asked(body), caller_of(request).groups
        if body.stream_options and not body.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise RefusedError(400, message, "stream_options")
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            chunks = _chunks(events_of(live, groups, answerer, asked), with_usage=usage)
            return await event_stream(chunks, answerer.settings)
        with live.use(groups) as index:
            return _completion(await unless_gone(request, answer(index, answerer, asked)))

    return router


def _known(model: str) -> None:
    if model != MODEL:
        message = f"The model '{model}' does not exist: there is only '{MODEL}'."
        raise RefusedError(404, message, "model", "model_not_found")


def _asked(body: ChatRequest) -> Asked:
    """The last user message as the question; what came before as history, system messages as instructions."""
    last = max((i for i, each in enumerate(body.messages) if each.role == "user"), default=None)
    question = body.messages[last].text if last is not None else ""
    if last is None or not question.strip():
        raise RefusedError(400, "There is no user message with a question in it.", "messages", "invalid_value")
    if len(question) > MAX_TEXT:
        message = f"The question has {len(question)} characters; {MAX_TEXT} are allowed."
        raise RefusedError(400, message, f"messages.{last}.content", "string_above_max_length")
    history: list[tuple[str, str]] = []
    for each in body.messages[:last]:
        if each.role == "user":
            history.append((each.text[:MAX_TEXT], ""))
        elif each.role == "assistant" and history:
            history[-1] = (history[-1][0], each.text[:MAX_TEXT])
    told = "\n".join(each.text for each in body.messages if each.role in ("system", "developer"))
    return Asked(
        question,
        top_k=body.top_k,
        speaker=body.speaker,
        source=body.source,
        history=tuple(history),
        instructions=told[:MAX_INSTRUCTIONS],
    )


def _completion(given: Answer) -> ChatCompletion:
    return ChatCompletion(
        id=_id(given.id),
        created=int(time.time()),
        choices=[Choice(message=ReplyMessage(content=given.answer + _listed(given)))],
        usage=_usage(given),
        citations=[CitationOut.model_validate(citation) for citation in given.citations],
        onrecord=AskResponse.model_validate(given),
    )


async def _chunks(events: AsyncGenerator[Event], *, with_usage: bool) -> AsyncGenerator[ServerSentEvent]:
    created = int(time.time())
    name = ""
    async with aclosing(events):
        try:
            async for event in events:
                match event:
                    case Passages(answer_id):
                        name = _id(answer_id)
                        yield sent(None, _chunk(name, created, Delta(role="assistant", content="")))
                    case Token(text):
                        yield sent(None, _chunk(name, created, Delta(content=text)))
                    case Cited():
                        pass
                    case Answer():
                        if listed := _listed(event):
                            yield sent(None, _chunk(name, created, Delta(content=listed)))
                        yield sent(None, _last_chunk(name, created, event))
                        if with_usage:
                            usage = ChatChunk(id=name, created=created, choices=[], usage=_usage(event))
                            yield sent(None, usage)
        except Exception:
            if not name:
                raise
            _log.exception("answer broke off")
            yield ServerSentEvent(json.dumps({"error": _described(RefusedError(500, BROKE_OFF))}))
    yield ServerSentEvent("[DONE]")


def _chunk(name: str, created: int, delta: Delta) -> ChatChunk:
    return ChatChunk(id=name, created=created, choices=[ChunkChoice(delta=delta)])


def _last_chunk(name: str, created: int, given: Answer) -> ChatChunk:
    return ChatChunk(
        id=name,
        created=created,
        choices=[ChunkChoice(delta=Delta(), finish_reason="stop")],
        citations=[CitationOut.model_validate(citation) for citation in given.citations],
        onrecord=AskResponse.model_validate(given),
    )


def _id(answer_id: str) -> str:
    return f"chatcmpl-{answer_id}"


def _usage(given: Answer) -> UsageOut:
    if given.usage is None:
        return UsageOut()
    read, wrote = given.usage.prompt_tokens, given.usage.completion_tokens
    return UsageOut(prompt_tokens=read, completion_tokens=wrote, total_tokens=read + wrote)


def _listed(given: Answer) -> str:
    """The citations as a numbered list below the text; with their words, where the text is not these words."""
    if not given.citations:
        return ""
    return "\n\nSources:\n" + "\n".join(_line(c, quoted=given.answerer == "llm") for c in given.citations)


def _line(citation: Citation, *, quoted: bool) -> str:
    where = citation.timestamp or citation.locator
    parts = [inert(part) for part in (citation.speaker, where, citation.source.title) if part]
    words = f"“{inert(citation.quote)}” " if quoted else ""
    link = f" {citation.url}" if citation.url else ""
    return f"[{citation.marker}] {words}{' · '.join(parts)}{link}"
