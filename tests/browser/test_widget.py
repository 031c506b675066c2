"""The chat on somebody else's page: in a corner or inline, whatever that page's style and policy are."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from index.embed import Embedder
from tests.browser.chat import (
    HARBOUR,
    HARBOUR_QUESTION,
    INTERVIEW,
    UNANSWERED,
    ask,
    box,
    build,
    card,
    evidence,
    exchanges,
    write_corpus,
)

Axe = Callable[[Page], list[str]]
WIDGET = Path(__file__).parents[2] / "app" / "web" / "widget.js"
MOST_BYTES = 30_000
HOLDINGS = "2 sources, 4 voices, 34 minutes."
HOST = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A gazette</title>{head}
<main><h1>A gazette</h1><p>Where <a href="/elsewhere">the ferry</a> goes.</p>{body}</main>
</html>"""
HOSTILE_STYLE = """* { all: unset !important; letter-spacing: 1em !important }
on-record-chat, on-record-chat * { color: #fff !important; font-size: 3px !important; transition: all 9s !important }
"""


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """The folder of an index over an interview and notes."""
    folder = tmp_path_factory.mktemp("talks")
    return build(write_corpus(folder / "corpus"), folder / "snapshots", embedder)


@pytest.fixture
def archive(talks: Path, serve: Any, elsewhere: Any) -> Any:
    """A server that the pages of `elsewhere` may ask."""
    return serve(talks, ONRECORD_WIDGET_ORIGINS=elsewhere.origin)


def with_launcher(archive: Any, **page: str) -> str:
    script = f'<script src="{archive.url}/widget.js" data-title="Ask the archive" async></script>'
    return HOST.format(head=script + page.get("head", ""), body=page.get("body", ""))


def opened(page: Page, address: str) -> Page:
    """The page with its panel open."""
    page.goto(address)
    page.get_by_role("button", name="Ask the archive").click()
    expect(page.get_by_text(HOLDINGS)).to_be_visible()
    return page


def test_its_size() -> None:
    assert len(gzip.compress(WIDGET.read_bytes(), 9)) <= MOST_BYTES


def test_it_parses_no_html() -> None:
    never = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|\beval\b|new Function|DOMParser|cssText"
    assert re.findall(never, WIDGET.read_text()) == []


def test_a_button_in_the_corner_opens_the_chat(archive: Any, elsewhere: Any, page: Page, axe: Axe) -> None:
    page.goto(elsewhere.put("/", with_launcher(archive)))
    launcher = page.get_by_role("button", name="Ask the archive")
    expect(launcher).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("document.activeElement === document.body"), "it takes no focus before it is opened"
    assert axe(page) == []
    launcher.press("Enter")
    panel = page.get_by_role("dialog", name="Ask the archive")
    expect(panel).to_be_visible()
    expect(launcher).to_have_attribute("aria-expanded", "true")
    expect(box(page)).to_be_focused()
    expect(panel.get_by_text(HOLDINGS)).to_be_visible()
    assert axe(page) == []
    answer = ask(page, HARBOUR_QUESTION)
    expect(card(answer, HARBOUR)).to_be_visible()
    expect(page).to_have_title("A gazette")
    expect(page).to_have_url(f"{elsewhere.origin}/")
    assert axe(page) == []
    card(answer, HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    expect(page.get_by_role("link", name="Read in full")).to_have_attribute(
        "href", f"{archive.url}/sources/interview#turn-25.169-234"
    )
    expect(page.get_by_role("link", name="Read in full")).to_have_attribute("target", "_blank")
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(evidence(page)).to_have_count(0)
    expect(panel).to_be_visible()
    ask(page, UNANSWERED)
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(launcher).to_be_focused()
    expect(launcher).to_have_attribute("aria-expanded", "false")


def test_beside_an_open_panel_the_page_goes_on(archive: Any, elsewhere: Any, page: Page) -> None:
    opened(page, elsewhere.put("/", with_launcher(archive)))
    page.get_by_role("link", name="the ferry").focus()
    expect(page.get_by_role("link", name="the ferry")).to_be_focused()
    page.get_by_role("button", name="Ask the archive").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_small_screen_it_fills_it(
    archive: Any, elsewhere: Any, new_page: Callable[..., Page], axe: Axe, scheme: str
) -> None:
    page = new_page(viewport={"width": 360, "height": 640}, color_scheme=scheme, has_touch=True)
    opened(page, elsewhere.put("/", with_launcher(archive)))
    panel = page.get_by_role("dialog", name="Ask the archive")
    assert panel.bounding_box() == {"x": 0, "y": 0, "width": 360, "height": 640}
    assert panel.evaluate("node => node.matches(':modal')")
    assert axe(page) == []
    focused = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        focused.add(page.evaluate("document.activeElement.tagName"))
    assert "A" not in focused, "the page behind it cannot be reached"
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(evidence(page)).to_have_count(0)
    expect(panel).to_be_visible()
    page.set_viewport_size({"width": 1000, "height": 700})
    expect(page.locator("dialog:modal")).to_have_count(0)
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Ask the archive")).to_be_focused()


def test_a_page_that_may_not_ask_is_told_so(
    talks: Path, serve: Any, elsewhere: Any, page: Page, watched: Any, axe: Axe
) -> None:
    watched.expect("blocked by CORS policy|net::ERR_FAILED|status of 403")
    archive = serve(talks, ONRECORD_WIDGET_ORIGINS="https://other.example")
    page.goto(elsewhere.put("/", with_launcher(archive)))
    page.get_by_role("button", name="Ask the archive").click()
    expect(page.get_by_role("dialog")).to_contain_text("The archive cannot be reached from this page.")
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer).to_contain_text("The archive cannot be reached from this page. Your question is still in the box.")
    assert axe(page) == []


def test_style_that_unsets_everything_does_nothing(archive: Any, elsewhere: Any, new_page: Callable[..., Page]) -> None:
    looks = []
    for style in ("", f"<style>{HOSTILE_STYLE}</style>"):
        page = new_page(reduced_motion="reduce")  # nothing is measured on its way
        opened(page, elsewhere.put("/", with_launcher(archive, head=style)))
        answer = ask(page, HARBOUR_QUESTION)
        expect(card(answer, HARBOUR)).to_be_visible()
        looks.append(
            page.evaluate("""() => {
                const root = document.querySelector("on-record-chat").shadowRoot;
                const named = ["color", "fontSize", "fontFamily", "letterSpacing", "display", "position", "transition"];
                return [...root.querySelectorAll(".launcher, .panel, .panel *")].map(node => {
                    const {x, y, width, height} = node.getBoundingClientRect();
                    const style = getComputedStyle(node);
                    return [node.className.toString(), x, y, width, height, ...named.map(name => style[name])].join();
                });
            }""")
        )
    assert looks[0] == looks[1]


def test_it_needs_nothing_of_the_page_s_policy_but_its_host(archive: Any, elsewhere: Any, page: Page, axe: Axe) -> None:
    policy = (
        f"default-src 'none'; script-src {archive.url}; connect-src {archive.url}; require-trusted-types-for 'script'"
    )
    address = elsewhere.put("/", with_launcher(archive), Content_Security_Policy=policy)
    opened(page, address)
    answer = ask(page, HARBOUR_QUESTION)
    card(answer, HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    expect(answer.locator(".name").first).to_have_css("font-weight", "600")
    assert axe(page) == []


def test_inline(archive: Any, elsewhere: Any, page: Page, axe: Axe) -> None:
    head = f'<script src="{archive.url}/widget.js" async></script>'
    style = "<style>on-record-chat { --on-record-accent: rgb(0, 90, 0); --on-record-height: 500px }</style>"
    body = '<on-record-chat heading="The ferry archive"></on-record-chat>'
    page.goto(elsewhere.put("/", HOST.format(head=head + style, body=body)))
    expect(page.get_by_text(HOLDINGS)).to_be_visible()
    expect(page.get_by_role("heading", name="The ferry archive")).to_be_visible()
    assert page.evaluate("document.activeElement === document.body")
    expect(page.locator(".launcher")).to_have_count(0)
    assert page.locator(".chat").bounding_box()["height"] == 500
    expect(page.locator(".dot").first).to_have_css("background-color", "rgb(0, 90, 0)")
    answer = ask(page, HARBOUR_QUESTION)
    expect(card(answer, HARBOUR)).to_be_visible()
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="the ferry").focus()
    page.keyboard.press("/")
    expect(page.get_by_role("link", name="the ferry")).to_be_focused()


def test_a_script_that_is_there_twice_puts_one_button(archive: Any, elsewhere: Any, page: Page) -> None:
    script = f'<script src="{archive.url}/widget.js" data-title="Ask the archive"></script>'
    opened(page, elsewhere.put("/", with_launcher(archive, head=script, body=script)))
    expect(page.locator("on-record-chat")).to_have_count(1)


def test_the_conversation_goes_from_page_to_page(archive: Any, elsewhere: Any, page: Page) -> None:
    elsewhere.put("/elsewhere", with_launcher(archive))
    opened(page, elsewhere.put("/", with_launcher(archive)))
    ask(page, HARBOUR_QUESTION)
    page.get_by_role("link", name="the ferry").click()
    page.wait_for_url("**/elsewhere")
    page.get_by_role("button", name="Ask the archive").click()
    expect(card(exchanges(page), HARBOUR)).to_be_visible()
    answer = ask(page, "And what did he say about the tunnel?")
    expect(card(answer, "nine years")).to_be_visible()


def test_a_token_that_is_not_known_any_more_is_renewed(archive: Any, elsewhere: Any, page: Page, watched: Any) -> None:
    opened(page, elsewhere.put("/", with_launcher(archive)))
    archive.stop()
    archive.start()
    watched.expect("status of 401")
    answer = ask(page, HARBOUR_QUESTION)
    expect(card(answer, HARBOUR)).to_be_visible()


def test_no_secret_is_in_the_page(archive: Any, elsewhere: Any, page: Page) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request))
    opened(page, elsewhere.put("/", with_launcher(archive)))
    ask(page, HARBOUR_QUESTION)
    [token] = {each.headers["x-onrecord-token"] for each in asked if "x-onrecord-token" in each.headers}
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert token not in stored
    assert token not in page.content()
    assert INTERVIEW in stored
