from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.api import create_app
from app.pages import POLICY
from app.settings import Settings
from index.embed import Embedder

PAGES = ["/", "/docs", "/sources", "/sources/kayvon-beykpour-insights", "/sources/no-such-source"]
WEB = sorted(each.name for each in (files("app") / "web").iterdir())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[TestClient]:
    """An app without an index: pages are there all the same."""
    app = create_app(Settings(index_dir=tmp_path_factory.mktemp("none")), embedder)
    with TestClient(app, follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_html_that_may_do_next_to_nothing(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert {"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'"} <= set(POLICY.split("; "))
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in response.headers["permissions-policy"]


@pytest.mark.parametrize("path", [*PAGES, "/widget.js", "/web/transcript.js", "/v1/sources", "/nowhere"])
def test_no_type_is_guessed_and_only_the_widget_may_be_included_elsewhere(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin" if path == "/widget.js" else "same-origin"


@pytest.mark.parametrize("path", ["/v1/sources", "/v1/models", "/healthz", "/metrics", "/nowhere", "/openapi.json"])
def test_what_is_no_page_may_do_nothing_and_is_kept_nowhere(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", [*PAGES, "/v1/sources", "/widget.js"])
def test_nothing_can_be_framed(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_widget_is_a_script_for_any_page(client: TestClient) -> None:
    response = client.get("/widget.js", headers={"Origin": "https://anybody.example"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.content == (files("app") / "web" / "widget.js").read_bytes()


@pytest.mark.parametrize("name", WEB)
def test_files_are_served_as_they_are(client: TestClient, name: str) -> None:
    response = client.get(f"/web/{name}")
    if name.endswith(".html"):
        assert response.status_code == 404
        return
    assert response.content == (files("app") / "web" / name).read_bytes()
    assert "charset=utf-8" in response.headers["content-type"]


@pytest.mark.parametrize("path", ["/", "/sources", "/widget.js", "/web/transcript.js"])
def test_what_a_browser_holds_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}'):
        again = client.get(path, headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == first.headers["content-length"]


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/nothing.js",
        "/web/../api.py",
        "/web/..%2fapi.py",
        "/web/%2e%2e/api.py",
        "/web/..%5capi.py",
        "/web/.",
        "/web/__init__.py",
        "/web/widget.js/",
        "/web/widget.js%00.css",
        "/web//etc/passwd",
        "/web/WIDGET.JS",
    ],
)
def test_nothing_else_can_be_reached(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (307, 404)
    assert client.post("/web/widget.js").status_code == 405


def test_an_error_of_ours_is_a_problem_that_a_listed_origin_can_read(tmp_path: Path, embedder: Embedder) -> None:
    origin = "https://blog.example"
    app = create_app(Settings(index_dir=tmp_path, widget_origins=(origin,)), embedder)

    @app.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError("a secret of ours")

    with TestClient(app, raise_server_exceptions=False) as client:
        token = client.post("/v1/widget-token", headers={"Origin": origin}).json()["token"]
        response = client.get("/v1/broken", headers={"Origin": origin, "X-OnRecord-Token": token})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text
