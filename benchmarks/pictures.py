"""The pictures of the README: the page, the widget and the transcript in their main states.

    python benchmarks/pictures.py [--folder docs/images]

Serves the sample corpus, and a page of another origin with the widget on it, and takes the pictures with Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from index.build import ingest
from index.embed import load_embedder
from ingest.limits import Limits

ROOT = Path(__file__).parent.parent
WIDE, PHONE = (1280, 800), (390, 800)
OKRS = "what did Beykpour say about OKRs?"
CUSTOMERS = "What did Melissa Perri say about the build trap?"
NEAR_MISS = "What did Bezos say about the build trap?"
HOST = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page of yours</title>
<style>body {{ font: 17px/1.6 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; color: #333 }}</style>
</head><body><h1>A page of yours</h1><p>The archive is one click away, in the corner.</p>
<script src="{server}/widget.js" data-title="Ask the archive" async></script></body></html>"""


@contextmanager
def host_page() -> Generator[tuple[str, dict[str, str]]]:
    """The origin of a page whose HTML is whatever the dictionary's `html` is when it is asked for."""
    page = {"html": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page["html"].encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", page
        server.shutdown()


@contextmanager
def served(folder: Path, origin: str) -> Generator[str]:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--json", "--index", str(folder)]
    environment = {**os.environ, "ONRECORD_WIDGET_ORIGINS": origin}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def page_of(browser: Browser, size: tuple[int, int], scheme: str = "light") -> Page:
    width, height = size
    return browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )


def asked(page: Page, server: str, question: str) -> None:
    page.goto(f"{server}/?q={quote(question)}")
    page.get_by_role("button", name="Copy answer").wait_for()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as index, host_page() as (origin, host), sync_playwright() as playwright:
        ingest([ROOT / "corpus"], Path(index), load_embedder(), Limits())
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        with served(Path(index), origin) as server:
            host["html"] = HOST.format(server=server)
            page = page_of(chromium, WIDE)
            page.goto(server)
            page.get_by_role("button", name="What did").first.wait_for()
            page.screenshot(path=folder / "page.png")
            asked(page, server, OKRS)
            page.get_by_role("button", name="1").first.click()
            page.locator("mark").first.wait_for()
            page.screenshot(path=folder / "citation.png")
            page.get_by_role("link", name="Read in full").click()
            page.locator("mark").first.wait_for()
            page.screenshot(path=folder / "transcript.png")
            page.goto(f"{server}/sources")
            page.get_by_role("link", name="Escaping").wait_for()
            page.screenshot(path=folder / "sources.png")
            page = page_of(chromium, WIDE)
            asked(page, server, NEAR_MISS)
            page.screenshot(path=folder / "near-miss.png")
            page = page_of(chromium, WIDE, "dark")
            asked(page, server, CUSTOMERS)
            page.screenshot(path=folder / "dark.png")
            page = page_of(chromium, PHONE)
            asked(page, server, CUSTOMERS)
            page.screenshot(path=folder / "phone.png")
            page = page_of(chromium, WIDE)
            page.goto(origin)
            page.get_by_role("button", name="Ask the archive").click()
            page.get_by_role("textbox").fill(OKRS)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Copy answer").wait_for()
            page.screenshot(path=folder / "widget.png")
        chromium.close()


if __name__ == "__main__":
    main()
