"""Calls of Slack's Web API: what is repeated when one fails, and one error for all that can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from app.errors import AnswerError
from app.settings import Settings
from app.stages import onward

CALL_SECONDS = 10.0
"""Time for one call of the Web API; less than a lease, so that nothing is under way when that has run out."""
LIMITED_TRIES = 20
"""How often a call is repeated when Slack says that it is too early."""

# After these it is not known whether anything was done (https://docs.slack.dev/reference/methods/chat.postMessage).
_UNCERTAIN = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})

Count = Callable[[str, str], None]
"""Told how a step ended: a `delivery` from Slack, an `answer` there, a `call` of its Web API."""
Repeat = Literal["always", "too early", "never"]
"""When a call is repeated: `always` only what may be done twice; `too early` where Slack said so (429)."""


class SlackError(AnswerError):
    """A call was not carried out, or nobody knows. `error` is what Slack calls it, `status` is 0 without a response."""

    def __init__(self, method: str, error: str, status: int = 0, retry_after: float = 1.0) -> None:
        self.error = error
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"Slack's {method} failed: {error or status}")

    @property
    def uncertain(self) -> bool:
        """Whether it may have been carried out after all, or may be at another time."""
        return self.status == 0 or self.status >= 500 or self.error in _UNCERTAIN


class SlackApi:
    """Slack's Web API with the bot's token, over one pool of connections."""

    def __init__(self, settings: Settings, count: Count) -> None:
        """Within an event loop."""
        self._count = count
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        limited = AsyncRateLimitErrorRetryHandler(max_retry_count=LIMITED_TRIES)
        server, connection = AsyncServerErrorRetryHandler(3), AsyncConnectionErrorRetryHandler(3)
        self._always: list[AsyncRetryHandler] = [limited, server, connection]
        handlers: dict[Repeat, list[AsyncRetryHandler]] = {"always": self._always, "too early": [limited], "never": []}
        token = settings.slack_bot_token
        self._clients = {
            repeat: AsyncWebClient(
                token.get_secret_value() if token else None,
                base_url=settings.slack_api_url,
                session=self._session,
                retry_handlers=each,
            )
            for repeat, each in handlers.items()
        }
        self._bot_id: str | None = None
        self.drafts_from = 0.0
        """When the event loop's clock allows the next edit that only shows how far an answer is."""

    async def post(self, method: str, repeat: Repeat = "always", **fields: object) -> Mapping[str, Any]:
        """The response to a call. Raises SlackError."""
        return await self._call(method, repeat, "POST", fields)

    async def get(self, method: str, **fields: object) -> Mapping[str, Any]:
        """The same for methods that only read, which take no JSON."""
        return await self._call(method, "always", "GET", {name: value for name, value in fields.items() if value})

    async def respond(self, url: str, **body: object) -> None:
        """Posts to a response URL, and says nothing where that is not good any more. Raises SlackError."""
        webhook = AsyncWebhookClient(url, session=self._session, retry_handlers=self._always)
        try:
            status = (await webhook.send_dict(body, headers=onward())).status_code
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failed(SlackError("response URL", type(error).__name__)) from error
        if status != 200:
            raise self._failed(SlackError("response URL", "expired_url" if status == 404 else "", status))
        self._count("call", "ok")

    async def bot_id(self) -> str:
        """Whose messages are ours."""
        if self._bot_id is None:
            self._bot_id = str((await self.post("auth.test"))["bot_id"])
        return self._bot_id

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def _call(self, method: str, repeat: Repeat, verb: str, fields: dict[str, object]) -> Mapping[str, Any]:
        call = self._clients[repeat].api_call  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        given = {"json": fields} if verb == "POST" else {"params": fields}
        try:
            response = await call(method, http_verb=verb, headers=onward(), **given)
        except SlackApiError as error:
            raise self._failed(_ours(method, error.response)) from error  # pyright: ignore[reportUnknownMemberType]
        except (aiohttp.ClientError, TimeoutError, SlackClientError) as error:
            raise self._failed(SlackError(method, type(error).__name__)) from error
        self._count("call", "ok")
        return cast("Mapping[str, Any]", response.data)  # pyright: ignore[reportUnknownMemberType]

    def _failed(self, error: SlackError) -> SlackError:
        self._count("call", error.error or str(error.status))
        return error


def _ours(method: str, response: Any) -> SlackError:
    """The SDK's response, or aiohttp's where its body was no JSON."""
    status: int = getattr(response, "status_code", None) or getattr(response, "status", 0)
    try:
        retry_after = float(response.headers.get("Retry-After", 1))
    except ValueError:
        retry_after = 1.0
    return SlackError(method, error_of(response), status, retry_after)


def error_of(response: Any) -> str:
    """What Slack calls an error; empty where the body is no JSON."""
    data: Any = getattr(response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
