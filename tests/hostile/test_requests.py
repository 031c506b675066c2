"""Requests that no well-meaning client makes: nothing of theirs gets into headers, or out of the index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from index.build import ingest
from ingest.limits import Limits
from tests.hashing import HashingEmbedder
from tests.hostile.asking_all import KEY, fuzzed_app

PATHS = ("/", "/v1/ask", "/v1/widget-token", "/v1/sources/a\r\nb", "/web/a\r\nb", "/no\r\nwhere", "/mcp")
HEADERS = ("host", "origin", "x-request-id", "authorization", "x-api-key", "if-none-match", "accept")
FILES = ("=cmd|' /C calc'!A0", "a\r\nb", "<script>alert(1)</script>", "%2e%2e%2f", "'; DROP--")
BREAK = b"a\r\nSet-Cookie: caught=1\r\n\r\n<script>"


@pytest.fixture(scope="module", params=[False, True], ids=["for all", "with keys"])
def app(request: pytest.FixtureRequest, hashed_index: Path) -> FastAPI:
    return fuzzed_app(hashed_index, keys=request.param)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}, raise_server_exceptions=False) as client:
        yield client


async def answered(app: ASGIApp, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> list[Message]:
    """What is sent in return for bytes that no HTTP library would pass on."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": BREAK,
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Message] = []
    asked: Iterator[Message] = iter([{"type": "http.request", "body": b"{}", "more_body": False}])

    async def receive() -> Message:
        return next(asked, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "path", ["/", "/v1/ask", "/v1/widget-token", "/v1/sources/a\r\nb", "/web/a\r\nb", "/no\r\nwhere", "/mcp"]
)
@pytest.mark.parametrize(
    "name", ["host", "origin", "x-request-id", "authorization", "x-api-key", "if-none-match", "accept"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_line_break_comes_back_in_a_header(client: TestClient, method: str, path: str, name: str) -> None:
    """A server in front may be less strict than ours about what a header is."""
    headers = [(b"content-type", b"application/json"), (b"access-control-request-method", b"POST")]
    assert client.portal is not None
    start, *_ = client.portal.call(answered, client.app, method, path, [(name.encode(), BREAK), *headers])
    assert start["status"] < 500
    for header, value in start["headers"]:
        assert b"\r" not in header + value
        assert b"\n" not in header + value
        assert header.lower() != b"set-cookie"


@pytest.mark.parametrize("doors", ["/v1/sources/{}", "/v1/models/{}", "/web/{}"])
@pytest.mark.parametrize(
    "path",
    [
        *("../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%252e%252e%252f"),
        *(
            "..%5c..%5cwindows%5cwin.ini",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "a%00.js",
            "%00",
            "%c0%ae%c0%ae%c0%af",
            "....",
        ),
        *(
            "%e2%80%ae",
            "%ff%fe",
            "%0d%0aSet-Cookie:a",
            "CURRENT",
            "..",
            ".",
            "%2e",
            "snapshots%2fCURRENT",
            "%f0%9f%8e%99",
        ),
    ],
)
def test_no_path_leads_out(client: TestClient, doors: str, path: str) -> None:
    response = client.get(doors.format(path))
    assert response.status_code in (401, 404) or response.url.path in ("/", "/v1/sources", "/v1/models", "/sources"), (
        path
    )
    assert "root:" not in response.text


UNICODE = [
    "e" + "\u0301" * 3000,
    "\u202e\u2066" * 1000,
    "\u200b\u200d\ufeff\u2060" * 900,
    "\U0010ffff" * 4000,
    "\ufdfa" * 4000,  # eighteen letters where it is decomposed
    "İ" * 4000,
    "ﬃ" * 4000,
    "\u1f82" * 4000,
    "\x00\x01\x1f\x7f\x9f" * 800,
    "\u2028\u2029\x85" * 1300 + "a",
    "한" * 4000,
]


@pytest.mark.parametrize("text", UNICODE, ids=lambda text: f"U+{ord(text[0]):04X}")
@pytest.mark.parametrize("field", ["query", "question", "speaker", "source", "conversation_id", "comment", "messages"])
def test_no_letters_are_too_much(client: TestClient, field: str, text: str) -> None:
    asked = {"query": text} if field == "query" else {"question": "what about OKRs?", field: text[:200]}
    door, body = ("/v1/search" if field == "query" else "/v1/ask"), asked
    if field == "question":
        body = {"question": text}
    elif field == "comment":
        door, body = "/v1/feedback", {"answer_id": text[:200], "rating": "up", "comment": text[:2000]}
    elif field == "messages":
        door, body = "/v1/chat/completions", {"model": "onrecord", "messages": [{"role": "user", "content": text}]}
    response = client.post(door, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 201, 400, 404, 422), response.text
    response.json()


@pytest.mark.parametrize("name", FILES)
def test_no_file_name_gets_into_an_address(tmp_path: Path, name: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / f"{name.replace('/', '_')}.txt").write_text("Ann (00:01): We threw the manuals away.\n")
    assert not ingest([corpus], tmp_path / "snapshots", HashingEmbedder(), Limits()).errors
    app = fuzzed_app(tmp_path / "snapshots", keys=False)
    with TestClient(app) as client:
        [source] = client.get("/v1/sources").json()["sources"]
        assert quote(source["id"], safe="") == source["id"]
        assert not source["id"].startswith((".", "=", "-"))
        assert client.get(f"/v1/sources/{source['id']}").status_code == 200
