"""The one way to a language model: calls to any server that speaks OpenAI's chat protocol, and how they may end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import structlog
from circuitbreaker import CircuitBreaker
from pydantic import BaseModel, ConfigDict

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
from app.settings import Settings
from app.stages import onward, stage

if TYPE_CHECKING:
    import httpx2
    from openai import APIError, AsyncOpenAI, AsyncStream, OpenAIError
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

_log = structlog.get_logger()

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""Sent to servers that want no key: the client cannot do without one."""
PAUSE_AFTER = 5
"""Failures in a row after which a model is left alone."""
PAUSE_SECONDS = 30.0
_COUNTED = (ModelTimeoutError, ModelUnavailableError, RateLimitedError, TornStreamError)
"""What speaks against the server and not against the call."""

Observe = Callable[[str, float, "Usage | None"], None]
"""Told how each call ended (`ok`, `cancelled` where the caller went away, or the error's kind), its seconds, and what
it took, where the server said so."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a model reads."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call took, in tokens."""

    prompt_tokens: int
    completion_tokens: int


class ChatModel(Protocol):
    """Something that goes on with a conversation."""

    @property
    def name(self) -> str:
        """What the model is called where it runs."""
        ...

    def stream(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None, *, max_tokens: int | None = None
    ) -> AsyncGenerator[str | Usage]:
        """The answer piece by piece as it is written, and last its Usage, where the server tells.

        `schema` is a JSON schema that the answer is asked to obey; a server that cannot see to that may ignore it.
        An answer that ends because `max_tokens` are written is no error. Raises ModelError, also after some pieces.
        Closing the generator ends the call at the server; use `contextlib.aclosing`.
        """
        ...


async def complete(
    model: ChatModel,
    messages: Sequence[Message],
    schema: Mapping[str, Any] | None = None,
    *,
    max_tokens: int | None = None,
) -> str:
    """The whole answer. Raises ModelError."""
    with stage("generate"):
        async with aclosing(model.stream(messages, schema, max_tokens=max_tokens)) as pieces:
            return "".join([piece async for piece in pieces if isinstance(piece, str)])


def open_model(settings: Settings, observe: Observe, *, pause_seconds: float = PAUSE_SECONDS) -> OpenAIModel:
    """The model that the settings name; nothing is sent yet. Raises ModelSettingError.

    `pause_seconds` is how long it is left alone after PAUSE_AFTER failures in a row.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    url, credentials = _server(settings.openai_base_url or OPENAI_URL)
    http = DefaultAsyncHttpxClient(
        auth=credentials, timeout=settings.llm_try_seconds, event_hooks={"response": [_wait_no_longer_than_there_is]}
    )
    client = AsyncOpenAI(
        api_key=_key(settings),
        base_url=url,
        timeout=settings.llm_try_seconds,
        max_retries=settings.llm_retries,
        http_client=http,
    )
    return OpenAIModel(client, settings, observe, pause_seconds)


def _server(address: str) -> tuple[httpx2.URL, tuple[str, str] | None]:
    """The URL without user and password, since URLs end up in logs, and those two."""
    import httpx2

    wanted = f"OPENAI_BASE_URL must be an http:// or https:// address without a query, such as {OPENAI_URL}"
    try:
        url = httpx2.URL(address.strip())
    except httpx2.InvalidURL:
        raise ModelSettingError(wanted) from None
    plain = url.scheme in ("http", "https") and url.host and "%" not in url.host and not url.query and not url.fragment
    if not plain or (url.port or 0) > 65535:
        raise ModelSettingError(wanted)
    credentials = (url.username, url.password) if url.userinfo else None
    return url.copy_with(userinfo=b""), credentials


def _key(settings: Settings) -> str:
    key = settings.openai_api_key.get_secret_value().strip() if settings.openai_api_key else ""
    if not (key.isascii() and key.isprintable()):
        raise ModelSettingError("OPENAI_API_KEY holds characters that no HTTP header can carry")
    return key or NO_KEY


class OpenAIModel:
    """A model behind an OpenAI-compatible server; made by `open_model`, and used within one event loop.

    Retries are the client's own, and only made before an answer has begun. A parameter that the server refuses to know
    is left out from then on.
    """

    def __init__(self, client: AsyncOpenAI, settings: Settings, observe: Observe, pause_seconds: float) -> None:
        self._client = client
        self._name = settings.llm_model
        self._max_tokens = settings.llm_max_tokens
        self._try_seconds = settings.llm_try_seconds
        self._total_seconds = settings.llm_total_seconds
        self._observe = observe
        self._slots = asyncio.Semaphore(settings.llm_concurrency)
        self._breaker = CircuitBreaker(PAUSE_AFTER, pause_seconds, _COUNTED)
        self._left_out: frozenset[str] = frozenset()
        self._log = _log.bind(model=self._name, host=client.base_url.netloc.decode())

    @property
    def name(self) -> str:
        """What the model is called at the server."""
        return self._name

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.close()

    async def stream(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None, *, max_tokens: int | None = None
    ) -> AsyncGenerator[str | Usage]:
        """See ChatModel."""
        began = _now()
        outcome = "cancelled"
        usage: Usage | None = None
        body = _body(messages, schema, max_tokens or self._max_tokens)
        try:
            # No time limit of ours may be open over a `yield`: it would cancel whatever the caller is doing then.
            async with aclosing(self._call(body, began + self._total_seconds)) as pieces:
                async for piece in pieces:
                    usage = piece if isinstance(piece, Usage) else None
                    yield piece
            outcome = "ok"
        except ModelError as error:
            outcome = error.kind
            seconds = round(_now() - began, 3)
            self._log.warning("no answer from the model", kind=error.kind, status=error.status, seconds=seconds)
            raise
        finally:
            self._observe(outcome, _now() - began, usage)

    async def _call(self, body: _Body, deadline: float) -> AsyncGenerator[str | Usage]:
        self._refuse_if_paused()
        try:
            async with asyncio.timeout_at(min(_now() + self._try_seconds, deadline)):
                await self._slots.acquire()
        except TimeoutError:
            raise ModelBusyError from None
        try:
            self._refuse_if_paused()  # it may have been paused in the meantime
            async with aclosing(self._counted(body, deadline)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._slots.release()

    def _refuse_if_paused(self) -> None:
        if self._breaker.opened:
            raise ModelPausedError

    async def _counted(self, body: _Body, deadline: float) -> AsyncGenerator[str | Usage]:
        """The breaker learns how a call ended; one that was cancelled says nothing about the server."""
        try:
            stream = await self._begin(body, deadline)
            try:
                async with aclosing(_pieces(stream, deadline)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                await stream.close()
        except ModelError as error:
            self._settle(error)
            raise
        self._settle(None)

    def _settle(self, error: ModelError | None) -> None:
        with suppress(ModelError), self._breaker:
            if error is not None:
                raise type(error)  # a new one: the breaker keeps it, and the traceback holds the messages

    async def _begin(self, body: _Body, deadline: float) -> AsyncStream[ChatCompletionChunk]:
        """The stream, its headers read, once the server accepts the parameters."""
        from openai import BadRequestError, UnprocessableEntityError

        left_out = self._left_out
        with _our_errors(begun=False), _until(deadline):
            async with asyncio.timeout_at(deadline):
                while True:
                    optional = body.optional(left_out)
                    try:
                        stream = await self._client.chat.completions.create(
                            model=self._name,
                            messages=cast("list[ChatCompletionMessageParam]", body.messages),
                            stream=True,
                            extra_headers=onward(),
                            extra_body=optional,
                        )
                        break
                    except (BadRequestError, UnprocessableEntityError) as error:
                        refused = _refused(error, optional)
                        if refused is None:
                            raise
                        left_out |= {refused}
        # Only now: a message may have spoken of a parameter when something else was wrong.
        for parameter in sorted(left_out - self._left_out):
            self._log.warning("the model's server does not take a parameter", parameter=parameter)
        self._left_out |= left_out
        return stream


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class _Body:
    """What is sent: `messages`, and what servers may not know."""

    messages: list[dict[str, Any]]
    schema: Mapping[str, Any] | None
    max_tokens: int

    def optional(self, left_out: frozenset[str]) -> dict[str, Any]:
        """The parameters besides model and messages, but for those left out."""
        parameters: dict[str, Any] = {"temperature": 0, "stream_options": {"include_usage": True}}
        # OpenAI's newer models know only the second name, most other servers the first.
        parameters["max_completion_tokens" if "max_tokens" in left_out else "max_tokens"] = self.max_tokens
        if self.schema is not None:
            form = {"name": "answer", "strict": True, "schema": self.schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": form}
        return {name: value for name, value in parameters.items() if name not in left_out}


def _body(messages: Sequence[Message], schema: Mapping[str, Any] | None, max_tokens: int) -> _Body:
    return _Body([asdict(message) for message in messages], schema, max_tokens)


_MENTIONS = {
    "response_format": re.compile(r"response_?format|json.?schema|grammar|structured.output", re.IGNORECASE),
    "temperature": re.compile(r"temperature", re.IGNORECASE),
    "max_tokens": re.compile(r"\bmax_tokens", re.IGNORECASE),
    "max_completion_tokens": re.compile(r"max_completion_tokens", re.IGNORECASE),
    "stream_options": re.compile(r"stream_options|include_usage", re.IGNORECASE),
}
"""How servers speak of the parameters that they do not take."""


def _refused(error: APIError, sent: Mapping[str, Any]) -> str | None:
    """The parameter that an error is about, of those that were sent."""
    text = _told(error)
    if _OVERFLOW.search(text):  # it often speaks of `max_tokens` too
        return None
    if error.param in sent:
        return error.param
    return next((name for name in _MENTIONS if name in sent and _MENTIONS[name].search(text)), None)


class _Delta(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(BaseModel):
    """What is read of one event; the client itself checks no shapes."""

    model_config = ConfigDict(from_attributes=True)

    choices: list[_Choice]
    usage: _Usage | None = None


async def _pieces(stream: AsyncStream[ChatCompletionChunk], deadline: float) -> AsyncGenerator[str | Usage]:
    usage: Usage | None = None
    blank = True
    async with aclosing(_chunks(stream, deadline)) as chunks:
        async for chunk in chunks:
            told = chunk.usage
            if told and told.prompt_tokens is not None and told.completion_tokens is not None:
                usage = Usage(told.prompt_tokens, told.completion_tokens)
            for choice in chunk.choices:
                delta = choice.delta or _Delta()
                if delta.refusal or choice.finish_reason == "content_filter":
                    raise ContentFilterError
                if delta.content:
                    blank = blank and delta.content.isspace()
                    yield delta.content
    if blank:
        raise EmptyCompletionError
    if usage:
        yield usage


async def _chunks(stream: AsyncStream[ChatCompletionChunk], deadline: float) -> AsyncGenerator[_Chunk]:
    """All of them, to the one that says why the answer ends and what may follow it."""
    begun = finished = False
    while True:
        try:
            with _our_errors(begun=True):
                async with asyncio.timeout_at(deadline):
                    read = await anext(stream, None)
                if read is None:
                    break
                chunk = _Chunk.model_validate(read)
        except ModelError:
            if finished:  # the text is whole; only the count of its tokens is lost
                return
            raise
        begun = True
        finished = finished or any(choice.finish_reason for choice in chunk.choices)
        yield chunk
    if not finished:
        is_stream = "text/event-stream" in stream.response.headers.get("content-type", "")
        raise TornStreamError if begun or is_stream else InvalidResponseError


_deadline: ContextVar[float] = ContextVar("deadline")
"""Until when the call that is being begun may take; on the event loop's clock."""


@contextmanager
def _until(deadline: float) -> Generator[None]:
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


async def _wait_no_longer_than_there_is(response: httpx2.Response) -> None:
    """Keeps the client from sleeping on a Retry-After that outlasts the call; it asks this header first."""
    if _now() + _retry_after(response.headers.get("retry-after", "")) > _deadline.get():
        response.headers["x-should-retry"] = "false"


def _retry_after(header: str) -> float:
    """Seconds; a date counts from now; nothing intelligible counts as 0."""
    with suppress(ValueError):
        return float(header)
    with suppress(ValueError):
        return parsedate_to_datetime(header).timestamp() - time()
    return 0.0


@contextmanager
def _our_errors(*, begun: bool) -> Generator[None]:
    """Makes what the client and its transport raise ours; `begun` once headers of an answer have been read.

    `from None`: theirs hold the request with its key.
    """
    import httpx2
    from openai import OpenAIError

    try:
        yield
    except (TimeoutError, httpx2.TimeoutException):
        raise ModelTimeoutError from None
    except OpenAIError as error:
        raise model_error(error, begun=begun) from None
    except httpx2.HTTPError:  # while the body of an error is read, which the client leaves as it is
        raise (TornStreamError if begun else ModelUnavailableError) from None
    except ValueError:  # of an answer: JSON's, UTF-8's and pydantic's; of a request: what cannot be encoded
        raise (InvalidResponseError if begun else ModelRequestError) from None


_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|context.(?:length|size|window)|maximum model length"
    r"|(?:prompt|input) is too long|input token count|too many (?:input )?tokens|reduce the length",
    re.IGNORECASE,
)
"""How OpenAI, llama.cpp, vLLM, LM Studio, Mistral, Anthropic and Google say that messages are too long."""
_FILTERED = re.compile(r"content_filter|content_policy_violation|content management policy", re.IGNORECASE)
_STATUS_OF_CODE = {
    "model_not_found": 404,
    "invalid_api_key": 401,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
}
"""Codes that say more than the status they come with, or come without one, in the midst of a stream."""


def model_error(error: OpenAIError, *, begun: bool) -> ModelError:
    """Our error for one of the client's; `begun` once an answer had begun."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return ModelTimeoutError()
    if isinstance(error, openai.APIConnectionError):
        return TornStreamError() if begun else ModelUnavailableError()
    if isinstance(error, openai.APIResponseValidationError):
        return InvalidResponseError()
    if isinstance(error, openai.ContentFilterFinishReasonError):
        return ContentFilterError()
    if not isinstance(error, openai.APIError):
        return ModelRequestError()
    code = error.code or ""
    status = int(code) if re.fullmatch(r"[1-5]\d\d", code) else None  # so it is told in the midst of a stream
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
    return _kind_of(_STATUS_OF_CODE.get(code, status), _told(error))(status)


def _told(error: APIError) -> str:
    """All that a server says of an error; never to be shown, as it may repeat the key or the messages."""
    return f"{error.message} {error.body}"


def _kind_of(status: int | None, text: str) -> type[ModelError]:
    match status:
        case 401 | 403:
            return KeyRefusedError
        case 404:
            return UnknownModelError
        case 408:
            return ModelTimeoutError
        case 413:
            return ContextOverflowError
        case 429:
            return RateLimitedError
        case None | 400 | 422 if _OVERFLOW.search(text):
            return ContextOverflowError
        case None | 400 | 422 if _FILTERED.search(text):
            return ContentFilterError
        case int() if 400 <= status < 500:
            return ModelRequestError
        case int() if status < 400:
            return InvalidResponseError
        case _:
            return ModelUnavailableError
