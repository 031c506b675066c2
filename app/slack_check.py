"""`onrecord slack --check`: what of the Slack bot's set-up is missing, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from app.settings import Settings
from app.slack_api import CALL_SECONDS, error_of
from app.slack_ledger import Ledger, LedgerError
from index.errors import IndexingError
from index.where import live_id

SCOPES = {
    "app_mentions:read": "mentions",
    "chat:write": "answers",
    "commands": "/onrecord",
    "im:history": "direct messages",
    "channels:history": "follow-ups in threads of channels, and finding an answer again after a crash",
    "groups:history": "the same in private channels",
    "assistant:write": "the assistant pane",
}
"""Each scope, and what does not work without it."""

_REFUSALS = frozenset(
    {
        *("account_inactive", "forbidden_team", "invalid_auth", "missing_scope", "not_allowed_token_type"),
        *("not_authed", "token_expired", "token_revoked"),
    }
)
_PAGES = "https://api.slack.com/apps"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at; `mend` is empty where it is well. Without what is `vital` nothing works at all."""

    what: str
    mend: str = ""
    vital: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is well."""
        return not self.mend


async def check(settings: Settings) -> list[Finding]:
    """All findings, in the order in which things are set up."""
    found = [*await _bot(settings), *await _ways_in(settings), *_kept(settings)]
    if not settings.public_url:
        found.append(Finding("ONRECORD_PUBLIC_URL is not set: answers link to recordings only, not to transcripts"))
    return found


async def _bot(settings: Settings) -> list[Finding]:
    if not settings.slack_bot_token:
        where = f"install the app at {_PAGES} and set ONRECORD_SLACK_BOT_TOKEN to its Bot User OAuth Token (xoxb-…)"
        return [Finding("there is no bot token", where, vital=True)]
    answered = await _called(settings, settings.slack_bot_token.get_secret_value(), "auth.test")
    if isinstance(answered, str):
        mend = f"copy the Bot User OAuth Token (xoxb-…) from {_PAGES} once more"
        return [_refused("the bot token does not work", answered, mend, settings)]
    said, scopes = answered
    found = [Finding(f"the bot is {said.get('user')} in {said.get('team')} ({said.get('team_id')})")]
    found += _missing(scopes)
    if settings.slack_teams and said.get("team_id") not in settings.slack_teams:
        mend = f"add {said.get('team_id')} to it"
        found.append(Finding("ONRECORD_SLACK_TEAMS does not hold the bot's own workspace", mend))
    return found


def _missing(scopes: Sequence[str]) -> Iterator[Finding]:
    missing = [scope for scope in SCOPES if scope not in scopes]
    for scope in missing:
        mend = f"add it at {_PAGES}, OAuth & Permissions, and install the app again"
        yield Finding(f"the scope {scope} is missing, and with it {SCOPES[scope]}", mend)
    if not missing:
        yield Finding("all scopes are there")


async def _ways_in(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    if settings.slack_signing_secret:
        found.append(Finding("the signing secret is set: `onrecord serve` takes what Slack sends to /slack/…"))
    if settings.slack_app_token:
        opened = await _called(settings, settings.slack_app_token.get_secret_value(), "apps.connections.open")
        if isinstance(opened, str):
            mend = f"make an app-level token (xapp-…) with connections:write at {_PAGES}, and switch Socket Mode on"
            found.append(_refused("the app token opens no connection", opened, mend, settings))
        else:
            found.append(Finding("the app token opens a connection: `onrecord slack` works"))
    if not found:
        mend = "set ONRECORD_SLACK_APP_TOKEN for Socket Mode, or ONRECORD_SLACK_SIGNING_SECRET for HTTP"
        found.append(Finding("Slack has no way to reach the bot", mend))
    return found


def _refused(what: str, answered: str, mend: str, settings: Settings) -> Finding:
    if answered in _REFUSALS:
        return Finding(f"{what}: {answered}", mend, vital=True)
    return Finding(f"{what}: {answered}", f"see that {settings.slack_api_url} can be reached from here")


def _kept(settings: Settings) -> Iterator[Finding]:
    try:
        live_id(settings.where)
        yield Finding(f"there is an index in {settings.where}")
    except IndexingError as error:
        yield Finding(str(error), "run `onrecord ingest`")
    try:
        Ledger(settings.slack_ledger_path).close()
        yield Finding(f"what is asked can be kept in {settings.slack_ledger_path}")
    except LedgerError as error:
        yield Finding(str(error), "name another file")


async def _called(settings: Settings, token: str, method: str) -> tuple[dict[str, Any], list[str]] | str:
    """What Slack says, and the scopes of the token; or what it has against the call."""
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client: Any = AsyncWebClient(token, base_url=settings.slack_api_url, session=session)
        try:
            response = await client.api_call(method)
        except SlackApiError as error:
            refused: Any = error.response  # pyright: ignore[reportUnknownMemberType]
            return error_of(refused) or f"HTTP {refused.status_code}"
        except (aiohttp.ClientError, TimeoutError, SlackClientError) as error:
            return type(error).__name__
    header: str = response.headers.get("X-OAuth-Scopes", "")
    return response.data, [scope.strip() for scope in header.split(",")]
