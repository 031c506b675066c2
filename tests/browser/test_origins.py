"""What a browser lets pages of other origins do with the API."""

from __future__ import annotations

from typing import Any

QUESTION = "what did Beykpour say about OKRs?"
GET_TOKEN = """async server => {
    const response = await fetch(server + "/v1/widget-token", {method: "POST"});
    return [response.status, await response.json()];
}"""
ASK = """async ([server, question, token]) => {
    const headers = {"Content-Type": "application/json", ...(token && {"X-OnRecord-Token": token})};
    const body = JSON.stringify({question, stream: true});
    const response = await fetch(server + "/v1/ask", {method: "POST", headers, body});
    return [response.status, await response.text()];
}"""
REACHED = "([server, path]) => fetch(server + path).then(() => true, () => false)"
INCLUDED = """src => new Promise(settled => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = () => settled(true);
    script.onerror = () => settled(false);
    document.head.append(script);
})"""


def test_a_page_of_a_listed_origin_asks_with_a_token(sample_index: Any, serve: Any, elsewhere: Any, page: Any) -> None:
    server = serve(sample_index, ONRECORD_WIDGET_ORIGINS=f"https://other.example, {elsewhere.origin}")
    page.goto(elsewhere.put("/", "<!doctype html><title>A blog</title>"))
    status, given = page.evaluate(GET_TOKEN, server.url)
    assert (status, given["expires_in"]) == (200, 600)
    status, events = page.evaluate(ASK, [server.url, QUESTION, given["token"]])
    assert status == 200
    assert "event: done" in events


def test_without_a_token_it_is_told_so(sample_index: Any, serve: Any, elsewhere: Any, page: Any, watched: Any) -> None:
    server = serve(sample_index, ONRECORD_WIDGET_ORIGINS=elsewhere.origin)
    page.goto(elsewhere.put("/", "<!doctype html><title>A blog</title>"))
    watched.expect("Failed to load resource.*401")
    for token in (None, "made.up"):
        status, problem = page.evaluate(ASK, [server.url, QUESTION, token])
        assert status == 401
        assert "X-OnRecord-Token" in problem


def test_a_page_of_another_origin_reads_nothing_but_the_widget(
    server: Any, elsewhere: Any, page: Any, watched: Any
) -> None:
    page.goto(elsewhere.put("/", "<!doctype html><title>A blog</title>"))
    watched.expect("blocked by CORS policy|net::ERR_FAILED|ERR_BLOCKED_BY_RESPONSE|status of 403")
    for path in ("/v1/sources", "/v1/overview", "/v1/widget-token", "/", "/metrics", "/openapi.json"):
        assert page.evaluate(REACHED, [server.url, path]) is False, path
    assert page.evaluate(INCLUDED, f"{server.url}/v1/sources") is False
    assert page.evaluate(INCLUDED, f"{server.url}/widget.js") is True


def test_no_page_can_frame_ours(server: Any, elsewhere: Any, page: Any, watched: Any) -> None:
    watched.expect("frame-ancestors|ERR_BLOCKED_BY_RESPONSE")
    page.goto(elsewhere.put("/", f"<!doctype html><title>A blog</title><iframe src='{server.url}/'></iframe>"))
    page.wait_for_function("frames.length === 1")
    page.wait_for_timeout(300)
    assert watched.wrong
    assert server.url not in [frame.url.rstrip("/") for frame in page.frames]


def test_our_own_page_asks_without_a_token(server: Any, page: Any) -> None:
    page.goto(f"{server.url}/")
    status, events = page.evaluate(ASK, [server.url, QUESTION, None])
    assert status == 200
    assert "event: done" in events
