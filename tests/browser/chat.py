"""The chat as a reader uses it, and a corpus to ask: an interview with a clock and a recording, and notes without."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits

INTERVIEW = "The harbour interview"
RECORDING = "https://video.example/watch/17"
HARBOUR = "We chose the harbour because the ferry stops there twice an hour."
HARBOUR_QUESTION = "Why did Bo Reyes choose the harbour?"
TUNNEL = "The tunnel cost us nine years, and I would never dig it again."
NOTES = "Notes on lighthouses"
ARABIC = "بُنيت المنارة القديمة على الصخرة قبل مئتي عام."
UNANSWERED = "Which dentist does the ferry captain recommend?"

_SMALL_TALK = [
    ("Ada Lind", "Let us go on with how the town looked in that spring, and what people told you then."),
    ("Bo Reyes", "There was snow on the roofs until April, and most of the shops had not opened yet."),
]
# Long enough that only a part of the turn is quoted; what is before it counts fewer characters than UTF-16 units.
_BEFORE = (
    "My aunt kept the bakery then 🎈🎈, and on Sundays the whole street came by with their own plates. "
    "I remember the smell of it to this day, and how loud it got around noon."
)
_AFTER = (
    "My cousin painted the boats green that summer. It took her three weeks, and the paint never quite dried. "
    "You can still find a spot of it on the steps of the post office if you know where to look."
)


def _turns() -> list[tuple[str, str]]:
    talk = _SMALL_TALK * 12
    talk += [
        ("Ada Lind", "Why did you choose the harbour?"),
        ("Bo Reyes", f"{_BEFORE} {HARBOUR} {_AFTER}"),
    ]
    talk += _SMALL_TALK * 8
    talk += [("Ada Lind", "And what about the tunnel?"), ("Bo Reyes", f"{TUNNEL} Believe me."), *_SMALL_TALK * 12]
    return talk


def write_corpus(folder: Path) -> Path:
    """The folder with both documents."""
    folder.mkdir()
    lines = [f"---\ntitle: {INTERVIEW}\nyoutube_url: {RECORDING}\npublish_date: 2022-09-14\n---\n"]
    for i, (speaker, text) in enumerate(_turns()):
        lines.append(f"{speaker} ({i // 2:02d}:{i % 2 * 30:02d}):\n{text}\n")
    (folder / "interview.txt").write_text("\n".join(lines))
    notes = [
        f"# {NOTES}",
        "Zadie Okafor: The lens of a lighthouse is ground from a single block of glass, and polished for a year.",
        f"ليلى حداد: {ARABIC}",
        "Zadie Okafor: A keeper winds the clockwork every four hours, or the lamp stands still.",
    ]
    (folder / "notes.md").write_text("\n\n".join(notes) + "\n")
    (folder / "notes.meta.yaml").write_text(f"title: {NOTES}\nkind: notes\n")
    return folder


def build(corpus: Path, index_dir: Path, embedder: Embedder) -> Path:
    """The folder of an index over a corpus."""
    report = ingest([corpus], index_dir, embedder, Limits())
    assert not report.errors
    return index_dir


def box(page: Page) -> Locator:
    """Where a question is written."""
    return page.get_by_label("Your question")


def exchanges(page: Page) -> Locator:
    """The questions with their answers, oldest first."""
    return page.locator("article.exchange")


def start(page: Page, question: str) -> Locator:
    """Asks, and gives the exchange at once."""
    count = exchanges(page).count()
    box(page).fill(question)
    box(page).press("Enter")
    expect(exchanges(page)).to_have_count(count + 1)
    return exchanges(page).nth(count)


def ask(page: Page, question: str) -> Locator:
    """Asks, and gives the exchange when the answer is whole."""
    exchange = start(page, question)
    expect(exchange).to_have_attribute("aria-busy", "false")
    return exchange


def cards(exchange: Locator) -> Locator:
    """The quotations of an answer."""
    return exchange.locator("li.card[data-marker]")


def card(exchange: Locator, words: str) -> Locator:
    """The quotation that holds some words."""
    return exchange.locator("li.card").filter(has_text=words)


def evidence(page: Page) -> Locator:
    """What is open beside the conversation."""
    return page.locator("section.evidence")
