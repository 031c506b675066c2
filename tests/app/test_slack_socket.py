from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.slack_server import APP_TOKEN, BOT_TOKEN, BOT_USER, TEAM, SlackServer, Trouble
from tests.slack_workspace import event

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

ROOT = Path(__file__).parent.parent.parent
OKRS = "what did Beykpour say about OKRs?"


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


def environment(slack: SlackServer, folder: Path, index: Path, **given: str) -> dict[str, str]:
    settings = {
        "index_dir": str(index),
        "conversations": str(folder / "conversations.sqlite"),
        "feedback": str(folder / "feedback.sqlite"),
        "slack_ledger": str(folder / "slack.sqlite"),
        "slack_bot_token": BOT_TOKEN,
        "slack_app_token": APP_TOKEN,
        "slack_api_url": f"{slack.url}/api/",
        **given,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
    return {**kept, **{f"ONRECORD_{name.upper()}": value for name, value in settings.items()}}


def onrecord(arguments: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_socket_mode_answers_what_is_delivered_twice_once(
    slack: SlackServer, sample_index: Path, tmp_path: Path
) -> None:
    env = environment(slack, tmp_path, sample_index)
    with subprocess.Popen([sys.executable, "-m", "app", "slack"], cwd=ROOT, env=env) as process:
        try:
            ts = slack.next_ts()
            body = event("app_mention", f"<@{BOT_USER}> {OKRS}", ts, channel="C0001", user="U0001")
            envelope: dict[str, Any] = {"type": "events_api", "payload": body, "accepts_response_payload": False}
            slack.send({**envelope, "envelope_id": "one"})
            slack.wait_for(lambda: "one" in slack.acknowledged)
            slack.wait_for(lambda: slack.answers(ts))
            slack.hang_up()
            slack.wait_for(lambda: len(slack.of("apps.connections.open")) > 2)  # the first was to look
            slack.send({**envelope, "envelope_id": "two", "retry_attempt": 1, "retry_reason": "timeout"})
            slack.wait_for(lambda: "two" in slack.acknowledged)
            command = {"team_id": TEAM, "channel_id": "C0001", "user_id": "U0001", "command": "/onrecord", "text": OKRS}
            answered = {"trigger_id": "1.2.3", "response_url": f"{slack.url}/respond/answer"}
            slack.send({"type": "slash_commands", "envelope_id": "three", "payload": {**command, **answered}})
            slack.wait_for(lambda: slack.responses)
            assert len(slack.answers(ts)) == 1
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_check_says_that_all_is_well(slack: SlackServer, sample_index: Path, tmp_path: Path) -> None:
    done = onrecord(["slack", "--check", "--json"], environment(slack, tmp_path, sample_index))
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert any("onrecord in Test (T0001)" in each["what"] for each in found["findings"])


@pytest.mark.parametrize(
    ("given", "scopes", "said"),
    [
        ({"slack_bot_token": "xoxb-of-another"}, None, "the bot token does not work: invalid_auth"),
        ({"slack_bot_token": ""}, None, "there is no bot token"),
        ({"slack_app_token": ""}, None, "Slack has no way to reach the bot"),
        ({"slack_app_token": "xapp-of-another"}, None, "the app token opens no connection: invalid_auth"),
        ({"slack_teams": "T0666"}, None, "does not hold the bot's own workspace"),
        ({"index_dir": "/nowhere"}, None, "run `onrecord ingest`"),
        ({}, "app_mentions:read,chat:write", "the scope im:history is missing, and with it direct messages"),
    ],
    ids=str,
)
def test_check_says_what_is_missing(
    slack: SlackServer, sample_index: Path, tmp_path: Path, given: dict[str, str], scopes: str | None, said: str
) -> None:
    slack.scopes = scopes or slack.scopes
    done = onrecord(["slack", "--check"], {**environment(slack, tmp_path, sample_index, **given)})
    assert done.returncode == 1
    assert said in done.stdout


def test_check_says_that_slack_cannot_be_reached(slack: SlackServer, sample_index: Path, tmp_path: Path) -> None:
    slack.trouble["auth.test"] = [Trouble(503, times=9)]
    done = onrecord(["slack", "--check"], environment(slack, tmp_path, sample_index))
    assert done.returncode == 1
    assert f"see that {slack.url}/api/ can be reached" in done.stdout


def test_without_an_app_token_there_is_no_socket_mode(slack: SlackServer, sample_index: Path, tmp_path: Path) -> None:
    done = onrecord(["slack"], environment(slack, tmp_path, sample_index, slack_app_token=""))
    assert done.returncode == 2
    assert "ONRECORD_SLACK_APP_TOKEN" in done.stderr


def test_a_refused_app_token_ends_the_bot(slack: SlackServer, sample_index: Path, tmp_path: Path) -> None:
    done = onrecord(["slack"], environment(slack, tmp_path, sample_index, slack_app_token="xapp-of-another"))
    assert done.returncode == 1
    assert "the app token opens no connection: invalid_auth" in done.stderr
