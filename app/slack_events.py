"""What Slack delivers, as far as it is read, and which of it is a question."""

from __future__ import annotations

import html
import re

from pydantic import BaseModel, ConfigDict

from app.settings import Settings
from app.slack_ledger import SlackQuestion

DIRECT = "im"
"""What the list of allowed channels calls direct messages."""

# Words that somebody wrote: other subtypes tell of edits, joins, and what other bots post.
_WRITTEN = frozenset({None, "file_share", "thread_broadcast"})
_REFERENCE = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")
_FIRST_MENTION = re.compile(r"\s*<@([A-Z0-9]+)(?:\|[^<>]*)?>")


class _Delivered(BaseModel):
    # What is delivered are people's words, and errors are logged.
    model_config = ConfigDict(hide_input_in_errors=True)


class AssistantThread(_Delivered):
    """A thread that somebody opened in the assistant pane."""

    channel_id: str
    thread_ts: str


class Event(_Delivered):
    """An event of the Events API; of a deletion `deleted_ts` says which message."""

    type: str
    subtype: str | None = None
    channel: str = ""
    user: str = ""
    bot_id: str | None = None
    text: str = ""
    ts: str = ""
    thread_ts: str | None = None
    deleted_ts: str | None = None
    user_team: str | None = None
    assistant_thread: AssistantThread | None = None


class _Authorization(_Delivered):
    user_id: str | None = None


class Delivery(_Delivered):
    """What surrounds an event; the first authorization is the bot's own."""

    team_id: str
    event: Event
    authorizations: list[_Authorization] = []

    @property
    def bot(self) -> str | None:
        """The bot's user id, where Slack says it."""
        return self.authorizations[0].user_id if self.authorizations else None

    def key(self, ts: str) -> str:
        """What names a message, in whatever form and however often it is delivered."""
        return f"{self.team_id}:{self.event.channel}:{ts}"


class Command(_Delivered):
    """A slash command. `trigger_id` is another for each time it is given."""

    team_id: str
    channel_id: str
    user_id: str
    text: str = ""
    trigger_id: str
    response_url: str

    def question(self, ts: str) -> SlackQuestion:
        """What is asked; `ts` is the time of now."""
        key = f"{self.team_id}:{self.channel_id}:command:{self.trigger_id}"
        asked = words(self.text, None)
        place = (self.team_id, self.channel_id, key, ts, self.user_id)
        return SlackQuestion(key, "command", *place, asked, self.response_url)


class _Id(_Delivered):
    id: str


class _Value(_Delivered):
    value: str = ""


class Press(_Delivered):
    """Somebody pressed a button."""

    team: _Id
    channel: _Id
    user: _Id
    actions: list[_Value]
    response_url: str

    @property
    def value(self) -> str:
        """What the button stands for."""
        return self.actions[0].value

    def share(self, ts: str) -> SlackQuestion:
        """That an answer is to be shared; `ts` is the time of now."""
        key = f"{self.value}:share"
        place = (self.team.id, self.channel.id, key, ts, self.user.id)
        return SlackQuestion(key, "share", *place, self.value, self.response_url)


def question_of(delivery: Delivery) -> SlackQuestion | None:
    """What is asked, if something is, of us or of whoever takes part in the thread."""
    event = delivery.event
    if event.type not in ("app_mention", "message") or event.subtype not in _WRITTEN:
        return None
    if event.bot_id or not event.user or not event.ts:
        return None
    addressed = _FIRST_MENTION.match(event.text)
    if event.type == "message" and addressed and delivery.bot and addressed.group(1) != delivery.bot:
        return None  # it is for somebody else
    asked = words(event.text, delivery.bot or (addressed.group(1) if addressed else None))
    if event.type == "message" and not asked and not event.text.strip():
        return None  # a file without a word
    thread = event.thread_ts or event.ts
    place = (delivery.team_id, event.channel, thread, event.ts, event.user)
    return SlackQuestion(delivery.key(event.ts), "message", *place, asked)


def is_allowed(settings: Settings, channel: str, *teams: str | None) -> bool:
    """Whether questions of these teams (the workspace's, and whoever asks as its guest) are answered there."""
    if settings.slack_teams and not all(team in settings.slack_teams for team in teams if team):
        return False
    place = DIRECT if channel.startswith("D") else channel
    return not settings.slack_channels or place in settings.slack_channels


def words(text: str, bot: str | None) -> str:
    """The text as people read it, without mentions of the bot."""

    def read(found: re.Match[str]) -> str:
        sign, name, label = found.groups()
        if sign == "@" and name == bot:
            return " "
        return label or f"{sign.replace('!', '@')}{name}"

    return " ".join(html.unescape(_REFERENCE.sub(read, text)).split())
