"""Private sources, through every door: who may not read one is answered as if it were not there, to the last byte."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from starlette.testclient import TestClient

from app.api import create_app
from app.keys import add_key, revoke_key
from app.settings import Settings
from app.slack_blocks import LOOKING
from app.widget_access import TOKEN_HEADER
from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits
from tests.app.test_mcp import child
from tests.app.test_slack import shown
from tests.chat_server import ChatServer, Reply
from tests.serving import served
from tests.slack_server import BOT_TOKEN, SIGNING_SECRET, SlackServer
from tests.slack_workspace import Workspace

PAGE = "https://blog.example"
PUBLIC = {
    "bridge.txt": """\
Ann Lee (00:00:00):
Welcome to the review of the old bridge. How much oak did the repair of the bridge take?

Bob Ray (00:00:20):
The bridge took forty tons of oak. Oak is dear this year, so the budget of the bridge ran over by a third.

Ann Lee (00:01:10):
And the garden next to the bridge? We planted roses there, and the roses grow well without much water.

Bob Ray (00:02:00):
I think that a garden needs more shade than water. The committee wanted lime trees for the garden.
""",
    "harbour.txt": """\
Cy Fox (00:00:00):
The harbour has to be dredged before winter. Dredging the harbour costs less than a new quay.

Ann Lee (00:00:40):
A new quay would bring the ferries back. The ferries left the harbour ten years ago.
""",
}
PRIVATE = {
    "merger.txt": """\
Zelda Quist (00:00:00):
The merger is called Zanzibar. Nobody outside of this room may hear of Zanzibar, or of the price of the merger.

Ann Lee (00:00:30):
We sell the bridge and the oak and the harbour to pay for it. The bridge, the oak, the bridge, the roses!

Zelda Quist (00:01:00):
The quay will be closed. The ferries come back only over my dead body, whatever the committee wants.
""",
    "trial.txt": """\
Ann Leigh (00:00:00):
The trial is about bribes for the dredging of the harbour. Xylophone was the word that they used for a bribe.

Robert Rayburn (00:00:30):
I said that the budget of the bridge was Xylophone from the start.
""",
}
SIDECARS = {
    "merger.meta.yaml": "title: Project Quokka\naccess: [board]\n",
    "trial.meta.yaml": "title: The Wombat affair\naccess: [legal]\npeople:\n"
    "  - {name: Robert Rayburn, role: chair, aliases: [Bob Ray]}\n  - {name: Cyrus Foxglove, aliases: [Cy Fox]}\n",
}
SECRETS = re.compile(
    r"zanzibar|quokka|quist|zelda|xylophone|wombat|leigh|rayburn|foxglove|merger|trial|bribe", re.IGNORECASE
)
QUESTIONS = [
    "What did Bob Ray say about the bridge?",
    "What did Ann Lee say about the bridge and the oak?",
    "what did ann leigh say about the harbour",
    "What did Zelda Quist say about the ferries?",
    "What did Selda Kwist say?",
    "What does Robert Rayburn think of the budget?",
    "Who is Cyrus Foxglove?",
    "What is Zanzibar?",
    "Who spoke of Xylophone?",
    "What is said about the merger?",
    "What is Project Quokka about?",
    "which documents do you have?",
    "what can I ask?",
    "Summarise the talk about the quay",
    "What did Rayburn and Bob Ray say about the budget of the bridge?",
    "Will the ferries come back?",
    "roses",
    "How is the weather on Mars?",
]
WORDS = sorted({word for text in (*PUBLIC.values(), *PRIVATE.values()) for word in re.findall(r"[A-Za-z]{3,}", text)})
PEOPLE = ["Ann Lee", "Bob Ray", "Cy Fox", "Zelda Quist", "Ann Leigh", "Robert Rayburn", "Ann", "Quist", "nobody"]
SOURCES = ["bridge", "harbour", "merger", "trial", "nothing"]
# What differs from one answer to the next, whoever asks.
_PASSING = re.compile(
    r'(\\?"(?:id|conversation_id|snapshot)\\?": ?)\\?"[^"\\]*\\?"|(\\?"(?:took_ms|created)\\?": ?)[0-9.e-]+'
)


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@dataclass(frozen=True)
class Door:
    """A server, asked by one caller."""

    client: TestClient
    headers: dict[str, str]

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """The status and the body, without what differs each time; ids that look like ids of passages stay."""
        answered = self.client.request(method, path, json=body, headers={**self.headers, **headers})
        return answered.status_code, _PASSING.sub(_blank, answered.text)

    def call(self, method: str, params: Any) -> tuple[int, str]:
        """The same of the Model Context Protocol."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.send("POST", "/mcp", body, Accept="application/json, text/event-stream")


def _blank(found: re.Match[str]) -> str:
    name, value = found[1] or found[2], found[0]
    return f"{name}0" if found[2] or re.search(r'"(?:chatcmpl-)?[0-9a-f]{32}\\?"$|snapshot', value) else value


def everything(door: Door, question: str, **limits: Any) -> list[tuple[int, str]]:
    """What each route answers to a question."""
    message = {"role": "user", "content": question}
    chat = {"model": "onrecord", "messages": [message], **limits}
    tool = {"arguments": {"question": question, **limits}, "name": "ask"}
    find = {"arguments": {"query": question, "top_k": 20, **limits}, "name": "search"}
    return [
        door.send("POST", "/v1/ask", {"question": question, **limits}),
        door.send("POST", "/v1/ask", {"question": question, "stream": True, **limits}),
        door.send("POST", "/v1/search", {"query": question, "top_k": 20, **limits}),
        door.send("POST", "/v1/chat/completions", chat),
        door.send("POST", "/v1/chat/completions", {**chat, "stream": True}),
        door.call("tools/call", tool),
        door.call("tools/call", find),
    ]


def listings(door: Door) -> list[tuple[int, str]]:
    """What each route says without a question."""
    paths = ["/v1/sources", "/v1/speakers", "/v1/overview", "/v1/models", "/readyz", "/healthz"]
    for source in SOURCES:
        windows = ("", "?first=0&last=1", "?start=10&end=40", "?start=9&end=3", "?first=1&start=2")
        paths += [f"/v1/sources/{source}{window}" for window in windows]
    asked: list[tuple[str, Any]] = [("resources/list", {}), ("tools/list", {})]
    asked += [("resources/read", {"uri": f"onrecord://sources/{source}"}) for source in SOURCES]
    for name in ("list_sources", "list_speakers"):
        for narrowed in ({}, {"limit": 1}, {"text": "e"}, {"text": "Quokka"}, {"cursor": "bridge"}):
            asked.append(("tools/call", {"name": name, "arguments": narrowed}))
    for source in (*SOURCES, "Project Quokka", "quoka", "merge"):
        asked.append(("tools/call", {"name": "read_source", "arguments": {"source": source}}))
        asked.append(("tools/call", {"name": "search", "arguments": {"query": "oak", "source": source}}))
    for speaker in (*PEOPLE, "Zelda Kwist", "Leigh"):
        asked.append(("tools/call", {"name": "ask", "arguments": {"question": "oak?", "speaker": speaker}}))
    return [*(door.send("GET", path) for path in paths), *(door.call(*each) for each in asked)]


@dataclass(frozen=True)
class Two:
    """A server whose corpus has private sources, and one with the public ones alone; they take the same keys."""

    whole: TestClient
    public: TestClient
    keys: Path

    def doors(self, key: str) -> tuple[Door, Door]:
        headers = {"Authorization": f"Bearer {key}"}
        return Door(self.whole, headers), Door(self.public, headers)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> tuple[Path, Path]:
    """Of all sources, and of the public ones."""
    made: list[Path] = []
    for files in ({**PUBLIC, **PRIVATE, **SIDECARS}, PUBLIC):
        folder = write(tmp_path_factory.mktemp("corpus") / "talks", files)
        made.append(tmp_path_factory.mktemp("index") / "snapshots")
        assert not ingest([folder], made[-1], embedder, Limits()).errors
    return made[0], made[1]


def settings_of(index: Path, **more: Any) -> Settings:
    return Settings(index_dir=index, **{"conversations": ":memory:", "feedback": ":memory:", "llm_model": "", **more})


@pytest.fixture(scope="module")
def two(indexes: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Two]:
    keys = tmp_path_factory.mktemp("keys") / "keys.yaml"
    add_key(keys, "anybody", ["ask"], [])
    whole, public = (
        create_app(settings_of(index, api_keys=keys, widget_origins=(PAGE,)), embedder) for index in indexes
    )
    with TestClient(whole) as one, TestClient(public) as other:
        yield Two(one, other, keys)


def key(two: Two, name: str, *groups: str) -> str:
    revoke_key(two.keys, name)
    return add_key(two.keys, name, ["ask"], groups)[1]


@pytest.fixture(scope="module")
def outsiders(two: Two) -> list[tuple[Door, Door]]:
    """A key without groups, one of a group that nothing is for, and the widget."""
    widgets: list[Door] = []
    for client in (two.whole, two.public):
        token = client.post("/v1/widget-token", headers={"Origin": PAGE}).json()["token"]
        widgets.append(Door(client, {"Origin": PAGE, TOKEN_HEADER: token}))
    nothing, press = key(two, "nothing"), key(two, "press", "press")
    return [two.doors(nothing), two.doors(press), (widgets[0], widgets[1])]


def test_an_outsider_is_told_nothing_by_what_is_listed(outsiders: list[tuple[Door, Door]]) -> None:
    for whole, public in outsiders:
        told, wanted = listings(whole), listings(public)
        assert told == wanted
        # What is asked for comes back in an error; nothing else may speak of it.
        assert not any(SECRETS.search(body) for status, body in told[:3])


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_outsider_is_answered_as_if_there_were_nothing_private(
    outsiders: list[tuple[Door, Door]], question: str
) -> None:
    for whole, public in outsiders:
        assert everything(whole, question) == everything(public, question)
    whole, public = outsiders[0]
    for source in ("bridge", "merger"):
        for speaker in ("Ann Lee", "Zelda Quist", "Leigh"):
            limits = {"source": source, "speaker": speaker}
            assert everything(whole, question, **limits) == everything(public, question, **limits)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
    st.sampled_from(["{}", "What did {who} say about {}?", "Who said {}?", "what about {} in the bridge review?"]),
    st.sampled_from(PEOPLE),
    st.sampled_from([{}, {}, {"source": "merger"}, {"source": "bridge"}, {"speaker": "Quist"}, {"speaker": "Bob"}]),
)
def test_whatever_an_outsider_asks(
    outsiders: list[tuple[Door, Door]], words: list[str], form: str, who: str, limits: dict[str, str]
) -> None:
    whole, public = outsiders[0]
    question = form.format(" ".join(words), who=who)
    assert everything(whole, question, **limits) == everything(public, question, **limits)


def test_a_filter_that_names_what_is_hidden_reads_as_one_that_names_nothing(outsiders: list[tuple[Door, Door]]) -> None:
    whole, _ = outsiders[0]
    for field, hidden, unknown in (("source", "merger", "margin"), ("speaker", "Zelda Quist", "Yolda Twisp")):
        told = [everything(whole, "oak?", **{field: name}) for name in (hidden, unknown)]
        assert [status for status, _ in told[0]] == [422, 422, 422, 400, 400, 200, 200]
        assert str(told[0]).replace(hidden, unknown) == str(told[1])
    hidden, unknown = (whole.send("GET", f"/v1/sources/{source}") for source in ("merger", "margin"))
    assert hidden[0] == 404
    assert str(hidden).replace("merger", "margin") == str(unknown)


def test_members_find_what_is_theirs_and_no_more(two: Two) -> None:
    board, _ = two.doors(key(two, "board", "board"))
    status, body = board.send("POST", "/v1/ask", {"question": "What did Zelda Quist say about Zanzibar?"})
    answer = json.loads(body)
    assert (status, answer["status"]) == (200, "answered")
    assert {cited["source"]["title"] for cited in answer["citations"]} == {"Project Quokka"}
    for answered in everything(board, "What is Zanzibar?"):
        assert "Nobody outside of this room may hear of Zanzibar" in answered[1]
    assert board.send("GET", "/v1/sources/merger")[0] == 200
    sources = json.loads(board.send("GET", "/v1/sources")[1])["sources"]
    assert [source["id"] for source in sources] == ["bridge", "harbour", "merger"]
    assert json.loads(board.send("GET", "/v1/overview")[1])["sources"] == 3
    speakers = json.loads(board.send("GET", "/v1/speakers")[1])["speakers"]
    assert [speaker["name"] for speaker in speakers] == ["Ann Lee", "Bob Ray", "Cy Fox", "Zelda Quist"]
    assert "Project Quokka" in board.call("resources/read", {"uri": "onrecord://sources/merger"})[1]
    for answered in [*listings(board), *everything(board, "who took a bribe?")]:
        assert "Rayburn (" not in answered[1]
        assert "Wombat" not in answered[1]
    both, _ = two.doors(key(two, "both", "board", "legal"))
    names = [speaker["name"] for speaker in json.loads(both.send("GET", "/v1/speakers")[1])["speakers"]]
    assert {"Ann Leigh", "Zelda Quist"} < set(names)
    assert "Xylophone was the word" in both.send("POST", "/v1/ask", {"question": "Who spoke of Xylophone?"})[1]


def test_one_reader_has_no_overview_that_was_made_for_another(two: Two) -> None:
    members, outsider = two.doors(key(two, "members", "board", "legal"))[0], two.doors(key(two, "outsider"))
    for _ in range(2):
        assert json.loads(members.send("GET", "/v1/overview")[1])["sources"] == 4
        assert outsider[0].send("GET", "/v1/overview") == outsider[1].send("GET", "/v1/overview")


def test_a_conversation_ends_when_its_owner_may_read_less(two: Two) -> None:
    began = {"question": "What did Zelda Quist say about Zanzibar?", "conversation_id": "ours"}
    follow_up = {"question": "And what did she say about the ferries?", "conversation_id": "ours"}
    member, _ = two.doors(key(two, "member", "board"))
    assert "answered" in member.send("POST", "/v1/ask", began)[1]
    assert json.loads(member.send("POST", "/v1/ask", follow_up)[1])["reading"]["question"].count("Zelda Quist")
    colleague, _ = two.doors(key(two, "colleague", "board"))
    assert json.loads(colleague.send("POST", "/v1/ask", follow_up)[1])["reading"] is None
    for groups in ((), ("legal",)):
        less, public = two.doors(key(two, "member", *groups))
        answered = less.send("POST", "/v1/ask", follow_up)
        assert not re.search("Zelda|Quist|Zanzibar", answered[1])
        assert groups or answered == public.send("POST", "/v1/ask", follow_up)


def test_without_keys_nobody_reads_what_is_private(indexes: tuple[Path, Path], embedder: Embedder) -> None:
    whole, public = (create_app(settings_of(index), embedder) for index in indexes)
    with TestClient(whole) as one, TestClient(public) as other:
        assert listings(Door(one, {})) == listings(Door(other, {}))
        for question in QUESTIONS[:5]:
            assert everything(Door(one, {}), question) == everything(Door(other, {}), question)


def test_what_becomes_private_is_hidden_with_the_next_ingest(tmp_path: Path, embedder: Embedder) -> None:
    folder, index = write(tmp_path / "talks", PUBLIC), tmp_path / "snapshots"
    ingest([folder], index, embedder, Limits())
    with TestClient(create_app(settings_of(index, reload_seconds=0.05), embedder)) as client:
        door = Door(client, {})
        began = {"question": "What did Cy Fox say about the harbour?", "conversation_id": "harbour"}
        assert "Cy Fox" in door.send("POST", "/v1/ask", began)[1]
        write(folder, {"harbour.meta.yaml": "access: [board]\n"})
        report = ingest([folder], index, embedder, Limits())
        assert (report.updated, report.embedded) == (1, 0)
        for _ in range(600):
            if client.get("/readyz").json()["snapshot"] == report.snapshot:
                break
            time.sleep(0.05)
        answers = [*listings(door), *everything(door, "What is said about the harbour?")]
        for status, body in answers[:3]:
            assert "Fox" not in body
            assert status == 200
        assert door.send("GET", "/v1/sources/harbour")[0] == 404
        assert not any("dredged" in body for _, body in answers)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_model_is_given_nothing_that_its_reader_may_not_read(
    indexes: tuple[Path, Path], tmp_path: Path, embedder: Embedder, chat_server: ChatServer
) -> None:
    keys = tmp_path / "keys.yaml"
    outsider, board = (add_key(keys, name, ["ask"], groups)[1] for name, groups in (("a", []), ("b", ["board"])))
    chat_server.otherwise = Reply('{"answered": false, "sentences": []}')
    with_model = settings_of(
        indexes[0], api_keys=keys, llm_model="any", openai_base_url=chat_server.url, min_confidence=0.0
    )
    with TestClient(create_app(with_model, embedder)) as client:
        for question in ("What is said about the bridge?", "What did Ann Lee say about the ferries?"):
            for bearer in (outsider, board):
                Door(client, {"Authorization": f"Bearer {bearer}"}).send("POST", "/v1/ask", {"question": question})
    told = [json.dumps(request.body) for request in chat_server.requests]
    assert told
    assert [bool(SECRETS.search(each)) for each in told].count(True) * 2 == len(told)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("groups", [(), ("board",)])
def test_slack_reads_what_its_groups_may(
    indexes: tuple[Path, Path], tmp_path: Path, embedder: Embedder, groups: tuple[str, ...]
) -> None:
    """Its answers, its help with questions to begin with, and what it says while it looks."""
    said: list[list[list[str]]] = []
    for number, index in enumerate(indexes):
        with SlackServer() as slack:
            with_bot = settings_of(
                index,
                slack_groups=groups,
                slack_bot_token=BOT_TOKEN,
                slack_signing_secret=SIGNING_SECRET,
                slack_api_url=f"{slack.url}/api/",
                slack_ledger=str(tmp_path / f"{number}.sqlite"),
            )
            with served(create_app(with_bot, embedder)) as url, httpx2.Client(timeout=30) as client:
                workspace = Workspace(slack, url, client)
                said.append([])
                for question in ["", *QUESTIONS[:8]]:
                    asked = workspace.asks(question)

                    def finished(asked: str = asked, slack: SlackServer = slack) -> list[str]:
                        answers = [shown(each) for each in slack.answers(asked)]
                        return [] if any(LOOKING in answer for answer in answers) else answers

                    said[-1].append(slack.wait_for(finished))
    whole, public = said
    if groups:
        assert "Nobody outside of this room may hear of Zanzibar" in str(whole[8])
        assert "Rayburn" not in str(whole[1])
    else:
        assert whole == public


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_whoever_owns_the_folder_reads_everything_over_standard_input(indexes: tuple[Path, Path]) -> None:
    async def ids() -> list[str]:
        async with Client(child(indexes[0])) as client:
            return [resource.name for resource in (await client.list_resources()).resources]

    assert asyncio.run(ids()) == ["bridge", "harbour", "merger", "trial"]
