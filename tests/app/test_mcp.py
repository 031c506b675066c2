"""The Model Context Protocol, spoken by the SDK's own client, over both transports and in both ages of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jsonschema
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import CallToolResult, TextContent, TextResourceContents

from app.api import create_app
from app.mcp_server import MAX_CHARACTERS, MAX_TURNS
from app.schemas import AskResponse
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits
from tests.chat_server import ChatServer, Reply
from tests.serving import served

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"
INSIGHTS = "kayvon-beykpour-insights"
TOOLS = ["ask", "search", "read_source", "list_sources", "list_speakers"]
ROOT = Path(__file__).parent.parent.parent

Door = str | StdioServerParameters
Use = Callable[[Client], Awaitable[None]]


def child(index: Path, **more: str) -> StdioServerParameters:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
    clean |= {"ONRECORD_MIN_CONFIDENCE": "0", "ONRECORD_CONVERSATIONS": ":memory:", **more}
    arguments = ["-m", "app", "mcp", "--index", str(index)]
    return StdioServerParameters(command=sys.executable, args=arguments, env=clean, cwd=ROOT)


def settings(index: Path, **more: Any) -> Settings:
    return Settings(index_dir=index, conversations=":memory:", feedback=":memory:", min_confidence=0.0, **more)


@pytest.fixture(scope="module")
def url(sample_index: Path, embedder: Embedder) -> Iterator[str]:
    with served(create_app(settings(sample_index), embedder)) as url:
        yield f"{url}/mcp"


@pytest.fixture(params=["stdio", "http"])
def door(request: pytest.FixtureRequest, sample_index: Path) -> Door:
    return child(sample_index) if request.param == "stdio" else request.getfixturevalue("url")


def connected(door: Door, use: Use, mode: str = "auto") -> None:
    async def run() -> None:
        async with Client(door, mode=mode) as client:
            await use(client)

    asyncio.run(run())


def text(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def data(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, text(result)
    assert result.structured_content is not None
    assert json.loads(text(result)) == result.structured_content
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    assert "Traceback" not in text(result)
    return text(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_are_described_and_change_nothing(door: Door, mode: str) -> None:
    async def use(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        for tool in tools:
            assert tool.annotations is not None
            assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
            assert tool.input_schema["additionalProperties"] is False
            assert tool.output_schema is not None
            assert len(tool.description or "") > 100
        assert "word for word" in (client.instructions or "")

    connected(door, use, mode)


def test_every_result_is_as_its_schema_says(door: Door) -> None:
    calls: dict[str, dict[str, Any]] = {
        "ask": {"question": OKRS},
        "search": {"query": "OKRs", "top_k": 2},
        "read_source": {"source": INSIGHTS, "start": 2900, "end": 3000},
        "list_sources": {},
        "list_speakers": {"text": "bez"},
    }

    async def use(client: Client) -> None:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        assert set(calls) == set(schemas)
        for name, arguments in calls.items():
            schema = schemas[name]
            assert schema is not None
            jsonschema.validate(data(await client.call_tool(name, arguments)), schema)

    connected(door, use)


def test_an_answer_is_the_one_that_http_gives(door: Door, url: str) -> None:
    body = json.dumps({"question": OKRS}).encode()
    request = Request(url.replace("/mcp", "/v1/ask"), body, {"Content-Type": "application/json"})
    with urlopen(request) as response:
        over_http = json.load(response)

    async def use(client: Client) -> None:
        given = data(await client.call_tool("ask", {"question": OKRS}))
        AskResponse.model_validate(given)
        differing = {"id", "conversation_id", "took_ms"}
        assert {k: v for k, v in given.items() if k not in differing} == {
            k: v for k, v in over_http.items() if k not in differing
        }
        assert given["citations"][0]["timestamp"] == "49:14"

    connected(door, use)


def test_a_conversation_goes_on(door: Door) -> None:
    async def use(client: Client) -> None:
        first = data(await client.call_tool("ask", {"question": OKRS}))
        more = {"question": "and what did he say about customers?", "conversation_id": first["conversation_id"]}
        second = data(await client.call_tool("ask", more))
        assert second["conversation_id"] == first["conversation_id"]
        assert "Beykpour" in second["reading"]["question"]

    connected(door, use)


def test_filters_hold(url: str) -> None:
    async def use(client: Client) -> None:
        found = data(await client.call_tool("search", {"query": "product", "speaker": "Beykpour", "source": INSIGHTS}))
        assert {passage["source"]["id"] for passage in found["passages"]} == {INSIGHTS}
        asked = {"question": "What is a good product?", "source": "escaping-the-build-trap-notes", "top_k": 3}
        answer = data(await client.call_tool("ask", asked))
        assert {citation["source"]["id"] for citation in answer["citations"]} <= {asked["source"]}

    connected(url, use)


def test_what_is_wrong_is_said_so_that_a_model_can_put_it_right(door: Door) -> None:
    async def use(client: Client) -> None:
        assert "question: Field required" in await refusal(client, "ask")
        assert "speakers: Extra inputs" in await refusal(client, "ask", question=OKRS, speakers="Beykpour")
        assert "top_k: " in await refusal(client, "search", query=OKRS, top_k=101)
        flood = await refusal(client, "ask", question=OKRS, **{f"field {number}": "x" for number in range(101)})
        assert flood == "arguments: has more than 100 fields"
        assert "question: must not be blank" in await refusal(client, "ask", question=" ")
        assert "Did you mean Kayvon Beykpour" in await refusal(client, "ask", question=OKRS, speaker="Jack Beykpour")
        unknown = await refusal(client, "search", query=OKRS, speaker="Zaphod Beeblebrox")
        assert unknown == "speaker: There is no speaker 'Zaphod Beeblebrox'. list_speakers has all."
        like = await refusal(client, "read_source", source="beykpour insights")
        assert re.search(rf"Did you mean .*{INSIGHTS}\b.*list_sources", like)
        assert "Did you mean" not in await refusal(client, "ask", question=OKRS, source="zzzz")
        assert "end: must not be before start" in await refusal(client, "read_source", source=INSIGHTS, start=9, end=1)
        assert "no clock" in await refusal(client, "read_source", source="escaping-the-build-trap-notes", start=1)
        with pytest.raises(MCPError, match="There is no tool 'answer'; there are ask, search"):
            await client.call_tool("answer", {})

    connected(door, use)


def test_without_an_index_what_to_run_is_said_and_then_it_is_found(tmp_path: Path, embedder: Embedder) -> None:
    async def use(client: Client) -> None:
        assert "run `onrecord ingest`" in await refusal(client, "ask", question=OKRS)
        with pytest.raises(MCPError, match="run `onrecord ingest`"):
            await client.list_resources()
        ingest([ROOT / "corpus"], tmp_path, embedder, Limits())
        async with asyncio.timeout(30):
            while (await client.call_tool("list_sources", {})).is_error:
                await asyncio.sleep(0.1)
        assert len((await client.list_resources()).resources) == 3

    connected(child(tmp_path), use)


def test_a_source_is_read_piece_by_piece(tmp_path: Path, embedder: Embedder) -> None:
    talk = tmp_path / "corpus" / "talk.txt"
    talk.parent.mkdir()
    words = ["short words", "long words " * (MAX_CHARACTERS // 20)]
    turns = [f"{'Ann' if i % 2 else 'Bob'} (00:{i // 60:02}:{i % 60:02}):\n{words[i >= 127]} {i}" for i in range(130)]
    talk.write_text("\n\n".join(turns))
    ingest([talk.parent], tmp_path / "index", embedder, Limits())

    async def use(client: Client) -> None:
        read: list[int] = []
        pieces = 0
        following: int | None = 0
        while following is not None:
            window = data(await client.call_tool("read_source", {"source": "talk", "first": following}))
            indices = [turn["index"] for turn in window["turns"]]
            characters = sum(len(turn["text"]) for turn in window["turns"])
            assert len(indices) <= MAX_TURNS
            assert characters <= MAX_CHARACTERS or len(indices) == 1
            read += indices
            pieces += 1
            following = window["next_turn"]
        assert read == list(range(130))
        assert pieces > 2
        clocked = data(await client.call_tool("read_source", {"source": "talk", "start": 60, "end": 62}))
        assert {60, 61, 62} <= {turn["index"] for turn in clocked["turns"]} <= {59, 60, 61, 62}
        assert clocked["source"]["turns"] == 130

    with served(create_app(settings(tmp_path / "index"), embedder)) as url:
        connected(f"{url}/mcp", use)


def test_lists_come_in_pages(url: str) -> None:
    async def use(client: Client) -> None:
        for tool, entries, key in [("list_sources", "sources", "id"), ("list_speakers", "speakers", "name")]:
            whole = data(await client.call_tool(tool, {"limit": 100}))
            names = [entry[key] for entry in whole[entries]]
            assert (whole["total"], whole["next_cursor"], names) == (len(names), None, sorted(names))
            paged: list[str] = []
            cursor: str | None = None
            while not paged or cursor:
                page = data(await client.call_tool(tool, {"limit": 2, "cursor": cursor}))
                assert len(page[entries]) <= 2
                paged += [entry[key] for entry in page[entries]]
                cursor = page["next_cursor"]
            assert paged == names
        found = data(await client.call_tool("list_sources", {"text": "Build notes"}))
        assert [source["id"] for source in found["sources"]] == ["escaping-the-build-trap-notes"]
        alias = data(await client.call_tool("list_speakers", {"text": "bakepour"}))
        assert [speaker["name"] for speaker in alias["speakers"]] == ["Kayvon Beykpour"]

    connected(url, use)


def test_whole_sources_are_resources(door: Door) -> None:
    async def use(client: Client) -> None:
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "onrecord://sources/{id}"
        resources = (await client.list_resources()).resources
        assert [str(resource.uri) for resource in resources] == [
            "onrecord://sources/20-product-kayvon-beykpour",
            "onrecord://sources/escaping-the-build-trap-notes",
            f"onrecord://sources/{INSIGHTS}",
        ]
        [content] = (await client.read_resource(str(resources[2].uri))).contents
        assert isinstance(content, TextResourceContents)
        assert content.mime_type == "text/plain"
        assert content.text.startswith("Kayvon Beykpour: insights by skill\ninsights")
        assert "\n\nKayvon Beykpour (49:14):\nIf the only way the organization is trained" in content.text
        for uri in ("onrecord://sources/beykpour-insights", "file:///etc/passwd"):
            with pytest.raises(MCPError, match="There is no source") as refused:
                await client.read_resource(uri)
            assert refused.value.data == {"uri": uri}

    connected(door, use)


def test_standard_output_carries_the_protocol_alone(sample_index: Path) -> None:
    parameters = child(sample_index)
    messages: list[dict[str, Any]] = [
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": {"question": OKRS}}},
    ]
    with subprocess.Popen(
        [parameters.command, *parameters.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=parameters.env,
        cwd=parameters.cwd,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for message in messages:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        answered = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        assert process.stdout.read() == ""
        logged = process.stderr.read()
        assert process.wait(20) == 0
    assert [line["id"] for line in answered] == [1, 2]
    assert answered[0]["result"]["serverInfo"]["name"] == "onrecord"
    assert "index opened" in logged
    assert "OKRs" not in logged


def post(url: str, **headers: str) -> tuple[int, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    accepted = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    try:
        with urlopen(Request(url, body, accepted | headers)) as response:
            return response.status, response.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_a_server_may_be_called_by_any_name(url: str) -> None:
    for host in ("onrecord.example.org", "127.0.0.1:80"):
        status, said = post(url, Host=host)
        assert status == 200
        assert '"read_source"' in said
    with urlopen(url.replace("/mcp", "/metrics")) as metrics:
        assert 'route="/mcp"' in metrics.read().decode()


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://rebound.example:8000"])
def test_no_web_page_may_ask_even_where_it_seems_our_own(url: str, origin: str) -> None:
    host = origin.removeprefix("http://")  # a name that an attacker makes mean our address is both
    assert post(url, Origin=origin, Host=host)[0] == 403
    assert post(url, Origin=origin)[0] == 403
    assert post(url, Origin=url.removesuffix("/mcp"), **{"Sec-Fetch-Site": "same-origin"})[0] == 403


def test_a_listed_page_needs_its_token(sample_index: Path, embedder: Embedder) -> None:
    listed = "https://example.org"
    with served(create_app(settings(sample_index, widget_origins=(listed,)), embedder)) as url:
        assert post(f"{url}/mcp", Origin=listed)[0] == 401
        request = Request(f"{url}/v1/widget-token", b"", {"Origin": listed}, method="POST")
        with urlopen(request) as response:
            token = json.load(response)["token"]
        assert post(f"{url}/mcp", Origin=listed, **{"X-OnRecord-Token": token})[0] == 200


def test_nothing_but_calls_is_taken(url: str) -> None:
    for method in ("GET", "DELETE"):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(url, headers={"Accept": "text/event-stream"}, method=method))
        with refused.value as problem:
            assert (problem.code, problem.headers["allow"]) == (405, "POST")
            assert problem.headers["content-type"] == "application/problem+json"


# Before 2026-07-28 cancelling was a message of its own, which a server without sessions cannot lay to a request.
@pytest.mark.parametrize(("transport", "mode"), [("stdio", "auto"), ("stdio", "legacy"), ("http", "auto")])
def test_a_cancelled_call_ends_what_the_model_does(
    sample_index: Path, embedder: Embedder, chat_server: ChatServer, transport: str, mode: str
) -> None:
    chat_server.otherwise = Reply("{", end="hang")

    async def use(client: Client) -> None:
        call = asyncio.create_task(client.call_tool("ask", {"question": OKRS}))
        async with asyncio.timeout(20):
            while not chat_server.requests:
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(chat_server.last.gone.wait, 10)
        assert data(await client.call_tool("list_sources", {}))["total"] == 3

    if transport == "stdio":
        door = child(sample_index, OPENAI_BASE_URL=chat_server.url, ONRECORD_LLM_MODEL="scripted")
        connected(door, use, mode)
    else:
        set_up = settings(sample_index, openai_base_url=chat_server.url, llm_model="scripted")
        with served(create_app(set_up, embedder)) as url:
            connected(f"{url}/mcp", use, mode)
