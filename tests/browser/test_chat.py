"""The chat page in a browser: asking, reading the evidence, and everything that may come between."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from index.embed import Embedder
from tests.browser.chat import (
    ARABIC,
    HARBOUR,
    HARBOUR_QUESTION,
    INTERVIEW,
    NOTES,
    RECORDING,
    TUNNEL,
    UNANSWERED,
    ask,
    box,
    build,
    card,
    cards,
    evidence,
    exchanges,
    start,
    write_corpus,
)
from tests.chat_server import ChatServer, Messages, Raw, Reply

Axe = Callable[[Page], list[str]]
IN_VIEW = """node => {
    const {top, bottom} = node.getBoundingClientRect();
    const scroller = node.closest(".turns, .log").getBoundingClientRect();
    return top >= scroller.top && bottom <= scroller.bottom;
}"""
OVERFLOWS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """The folder of an index over an interview and notes."""
    folder = tmp_path_factory.mktemp("talks")
    return build(write_corpus(folder / "corpus"), folder / "snapshots", embedder)


@pytest.fixture(scope="session")
def site(talks: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """A server over them that no test stops."""
    conftest = request.config.pluginmanager.getplugin(str(Path(__file__).parent / "conftest.py"))
    server = conftest.Server(talks, tmp_path_factory.mktemp("site"), {})
    yield server
    server.stop()


@pytest.fixture
def model(talks: Path, serve: Any) -> Iterator[tuple[Any, ChatServer]]:
    """A server whose answers a scripted language model writes, and the model."""
    with ChatServer() as scripted:
        yield serve(talks, OPENAI_BASE_URL=scripted.url, ONRECORD_LLM_MODEL="scripted"), scripted


def numbered(messages: Messages, words: str) -> int:
    """The number under which a sentence is offered to the model."""
    found = re.search(rf"^\[?(\d+)\]?\W.*{re.escape(words)}", messages[-1]["content"], re.MULTILINE)
    assert found, messages[-1]["content"]
    return int(found[1])


def of_the_harbour(messages: Messages) -> str:
    """What a model writes that answers HARBOUR_QUESTION, in JSON."""
    cites = [numbered(messages, "We chose the harbour")]
    text = "Bo Reyes says that they chose the harbour because the ferry stops there twice an hour."
    return json.dumps({"answered": True, "sentences": [{"cites": cites, "text": text}]})


# -- The page, and a plain answer --------------------------------------------------------------------------------------


def test_before_the_first_question(site: Any, page: Page, axe: Axe) -> None:
    page.goto(site.url)
    expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()
    suggested = page.get_by_role("list", name="Questions to begin with").get_by_role("button")
    expect(suggested).not_to_have_count(0)
    assert suggested.count() <= 4
    expect(box(page)).to_be_focused()
    assert axe(page) == []
    question = suggested.first.inner_text()
    suggested.first.click()
    expect(exchanges(page).get_by_role("heading", name=question)).to_be_visible()
    expect(exchanges(page)).to_have_attribute("aria-busy", "false")
    expect(cards(exchanges(page))).not_to_have_count(0)


def test_an_answer_in_quotations(site: Any, page: Page, axe: Axe) -> None:
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    first = card(answer, HARBOUR)
    expect(first.get_by_role("blockquote")).to_have_text(f"“{HARBOUR}”")
    expect(first).to_contain_text("Ada Lind asked: Why did you choose the harbour?")
    expect(answer.locator(".group header")).to_have_text(re.compile(f"^Bo Reyes.*{INTERVIEW}.*14 Sept 2022$"))
    time = first.get_by_role("link", name=re.compile("^12:30"))
    expect(time).to_have_attribute("href", f"{RECORDING}#t=750")
    expect(time).to_have_attribute("rel", "noopener noreferrer")
    assert answer.inner_text().count(HARBOUR) == 1, "the words stand on their card alone"
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_focused()
    expect(page).to_have_title(f"{HARBOUR_QUESTION} · On Record")
    assert axe(page) == []


def test_without_a_clock_the_place_is_told(site: Any, page: Page) -> None:
    page.goto(site.url)
    lens = card(ask(page, "What did Zadie Okafor say about the lens?"), "block of glass")
    expect(lens).to_contain_text("line 3")
    expect(lens.get_by_role("link")).to_have_count(0)


def test_words_from_right_to_left(site: Any, page: Page) -> None:
    page.goto(site.url)
    quotation = ask(page, "What is said about المنارة القديمة?").get_by_role("blockquote")
    expect(quotation).to_have_text(f"“{ARABIC}”")
    expect(quotation).to_have_css("direction", "rtl")
    quotation.click()
    expect(evidence(page).locator(".cited p")).to_have_css("direction", "rtl")


def test_how_a_name_was_read(site: Any, page: Page) -> None:
    page.goto(site.url)
    answer = ask(page, "What did Bo Reys say about the harbour?")
    expect(answer).to_contain_text("Reading “Bo Reys” as Bo Reyes.")


def test_a_follow_up_leans_on_what_was_asked_before(site: Any, page: Page) -> None:
    page.goto(site.url)
    ask(page, HARBOUR_QUESTION)
    answer = ask(page, "And what did he say about the tunnel?")
    expect(answer).to_contain_text(re.compile("Understood as: .*Bo Reyes.*tunnel"))
    expect(card(answer, TUNNEL)).to_be_visible()
    assert "Bo+Reyes" in page.url, "the address says the question as it stands alone"
    page.goto(page.url)
    expect(exchanges(page)).to_have_count(2)


def test_what_is_not_on_record(site: Any, page: Page, axe: Axe) -> None:
    page.goto(site.url)
    answer = ask(page, UNANSWERED)
    expect(answer).to_contain_text("These documents do not answer that.")
    expect(cards(answer)).to_have_count(0)
    instead = answer.locator("section").filter(has=page.get_by_role("heading", name="On the record instead"))
    expect(instead).to_contain_text(HARBOUR)
    expect(instead).to_contain_text("Bo Reyes")
    assert "comes nearest" not in answer.inner_text()
    assert axe(page) == []
    instead.get_by_role("button", name=re.compile("^In context")).click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)


# -- The evidence ------------------------------------------------------------------------------------------------------


def test_a_citation_opens_at_its_words(site: Any, page: Page, axe: Axe) -> None:
    page.goto(site.url)
    marker = card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("button", name=re.compile("^1: Bo Reyes, 12:30"))
    marker.click()
    opened = evidence(page)
    expect(opened).to_have_role("dialog")
    expect(opened).to_have_accessible_name(INTERVIEW)
    mark = opened.locator("mark")
    expect(mark).to_have_text(HARBOUR)
    assert mark.evaluate(IN_VIEW)
    expect(opened.locator("li.cited")).to_be_focused()
    expect(opened.locator("li.turn")).to_have_count(31)
    expect(opened.locator("li.cited")).to_contain_text("Bo Reyes")
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    expect(marker).to_be_focused()


def test_there_is_more_before_and_after(site: Any, page: Page) -> None:
    page.goto(site.url)
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    opened = evidence(page)
    mark = opened.locator("mark")
    earlier, later = opened.get_by_role("button", name="Earlier"), opened.get_by_role("button", name="Later")
    earlier.scroll_into_view_if_needed()
    before = opened.locator("li.turn").first
    text, top = before.inner_text(), before.bounding_box()["y"]
    earlier.click()
    expect(opened.locator("li.turn")).to_have_count(41)
    expect(earlier).to_be_hidden()
    assert abs(opened.locator("li.turn").nth(10).bounding_box()["y"] - top) < 60
    assert opened.locator("li.turn").nth(10).inner_text() == text
    expect(opened.locator("li.turn").first).to_contain_text("0:00")
    later.click()
    expect(opened.locator("li.turn")).to_have_count(68)
    expect(later).to_be_hidden()
    expect(mark).to_have_text(HARBOUR)


def test_it_leads_to_the_whole_transcript(site: Any, page: Page) -> None:
    page.goto(site.url)
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    evidence(page).get_by_role("link", name="Read in full").click()
    page.wait_for_url(re.compile(r"/sources/interview#turn-25\.169-234$"))
    mark = page.locator("mark").first
    expect(mark).to_have_text(HARBOUR)
    expect(mark).to_be_in_viewport()
    page.go_back()
    expect(card(exchanges(page), HARBOUR)).to_be_visible()


def test_a_transcript_that_is_not_to_be_had_can_be_tried_again(site: Any, page: Page, watched: Any, axe: Axe) -> None:
    page.goto(site.url)
    first = card(ask(page, HARBOUR_QUESTION), HARBOUR)
    page.context.set_offline(True)
    watched.expect("ERR_INTERNET_DISCONNECTED")
    first.get_by_role("blockquote").click()
    expect(evidence(page)).to_contain_text("You are offline.")
    assert axe(page) == []
    page.context.set_offline(False)
    evidence(page).get_by_role("button", name="Try again").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)


def test_marker_and_card_light_each_other(model: tuple[Any, ChatServer], page: Page) -> None:
    server, scripted = model
    scripted.script = [of_the_harbour]
    page.goto(server.url)
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer.locator(".body")).to_have_text(re.compile(r"twice an hour\. ?1$"))
    in_text, on_card = answer.locator(".body .marker"), cards(answer)
    in_text.hover()
    expect(on_card).to_have_class(re.compile("lit"))
    box(page).hover()
    expect(on_card).not_to_have_class(re.compile("lit"))
    on_card.get_by_role("button").first.focus()
    expect(in_text).to_have_class(re.compile("lit"))


# -- Limits and links --------------------------------------------------------------------------------------------------


def test_only_one_speaker_or_source(site: Any, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(site.url)
    page.get_by_label("Only this speaker").select_option("Ada Lind")
    answer = ask(page, "What is said about the harbour?")
    expect(answer).to_contain_text("Only Ada Lind")
    assert {name.inner_text() for name in answer.locator(".name").all()} == {"Ada Lind"}
    page.get_by_label("Only this speaker").select_option("")
    page.get_by_label("Only this source").select_option(label=NOTES)
    answer = ask(page, "What is said about the lens of a lighthouse?")
    expect(answer).to_contain_text(f"Only {NOTES}")
    assert "source=notes" in page.url
    visitor = new_page()
    visitor.goto(page.url)
    expect(exchanges(visitor)).to_have_attribute("aria-busy", "false")
    expect(card(exchanges(visitor), "block of glass")).to_be_visible()
    expect(visitor.get_by_label("Only this source")).to_have_value("notes")


def test_a_limit_that_is_gone_can_be_lifted(site: Any, page: Page, watched: Any, axe: Axe) -> None:
    watched.expect("status of 422")
    page.goto(f"{site.url}/?q=What+is+said+about+the+harbour%3F&speaker=Nobody+Known")
    expect(exchanges(page)).to_contain_text("there is no speaker 'Nobody Known'")
    assert axe(page) == []
    page.get_by_role("button", name="Ask without the limits").click()
    expect(card(exchanges(page), HARBOUR)).to_be_visible()
    expect(page.get_by_label("Only this speaker")).to_have_value("")


def test_copies(site: Any, new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    first = card(answer, HARBOUR)
    link = f"{site.url}/sources/interview#turn-25.169-234"

    def copied(button: Locator) -> str:
        button.click()
        expect(button).to_have_text("Copied")
        return page.evaluate("navigator.clipboard.readText()")

    by = first.locator(".copy")
    assert copied(by.get_by_role("button").nth(0)) == (
        f"“{HARBOUR}” (Bo Reyes, {INTERVIEW}, 12:30, 14 Sept 2022) {link}"
    )
    assert copied(by.get_by_role("button").nth(1)) == (
        f"> “{HARBOUR}”\n>\n> — Bo Reyes, [{INTERVIEW}]({link}), [12:30](<{RECORDING}#t=750>), 14 Sept 2022"
    )
    assert copied(by.get_by_role("button").nth(2)) == link
    whole = copied(answer.locator(".after > button").nth(0))
    assert whole.startswith(f"**{HARBOUR_QUESTION}**\n\n1. “{HARBOUR}” — Bo Reyes, [{INTERVIEW}]({link})")
    assert copied(answer.locator(".after > button").nth(1)) == page.url


# -- Feedback ----------------------------------------------------------------------------------------------------------


def test_feedback_with_a_word(site: Any, page: Page, axe: Axe) -> None:
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    with page.expect_response("**/v1/feedback") as rated:
        answer.get_by_role("button", name="Not helpful").click()
    assert (rated.value.status, rated.value.request.post_data_json["rating"]) == (201, "down")
    word = answer.get_by_label("A word on that, if you like")
    assert axe(page) == []
    word.fill("The ferry has stopped running")
    with page.expect_response("**/v1/feedback") as commented:
        word.press("Enter")
    assert commented.value.status == 201
    assert commented.value.request.post_data_json["comment"] == "The ferry has stopped running"
    expect(answer).to_contain_text("Thank you.")
    expect(word).to_have_count(0)
    page.reload()
    expect(exchanges(page).get_by_role("button", name="Not helpful")).to_have_attribute("aria-pressed", "true")


def test_feedback_that_does_not_arrive(site: Any, page: Page, watched: Any) -> None:
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    watched.expect("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    answer.get_by_role("button", name="Helpful", exact=True).click()
    expect(answer).to_contain_text("Not sent. You are offline.")
    page.context.set_offline(False)
    answer.get_by_role("button", name="Send again").click()
    expect(answer).to_contain_text("Thank you.")


# -- What goes wrong ---------------------------------------------------------------------------------------------------


def test_a_server_that_comes_back(talks: Path, serve: Any, page: Page, watched: Any, axe: Axe) -> None:
    server = serve(talks)
    page.goto(server.url)
    ask(page, HARBOUR_QUESTION)
    server.stop()
    watched.expect("ERR_CONNECTION_REFUSED")
    answer = ask(page, "What did Bo Reyes say about the tunnel?")
    expect(answer).to_contain_text("The archive cannot be reached right now. Your question is still in the box.")
    expect(box(page)).to_have_value("What did Bo Reyes say about the tunnel?")
    assert axe(page) == []
    server.start()
    answer.get_by_role("button", name="Try again").click()
    expect(card(answer, TUNNEL)).to_be_visible()
    expect(box(page)).to_have_value("")
    expect(exchanges(page)).to_have_count(2)


def test_offline(site: Any, page: Page, watched: Any) -> None:
    page.goto(site.url)
    page.context.set_offline(True)
    watched.expect("ERR_INTERNET_DISCONNECTED")
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer).to_contain_text("You are offline. Your question is still in the box.")
    page.context.set_offline(False)
    box(page).press("Enter")
    expect(card(answer, HARBOUR)).to_be_visible()
    expect(exchanges(page)).to_have_count(1)


def test_an_empty_index(tmp_path: Path, serve: Any, page: Page, watched: Any) -> None:
    watched.expect("status of 503")
    server = serve(tmp_path)
    page.goto(server.url)
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer.get_by_role("button", name="Try again")).to_be_visible()
    expect(answer).to_contain_text("onrecord ingest")


def test_a_slow_answer_and_stop(model: tuple[Any, ChatServer], page: Page, axe: Axe) -> None:
    server, scripted = model
    scripted.script = [of_the_harbour]
    page.goto(server.url)
    ask(page, HARBOUR_QUESTION)
    begun = of_the_harbour(scripted.last.body["messages"])[:-2] + ', {"cites": [1], "te'
    page.get_by_role("button", name="New conversation").click()
    scripted.script = [Reply([begun], end="hang")]
    answer = start(page, HARBOUR_QUESTION)
    expect(answer.locator(".body")).to_contain_text("Bo Reyes says")
    expect(card(answer, HARBOUR)).to_be_visible()
    expect(answer).to_have_attribute("aria-busy", "true")
    assert axe(page) == []
    box(page).fill("Something I thought of meanwhile")
    box(page).press("Enter")
    expect(exchanges(page)).to_have_count(1)
    page.get_by_role("button", name="Stop").click()
    expect(answer).to_contain_text("Stopped before its end.")
    expect(answer.locator(".body")).to_contain_text("Bo Reyes says")
    expect(box(page)).to_have_value("Something I thought of meanwhile")
    assert scripted.last.gone.wait(10), "nobody pays for what nobody reads"
    scripted.script = [of_the_harbour]
    answer.get_by_role("button", name="Try again").click()
    expect(answer.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(box(page)).to_have_value("Something I thought of meanwhile")


def test_what_is_being_read_is_named_while_one_waits(model: tuple[Any, ChatServer], page: Page, axe: Axe) -> None:
    server, scripted = model
    scripted.script = [Reply("", end="hang")]
    page.goto(server.url)
    answer = start(page, HARBOUR_QUESTION)
    expect(answer.get_by_role("listitem").filter(has_text=INTERVIEW)).to_be_visible()
    assert axe(page) == []
    page.get_by_role("button", name="Stop").click()
    expect(box(page)).to_have_value(HARBOUR_QUESTION)


def test_a_connection_lost_in_the_midst(model: tuple[Any, ChatServer], page: Page, watched: Any) -> None:
    server, scripted = model
    scripted.script = [of_the_harbour]
    page.goto(server.url)
    ask(page, HARBOUR_QUESTION)
    begun = of_the_harbour(scripted.last.body["messages"])[:-2] + ', {"cites": [1], "te'
    scripted.script = [Reply([begun], end="hang")]
    answer = start(page, "For what reason did Bo Reyes choose the harbour?")
    expect(answer.locator(".body")).to_contain_text("Bo Reyes says")
    watched.expect("ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET")
    server.stop(signal.SIGKILL)
    expect(answer).to_contain_text("What had come of the answer is kept.")
    expect(card(answer, HARBOUR)).to_be_visible()
    expect(box(page)).to_have_value("For what reason did Bo Reyes choose the harbour?")


def test_a_lesser_answer_says_so(model: tuple[Any, ChatServer], page: Page, axe: Axe) -> None:
    server, scripted = model
    scripted.otherwise = Raw(404, "{}")
    page.goto(server.url)
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer.locator(".degraded")).to_contain_text("These are the documents' own words.")
    expect(card(answer, HARBOUR)).to_be_visible()
    assert axe(page) == []


# -- What stays, and where ---------------------------------------------------------------------------------------------


def test_two_tabs_and_a_reload(site: Any, page: Page) -> None:
    other = page.context.new_page()
    page.goto(site.url)
    other.goto(site.url)
    ask(page, HARBOUR_QUESTION)
    ask(other, UNANSWERED)
    box(other).fill("Half a quest")
    page.reload()
    other.reload()
    expect(exchanges(page)).to_have_count(1)
    expect(card(exchanges(page), HARBOUR)).to_be_visible()
    expect(page).to_have_title(f"{HARBOUR_QUESTION} · On Record")
    expect(exchanges(other)).to_have_count(1)
    expect(exchanges(other)).to_contain_text("On the record instead")
    expect(box(other)).to_have_value("Half a quest")
    answer = ask(page, "And what did he say about the tunnel?")
    expect(card(answer, TUNNEL)).to_be_visible()


def test_a_new_conversation(site: Any, page: Page) -> None:
    page.goto(site.url)
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page)).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    expect(exchanges(page)).to_have_count(0)
    expect(evidence(page)).to_have_count(0)
    expect(box(page)).to_be_focused()
    expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()
    expect(page).to_have_title("On Record")
    expect(page).to_have_url(f"{site.url}/")
    page.reload()
    expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()
    expect(exchanges(page)).to_have_count(0)


def test_what_another_version_has_stored_is_left_alone(site: Any, page: Page) -> None:
    page.goto(site.url)
    ask(page, HARBOUR_QUESTION)
    for stored in ("{", "null", '{"exchanges": 7}', '{"exchanges": [{"state": "done"}]}'):
        page.add_init_script(
            "for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, " + json.dumps(stored) + ")"
        )
        page.goto(site.url)
        expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()


# -- Without a mouse, without eyes, on small screens -------------------------------------------------------------------


def test_keyboard_alone(site: Any, page: Page) -> None:
    page.goto(site.url)
    expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(box(page)).not_to_be_focused()
    page.keyboard.press("/")
    expect(box(page)).to_be_focused()
    page.keyboard.type("Why did Bo Reyes choose the harbour or/")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    answer = exchanges(page)
    expect(answer).to_have_attribute("aria-busy", "false")
    page.keyboard.press("ArrowUp")
    expect(box(page)).to_have_value("Why did Bo Reyes choose the harbour or")
    page.keyboard.press("ArrowDown")
    expect(box(page)).to_have_value("")
    marker = card(answer, HARBOUR).locator(".marker")
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if marker.evaluate("node => node.matches(':focus')"):
            break
    expect(marker).to_be_focused()
    assert marker.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(evidence(page).locator("li.cited")).to_be_focused()
    page.keyboard.press("Escape")
    expect(marker).to_be_focused()


def test_an_answer_is_announced_once(model: tuple[Any, ChatServer], page: Page) -> None:
    server, scripted = model
    scripted.script = [of_the_harbour]
    page.goto(server.url)
    page.evaluate("""() => {
        const live = document.querySelector("on-record-chat").shadowRoot.querySelector("[aria-live=polite]");
        window.said = [];
        new MutationObserver(() => said.push(live.textContent)).observe(live, {childList: true});
    }""")
    answer = ask(page, HARBOUR_QUESTION)
    expect(answer.get_by_role("button", name="Copy answer")).to_be_visible()
    begun, whole = page.evaluate("said")
    assert begun == "Looking for an answer."
    assert whole == "Bo Reyes says that they chose the harbour because the ferry stops there twice an hour."
    expect(page.get_by_role("log", name="Conversation")).to_have_attribute("aria-live", "off")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_every_size_and_light(site: Any, new_page: Callable[..., Page], axe: Axe, scheme: str, width: int) -> None:
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 740})
    page.goto(site.url)
    expect(page.get_by_text("2 sources, 4 voices, 34 minutes.")).to_be_visible()
    assert axe(page) == []
    answer = ask(page, HARBOUR_QUESTION)
    assert axe(page) == []
    ask(page, UNANSWERED)
    assert axe(page) == []
    card(answer, HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    assert evidence(page).locator("mark").evaluate(IN_VIEW)
    assert axe(page) == []
    assert not page.evaluate(OVERFLOWS)
    covered = page.locator(".talk").evaluate("node => node.inert")
    assert covered == (width < 860), "what lies under the sheet cannot be reached"
    page.set_viewport_size({"width": 1440 if width < 860 else 360, "height": 740})
    expect(page.locator(".talk")).to_have_js_property("inert", not covered)
    page.keyboard.press("Escape")
    expect(page.locator(".talk")).to_have_js_property("inert", False)


def test_twice_the_size_in_a_low_window(site: Any, new_page: Callable[..., Page]) -> None:
    page = new_page(viewport={"width": 640, "height": 360}, device_scale_factor=2)
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    assert not page.evaluate(OVERFLOWS)
    expect(answer.get_by_role("heading")).to_be_in_viewport()
    expect(box(page)).to_be_in_viewport()


def test_less_motion(site: Any, new_page: Callable[..., Page]) -> None:
    page = new_page(reduced_motion="reduce", viewport={"width": 360, "height": 740})
    page.goto(site.url)
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page)).to_have_css("animation-name", "none")


def test_forced_colours(site: Any, new_page: Callable[..., Page], axe: Axe) -> None:
    page = new_page(forced_colors="active")
    page.goto(site.url)
    card(ask(page, HARBOUR_QUESTION), HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    assert axe(page) == []


def test_on_paper(site: Any, page: Page) -> None:
    page.goto(site.url)
    answer = ask(page, HARBOUR_QUESTION)
    card(answer, HARBOUR).get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(HARBOUR)
    page.emulate_media(media="print")
    for away in (evidence(page), box(page), answer.get_by_role("button", name="Copy answer")):
        expect(away).to_be_hidden()
    expect(card(answer, HARBOUR).locator(".marker")).to_have_text("1")
    expect(card(answer, HARBOUR)).to_be_visible()
    assert not page.evaluate(OVERFLOWS)
    assert page.locator(".log").evaluate("node => node.scrollHeight <= node.clientHeight + 1"), "nothing is cut off"


# -- What documents and servers may send -------------------------------------------------------------------------------

MARKUP = """<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"""


def test_hostile_documents_are_only_text(
    tmp_path: Path, embedder: Embedder, serve: Any, new_page: Callable[..., Page], axe: Axe
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    title = f"{MARKUP} [title](javascript:alert(1)) **bold**"
    words = f"The anvil is heavy {MARKUP} [1] </blockquote> {{{{anvil}}}}."
    (corpus / "talk.txt").write_text(f"Eve <b>Bold</b> (00:00:05):\n{words}\n\nMallory (00:00:30):\nIndeed it is.\n")
    meta = {"title": title, "date": "2022-01-01"}  # an address that is none of the web is refused by `ingest`
    (corpus / "talk.meta.yaml").write_text(json.dumps(meta))
    server = serve(build(corpus, tmp_path / "snapshots", embedder))
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(server.url)
    answer = ask(page, "How heavy is the anvil?")
    first = card(answer, "anvil")
    expect(first.get_by_role("blockquote")).to_have_text(f"“{words}”")
    expect(answer.locator(".group header")).to_contain_text(title)
    expect(answer.get_by_role("link")).to_have_count(0)
    assert axe(page) == []
    first.get_by_role("blockquote").click()
    expect(evidence(page).locator("mark")).to_have_text(words)
    expect(evidence(page).get_by_role("heading")).to_have_text(title)
    markdown = answer.locator(".after > button").nth(0)
    markdown.click()
    expect(markdown).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert r"\<img" in copied
    assert re.search(r"(?<!\\)(<img|\*\*bold)", copied) is None
    assert set(re.findall(r"(?<!\\)\]\((.*?)#", copied)) == {f"{server.url}/sources/talk"}
    foreign = "img, script, style, iframe, link, object, [style*='background'], [onerror], [href^='javascript']"
    assert page.locator("on-record-chat").locator(foreign).count() == 0
    assert "owned" not in page.title()


class Drip:
    """A server of our page whose answers come as a test has them: byte by byte, or not at all as they should."""

    def __init__(self) -> None:
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        web = Path(__file__).parents[2] / "app" / "web"
        files = {"/": "index.html", "/widget.js": "widget.js"}
        files |= {f"/web/{file.name}": file.name for file in web.iterdir() if file.suffix in (".js", ".css")}
        types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
        for path, name in files.items():
            file = web / name
            answers[path] = 200, {"Content-Type": f"{types[file.suffix]}; charset=utf-8"}, file.read_bytes()
        self.answers = answers
        self.say("/v1/overview", {"sources": 1, "speakers": 1, "seconds": None, "questions": []})
        self.say("/v1/speakers", {"speakers": []})
        self.say("/v1/sources", {"sources": []})

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = answers[urlsplit(self.path).path]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                step = 1 if len(body) < 10_000 else len(body)
                for i in range(0, len(body), step):
                    self.wfile.write(body[i : i + step])
                    if body[i : i + step] == b"\r":  # most often they then arrive apart
                        time.sleep(0.01)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def say(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = status, {"Content-Type": "application/json", **named}, content

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def drip() -> Iterator[Drip]:
    drip = Drip()
    yield drip
    drip.close()


def whole_answer(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "a1",
        "status": "answered",
        "answer": text,
        "conversation_id": "c1",
        "citations": [],
        "answerer": "llm",
        "model": "m",
        "degraded": None,
        "near_misses": [],
        "reading": None,
        **fields,
    }


def citation(**fields: Any) -> dict[str, Any]:
    source = {"id": "s", "title": "A talk", "kind": "transcript", "url": None, "date": None}
    absent = dict.fromkeys(("start", "end", "timestamp", "locator", "url", "question", "asked_by"))
    said = {"marker": 1, "quote": "Ça va 🎈.", "speaker": "Zoë", "attribution": "stated", "passage_id": "p"}
    return {**absent, **said, "source": source, "turn": 0, "offset": 0, **fields}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_in_pieces_of_a_byte(drip: Drip, page: Page, end: str) -> None:
    said = "Zoë says so 🎈 [1], not [2] and [\u20601]."
    token, done = {"text": said}, whole_answer(said, citations=[citation()])
    lines = [
        "\ufeff: a comment",
        "retry: 10",
        'event: passages\ndata: {"id": "a1", "conversation_id": "c1",\ndata: "passages": []}\n',
        f"event:citation\nid: 7\ndata:{json.dumps(citation(), ensure_ascii=False)}\n",
        f"event: token\ndata: {json.dumps(token, ensure_ascii=False)}\n",
        "event: unheard-of\ndata: {}\n",
        ": ping\n",
        f"event: done\ndata: {json.dumps(done)}\n",
        "event: token\ndata: {",
    ]
    stream = "\n".join(lines).replace("\n", end)
    drip.say("/v1/ask", stream.encode(), Content_Type="text/event-stream")
    page.goto(drip.url)
    answer = ask(page, "How is it?")
    expect(answer.locator(".body")).to_have_text("Zoë says so 🎈 1, not [2] and [1].")
    expect(answer.locator(".body .marker")).to_have_count(1)
    expect(card(answer, "Ça va 🎈.")).to_be_visible()
    expect(answer.get_by_role("button", name="Copy answer")).to_be_visible()


def test_the_words_cited_are_counted_in_characters(drip: Drip, page: Page) -> None:
    source = {**citation()["source"], "speakers": ["Zoë"], "turns": 1, "passages": 1}
    turn = {
        "index": 0,
        "speaker": "Zoë",
        "timestamp": None,
        "locator": None,
        "text": "Ça va 🎈. 🎈🎈 Ça va 🎈. Ça va 🎈.",
    }
    drip.say("/v1/sources/s", {"source": source, "turns": [turn]})
    done = whole_answer("So [1].", citations=[citation(offset=12)])
    drip.say("/v1/ask", f"event: done\ndata: {json.dumps(done)}\n\n".encode())
    page.goto(drip.url)
    card(ask(page, "How is it?"), "Ça va").get_by_role("blockquote").click()
    mark = evidence(page).locator("mark")
    expect(mark).to_have_text("Ça va 🎈.")
    assert mark.evaluate("node => node.previousSibling.data") == "Ça va 🎈. 🎈🎈 "


@pytest.mark.parametrize("address", ["javascript:alert(1)", " java\tscript:alert(1)", "data:text/html,x", "//x", "x y"])
def test_addresses_that_are_none_of_the_web_become_no_links(drip: Drip, page: Page, address: str) -> None:
    hostile = citation(url=address, timestamp="0:01")
    stream = f"event: done\ndata: {json.dumps(whole_answer('So [1].', citations=[hostile]))}\n\n"
    drip.say("/v1/ask", stream.encode(), Content_Type="text/event-stream")
    page.goto(drip.url)
    answer = ask(page, "How is it?")
    expect(card(answer, "Ça va")).to_contain_text("0:01")
    expect(answer.get_by_role("link")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (429, {"Retry_After": "7"}, {"detail": "slow down"}, "Too many questions at once. Try again in 7 s."),
        (503, {}, {"detail": "No snapshot is loaded."}, "No snapshot is loaded."),
        (500, {}, b"<h1>Bad gateway</h1>", "The archive answered with an error (500)."),
        (200, {}, b"event: passages\ndata: {oh", "The answer broke off."),
        (200, {}, b"event: done\ndata: {oh\n\n", "The answer cannot be read."),
        (200, {}, b"<h1>Please sign in</h1>", "The answer broke off."),
        (200, {}, b'event: error\ndata: {"detail": "It went wrong.", "status": 500}\n\n', "It went wrong."),
    ],
)
def test_every_trouble_is_told_and_can_be_tried_again(
    drip: Drip, page: Page, watched: Any, status: int, headers: dict[str, str], body: Any, told: str
) -> None:
    watched.expect(f"status of {status}")
    drip.say("/v1/ask", body, status, **headers)
    page.goto(drip.url)
    answer = ask(page, "How is it?")
    expect(answer).to_contain_text(f"{told} Your question is still in the box.")
    done = f"event: done\ndata: {json.dumps(whole_answer('Well.'))}\n\n"
    drip.say("/v1/ask", done.encode(), Content_Type="text/event-stream")
    answer.get_by_role("button", name="Try again").click()
    expect(answer.locator(".body")).to_have_text("Well.")
    expect(answer.get_by_role("button", name="Try again")).to_have_count(0)
    expect(box(page)).to_be_focused()


def test_a_long_conversation_keeps_its_end(drip: Drip, page: Page) -> None:
    done = f"event: done\ndata: {json.dumps(whole_answer('word ' * 20_000))}\n\n"
    drip.say("/v1/ask", done.encode(), Content_Type="text/event-stream")
    page.goto(drip.url)
    for i in range(33):
        page.evaluate("question => document.querySelector('on-record-chat').ask(question)", f"Question {i}?")
        expect(exchanges(page).last.get_by_role("heading")).to_have_text(f"Question {i}?")
        expect(exchanges(page).last).to_have_attribute("aria-busy", "false")
    expect(exchanges(page)).to_have_count(30)
    page.reload()
    expect(exchanges(page).last.get_by_role("heading")).to_have_text("Question 32?")
