"""How long the chat page takes from a click on "Ask" to the first words on the screen, beside the API's own time.

    python benchmarks/page.py [--rounds 5]

Serves the sample corpus, which answers in quotations, and asks through the page in Chromium. The API's time is that of
the same question's whole JSON answer, fetched by the same page just before. The words count as painted at the end of
the frame after the one in which they came into the page. Prints the size of the widget too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from index.build import ingest
from index.embed import load_embedder
from ingest.limits import Limits

ROOT = Path(__file__).parent.parent
QUESTIONS = (
    "what did Beykpour say about OKRs?",
    "why did Periscope fail?",
    "What is the product death cycle?",
    "What did Melissa Perri say about the build trap?",
    "What did Beykpour say about jobs-to-be-done?",
    "What makes a product-led organisation?",
)
MEASURE = """async (question) => {
  const headers = {"Content-Type": "application/json"};
  const body = JSON.stringify({question});
  const asked = performance.now();
  await (await fetch("/v1/ask", {method: "POST", headers, body})).json();
  const api = performance.now() - asked;
  const root = document.querySelector("on-record-chat").shadowRoot;
  const shown = () => root.querySelectorAll(".exchange .card").length;
  const before = shown();
  root.querySelector("textarea, input").value = question;
  root.querySelector("textarea, input").dispatchEvent(new Event("input", {bubbles: true}));
  const clicked = performance.now();
  root.querySelector("button[type=submit]").click();
  while (shown() === before) await new Promise((done) => requestAnimationFrame(done));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [api, performance.now() - clicked];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    api: list[float] = []
    page_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        ingest([ROOT / "corpus"], Path(folder), load_embedder(), Limits())
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        command = [sys.executable, "-m", "app", "serve", "--port", "0", "--json", "--index", folder]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        ) as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            for number in range(rounds + 1):
                page = chromium.new_page()
                page.goto(url)
                page.get_by_role("button", name="What did").first.wait_for()
                for question in QUESTIONS:
                    fetched, painted = page.evaluate(MEASURE, question)
                    page.get_by_role("button", name="Copy answer").nth(QUESTIONS.index(question)).wait_for()
                    if number:  # the first round finds nothing in memory
                        api.append(fetched)
                        page_ms.append(painted)
                page.close()
            process.terminate()
        chromium.close()
    size = len(gzip.compress((ROOT / "app" / "web" / "widget.js").read_bytes(), 9, mtime=0))
    more = statistics.median(painted - fetched for painted, fetched in zip(page_ms, api, strict=True))
    print(f"{len(api)} answers\n\n| what | median |\n| --- | --- |")
    print(f"| the API's whole answer | {statistics.median(api):.0f} ms |")
    print(f"| from the click to the first words painted | {statistics.median(page_ms):.0f} ms |")
    print(f"| of that more than the API, pair by pair | {more:.0f} ms |")
    print(f"| widget.js, gzipped | {size / 1000:.1f} kB |")


if __name__ == "__main__":
    main()
