from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.api import create_app
from app.settings import Settings
from app.slack_blocks import FAILED, HELP, LOOKING, NOT_HERE, RATED, TOO_MANY, TOO_OLD
from index.embed import Embedder
from tests.chat_server import MODEL, ChatServer, Messages, Reply
from tests.serving import served
from tests.slack_server import BOT_ID, BOT_TOKEN, BOT_USER, SIGNING_SECRET, TEAM, Posted, SlackServer, Trouble
from tests.slack_workspace import Workspace, event

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

ROOT = Path(__file__).parent.parent.parent
OKRS = "what did Beykpour say about OKRs?"
Open = Callable[..., AbstractContextManager[Workspace]]


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def open_bot(slack: SlackServer, sample_index: Path, embedder: Embedder, tmp_path: Path) -> Open:
    """The service with its bot; what it keeps survives from one to the next."""

    @contextmanager
    def opened(**settings: Any) -> Generator[Workspace]:
        given = Settings(
            **{
                "index_dir": sample_index,
                "conversations": str(tmp_path / "conversations.sqlite"),
                "feedback": str(tmp_path / "feedback.sqlite"),
                "slack_ledger": str(tmp_path / "slack.sqlite"),
                "slack_bot_token": BOT_TOKEN,
                "slack_signing_secret": SIGNING_SECRET,
                "slack_api_url": f"{slack.url}/api/",
                "llm_model": "",
                **settings,
            }
        )
        with served(create_app(given, embedder)) as url, httpx2.Client(timeout=30) as client:
            yield Workspace(slack, url, client)

    return opened


@pytest.fixture
def workspace(open_bot: Open) -> Iterator[Workspace]:
    with open_bot(public_url="https://record.example.org/") as opened:
        yield opened


def shown(posted: Posted) -> str:
    return written({"elements": posted.blocks})


def written(part: dict[str, Any]) -> str:
    """All texts of blocks, one after the other."""
    found = ""
    for element in part["elements"]:
        text = element.get("text", "")
        found += written(element) if "elements" in element else text if isinstance(text, str) else text["text"]
    return found


def answer(workspace: Workspace, thread: str, count: int = 1) -> Posted:
    """The newest of so many finished answers in a thread."""
    slack = workspace.slack

    def finished() -> list[Posted]:
        found = [posted for posted in slack.answers(thread) if any(b["type"] == "actions" for b in posted.blocks)]
        return found if len(found) >= count else []

    found = slack.wait_for(finished)
    assert len(found) == count
    return found[-1]


def settled(workspace: Workspace) -> None:
    """Returns when a question asked last of all is answered: whatever came before it is, too."""
    answer(workspace, workspace.asks(OKRS, channel="C9999"))


def test_a_mention_is_answered_in_its_thread(workspace: Workspace) -> None:
    ts = workspace.asks(OKRS)
    posted = answer(workspace, ts)
    text = shown(posted)
    assert "If the only way the organization is trained" in text
    assert "Kayvon Beykpour · 49:14 · Kayvon Beykpour: insights by skill" in text
    [button] = [e for b in posted.blocks if b["type"] == "actions" for e in b["elements"] if "url" in e]
    assert button["url"].startswith("https://record.example.org/sources/kayvon-beykpour-insights#turn-10.0-")
    assert posted.thread_ts == ts
    assert len(workspace.slack.answers()) == 1


def test_what_is_delivered_more_than_once_is_answered_once(workspace: Workspace) -> None:
    ts = workspace.asks(OKRS, kinds=("app_mention", "message"))
    body = event("app_mention", f"<@{BOT_USER}> {OKRS}", ts, channel="C0001", user="U0001")
    for number in range(3):
        assert workspace.deliver(body, X_Slack_Retry_Num=str(number), X_Slack_Retry_Reason="http_timeout") == 200
    answer(workspace, ts)
    assert workspace.deliver(body, X_Slack_Retry_Num="4") == 200
    settled(workspace)
    assert len(workspace.slack.answers(ts)) == 1


def test_a_retry_is_answered_where_the_first_delivery_never_arrived(workspace: Workspace) -> None:
    ts = workspace.slack.next_ts()
    body = event("app_mention", f"<@{BOT_USER}> {OKRS}", ts, channel="C0001", user="U0001")
    assert workspace.deliver(body, X_Slack_Retry_Num="1", X_Slack_Retry_Reason="http_error") == 200
    answer(workspace, ts)


def test_a_question_that_cannot_be_written_down_is_not_acknowledged(open_bot: Open, tmp_path: Path) -> None:
    with open_bot() as workspace:
        ts = workspace.slack.next_ts()
        body = event("app_mention", f"<@{BOT_USER}> {OKRS}", ts, channel="C0001", user="U0001")
        with closing(sqlite3.connect(tmp_path / "slack.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert workspace.deliver(body) == 500
        assert workspace.deliver(body, X_Slack_Retry_Num="1") == 200
        answer(workspace, ts)


def test_a_thread_is_a_conversation_that_needs_no_mention(workspace: Workspace) -> None:
    ts = workspace.asks(OKRS)
    answer(workspace, ts)
    workspace.says("and what did he say about customers?", thread=ts, kinds=("message",))
    posted = answer(workspace, ts, 2)
    assert "listening to customers is always important" in shown(posted)
    assert "Understood as: " in shown(posted)


def test_what_is_no_question_to_the_bot_is_left_alone(workspace: Workspace) -> None:
    ts = workspace.asks(OKRS)
    answer(workspace, ts)
    said = {"channel": "C0001", "user": "U0001"}
    workspace.says("not in a thread", kinds=("message",))
    workspace.says("in another thread", thread="1700000000.000100", kinds=("message",))
    workspace.says("<@U0002> what do you think?", thread=ts, kinds=("message",))
    workspace.says("what I posted", thread=ts, kinds=("message",), user=BOT_USER, bot_id=BOT_ID)
    workspace.says("what another bot posted", thread=ts, kinds=("message",), bot_id="B0002")
    workspace.says("", thread=ts, kinds=("message",), subtype="file_share", files=[{}])
    edited = {**event("message", "", workspace.slack.next_ts(), **said), "subtype": "message_changed"}
    edited["event"] |= {"subtype": "message_changed", "message": {"ts": ts, "text": "what else?", "thread_ts": ts}}
    assert workspace.deliver(edited) == 200
    assert workspace.deliver({**edited, "event": {"type": "reaction_added", "user": "U0001"}}) == 200
    settled(workspace)
    assert len(workspace.slack.answers()) == 2


def test_follow_ups_can_be_made_to_need_a_mention(open_bot: Open) -> None:
    with open_bot(slack_follow_ups=False) as workspace:
        ts = workspace.asks(OKRS)
        answer(workspace, ts)
        workspace.says("and what did he say about customers?", thread=ts, kinds=("message",))
        settled(workspace)
        assert len(workspace.slack.answers(ts)) == 1


def test_a_direct_message_needs_no_mention(workspace: Workspace) -> None:
    ts = workspace.says(OKRS, channel="D0001", kinds=("message",))
    assert "If the only way" in shown(answer(workspace, ts))


def test_a_mention_without_a_question_is_told_what_the_bot_is_for(workspace: Workspace) -> None:
    ts = workspace.asks("")
    [posted] = workspace.slack.wait_for(lambda: workspace.slack.answers(ts))
    text = shown(posted)
    assert HELP in text
    assert "?" in text.partition(HELP)[2]


def test_a_forged_or_old_request_does_nothing(workspace: Workspace) -> None:
    body = json.dumps(event("app_mention", OKRS, workspace.slack.next_ts(), channel="C0001", user="U0001"))
    as_json = "application/json"
    assert workspace.post("/slack/events", body, as_json, secret="somebody else's").status_code == 401
    assert workspace.post("/slack/events", body, as_json, age=301).status_code == 401
    assert workspace.post("/slack/events", body, as_json, age=-301).status_code == 401
    assert workspace.client.post(f"{workspace.bot_url}/slack/events", content=body.encode()).status_code == 401
    # What Slack once sent to check certificates passes without a signature, and must not bring a question along.
    check = json.dumps({**json.loads(body), "ssl_check": "1"})
    workspace.client.post(f"{workspace.bot_url}/slack/events", content=check, headers={"Content-Type": as_json})
    settled(workspace)
    assert len(workspace.slack.answers()) == 1


def test_slack_verifies_the_address(workspace: Workspace) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB", "token": "old"})
    assert workspace.post("/slack/events", body, "application/json").json() == {"challenge": "3eZbrw1aB"}


def test_only_allowed_workspaces_and_channels_are_answered(open_bot: Open) -> None:
    with open_bot(slack_teams="T0002, T0001", slack_channels="C0001,C9999") as workspace:
        workspace.asks(OKRS, channel="C0002")
        workspace.says(OKRS, channel="D0001", kinds=("message",))
        workspace.asks(OKRS, user_team="T0666")
        body = event("app_mention", OKRS, workspace.slack.next_ts(), channel="C0001", user="U0001")
        assert workspace.deliver({**body, "team_id": "T0666"}) == 200
        assert workspace.commands(OKRS, channel_id="C0002").json()["text"] == NOT_HERE
        settled(workspace)
        assert len(workspace.slack.answers()) == 1
        answer(workspace, workspace.asks(OKRS))


def test_a_command_is_answered_in_private_and_can_be_shared_once(workspace: Workspace) -> None:
    slack = workspace.slack
    acknowledged = workspace.commands(OKRS).json()
    assert acknowledged == {"text": LOOKING, "response_type": "ephemeral"}
    [(_, private)] = slack.wait_for(lambda: slack.responses)
    assert private["response_type"] == "ephemeral"
    assert private["replace_original"] is True
    [share] = [
        e for b in private["blocks"] if b["type"] == "actions" for e in b["elements"] if e["action_id"] == "share"
    ]
    assert workspace.presses("share", share["value"], "shared") == 200
    assert workspace.presses("share", share["value"], "shared") == 200
    slack.wait_for(lambda: len(slack.responses) == 2)
    settled(workspace)
    [_, (name, shared)] = slack.responses
    assert (name, shared["response_type"]) == ("shared", "in_channel")
    text = written({"elements": shared["blocks"]})
    assert "If the only way" in text
    assert "Share to channel" not in text
    assert workspace.presses("share", "something else", "old") == 200
    slack.wait_for(lambda: len(slack.responses) == 3)
    assert written({"elements": slack.responses[2][1]["blocks"]}) == TOO_OLD


def test_thumbs_are_kept_with_the_answer(workspace: Workspace, tmp_path: Path) -> None:
    posted = answer(workspace, workspace.asks(OKRS))
    [up] = [e for b in posted.blocks if b["type"] == "actions" for e in b["elements"] if e["action_id"] == "rate_up"]
    assert workspace.presses("rate_up", up["value"]) == 200
    assert workspace.presses("rate_down", up["value"]) == 200
    workspace.slack.wait_for(lambda: len(workspace.slack.responses) == 2)
    assert workspace.slack.responses[0][1]["text"] == RATED
    with closing(sqlite3.connect(tmp_path / "feedback.sqlite")) as feedback:
        rated = feedback.execute("SELECT question, rating FROM answer WHERE rating IS NOT NULL").fetchall()
    assert rated == [(OKRS, "down")]


def test_the_assistant_pane_suggests_questions_and_says_what_is_being_done(workspace: Workspace) -> None:
    slack = workspace.slack
    opened = event("assistant_thread_started", "", slack.next_ts(), channel="", user="")
    opened["event"]["assistant_thread"] = {"user_id": "U0001", "channel_id": "D0001", "thread_ts": "1700000000.000100"}
    assert workspace.deliver(opened) == 200
    [call] = slack.wait_for(lambda: slack.of("assistant.threads.setSuggestedPrompts"))
    assert call.fields["channel_id"] == "D0001"
    assert 1 <= len(call.fields["prompts"]) <= 4
    workspace.says(OKRS, channel="D0001", thread="1700000000.000100", kinds=("message",))
    answer(workspace, "1700000000.000100")
    [status] = slack.wait_for(lambda: slack.of("assistant.threads.setStatus"))
    assert status.fields["thread_ts"] == "1700000000.000100"


def test_whoever_asks_too_much_is_told_once(open_bot: Open) -> None:
    with open_bot(slack_questions_per_hour=2) as workspace:
        for _ in range(2):
            answer(workspace, workspace.asks(OKRS))
        for _ in range(3):
            workspace.asks(OKRS)
        [told] = workspace.slack.wait_for(lambda: workspace.slack.of("chat.postEphemeral"))
        assert told.fields["text"] == TOO_MANY.format(most=2)
        assert told.fields["user"] == "U0001"
        answer(workspace, workspace.asks(OKRS, user="U0002"))
        assert len(workspace.slack.answers()) == 3
        assert len(workspace.slack.of("chat.postEphemeral")) == 1


def test_an_answer_that_takes_its_time_is_shown_as_it_comes(open_bot: Open, chat_server: ChatServer) -> None:
    written_out: list[str] = []

    def model(messages: Messages) -> str:
        cited = re.findall(r"^\[(\d+)\] .*OKRs", messages[1]["content"], re.MULTILINE)[:1]
        sentences = ("Kayvon Beykpour warns of OKRs.", "OKRs alone are unhelpful, he says.")
        drafted = [{"cites": [int(number) for number in cited], "text": text} for text in sentences]
        written_out.append(json.dumps({"answered": True, "sentences": drafted}))
        return written_out[-1]

    chat_server.script = [model]
    with open_bot(llm_model=MODEL, openai_base_url=chat_server.url) as workspace:
        settled(workspace)
        chat_server.script = [Reply(written_out[0], seconds=0.03)]
        before = len(workspace.slack.calls)
        posted = answer(workspace, workspace.asks(OKRS))
    assert "Reading: Kayvon Beykpour: insights by skill" in posted.texts[0].replace("\u2060", "")
    assert any("warns of OKRs" in text and "unhelpful" not in text for text in posted.texts[1:-1])
    assert posted.text.endswith("Kayvon Beykpour warns of OKRs. [1] OKRs alone are unhelpful, he says. [1]")
    calls = workspace.slack.calls[before:]
    [first] = [call.at for call in calls if call.method == "chat.postMessage"]
    updates = [call.at for call in calls if call.method == "chat.update"]
    assert len(updates) <= updates[-1] - first + 2  # one a second, and the last


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(429, retry_after=1),
        Trouble(500),
        Trouble(503, carried_out=True),
        Trouble(error="internal_error", carried_out=True),
        Trouble(429, retry_after=1, times=3),
        Trouble(502, times=2),
    ],
    ids=str,
)
def test_trouble_at_slack_neither_loses_nor_doubles_an_answer(workspace: Workspace, trouble: Trouble) -> None:
    workspace.slack.trouble["chat.postMessage"] = [trouble]
    ts = workspace.asks(OKRS)
    answer(workspace, ts)
    settled(workspace)
    assert len(workspace.slack.answers(ts)) == 1


def test_blocks_that_slack_refuses_are_replaced_by_their_text(workspace: Workspace) -> None:
    workspace.slack.trouble["chat.postMessage"] = [Trouble(error="invalid_blocks")]
    ts = workspace.asks(OKRS)
    [posted] = workspace.slack.wait_for(lambda: workspace.slack.answers(ts))
    assert "If the only way the organization" in posted.text
    assert posted.blocks == []


def test_a_deleted_question_takes_its_answer_along(open_bot: Open, chat_server: ChatServer) -> None:
    chat_server.otherwise = Reply("It will never be said what follows. " * 20, seconds=0.05)
    with open_bot(llm_model=MODEL, openai_base_url=chat_server.url) as workspace:
        slack = workspace.slack
        ts = workspace.asks(OKRS)
        slack.wait_for(lambda: slack.answers(ts))
        gone = event("message", "", slack.next_ts(), channel="C0001", user="U0001", subtype="message_deleted")
        gone["event"] |= {"deleted_ts": ts, "previous_message": {"ts": ts}}
        assert workspace.deliver(gone) == 200
        slack.wait_for(lambda: slack.deleted)
        assert not slack.answers(ts)


def test_an_answer_is_finished_by_the_next_process(open_bot: Open, chat_server: ChatServer) -> None:
    chat_server.otherwise = Reply("It takes long to say this. " * 20, seconds=0.1)
    with open_bot(llm_model=MODEL, openai_base_url=chat_server.url) as workspace:
        ts = workspace.asks(OKRS)
        workspace.slack.wait_for(lambda: workspace.slack.answers(ts))
    with open_bot() as workspace:
        posted = answer(workspace, ts)
    assert "If the only way" in shown(posted)
    assert len(workspace.slack.answers(ts)) == 1


def test_an_answer_that_cannot_be_made_ends_in_an_apology(open_bot: Open, tmp_path: Path) -> None:
    with open_bot(index_dir=tmp_path / "empty") as workspace:
        ts = workspace.asks(OKRS)
        [posted] = workspace.slack.wait_for(lambda: workspace.slack.answers(ts))
        assert shown(posted) == FAILED


def test_without_settings_there_is_no_bot(sample_index: Path, embedder: Embedder, tmp_path: Path) -> None:
    settings = Settings(index_dir=sample_index, conversations=":memory:", feedback=":memory:")
    with served(create_app(settings, embedder)) as url:
        assert httpx2.post(f"{url}/slack/events", content=b"{}").status_code == 404


def test_without_settings_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys, app.cli; from pathlib import Path; from app.api import create_app;"
        "from app.settings import Settings; from index.embed import load_embedder;"
        f"create_app(Settings(index_dir=Path({str(tmp_path)!r})), load_embedder());"
        "print([name for name in sys.modules if name.split('.')[0] in ('slack_bolt', 'slack_sdk', 'aiohttp')])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=kept, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_nothing_of_a_question_is_kept_when_it_is_answered(workspace: Workspace, tmp_path: Path) -> None:
    answer(workspace, workspace.asks(OKRS))

    def rows() -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "slack.sqlite")) as ledger:
            return ledger.execute("SELECT team, state, text FROM question WHERE state = 'done'").fetchall()

    workspace.slack.wait_for(rows)
    assert rows() == [(TEAM, "done", "")]
