"""Our own pages where the server wants a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.keys import add_key, revoke_key

QUESTION = "what did Beykpour say about OKRs?"
WORDS = "If the only way the organization is trained to think"
REFUSED = "Failed to load resource.*40[13]"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def key(keys: Path) -> str:
    return add_key(keys, "reader", ["ask"], [])[1]


@pytest.fixture
def url(serve: Any, sample_index: Path, keys: Path, key: str) -> Iterator[str]:
    yield serve(sample_index, ONRECORD_API_KEYS=str(keys)).url


def give(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Open").click()


def test_the_chat_asks_once_and_then_answers(
    url: str, key: str, page: Page, axe: Callable[[Page], list[str]], watched: Any
) -> None:
    watched.expect(REFUSED)
    page.goto(f"{url}/")
    dialog = page.get_by_role("dialog", name="A key, please")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    assert axe(page) == []
    page.keyboard.type("nobody-has-this-key")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("This key is not known here.")
    give(page, key)
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("3 sources")).to_be_visible()
    page.get_by_role("textbox", name="question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text(WORDS).first).to_be_visible()
    page.goto(f"{url}/sources")
    expect(page.get_by_role("listitem")).to_have_count(3)
    page.get_by_role("listitem").get_by_role("link").first.click()
    expect(page.locator("#transcript")).to_be_visible()
    expect(dialog).to_be_hidden()
    assert key not in page.content()


@pytest.mark.parametrize("path", ["/sources", "/sources/kayvon-beykpour-insights"])
def test_the_pages_for_reading_ask_too(
    path: str, url: str, key: str, new_page: Callable[..., Page], axe: Callable[[Page], list[str]], watched: Any
) -> None:
    watched.expect(REFUSED)
    page = new_page(color_scheme="dark", viewport={"width": 390, "height": 760})
    page.goto(f"{url}{path}")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert axe(page) == []
    give(page, key)
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "What is on record" if path == "/sources" else "Kayvon Beykpour: insights by skill"
    )


def test_who_has_none_may_say_so_and_come_back(url: str, key: str, page: Page, watched: Any) -> None:
    watched.expect(REFUSED)
    page.goto(f"{url}/sources")
    page.keyboard.press("Escape")
    expect(page.locator("#state")).to_contain_text("Send a key")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Not now").click()
    page.get_by_role("button", name="Try again").click()
    give(page, key)
    expect(page.get_by_role("listitem")).to_have_count(3)


def test_a_key_that_was_revoked_is_asked_for_again(url: str, keys: Path, page: Page, watched: Any) -> None:
    watched.expect(REFUSED)
    brief = add_key(keys, "brief", ["ask"], [])[1]
    page.goto(f"{url}/sources")
    give(page, brief)
    expect(page.get_by_role("listitem")).to_have_count(3)
    revoke_key(keys, "brief")
    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("This key is not known here.")


def test_no_page_asks_where_its_own_origin_is_listed(
    serve: Any, sample_index: Path, keys: Path, key: str, page: Page
) -> None:
    server = serve(sample_index, ONRECORD_API_KEYS=str(keys))
    server.stop()
    server._environment["ONRECORD_WIDGET_ORIGINS"] = server.url
    server.start()
    page.goto(f"{server.url}/?q={QUESTION}")
    expect(page.get_by_text(WORDS).first).to_be_visible()
    page.goto(f"{server.url}/sources")
    expect(page.get_by_role("listitem")).to_have_count(3)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_widget_elsewhere_needs_none(
    serve: Any, sample_index: Path, keys: Path, key: str, elsewhere: Any, page: Page
) -> None:
    server = serve(sample_index, ONRECORD_API_KEYS=str(keys), ONRECORD_WIDGET_ORIGINS=elsewhere.origin)
    widget = f"<script src='{server.url}/widget.js'></script><on-record-chat></on-record-chat>"
    page.goto(elsewhere.put("/", f"<!doctype html><title>A blog</title>{widget}"))
    page.get_by_role("textbox", name="question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text(WORDS).first).to_be_visible()
