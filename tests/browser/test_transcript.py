"""The transcript view in a browser: landing on the cited words, reading, finding, and what may go wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, Route, expect

from index.embed import Embedder
from tests.browser.corpora import (
    ARABIC,
    CITED,
    EMOJI_TURN,
    LENSES,
    LONG_TURN,
    MEETING,
    MEETING_TURNS,
    NOTES,
    RECORDING,
    SCRIPT,
    TALK,
    serving,
    write,
    write_meeting,
)

Axe = Callable[[Page], list[str]]
IN_SIGHT = """node => {
    const {top, bottom} = node.getBoundingClientRect();
    const tools = document.querySelector(".find").getBoundingClientRect();
    return top >= tools.bottom && bottom <= innerHeight;
}"""
HIGHLIGHTED = "name => [...CSS.highlights.get(name) ?? []].map(range => range.toString())"
OVERFLOWS = (
    """[...document.querySelectorAll("html, .chunk, .words")].some(each => each.scrollWidth > each.clientWidth)"""
)
PHONE = {"width": 360, "height": 740}
BEGIN = EMOJI_TURN.index(CITED)
CITATION = f"#turn-91.{BEGIN}-{BEGIN + len(CITED)}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, request: pytest.FixtureRequest) -> Any:
    """The address of a server over all but the meeting."""
    with serving(tmp_path_factory.mktemp("library"), write, embedder, request) as url:
        yield url


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, request: pytest.FixtureRequest) -> Any:
    """The address of the transcript of 10,000 turns."""
    with serving(tmp_path_factory.mktemp("meeting"), write_meeting, embedder, request) as url:
        yield f"{url}/sources/meeting"


def opened(page: Page, address: str) -> Page:
    """The page when all turns are in it."""
    page.goto(address)
    page.wait_for_selector("[data-complete]", state="attached", timeout=60_000)
    return page


def turns_of(library: str, source: str) -> list[dict[str, Any]]:
    with urlopen(f"{library}/v1/sources/{source}") as response:
        return json.load(response)["turns"]


def find(page: Page, words: str) -> None:
    box = page.get_by_label("Find in this transcript")
    box.fill(words)
    box.press("Enter")


def test_a_citation_opens_on_its_own_words(library: str, page: Page) -> None:
    turn = turns_of(library, "talk")[91]
    assert turn["text"] == EMOJI_TURN
    opened(page, f"{library}/sources/talk{CITATION}")
    mark = page.locator("mark")
    expect(mark).to_have_count(1)
    expect(mark).to_have_text(CITED, use_inner_text=True)
    assert mark.evaluate("node => node.textContent") == CITED
    expect(mark).to_be_focused()
    assert mark.evaluate(IN_SIGHT)
    assert page.locator("#turn-91 .words").evaluate("node => node.textContent") == EMOJI_TURN


def test_another_place_is_shown_when_the_address_changes(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk{CITATION}")
    page.evaluate("location.hash = '#turn-4.0-10'")
    expect(page.locator("mark")).to_have_text("Question 2")
    assert page.locator("mark").evaluate(IN_SIGHT)
    page.evaluate("location.hash = '#turn-30'")
    expect(page.locator("mark")).to_have_count(0)
    expect(page.locator(".marked")).to_have_id("turn-30")
    expect(page.locator("#turn-30")).to_be_focused()
    assert page.locator("#turn-30").evaluate(IN_SIGHT)
    page.go_back()
    expect(page.locator("mark")).to_have_text("Question 2")
    page.go_back()
    expect(page.locator("mark")).to_have_text(CITED)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("#turn-4.0-5000", "no longer here"),
        ("#turn-4.9-9", "no longer here"),
        ("#turn-4.70-80", "no longer here"),
        ("#turn-120", "120 turns"),
        ("#turn-999999999.1-2", "120 turns"),
    ],
)
def test_a_link_to_words_that_are_gone_says_so(library: str, page: Page, place: str, said: str) -> None:
    opened(page, f"{library}/sources/talk{place}")
    expect(page.locator("#notice")).to_contain_text(said)
    expect(page.locator("mark")).to_have_count(0)
    expect(page.locator(".turn")).to_have_count(120)


@pytest.mark.parametrize("place", ["#turn-", "#turn-1.5", "#turn--1", "#transcript", "#%3Cscript%3E", "#turn-1e2"])
def test_other_fragments_mark_nothing(library: str, page: Page, place: str) -> None:
    opened(page, f"{library}/sources/talk{place}")
    expect(page.locator("mark, .marked")).to_have_count(0)
    expect(page.locator("#notice")).to_be_empty()


def test_the_whole_document_is_there(library: str, page: Page) -> None:
    turns = turns_of(library, "talk")
    opened(page, f"{library}/sources/talk")
    assert page.title() == f"{TALK} · On Record"
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)
    expect(page.locator("#kind")).to_have_text("Transcript · 14 September 2022 · 120 turns")
    expect(page.locator("#voices")).to_have_text(re.compile("Ada Lind.* and .*Bo Reyes"))
    recording = page.locator("#recording").get_by_role("link")
    expect(recording).to_have_attribute("href", RECORDING)
    expect(recording).to_have_attribute("rel", "noopener noreferrer")
    assert page.locator(".words").all_text_contents() == [turn["text"] for turn in turns]
    assert page.locator(".play").all_text_contents() == [turn["timestamp"] for turn in turns]
    assert page.locator(".play").evaluate_all("all => all.map(each => each.href)") == [turn["url"] for turn in turns]
    assert turns[7]["url"] == f"{RECORDING}&t=70s"


def test_every_turn_has_a_link_of_its_own(library: str, new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    opened(page, f"{library}/sources/talk")
    anchors = page.locator(".anchor")
    assert anchors.evaluate_all("all => all.map(each => each.hash)") == [f"#turn-{i}" for i in range(120)]
    names = anchors.evaluate_all("all => all.map(each => each.ariaLabel)")
    assert names[7] == "Copy the link to 1:10"
    assert len(set(names)) == 120
    page.get_by_label("Copy the link to 1:10").click()
    expect(page.locator("#notice")).to_have_text("Link copied.")
    link = f"{library}/sources/talk#turn-7"
    assert page.url == link
    assert page.evaluate("navigator.clipboard.readText()") == link
    expect(page.locator(".marked")).to_have_id("turn-7")
    expect(page.locator("#notice")).to_be_empty()


def test_a_speaker_is_named_once_for_a_run(server: Any, page: Page) -> None:
    speakers = [turn["speaker"] for turn in turns_of(server.url, "20-product-kayvon-beykpour")]
    runs = [name for name, before in zip(speakers, ["", *speakers], strict=False) if name != before]
    assert None in runs
    assert len(runs) < len(speakers)
    opened(page, f"{server.url}/sources/20-product-kayvon-beykpour")
    assert page.locator(".speaker").all_text_contents() == [name or "Speaker not named" for name in runs]


def test_headings_stand_above_what_they_head(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/notes")
    assert page.locator(".transcript").evaluate(
        "node => [...node.querySelectorAll('.section, .speaker, .words')].map(each => each.textContent)"
    ) == [
        "Lenses",
        "Zadie Okafor",
        LENSES,
        "Lenses › Prisms",
        "ليلى حداد",
        ARABIC,
        "Zadie Okafor",
        "A prism bends the light that would be lost above and below.",
    ]


def test_a_source_without_a_clock_shows_where_the_words_stand(library: str, page: Page) -> None:
    turns = turns_of(library, "notes")
    assert all(turn["timestamp"] is None for turn in turns)
    opened(page, f"{library}/sources/notes#turn-1.0-5")
    expect(page.locator("mark")).to_have_text(ARABIC[:5])
    assert page.locator(".when").all_inner_texts() == [f"#\nline {turn['locator'].rsplit(' ', 1)[1]}" for turn in turns]
    expect(page.locator("#recording")).to_be_hidden()
    expect(page.get_by_label(f"Copy the link to line {turns[0]['locator'].rsplit(' ', 1)[1]}")).to_be_attached()


def test_words_keep_their_direction(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/notes")
    directions = page.locator(".words").evaluate_all("all => all.map(each => getComputedStyle(each).direction)")
    assert directions == ["ltr", "rtl", "ltr"]


def test_a_long_turn_is_set_in_paragraphs_and_stays_the_same_words(library: str, page: Page) -> None:
    begin, end = LONG_TURN.index("On the 3th"), LONG_TURN.index("On the 33th")
    opened(page, f"{library}/sources/talk#turn-93.{begin}-{end}")
    said = page.locator("#turn-93 .words")
    assert said.locator(".breath").count() >= 3
    assert said.text_content() == LONG_TURN
    assert page.locator("mark").text_content() == LONG_TURN[begin:end]
    find(page, "on the 33th day 🎈 we")
    assert page.evaluate(HIGHLIGHTED, "found-now") == ["On the 33th day 🎈 we"]
    page.evaluate("location.hash = '#turn-93'")
    expect(page.locator("mark")).to_have_count(0)
    assert said.text_content() == LONG_TURN
    assert page.locator("#turn-91 .breath").count() == 0


def test_finding_words(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk")
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Find in this transcript")).to_be_focused()
    page.keyboard.type("GREY  sails")
    expect(page.locator("#count")).to_have_text("58")
    for key, count in [
        ("Enter", "1 of 58"),
        ("Enter", "2 of 58"),
        ("Shift+Enter", "1 of 58"),
        ("Shift+Enter", "58 of 58"),
    ]:
        page.keyboard.press(key)
        expect(page.locator("#count")).to_have_text(count)
    assert page.evaluate(HIGHLIGHTED, "found-now") == ["grey sails"]
    expect(page.locator("#turn-119")).to_be_in_viewport()
    page.get_by_role("button", name="Next match").click()
    expect(page.locator("#count")).to_have_text("1 of 58")
    expect(page.locator("#turn-1")).to_be_in_viewport()
    page.get_by_label("Find in this transcript").press("Escape")
    expect(page.locator("#count")).to_be_empty()
    assert page.evaluate(HIGHLIGHTED, "found-now") == []
    expect(page.get_by_role("button", name="Next match")).to_be_disabled()


@pytest.mark.parametrize("typed", ["(", "a|b", "\\", "[x", "zebra", "^On", "."])
def test_what_is_typed_is_no_pattern(library: str, page: Page, typed: str) -> None:
    turns = turns_of(library, "talk")
    count = sum(turn["text"].count(typed) for turn in turns)
    opened(page, f"{library}/sources/talk")
    page.get_by_label("Find in this transcript").fill(typed)
    expect(page.locator("#count")).to_have_text(str(count) if count else "Not found")


def test_words_across_the_mark_are_found(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk{CITATION}")
    find(page, "barley, and NOBODY")
    expect(page.locator("#count")).to_have_text("1 of 1")
    assert page.evaluate(HIGHLIGHTED, "found-now") == ["barley, and nobody"]


def test_one_speaker_only(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk")
    page.get_by_label("Show").select_option("only Bo Reyes")
    expect(page.locator(".turn:visible")).to_have_count(60)
    find(page, "Question")
    expect(page.locator("#count")).to_have_text("Not found")
    page.get_by_label("Show").select_option("everyone")
    expect(page.locator("#count")).to_have_text("60")
    expect(page.locator(".turn:visible")).to_have_count(120)
    page.get_by_label("Show").select_option("only Bo Reyes")
    page.evaluate("location.hash = '#turn-4.0-10'")
    expect(page.locator("mark")).to_have_text("Question 2")
    expect(page.get_by_label("Show")).to_have_value("")


def test_ten_thousand_turns(meeting: str, page: Page) -> None:
    opened(page, meeting)
    expect(page.locator(".turn")).to_have_count(MEETING_TURNS)
    expect(page.locator("#turn-0")).to_be_in_viewport()
    find(page, "Item 7654:")
    expect(page.locator("#count")).to_have_text("1 of 1")
    expect(page.locator("#turn-7654")).to_be_in_viewport()
    page.keyboard.press("Escape")
    page.get_by_label("Show").select_option("only Ada Lind")
    expect(page.locator(".turn:not([hidden])")).to_have_count(2500)
    find(page, "Item 9996:")
    expect(page.locator("#turn-9996")).to_be_in_viewport()


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE])
@pytest.mark.parametrize("turn", [0, 5017, 9001, 9999])
def test_a_link_far_into_ten_thousand_turns_lands(
    meeting: str, new_page: Callable[..., Page], viewport: dict[str, int], turn: int
) -> None:
    page = new_page(viewport=viewport)
    words = f"Item {turn}:"
    opened(page, f"{meeting}#turn-{turn}.0-{len(words)}")
    mark = page.locator("mark")
    expect(mark).to_have_text(words)
    page.wait_for_timeout(500)
    assert mark.evaluate(IN_SIGHT)
    expect(page.locator(".turn")).to_have_count(MEETING_TURNS)
    other = (turn + 4321) % MEETING_TURNS
    page.evaluate("hash => { location.hash = hash }", f"#turn-{other}.0-4")
    expect(page.locator(f"#turn-{other} mark")).to_have_text("Item")
    page.wait_for_timeout(500)
    assert mark.evaluate(IN_SIGHT)


def test_the_browser_itself_finds_words_out_of_sight(meeting: str, page: Page) -> None:
    opened(page, meeting)
    assert page.evaluate("window.find('Item 8888:')")
    assert page.evaluate("getSelection().anchorNode.parentElement.closest('.turn').id") == "turn-8888"


def test_the_rest_can_be_asked_for_again(meeting: str, page: Page, watched: Any) -> None:
    watched.expect("net::ERR_FAILED")
    page.route(re.compile(r"/v1/sources/meeting\?first=[1-9]"), lambda route: route.abort())
    page.goto(meeting)
    expect(page.locator("#lost")).to_contain_text("the rest of this transcript is missing")
    count = page.locator(".turn").count()
    assert 0 < count < MEETING_TURNS
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".turn")).to_have_count(MEETING_TURNS)
    expect(page.locator("#lost")).to_be_empty()


def test_hostile_documents_do_nothing(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/hostile#turn-0.0-20")
    assert page.title() == f"{SCRIPT} & co · On Record"
    expect(page.locator("#title")).to_have_text(f"{SCRIPT} & co")
    expect(page.locator("#turn-0 .speaker")).to_have_text(SCRIPT)
    assert page.locator("#turn-0 .words").text_content() == SCRIPT
    expect(page.locator("mark")).to_have_text(SCRIPT[:20])
    expect(page.locator("article img, article script")).to_have_count(0)
    expect(page.locator("#speaker option", has_text=SCRIPT)).to_have_count(1)


@pytest.mark.parametrize(
    "address", ["javascript:document.title='broken in'", " JavaScript:alert(1)", "data:text/html,x", "//evil", "x", ""]
)
def test_an_address_that_is_not_of_the_web_is_no_link(library: str, page: Page, address: str) -> None:
    def altered(route: Route) -> None:
        given = route.fetch().json()
        given["source"]["url"] = address
        for turn in given["turns"]:
            turn["url"] = address
        route.fulfill(json=given)

    page.route("**/v1/sources/talk*", altered)
    opened(page, f"{library}/sources/talk")
    expect(page.locator("#recording")).to_be_hidden()
    expect(page.locator(".play")).to_have_count(0)
    expect(page.locator("#turn-7 .when")).to_contain_text("1:10")


def test_no_such_source(library: str, page: Page, watched: Any, axe: Axe) -> None:
    watched.expect("status of 404")
    page.goto(f"{library}/sources/never-heard-of-it#turn-3")
    expect(page.get_by_role("heading", level=1)).to_have_text("No such source")
    assert axe(page) == []
    page.get_by_role("link", name="All sources").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What is on record")


def test_no_index_yet(tmp_path: Path, serve: Any, page: Page, watched: Any, axe: Axe) -> None:
    watched.expect("status of 503")
    server = serve(tmp_path / "nothing")
    for path in ("/sources", "/sources/talk"):
        page.goto(server.url + path)
        expect(page.get_by_role("heading", level=1)).to_have_text("The archive is not ready yet")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        assert axe(page) == []


def test_the_network_is_gone_and_comes_back(library: str, page: Page, watched: Any, axe: Axe) -> None:
    watched.expect("net::ERR_FAILED")
    page.route("**/v1/**", lambda route: route.abort())
    page.goto(f"{library}/sources/talk{CITATION}")
    expect(page.get_by_role("heading", level=1)).to_have_text("No connection")
    assert axe(page) == []
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("No connection")
    page.unroute_all()
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.locator("mark")).to_have_text(CITED)
    expect(page.locator("mark")).to_be_focused()


def test_while_it_opens_the_page_says_so(library: str, page: Page, axe: Axe) -> None:
    held: list[Route] = []
    page.route("**/v1/**", lambda route: held.append(route))
    page.goto(f"{library}/sources/talk")
    expect(page.get_by_role("status").first).to_contain_text("Opening the transcript")
    assert axe(page) == []
    held[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)


def test_the_keyboard_alone_does_everything(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk")
    focused = (
        "document.activeElement.textContent.trim() || document.activeElement.ariaLabel || document.activeElement.id"
    )
    walked: list[str] = []
    for _ in range(8):
        page.keyboard.press("Tab")
        walked.append(page.evaluate(focused).replace("everyoneonly Ada Lindonly Bo Reyes", "speaker"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", walked
    assert walked[:6] == [
        "Skip to the transcript",
        "● On Record",
        "Sources",
        "Listen to the recording",
        "find",
        "speaker",
    ]
    assert walked[6:] == ["#", "0:00"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#turn-0")
    page.evaluate("document.querySelector('.skip').focus()")
    page.keyboard.press("Enter")
    expect(page.locator("#transcript")).to_be_focused()
    expect(page.locator(".marked")).to_have_id("turn-0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE, {"width": 320, "height": 256}])
@pytest.mark.parametrize("path", [f"talk{CITATION}", "notes", "hostile"])
def test_axe_finds_nothing(
    library: str, new_page: Callable[..., Page], axe: Axe, scheme: str, viewport: dict[str, int], path: str
) -> None:
    page = new_page(color_scheme=scheme, viewport=viewport)
    opened(page, f"{library}/sources/{path}")
    assert axe(page) == []
    assert not page.evaluate(OVERFLOWS)
    find(page, "a")
    expect(page.locator("#count")).to_contain_text(" of ")
    assert axe(page) == []
    assert not page.evaluate(OVERFLOWS)


def test_every_hue_can_be_read(library: str, new_page: Callable[..., Page], axe: Axe) -> None:
    def many(route: Route) -> None:
        given = route.fetch().json()
        given["source"]["speakers"] = [turn.update(speaker=f"Speaker {turn['index']}") for turn in given["turns"]] and [
            turn["speaker"] for turn in given["turns"]
        ]
        route.fulfill(json=given)

    for scheme in ("light", "dark"):
        page = new_page(color_scheme=scheme, viewport={"width": 1280, "height": 12_000})
        page.route("**/v1/sources/talk*", many)
        opened(page, f"{library}/sources/talk")
        hues = page.locator(".turn").evaluate_all(
            "all => all.map(each => Number(each.style.getPropertyValue('--hue')))"
        )
        assert len({hue // 40 for hue in hues}) >= 7
        assert min(hues) >= 60
        assert axe(page) == []


def test_print_has_the_words_and_no_controls(library: str, page: Page) -> None:
    opened(page, f"{library}/sources/talk{CITATION}")
    page.emulate_media(media="print")
    for hidden in (".tools", ".anchor", "nav", ".notices"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator("mark")).to_be_visible()
    chunk = page.locator(".chunk").last
    assert chunk.evaluate("node => getComputedStyle(node).contentVisibility") == "visible"


def test_notes_are_opened_by_their_title(library: str, page: Page) -> None:
    page.goto(f"{library}/sources")
    page.get_by_role("link", name=NOTES).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NOTES)
    page.get_by_role("link", name="Sources").click()
    expect(page.get_by_role("link", name=NOTES)).to_be_visible()


def test_the_meeting_has_its_title(meeting: str, page: Page) -> None:
    page.goto(meeting)
    expect(page.get_by_role("heading", level=1)).to_have_text(MEETING)
