"""The page of the HTTP API in a browser: what it shows, and asking through it."""

from __future__ import annotations

import json
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Server, Watched

Axe = Callable[[Page], list[str]]
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def opened(page: Page, server: Server, route: str) -> Locator:
    page.goto(f"{server.url}/docs")
    operation = page.locator("details").filter(has=page.get_by_text(route, exact=True))
    operation.locator("summary").click()
    return operation


def test_every_route_is_shown(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text("The HTTP API")
    described = page.request.get(f"{server.url}/openapi.json").json()["paths"]
    wanted = [(method.upper(), path) for path, methods in described.items() for method in methods]
    for row, (method, path) in zip(page.locator("summary").all(), wanted, strict=True):
        expect(row).to_contain_text(f"{method} {path}")


def test_a_question_is_asked(page: Page, server: Server) -> None:
    ask = opened(page, server, "/v1/ask")
    expect(ask.get_by_role("row", name="question string; required")).to_be_visible()
    body = ask.get_by_label("Request, as JSON")
    assert json.loads(body.input_value()) == {"question": ""}
    body.fill(json.dumps({"question": "what did Beykpour say about OKRs?"}))
    ask.get_by_role("button", name="Send").click()
    said = ask.get_by_role("status")
    expect(said).to_contain_text("200")
    expect(said).to_contain_text("the only way the organization is trained")


def test_parameters_go_where_they_belong(page: Page, server: Server, watched: Watched) -> None:
    source = opened(page, server, "/v1/sources/{source_id}")
    source.get_by_label("source_id").fill("kayvon-beykpour-insights")
    source.get_by_label("first").fill("0")
    source.get_by_label("last").fill("0")
    source.get_by_role("button", name="Send").click()
    said = source.get_by_role("status")
    expect(said).to_contain_text('"id": "kayvon-beykpour-insights"')
    watched.expect(r"status of 404")
    source.get_by_label("source_id").fill("../speakers?x=<b>")
    source.get_by_role("button", name="Send").click()
    expect(said).to_contain_text("404")


def test_on_a_phone_and_for_everybody(page: Page, server: Server, axe: Axe) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    opened(page, server, "/v1/ask")
    assert not page.evaluate(OVERFLOWS)
    assert axe(page) == []
