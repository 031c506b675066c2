"""What the browser tests hold against a page is really seen: else all of them would pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src *"


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("console.error('oh no')", "console: oh no"),
        ("setTimeout(() => { throw new Error('broken') })", "uncaught: .*broken"),
        ("fetch('http://elsewhere.example/').catch(() => {})", "request: http://elsewhere.example/"),
        ("document.body.setAttribute('style', 'color: red')", "console: .*[Cc]ontent [Ss]ecurity [Pp]olicy"),
        ("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))", "console: .*script-src"),
        ("fetch('/missing')", "console: .*404"),
    ],
)
def test_what_a_page_may_not_do_is_seen(elsewhere: Any, page: Any, watched: Any, script: str, seen: str) -> None:
    page.goto(elsewhere.put("/", "<!doctype html><title>A page</title>", Content_Security_Policy=POLICY))
    assert watched.wrong == []
    page.evaluate(f"() => {{ {script} }}")
    page.wait_for_timeout(200)
    assert any(re.match(seen, each) for each in watched.wrong)
    watched.expect(seen)
    watched.expect("ERR_NAME_NOT_RESOLVED|CORS policy")
    assert watched.unexpected() == []


def test_axe_sees_into_shadow_trees_under_a_strict_policy(
    elsewhere: Any, page: Any, axe: Callable[[Any], list[str]]
) -> None:
    page.goto(
        elsewhere.put(
            "/",
            "<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1><div id=host></div></main>",
            Content_Security_Policy=POLICY,
        )
    )
    assert axe(page) == []
    page.evaluate(
        "document.querySelector('#host').attachShadow({mode: 'open'}).append(document.createElement('button'))"
    )
    [found] = axe(page)
    assert found.startswith("button-name: [['#host', 'button']]")


def test_a_server_comes_back_at_its_address(sample_index: Any, serve: Any, page: Any) -> None:
    server = serve(sample_index)
    address = server.url
    for _ in range(2):
        assert page.request.get(f"{server.url}/readyz").json()["status"] == "ready"
        server.stop()
        server.start()
    assert server.url == address
