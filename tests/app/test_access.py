"""Who may ask what: over HTTP, through every door that has one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

from app.access import scope_of
from app.api import create_app
from app.keys import Scope, add_key, revoke_key
from app.server import is_loopback, listen
from app.settings import Settings
from app.widget_access import TOKEN_HEADER
from index.embed import Embedder
from tests.serving import served

OKRS = {"question": "what did Beykpour say about OKRs?"}
PAGE = "https://blog.example"
OWN = "http://ask.example"
ROUTES: list[tuple[str, str, Any, Scope]] = [
    ("POST", "/v1/ask", OKRS, "ask"),
    ("POST", "/v1/search", {"query": "OKRs"}, "ask"),
    ("GET", "/v1/sources", None, "ask"),
    ("GET", "/v1/sources/kayvon-beykpour-insights", None, "ask"),
    ("GET", "/v1/speakers", None, "ask"),
    ("GET", "/v1/overview", None, "ask"),
    ("POST", "/v1/feedback", {"answer_id": "none", "rating": "up"}, "ask"),
    ("POST", "/v1/chat/completions", {"model": "onrecord", "messages": [{"role": "user", "content": "OKRs?"}]}, "ask"),
    ("GET", "/v1/models", None, "ask"),
    ("GET", "/v1/models/onrecord", None, "ask"),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, "ask"),
    ("GET", "/metrics", None, "admin"),
]
OPEN = ["/healthz", "/readyz", "/docs", "/openapi.json", "/", "/sources", "/sources/x", "/widget.js", "/web/page.js"]


class Keys:
    """A file of keys, and each as it is shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asker = self.add("asker", "ask")
        self.admin = self.add("admin", "admin")
        self.robot = self.add("robot", "ingest")

    def add(self, name: str, scope: Scope) -> str:
        return add_key(self.path, name, [scope], [])[1]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.yaml")


@pytest.fixture(scope="module")
def settings(sample_index: Path, keys: Keys) -> Settings:
    return Settings(
        index_dir=sample_index,
        conversations=":memory:",
        feedback=":memory:",
        min_confidence=0.0,
        api_keys=keys.path,
        widget_origins=(PAGE,),
    )


@pytest.fixture(scope="module")
def client(settings: Settings, embedder: Embedder) -> Iterator[TestClient]:
    with TestClient(create_app(settings, embedder), base_url=OWN, follow_redirects=False) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def refused(response: Any, status: int, proof: str | None = "Bearer") -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get("www-authenticate", "").partition(" ")[0] == (proof or "")
    body = response.json()
    assert body["status"] == status
    return body


@pytest.mark.parametrize(("method", "path", "body", "scope"), ROUTES)
def test_a_route_wants_a_key_with_its_scope(
    method: str, path: str, body: Any, scope: Scope, client: TestClient, keys: Keys
) -> None:
    def send(**headers: str) -> Any:
        return client.request(
            method, path, json=body, headers={"Accept": "application/json, text/event-stream", **headers}
        )

    refused(send(), 401)
    right, wrong = (keys.asker, keys.admin) if scope == "ask" else (keys.admin, keys.asker)
    lacking = refused(send(**bearer(wrong)), 403)
    assert scope in lacking["detail"]
    for proof in (bearer(right), {"Authorization": f"bearer  {right} "}, {"X-API-Key": right}):
        allowed = send(**proof)
        assert allowed.is_success or (path, allowed.status_code) == ("/v1/feedback", 404)
    for proof in (bearer("nobody-has-this-key-0"), bearer(""), {"X-API-Key": right[:-1]}):
        assert "known" in refused(send(**proof), 401)["detail"]


@pytest.mark.parametrize("path", OPEN)
def test_what_holds_no_data_wants_none(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 200
    assert client.get(path, headers=bearer("nobody-has-this-key-0")).status_code == 200


def test_whatever_is_not_known_as_open_is_closed(client: TestClient) -> None:
    for path in (
        *("/v1", "/v1/", "/v1/nothing", "/v1/ask/", "//v1/ask", "/V1/ask", "/v1/widget-token/x", "/mcp/", "/metrics/"),
        *("/web/x/y", "/sources/x/y", "/slack", "/healthz/x", "/ healthz", "/docs/..", "/\nhealthz", "/healthz\n"),
    ):
        assert scope_of(path) is not None
    assert client.get("/v1/nothing").status_code == 401
    described = client.get("/openapi.json").json()["paths"]
    assert {path for path in described if scope_of(path) is None} == {"/healthz", "/readyz", "/v1/widget-token"}


def test_a_key_with_the_scope_ingest_reads_nothing(client: TestClient, keys: Keys) -> None:
    refused(client.get("/v1/sources", headers=bearer(keys.robot)), 403)


def test_a_wrong_key_is_refused_whatever_else_is_shown(client: TestClient, keys: Keys) -> None:
    token = client.post("/v1/widget-token", headers={"Origin": PAGE}).json()["token"]
    widget = {"Origin": PAGE, TOKEN_HEADER: token}
    assert client.get("/v1/sources", headers=widget).status_code == 200
    refused(client.get("/v1/sources", headers={**widget, **bearer("nobody-has-this-key-0")}), 401)
    refused(client.get("/v1/sources", headers={**bearer(keys.asker), "X-API-Key": "nobody-has-this-key-0"}), 401)
    refused(client.get("/v1/sources", headers={"Origin": PAGE}), 401, TOKEN_HEADER)


def test_what_a_proxy_has_asked_for_is_no_key(client: TestClient, keys: Keys) -> None:
    basic = {"Authorization": "Basic amFuZTpzZWNyZXQ="}
    refused(client.get("/v1/sources", headers=basic), 401)
    assert client.get("/v1/sources", headers={**basic, "X-API-Key": keys.asker}).status_code == 200


def test_the_widget_may_ask_and_no_more(client: TestClient) -> None:
    token = client.post("/v1/widget-token", headers={"Origin": PAGE}).json()["token"]
    widget = {"Origin": PAGE, TOKEN_HEADER: token}
    assert client.post("/v1/ask", json=OKRS, headers=widget).status_code == 200
    refused(client.get("/metrics", headers=widget), 401)
    refused(client.get("/v1/sources", headers={TOKEN_HEADER: token}), 401)


def test_a_page_of_our_own_needs_a_key_unless_its_origin_is_listed(
    client: TestClient, settings: Settings, embedder: Embedder
) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    refused(client.get("/v1/sources", headers=own), 401)
    refused(client.post("/v1/ask", json=OKRS, headers={**own, "Origin": OWN}), 401)
    listed = settings.model_copy(update={"widget_origins": (OWN,)})
    with TestClient(create_app(listed, embedder), base_url=OWN) as client:
        assert client.get("/v1/sources", headers=own).status_code == 200
        assert client.post("/v1/ask", json=OKRS, headers={**own, "Origin": OWN}).status_code == 200
        assert client.post("/v1/ask", json=OKRS, headers={"Origin": OWN}).status_code == 200
        for other in (
            {},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site"},
            {**own, "Host": "rebound.example"},
            {**own, "Host": "rebound.example", "Origin": "http://rebound.example"},
        ):
            refused(client.get("/v1/sources", headers=other), 401)


def test_a_key_ends_when_it_is_revoked(client: TestClient, keys: Keys) -> None:
    brief = keys.add("brief", "ask")
    assert client.get("/v1/sources", headers=bearer(brief)).status_code == 200
    revoke_key(keys.path, "brief")
    refused(client.get("/v1/sources", headers=bearer(brief)), 401)
    assert client.get("/v1/sources", headers=bearer(keys.asker)).status_code == 200


def test_while_keys_cannot_be_read_nobody_comes_in(settings: Settings, embedder: Embedder, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.yaml")
    with TestClient(create_app(settings.model_copy(update={"api_keys": keys.path}), embedder)) as client:
        keys.path.write_text("- [")
        unchecked = client.get("/v1/sources", headers=bearer(keys.asker))
        assert refused(unchecked, 503, None)
        assert unchecked.headers["retry-after"]
        assert client.get("/healthz").status_code == 200
        again = keys.path.with_name("again.yaml")
        key = add_key(again, "again", ["ask"], [])[1]
        again.replace(keys.path)
        assert client.get("/v1/sources", headers=bearer(key)).status_code == 200


def test_conversations_are_the_keys(client: TestClient, keys: Keys) -> None:
    other = keys.add("other", "ask")
    follow_up = {"question": "and what did he say about jobs-to-be-done?", "conversation_id": "ours"}

    def read(**headers: str) -> Any:
        return client.post("/v1/ask", json=follow_up, headers=headers).json()["reading"]

    client.post("/v1/ask", json={**OKRS, "conversation_id": "ours"}, headers=bearer(keys.asker))
    assert read(**bearer(keys.asker))
    assert read(**{"X-API-Key": keys.asker})
    assert read(**bearer(other)) is None


def test_without_keys_whatever_is_shown_is_passed_over(sample_index: Path, embedder: Embedder) -> None:
    settings = Settings(index_dir=sample_index, conversations=":memory:", feedback=":memory:")
    with TestClient(create_app(settings, embedder)) as client:
        for headers in ({}, bearer("none"), {"X-API-Key": "none"}):
            assert client.get("/v1/sources", headers=headers).status_code == 200
            assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:8000", 200), ("localhost", 200), ("LOCALHOST:9", 200), ("[::1]:8000", 200), ("a.localhost", 200)),
        *(("archive.example", 200), ("archive.example:8443", 200), ("blog.example", 200)),
        *(
            ("rebound.example", 421),
            ("rebound.example:8000", 421),
            ("localhost.example", 421),
            ("[", 421),
            ("a@b", 421),
        ),
    ],
)
def test_a_server_for_this_machine_answers_to_its_own_names(
    host: str, status: int, sample_index: Path, embedder: Embedder
) -> None:
    named = {"public_url": "https://archive.example/", "widget_origins": (PAGE,)}
    kept = {"conversations": ":memory:", "feedback": ":memory:"}

    def asked(address: str, **more: Any) -> int:
        app = create_app(Settings(index_dir=sample_index, **named, **kept, **more), embedder)
        with TestClient(app, client=(address, 1)) as client:
            assert client.get("/healthz", headers={"Host": host}).status_code == 200
            return client.get("/v1/sources", headers={"Host": host}).status_code

    assert asked("127.0.0.1") == status
    assert asked("192.0.2.1") == 200, "a proxy has passed it on"
    assert asked("127.0.0.1", open=True) == 200


def test_the_schema_says_what_a_caller_must_show(client: TestClient, sample_index: Path, embedder: Embedder) -> None:
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer", "description": "a key"}
    assert (schemes["key"]["name"], schemes["widget"]["name"]) == ("X-API-Key", TOKEN_HEADER)
    assert document["paths"]["/v1/ask"]["post"]["security"] == [{"bearer": []}, {"key": []}, {"widget": []}]
    assert document["paths"]["/metrics"]["get"]["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert {"401", "403"} <= document["paths"]["/v1/ask"]["post"]["responses"].keys()
    without = create_app(Settings(index_dir=sample_index), embedder).openapi()
    assert without["paths"]["/v1/ask"]["post"]["security"] == [{}, {"bearer": []}, {"key": []}]


@pytest.fixture(scope="module")
def url(settings: Settings, embedder: Embedder) -> Iterator[str]:
    with served(create_app(settings, embedder)) as url:
        yield url


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_openais_client(url: str, keys: Keys) -> None:
    def complete(key: str) -> Any:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            message: Any = {"role": "user", "content": OKRS["question"]}
            return client.chat.completions.create(model="onrecord", messages=[message])

    assert "OKRs" in complete(keys.asker).choices[0].message.content
    with pytest.raises(openai.AuthenticationError) as wrong:
        complete("nobody-has-this-key-0")
    assert (wrong.value.code, wrong.value.type) == ("invalid_api_key", "invalid_request_error")
    with pytest.raises(openai.PermissionDeniedError) as lacking:
        complete(keys.admin)
    assert lacking.value.code == "insufficient_scope"


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_mcp_client(url: str, keys: Keys) -> None:
    async def asked(key: str) -> str:
        async with (
            httpx2.AsyncClient(headers=bearer(key)) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            return (await client.call_tool("ask", OKRS)).structured_content["status"]  # type: ignore[index]

    assert asyncio.run(asked(keys.asker)) == "answered"
    with pytest.raises((MCPError, ExceptionGroup, httpx2.HTTPStatusError)):
        asyncio.run(asked("nobody-has-this-key-0"))


def serve(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_nobody_serves_the_world_by_mistake(host: str, tmp_path: Path) -> None:
    refused = serve("--host", host, ONRECORD_INDEX_DIR=str(tmp_path))
    assert refused.returncode == 2
    assert "ONRECORD_API_KEYS" in refused.stderr
    assert "ONRECORD_OPEN=true" in refused.stderr
    assert not refused.stdout


def test_keys_that_cannot_be_read_let_nothing_start(tmp_path: Path) -> None:
    refused = serve(ONRECORD_INDEX_DIR=str(tmp_path), ONRECORD_API_KEYS=str(tmp_path / "keys.yaml"))
    assert refused.returncode == 1
    assert "keys.yaml" in refused.stderr
    assert not refused.stdout


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(("host", "alone"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_who_reaches_an_address(host: str, alone: bool) -> None:
    with listen(host, 0) as listening:
        assert is_loopback(listening) is alone


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("meant", ["open", "keys"])
def test_the_world_may_come_where_that_is_meant(meant: str, sample_index: Path, keys: Keys, tmp_path: Path) -> None:
    given = {"ONRECORD_OPEN": "true"} if meant == "open" else {"ONRECORD_API_KEYS": str(keys.path)}
    kept = {"ONRECORD_CONVERSATIONS": str(tmp_path / "c"), "ONRECORD_FEEDBACK": str(tmp_path / "f")}
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--host", "0.0.0.0"]
    env = {"ONRECORD_INDEX_DIR": str(sample_index), **kept, **given}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().rpartition(":")[2]
            status = httpx2.get(f"http://127.0.0.1:{port}/v1/models", timeout=60).status_code
        finally:
            process.terminate()
            _, log = process.communicate(timeout=60)
    assert status == (200 if meant == "open" else 401)
    assert ("no key is set" in log) is (meant == "open")
