"""What people in a workspace do, delivered as Slack delivers it: signed requests, some of them more than once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
from slack_sdk.signature import SignatureVerifier

from tests.slack_server import BOT_USER, SIGNING_SECRET, TEAM, Posted, SlackServer


@dataclass(frozen=True, slots=True)
class Workspace:
    """Those who write, and the bot at `bot_url` that is told of it."""

    slack: SlackServer
    bot_url: str
    client: httpx2.Client

    def says(
        self,
        text: str,
        *,
        channel: str = "C0001",
        user: str = "U0001",
        thread: str | None = None,
        kinds: tuple[str, ...] = ("app_mention",),
        **fields: Any,
    ) -> str:
        """Somebody writes a message, which is delivered as each of these kinds of event; its timestamp."""
        ts = self.slack.next_ts()
        self.slack.messages[(channel, ts)] = Posted(channel, ts, thread, text, [], {}, bot_id="", user=user)
        for kind in kinds:
            assert self.deliver(event(kind, text, ts, channel=channel, user=user, thread=thread, **fields)) == 200
        return ts

    def asks(self, question: str, **where: Any) -> str:
        """Somebody mentions the bot."""
        return self.says(f"<@{BOT_USER}> {question}", **where)

    def deliver(self, body: Mapping[str, Any], **headers: str) -> int:
        """The status that a signed delivery gets."""
        return self.post("/slack/events", json.dumps(body), "application/json", **headers).status_code

    def commands(self, text: str, name: str = "answer", **fields: str) -> httpx2.Response:
        """Somebody gives the slash command; what comes is kept as `name`."""
        given = {
            **{"team_id": TEAM, "channel_id": "C0001", "user_id": "U0001", "command": "/onrecord", "text": text},
            **{"trigger_id": self.slack.next_ts(), "response_url": f"{self.slack.url}/respond/{name}", **fields},
        }
        return self.post("/slack/commands", urlencode(given), "application/x-www-form-urlencoded")

    def presses(self, action: str, value: str, name: str = "pressed") -> int:
        """Somebody presses a button; what comes is kept as `name`."""
        payload = {
            **{"type": "block_actions", "team": {"id": TEAM}, "user": {"id": "U0001"}, "channel": {"id": "C0001"}},
            **{"response_url": f"{self.slack.url}/respond/{name}", "trigger_id": self.slack.next_ts()},
            "actions": [{"type": "button", "action_id": action, "block_id": "b", "value": value, "action_ts": "1"}],
        }
        form = urlencode({"payload": json.dumps(payload)})
        return self.post("/slack/interactions", form, "application/x-www-form-urlencoded").status_code

    def post(
        self, path: str, body: str, content_type: str, secret: str = SIGNING_SECRET, age: float = 0, **headers: str
    ) -> httpx2.Response:
        """A request, signed with a secret so many seconds ago."""
        at = str(int(time.time() - age))
        signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body)
        signed = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature or ""}
        return self.client.post(
            f"{self.bot_url}{path}",
            content=body.encode(),
            headers={"Content-Type": content_type, **signed, **{k.replace("_", "-"): v for k, v in headers.items()}},
        )


def event(
    kind: str, text: str, ts: str, *, channel: str, user: str, thread: str | None = None, **fields: Any
) -> dict[str, Any]:
    """The body of a delivery."""
    said: dict[str, Any] = {"type": kind, "text": text, "ts": ts, "channel": channel, "user": user, "event_ts": ts}
    if kind == "message":
        said["channel_type"] = "im" if channel.startswith("D") else "channel"
    if thread:
        said["thread_ts"] = thread
    return {
        **{"token": "old", "team_id": TEAM, "api_app_id": "A1", "type": "event_callback"},
        **{"event_id": f"Ev{kind}{ts}", "event_time": int(float(ts)), "event": {**said, **fields}},
        "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
    }
