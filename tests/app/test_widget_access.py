from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from app.origins import parse_origin
from app.problems import add_problem_handlers
from app.settings import Settings
from app.widget_access import TOKEN_HEADER, WidgetAccess, WidgetTokens, widget_token_router

OWN = "https://ask.example"
LISTED = "https://blog.example"
ALSO_LISTED = "https://news.example:8443"


def client_of(tokens: WidgetTokens) -> TestClient:
    app = FastAPI()
    origins = (LISTED, ALSO_LISTED)
    app.add_middleware(WidgetAccess, origins=origins, tokens=tokens)
    add_problem_handlers(app)
    app.include_router(widget_token_router(tokens, origins))

    @app.post("/v1/echo")
    def echo() -> dict[str, str]:
        return {"said": "yes"}

    @app.get("/v1/busy")
    def busy() -> None:
        raise HTTPException(503, "Not now.", headers={"Retry-After": "5"})

    @app.get("/page")
    def page() -> dict[str, str]:
        return {}

    return TestClient(app, base_url=OWN)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(WidgetTokens(None)) as client:
        yield client


def token_for(client: TestClient, origin: str) -> str:
    response = client.post("/v1/widget-token", headers={"Origin": origin})
    assert response.status_code == 200, response.text
    assert response.json()["expires_in"] == 600
    return response.json()["token"]


def cross_origin_headers(response: Any) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": OWN},
        {"Origin": f"{OWN}:443"},
        {"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_our_own_pages_and_programs_need_nothing(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/v1/echo", headers=headers)
    assert response.json() == {"said": "yes"}
    assert not cross_origin_headers(response)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://ask.example"},
        {"Origin": "https://ask.example:8443"},
        {"Origin": "https://blog.example.evil.example"},
        {"Origin": "http://blog.example"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": ""},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    token = token_for(client, LISTED)
    for response in (
        client.post("/v1/echo", headers=headers),
        client.post("/v1/echo", headers={**headers, TOKEN_HEADER: token}),
        client.post("/v1/widget-token", headers=headers),
        client.options("/v1/echo", headers={**headers, "Access-Control-Request-Method": "POST"}),
    ):
        assert response.status_code == 403
        assert response.headers["content-type"] == "application/problem+json"
        assert "ONRECORD_WIDGET_ORIGINS" in response.json()["detail"]
        assert not cross_origin_headers(response)


def test_a_listed_origin_gets_a_token_and_comes_in_with_it(client: TestClient) -> None:
    token = token_for(client, LISTED)
    response = client.post("/v1/echo", headers={"Origin": LISTED, TOKEN_HEADER: token})
    assert response.json() == {"said": "yes"}
    assert response.headers["access-control-allow-origin"] == LISTED
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


def test_a_browser_may_ask_first(client: TestClient) -> None:
    asked = {
        "Origin": ALSO_LISTED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-onrecord-token",
    }
    response = client.options("/v1/echo", headers=asked)
    assert response.is_success
    assert response.headers["access-control-allow-origin"] == ALSO_LISTED
    assert response.headers["access-control-allow-methods"] == "GET, POST"
    assert response.headers["access-control-max-age"] == "600"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "accept", "x-onrecord-token"} <= set(allowed)
    assert client.options("/v1/echo", headers={**asked, "Access-Control-Request-Method": "DELETE"}).is_client_error


def test_without_a_good_token_a_listed_origin_is_told_what_is_wrong(client: TestClient) -> None:
    token = token_for(client, LISTED)
    of_another_server = WidgetTokens(None).make(LISTED)
    for shown, origin, fault in [
        (None, LISTED, "is missing"),
        (token, ALSO_LISTED, "is of another origin"),
        (of_another_server, LISTED, "is invalid"),
        (f"x{token}", LISTED, "is invalid"),
        ("", LISTED, "is invalid"),
    ]:
        response = client.post(
            "/v1/echo", headers={"Origin": origin} | ({TOKEN_HEADER: shown} if shown is not None else {})
        )
        assert response.status_code == 401
        assert response.json()["errors"] == [{"field": TOKEN_HEADER, "message": fault}]
        assert response.headers["access-control-allow-origin"] == origin


def test_a_token_runs_out() -> None:
    with client_of(WidgetTokens("the secret of both", seconds=-1)) as client:
        token = client.post("/v1/widget-token", headers={"Origin": LISTED}).json()["token"]
        response = client.post("/v1/echo", headers={"Origin": LISTED, TOKEN_HEADER: token})
        assert response.status_code == 401
        assert response.json()["errors"] == [{"field": TOKEN_HEADER, "message": "is expired"}]


def test_servers_that_share_a_secret_know_each_others_tokens() -> None:
    token = WidgetTokens("the secret of both").make(LISTED)
    assert WidgetTokens("the secret of both").fault(token, LISTED) is None
    assert WidgetTokens("the secret of a third").fault(token, LISTED) == "invalid"


def test_what_fails_later_can_be_read_by_a_listed_origin(client: TestClient) -> None:
    headers = {"Origin": LISTED, TOKEN_HEADER: token_for(client, LISTED)}
    response = client.get("/v1/busy", headers=headers)
    assert response.status_code == 503
    assert response.headers["access-control-allow-origin"] == LISTED
    assert response.headers["access-control-expose-headers"] == "Retry-After"
    assert client.get("/v1/nowhere", headers=headers).headers["access-control-allow-origin"] == LISTED


def test_what_is_no_api_is_opened_to_nobody(client: TestClient) -> None:
    for origin in (LISTED, "https://evil.example"):
        response = client.get("/page", headers={"Origin": origin})
        assert response.status_code == 200
        assert not cross_origin_headers(response)


def test_our_own_pages_get_no_token(client: TestClient) -> None:
    for headers in ({}, {"Origin": OWN}):
        assert client.post("/v1/widget-token", headers=headers).status_code == 403


def test_origins_are_read_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().widget_origins == ()
    listed = " https://A.example , https://b.example:8443,https://a.example:443,, http://[::1]:80 "
    monkeypatch.setenv("ONRECORD_WIDGET_ORIGINS", listed)
    assert Settings().widget_origins == ("https://a.example", "https://b.example:8443", "http://[::1]")


@pytest.mark.parametrize(
    "text",
    [
        *("*", "https://*.example", "a.example", "null", "file://x", "https://"),
        *("https://a.example/", "https://a.example/path", "https://a.example?q", "https://user@a.example"),
        *("https://a.example:0", "https://a.example:65536"),
    ],
)
def test_what_is_no_origin_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin") as error:
        Settings(widget_origins=("https://fine.example", text))
    assert "widget_origins" in str(error.value)
    assert repr(text) in str(error.value)


@given(st.text())
def test_an_origin_once_read_stays_as_it_is(text: str) -> None:
    for each in (text, f"http://{text}", f"https://{text}:443"):
        origin = parse_origin(each)
        assert origin is None or parse_origin(origin) == origin


def test_a_short_secret_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="secret") as error:
        Settings(secret=SecretStr("too short"))
    assert "too short" not in str(error.value)
