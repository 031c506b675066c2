from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.links import deep_link, is_web_url


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://www.youtube.com/watch?v=abc", "https://www.youtube.com/watch?v=abc&t=2954s"),
        ("https://youtube.com/watch?t=12&v=abc&list=x", "https://youtube.com/watch?v=abc&list=x&t=2954s"),
        ("https://youtu.be/abc", "https://youtu.be/abc?t=2954s"),
        ("https://youtu.be/abc?si=q&start=3#t=9", "https://youtu.be/abc?si=q&t=2954s"),
        ("https://m.youtube.com/live/abc", "https://m.youtube.com/live/abc?t=2954s"),
        ("https://music.youtube.com/watch?v=abc", "https://music.youtube.com/watch?v=abc&t=2954s"),
        ("https://www.youtube.com/shorts/abc", "https://www.youtube.com/shorts/abc?t=2954s"),
        ("https://www.youtube.com/embed/abc?start=1", "https://www.youtube.com/embed/abc?start=2954"),
        ("https://vimeo.com/123#t=5s", "https://vimeo.com/123#t=2954s"),
        ("https://open.spotify.com/episode/x?si=1", "https://open.spotify.com/episode/x?si=1&t=2954"),
        ("https://cdn.example.org/ep.mp3?a=1", "https://cdn.example.org/ep.mp3?a=1#t=2954"),
        ("http://example.org/ep#t=10", "http://example.org/ep#t=2954"),
        ("https://example.org/talk#transcript", "https://example.org/talk#transcript"),
        ("https://notyoutube.com/watch?v=abc", "https://notyoutube.com/watch?v=abc#t=2954"),
    ],
)
def test_the_moment_goes_where_the_site_looks_for_it(url: str, link: str) -> None:
    assert deep_link(url, 2954.9) == link


def test_without_a_clock_the_address_is_unchanged() -> None:
    assert deep_link("https://youtu.be/abc?t=3", None) == "https://youtu.be/abc?t=3"
    assert deep_link("https://youtu.be/abc", float("nan")) == "https://youtu.be/abc"
    assert deep_link(None, 3.0) is None


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "ftp://x.org/a", "//x.org/a", "https://", "https://[::1", "", "a b"],
)
def test_nothing_but_web_addresses_comes_out(url: str) -> None:
    assert deep_link(url, 3.0) is None
    assert not is_web_url(url)


@given(st.text(max_size=40), st.none() | st.floats())
def test_no_text_breaks_it(text: str, seconds: float | None) -> None:
    for url in (text, f"https://youtu.be/{text}", f"javascript:{text}"):
        link = deep_link(url, seconds)
        assert link is None or link.lower().startswith(("http://", "https://"))
