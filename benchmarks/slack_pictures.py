"""What the bot's messages look like: their blocks in a page styled like Slack, and pictures of it.

    python benchmarks/slack_pictures.py [FOLDER, default docs/images] [--chromium /usr/bin/chromium]

The words are the sample corpus's: an answer, one that there is none, and one too long for a message.
"""

from __future__ import annotations

import argparse
import html
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from app.answer import Answer, Asked, asking
from app.citations import cite
from app.quoting import search
from app.settings import Settings
from app.slack_blocks import Message, answer_messages
from index.build import ingest
from index.embed import load_embedder
from index.search import Index
from ingest.limits import Limits

ROOT = Path(__file__).parent.parent
PUBLIC_URL = "https://record.example.org"
PICTURES = {
    "slack-answer": "what did Beykpour say about OKRs?",
    "slack-no-answer": "what did Elon Musk say about rockets?",
}
LONG = "what is said about products?"
LONG_PASSAGES = 30
# Thumbs, for machines without pictures of them (https://fonts.google.com/icons, Apache-2.0).
_UP = (
    "M1 21h4V9H1v12zm22-11c0-1.1-.9-2-2-2h-6.31l.95-4.57.03-.32c0-.41-.17-.79-.44-1.06L14.17 1 7.59 7.59C7.22 7.95 7"
    " 8.45 7 9v10c0 1.1.9 2 2 2h9c.83 0 1.54-.5 1.84-1.22l3.02-7.05c.09-.23.14-.47.14-.73v-2z"
)
THUMBS = {
    "👍": f'<svg width=16 height=16 viewBox="0 0 24 24" fill="#e8a723"><path d="{_UP}"/></svg>',
    "👎": f'<svg width=16 height=16 viewBox="0 0 24 24" fill="#e8a723" transform="scale(-1)"><path d="{_UP}"/></svg>',
}

STYLE = """
body { margin: 0; padding: 20px; width: 640px; background: #fff; color: #1d1c1d;
  font: 15px/1.46668 Slack-Lato, Lato, 'Liberation Sans', sans-serif }
.message { display: grid; grid-template-columns: 36px 1fr; gap: 8px; margin-bottom: 12px }
.face { width: 36px; height: 36px; border-radius: 6px; background: #4a154b; color: #fff; font-weight: 900;
  display: grid; place-items: center }
.person .face { background: #2bac76 }
.name { font-weight: 900 }
.name small { font-weight: 400; font-size: 12px; color: #616061; margin-left: 6px }
.app { font: 700 10px/1 sans-serif; background: #ddd; color: #616061; padding: 1px 3px; border-radius: 2px;
  margin-left: 4px; vertical-align: 1px }
.rich_text, .context { white-space: pre-wrap; overflow-wrap: anywhere; margin: 2px 0 8px }
.context { font-size: 13px; color: #616061; margin: 4px 0 }
a, .mention { color: #1264a3; text-decoration: none }
.mention { background: #e8f5fa; padding: 0 2px; border-radius: 3px }
.actions { display: flex; gap: 8px; margin: 8px 0 }
.button { border: 1px solid rgba(29, 28, 29, .3); border-radius: 8px; padding: 0 12px; font: 700 13px/28px sans-serif }
"""


def page(question: str, messages: list[Message]) -> str:
    """A thread: somebody's question, and what the bot says."""
    asked = f'<span class="mention">@On Record</span> {html.escape(question)}'
    said = [_message("Jane", "J", asked, "person")]
    said += [
        _message('On Record<span class="app">APP</span>', "R", "".join(map(_block, message.blocks)), "bot")
        for message in messages
    ]
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{''.join(said)}"


def _message(name: str, face: str, body: str, kind: str) -> str:
    heading = f'<div class="name">{name}<small>9:41 AM</small></div>'
    return f'<div class="message {kind}"><div class="face">{face}</div><div>{heading}{body}</div></div>'


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "actions":
            labels = (each["text"]["text"] for each in block["elements"])
            buttons = (f'<span class="button">{THUMBS.get(each, html.escape(each))}</span>' for each in labels)
            return f'<div class="actions">{"".join(buttons)}</div>'
        case kind:
            return f'<div class="{kind}">{"".join(map(_element, block["elements"]))}</div>'


def _element(element: dict[str, Any]) -> str:
    match element["type"]:
        case "rich_text_section":
            return "".join(map(_element, element["elements"]))
        case "link":
            return f'<a href="{html.escape(element["url"])}">{html.escape(element["text"])}</a>'
        case _:
            text = html.escape(element["text"])
            style = element.get("style", {})
            text = f"<b>{text}</b>" if style.get("bold") else text
            return f"<i>{text}</i>" if style.get("italic") else text


def long_answer(index: Index) -> Answer:
    """The first sentence of many passages: more than one message holds."""
    hits = search(index, LONG, top_k=LONG_PASSAGES)
    citations = tuple(cite(hit, 0, 0, marker) for marker, hit in enumerate(hits, 1))
    lines = (f"{c.speaker or c.source.title}: “{c.quote}” [{c.marker}]" for c in citations)
    return Answer("answered", "\n".join(lines), "long", citations=citations)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    arguments.add_argument("--chromium", default="/usr/bin/chromium")
    options = arguments.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        embedder = load_embedder()
        ingest([ROOT / "corpus"], Path(name), embedder, Limits())
        index = Index.open(Path(name), embedder)
        given = {LONG: long_answer(index)}
        with asking(index, Settings(index_dir=Path(name), llm_model="")) as ask:
            given |= {question: ask(Asked(question)) for question in PICTURES.values()}
        for picture, question in {**PICTURES, "slack-long": LONG}.items():
            messages = answer_messages(given[question], PUBLIC_URL)
            sizes = [len(message.blocks) for message in messages]
            print(f"{picture}: {given[question].status}, {len(messages)} message(s) of {sizes} blocks")
            pages[picture] = page(question, messages)
        index.close()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for picture, content in pages.items():
            shown = browser.new_page(viewport={"width": 680, "height": 200}, device_scale_factor=1)
            shown.set_content(content)
            shown.screenshot(path=options.folder / f"{picture}.png", full_page=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
