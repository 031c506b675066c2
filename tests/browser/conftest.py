"""A real browser, real servers for it to visit, and what no page of ours may do there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError

HERE = Path(__file__).parent
PATIENCE_MS = 60_000
"""A busy machine may take its time over anything."""
AXE = "axe_playwright_python"
"""The package whose data axe-core is."""
BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
AXE_OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
MISSING_PLAYWRIGHT = "Playwright is not installed: make test installs it"

if find_spec("playwright") is None and "CI" not in os.environ:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if find_spec("playwright") is None:
        terminalreporter.write_line(f"No test in a browser was run. {MISSING_PLAYWRIGHT}.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.enable_socket)
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


# For a module, not for the session: while Playwright runs, no other test of the process can start an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; in CI its absence is a failure."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    missing = "" if chromium else "chromium is not installed: apt-get install chromium"
    if find_spec(AXE) is None:
        missing = "axe-core is not installed: make test installs it"
    if missing and "CI" in os.environ:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """What went wrong in the browser; whatever is left of it at the end of a test fails the test."""

    wrong: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Lets pass what the pattern is found in, such as `Failed to load resource.*503`."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        return [each for each in self.wrong if not any(re.search(pattern, each) for pattern in self.expected)]

    def on(self, context: BrowserContext) -> None:
        """Follows all pages of a context. Chromium writes to the console what a Content-Security-Policy forbids."""
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text} ({message.location.get('url')})")

    def _error(self, error: WebError) -> None:
        self.wrong.append(f"uncaught: {error.error}")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        host = address.hostname or ""
        if address.scheme not in ("data", "blob") and host not in ("127.0.0.1", "localhost"):
            self.wrong.append(f"request: {request.url}")


@pytest.fixture
def watched() -> Iterator[Watched]:
    """What is held against the pages of a test: errors on the console, uncaught ones, and requests to other hosts."""
    watched = Watched()
    yield watched
    assert watched.unexpected() == []


@pytest.fixture
def new_page(browser: Browser, watched: Watched) -> Iterator[Callable[..., Page]]:
    """Opens a page in a context of its own: `new_page(color_scheme="dark", viewport=…)` takes a context's options."""
    contexts: list[BrowserContext] = []

    def opened(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE_MS)
        watched.on(context)
        contexts.append(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page in a context of its own."""
    return new_page()


@cache
def _axe() -> str:
    return (files(AXE) / "axe.min.js").read_text("utf-8")


def axe(page: Page) -> list[str]:
    """What axe-core has against the page as it stands, shadow DOM included: rule, place and reason, a line each.

    It comes in through the debugger, so that the page's own Content-Security-Policy may stay as it is.
    """
    page.evaluate(_axe())
    found = page.evaluate("options => axe.run(document, options)", AXE_OPTIONS)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.fixture(name="axe")
def axe_fixture() -> Callable[[Page], list[str]]:
    """`axe(page)` above, for tests that cannot import from here."""
    return axe


class Server:
    """`onrecord serve` in a process of its own; after `stop`, `start` serves the same address again."""

    def __init__(self, index_dir: Path, folder: Path, environment: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
        self._environment = {
            **kept,
            "ONRECORD_INDEX_DIR": str(index_dir),
            "ONRECORD_CONVERSATIONS": str(folder / "conversations.sqlite"),
            "ONRECORD_FEEDBACK": str(folder / "feedback.sqlite"),
            **environment,
        }
        self._log = folder / "server.log"
        self._process: subprocess.Popen[str] | None = None
        self.url = "http://127.0.0.1:0"
        self.start()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        port = str(urlsplit(self.url).port)
        command = [sys.executable, "-m", "app", "serve", "--port", port, "--json"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=self._environment, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            pytest.fail(f"the server did not start: {self.log}")
        self.url = json.loads(line)["url"]

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process: in order, or with SIGKILL at once."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(sent)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


@pytest.fixture(scope="session")
def server(sample_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server over the sample corpus, with the settings of a fresh install. Tests that stop one use `serve`."""
    server = Server(sample_index, tmp_path_factory.mktemp("server"), {})
    yield server
    server.stop()


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers over other corpora or with other settings: `serve(index_dir, ONRECORD_MAX_QUOTES="1")`."""
    servers: list[Server] = []

    def started(index_dir: Path, **environment: str) -> Server:
        servers.append(Server(index_dir, tmp_path_factory.mktemp("server"), environment))
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


class Elsewhere:
    """Somebody else's web site, of another origin than any of our servers."""

    def __init__(self) -> None:
        pages: dict[str, tuple[bytes, dict[str, str]]] = {"/favicon.ico": (b"", {})}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                body, headers = pages.get(path, (b"", {}))
                self.send_response(200 if path in pages else 404)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._pages = pages
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def put(self, path: str, content: str, **headers: str) -> str:
        """Keeps a page at a path and gives its address; `Content_Security_Policy=` names that header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._pages[path] = content.encode(), named
        return self.origin + path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def elsewhere() -> Generator[Elsewhere]:
    """A site of another origin: `page.goto(elsewhere.put("/", "<!doctype html>…"))`."""
    site = Elsewhere()
    yield site
    site.close()
