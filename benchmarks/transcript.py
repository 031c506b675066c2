"""What a long transcript costs a reader, measured in Chromium: first paint, all turns there, landing, and scrolling.

    python benchmarks/transcript.py [--turns 10000] [--runs 5]

Makes a transcript whose turns have 4 to 120 words, ingests and serves it, and opens it as the page does for everybody.
Scrolling goes from the top to the bottom, PIXELS with every frame: once by the clock, and once with Chromium's tracing,
which gives the processor time of each piece of work of the page's thread, and so what a frame would take on a machine
that has nothing else to do. Prints a Markdown table; exits 1 where such a piece takes more than 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from index.build import ingest
from index.embed import load_embedder
from ingest.limits import Limits

NAMES = ("Ada Lovelace", "Grace Hopper", "Katherine Johnson", "Alan Turing", "Barbara Liskov", "Edsger Dijkstra")
WORDS = (
    "we",
    "looked",
    "at",
    "the",
    "budget",
    "last",
    "week",
    "and",
    "nobody",
    "could",
    "say",
    "why",
    "people",
    "left",
)
LENGTHS = (4, 8, 15, 30, 60, 120)
PIXELS = 1000
MOST_MS = 50.0
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
WATCH = """
    window.longTasks = [];
    new PerformanceObserver(list => longTasks.push(...list.getEntries().map(each => each.duration)))
        .observe({type: "longtask"});
    new MutationObserver(() => {
        window.completeAt ??= document.querySelector("[data-complete]") ? performance.now() : undefined;
        window.markAt ??= document.querySelector("mark") ? performance.now() : undefined;
    }).observe(document, {subtree: true, childList: true, attributes: true});
"""
OPENED = """() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    complete: completeAt,
    mark: window.markAt ?? null,
    inSight: document.querySelector("mark")?.getBoundingClientRect().top,
    turns: document.querySelectorAll(".turn").length,
    longest: Math.max(0, ...longTasks),
})"""
SCROLL = """pixels => new Promise(done => {
    const frames = [];
    let last;
    scrollTo(0, 0);
    const next = now => {
        if (last !== undefined) frames.push(now - last);
        last = now;
        const before = scrollY;
        scrollBy({top: pixels, behavior: "instant"});
        if (scrollY > before) requestAnimationFrame(next); else done(frames);
    };
    requestAnimationFrame(next);
})"""


def write_transcript(folder: Path, turns: int) -> None:
    folder.mkdir()
    chance = random.Random(1)
    segments: list[dict[str, Any]] = []
    seconds = 0.0
    for i in range(turns):
        words = chance.choices(WORDS, k=chance.choice(LENGTHS))
        body = f"{' '.join(words).capitalize()}, item {i}."
        segments.append({"speaker": NAMES[i * 5 % 6], "startTime": seconds, "endTime": seconds, "body": body})
        seconds += len(words) / 2.5
    (folder / "long.json").write_text(json.dumps({"version": "1.0.0", "segments": segments}))
    (folder / "long.meta.yaml").write_text("title: A long meeting\nurl: https://www.youtube.com/watch?v=long\n")


@contextmanager
def server(index_dir: Path, folder: Path) -> Generator[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
    stores = {"ONRECORD_CONVERSATIONS": str(folder / "c.sqlite"), "ONRECORD_FEEDBACK": str(folder / "f.sqlite")}
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--json", "--index", str(index_dir)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**kept, **stores}, text=True
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.communicate()


def opened(browser: Browser, address: str) -> tuple[Page, dict[str, Any]]:
    """A page in a fresh context, with nothing cached, when all turns are in it; and what was measured on the way."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    page.wait_for_selector("[data-complete]", state="attached", timeout=120_000)
    page.wait_for_timeout(500)
    return page, page.evaluate(OPENED)


def scrolled(browser: Browser, address: str) -> list[float]:
    """The time from frame to frame, in ms."""
    page, _ = opened(browser, address)
    frames = page.evaluate(SCROLL, PIXELS)
    page.context.close()
    return frames


def own_work(browser: Browser, address: str, trace: Path) -> list[float]:
    """The processor time, in ms, of each piece of work of the page's thread while it scrolls."""
    page, _ = opened(browser, address)
    browser.start_tracing(page=page, path=trace, categories=["toplevel", "devtools.timeline"])
    page.evaluate(SCROLL, PIXELS)
    browser.stop_tracing()
    page.context.close()
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("ph") == "X"]
    thread, _ = Counter((each["pid"], each["tid"]) for each in events if each["name"] == "Layout").most_common(1)[0]
    return [
        each["tdur"] / 1000
        for each in events
        if each["name"] == "ThreadControllerImpl::RunTask" and (each["pid"], each["tid"]) == thread and "tdur" in each
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        write_transcript(folder / "corpus", args.turns)
        ingest([folder / "corpus"], folder / "snapshots", load_embedder(), Limits())
        with server(folder / "snapshots", folder) as url:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            top = f"{url}/sources/long"
            far = f"{top}#turn-{args.turns * 9 // 10}.0-10"
            opens, lands = [], []
            for _ in range(args.runs):
                for address, measured in ((top, opens), (far, lands)):
                    page, found = opened(browser, address)
                    page.context.close()
                    assert found["turns"] == args.turns
                    measured.append(found)
            frames = scrolled(browser, top)
            work = own_work(browser, top, folder / "trace.json")
            browser.close()
    assert all(0 <= land["inSight"] <= 800 for land in lands), "the cited words are in sight"
    both = opens + lands
    rows = [
        ("first contentful paint, median", statistics.median(each["paint"] for each in both)),
        (f"the words of turn {args.turns * 9 // 10:,} marked, median", statistics.median(e["mark"] for e in lands)),
        (f"all {args.turns:,} turns in the page, median", statistics.median(each["complete"] for each in both)),
        ("longest task while opening, median", statistics.median(each["longest"] for each in both)),
        (f"frames while scrolling: {len(frames):,}, median", statistics.median(frames)),
        ("frames while scrolling, 99th percentile", statistics.quantiles(frames, n=100)[-1]),
        ("longest frame while scrolling", max(frames)),
        ("frames over 50 ms", sum(frame > MOST_MS for frame in frames)),
        ("longest piece of the page's own work while scrolling, processor time", max(work)),
    ]
    print("| what | ms |\n| --- | ---: |")
    for what, value in rows:
        print(f"| {what} | {value:.0f} |" if "over" in what else f"| {what} | {value:.1f} |")
    print(f"\nLoad of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")
    sys.exit(max(work) > MOST_MS)


if __name__ == "__main__":
    main()
