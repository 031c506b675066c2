"""The list of sources in a browser: what it says, searching it, sorting it, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from index.embed import Embedder
from tests.browser.corpora import NOTES, SCRIPT, TALK, serving, write

Axe = Callable[[Page], list[str]]
HOSTILE = f"{SCRIPT} & co"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, request: pytest.FixtureRequest) -> Any:
    """The address of the list."""
    with serving(tmp_path_factory.mktemp("library"), write, embedder, request) as url:
        yield f"{url}/sources"


def listed(title: str, date: str | None = None, speakers: tuple[str, ...] = (), **other: Any) -> dict[str, Any]:
    """A source as the API lists it."""
    fields = {"id": title, "title": title, "kind": "notes", "url": None, "date": date, "speakers": list(speakers)}
    return {**fields, "turns": 1, "passages": 1, **other}


def answering(page: Page, *sources: dict[str, Any]) -> None:
    """Has the API list these sources."""
    page.route("**/v1/sources", lambda route: route.fulfill(json={"sources": list(sources)}))


def titles(page: Page) -> Locator:
    return page.get_by_role("listitem").get_by_role("link")


def test_what_the_corpus_holds(library: str, page: Page) -> None:
    page.goto(library)
    expect(titles(page)).to_have_text([HOSTILE, TALK, NOTES])
    expect(page.locator("#tally")).to_have_text("3 sources")
    talk = page.get_by_role("listitem").filter(has_text=TALK)
    expect(talk).to_contain_text("Transcript · 14 September 2022 · 120 turns")
    expect(talk).to_contain_text("Ada Lind")
    titles(page).filter(has_text=TALK).click()
    assert page.url == f"{library}/talk"
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("balloon", [TALK]),
        ("  ADA  talk ", [TALK]),
        ("okafór", [NOTES]),
        ("reyes", [HOSTILE, TALK]),
        ("(", []),
        ("zebra", []),
        ("", [HOSTILE, TALK, NOTES]),
    ],
)
def test_the_list_narrows_while_one_types(library: str, page: Page, typed: str, found: list[str]) -> None:
    page.goto(library)
    expect(titles(page)).to_have_count(3)
    page.get_by_label("Search titles and speakers").press_sequentially(typed)
    expect(titles(page)).to_have_text(found)
    if typed:
        expect(page.locator("#tally")).to_have_text(f"{len(found)} of 3 sources")
    if not found:
        expect(page.get_by_text(f"No title or speaker here matches “{typed}”.")).to_be_visible()
        page.get_by_role("button", name="Show all sources").click()
        expect(titles(page)).to_have_count(3)
        expect(page.get_by_label("Search titles and speakers")).to_be_focused()


def test_accents_make_no_difference(library: str, page: Page) -> None:
    answering(page, listed("Über José"), listed("Uber"))
    page.goto(library)
    for typed in ("uber jose", "ÜBER JOSÉ", "jose u"):
        page.get_by_label("Search titles and speakers").fill(typed)
        expect(titles(page)).to_have_text(["Über José"])


def test_by_title_and_by_date(library: str, page: Page) -> None:
    answering(
        page,
        listed("Episode 10", "2021-05-04"),
        listed("episode 9"),
        listed("Éclair", "2023"),
        listed("Zebra", "2021-05"),
    )
    page.goto(library)
    expect(titles(page)).to_have_text(["Éclair", "episode 9", "Episode 10", "Zebra"])
    page.get_by_label("Sorted by").select_option("newest first")
    expect(titles(page)).to_have_text(["Éclair", "Episode 10", "Zebra", "episode 9"])
    page.get_by_label("Sorted by").select_option("oldest first")
    expect(titles(page)).to_have_text(["Zebra", "Episode 10", "Éclair", "episode 9"])
    expect(page.get_by_text("Notes · 2021-05 · 1 turn", exact=True)).to_be_visible()


def test_the_address_keeps_the_search(library: str, page: Page) -> None:
    page.goto(library)
    expect(titles(page)).to_have_count(3)
    page.get_by_label("Search titles and speakers").fill("a balloon")
    page.get_by_label("Sorted by").select_option("oldest first")
    assert page.url == f"{library}?q=a+balloon&by=oldest"
    titles(page).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)
    page.go_back()
    expect(page.get_by_label("Search titles and speakers")).to_have_value("a balloon")
    expect(page.get_by_label("Sorted by")).to_have_value("oldest")
    expect(titles(page)).to_have_text([TALK])
    page.goto(f"{library}?by=constructor")
    expect(titles(page)).to_have_count(3)
    expect(page.get_by_label("Sorted by")).to_have_value("title")
    assert page.url == library


def test_many_names_are_counted(library: str, page: Page) -> None:
    answering(page, listed("Town hall", speakers=tuple(f"Speaker {i:02}" for i in range(60))))
    page.goto(library)
    expect(page.get_by_role("listitem")).to_contain_text("48 others")
    page.get_by_label("Search titles and speakers").fill("speaker 59")
    expect(titles(page)).to_have_count(1)


def test_hostile_titles_and_names_do_nothing(library: str, page: Page) -> None:
    answering(page, listed(SCRIPT, speakers=(SCRIPT,), id="../../v1/speakers?x=#y", date=SCRIPT, kind=SCRIPT))
    page.goto(library)
    expect(titles(page)).to_have_text([SCRIPT])
    expect(titles(page)).to_have_attribute("href", "/sources/..%2F..%2Fv1%2Fspeakers%3Fx%3D%23y")
    expect(page.locator("main img, main script")).to_have_count(0)
    assert page.title() == "Sources · On Record"


def test_an_empty_archive(library: str, page: Page, axe: Axe) -> None:
    answering(page)
    page.goto(library)
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is on record yet")
    assert axe(page) == []


def test_errors_are_said_and_can_be_tried_again(library: str, page: Page, watched: Any, axe: Axe) -> None:
    watched.expect("net::ERR_FAILED|status of 500")
    detail = "Something went wrong here; the server's log has the details."
    replies: list[Callable[[Route], None]] = [
        lambda route: route.abort(),
        lambda route: route.fulfill(status=200, body="{"),
        lambda route: route.fulfill(status=500, json={"detail": detail}),
        lambda route: route.fulfill(status=500, body="<h1>nginx</h1>"),
        lambda route: route.continue_(),
    ]
    page.route("**/v1/sources", lambda route: replies.pop(0)(route))
    page.goto(library)
    for headline, words in [
        ("No connection", "could not be reached"),
        ("No connection", "broke off"),
        ("Something went wrong", detail),
        ("Something went wrong", "status 500"),
    ]:
        expect(page.get_by_role("heading", level=1)).to_have_text(headline)
        expect(page.locator("#state")).to_contain_text(words)
        assert axe(page) == []
        page.get_by_role("button", name="Try again").press("Enter")
    expect(titles(page)).to_have_count(3)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_the_keyboard_alone_does_everything(library: str, page: Page) -> None:
    page.goto(library)
    expect(titles(page)).to_have_count(3)
    walked: list[str] = []
    for _ in range(6):
        page.keyboard.press("Tab")
        walked.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", walked
    assert walked == ["Skip to the list", "● On Record", "Sources", "search", "order", HOSTILE]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360, 320])
def test_axe_finds_nothing(library: str, new_page: Callable[..., Page], axe: Axe, scheme: str, width: int) -> None:
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 740})
    page.goto(library)
    expect(titles(page)).to_have_count(3)
    assert axe(page) == []
    assert not page.evaluate(OVERFLOWS)
    page.get_by_label("Search titles and speakers").fill("zebra")
    expect(page.get_by_role("button", name="Show all sources")).to_be_visible()
    assert axe(page) == []
    assert not page.evaluate(OVERFLOWS)
