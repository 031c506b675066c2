"""Deep links: an address that opens a recording at the second somebody speaks."""

from __future__ import annotations

import math
import re
from urllib.parse import SplitResult, urlsplit

_YOUTUBE_CLOCKS = frozenset({"t", "start", "time_continue"})
_CLOCK_FRAGMENT = re.compile(r"t=[^&]*", re.ASCII)
_NOT_IN_URLS = re.compile(r"[\s\x00-\x1f\x7f]")
_TO_ESCAPE = re.compile(r'["<>\[\]\\^`{|}]')
"""No part of an address (RFC 3986) but of Markdown or HTML around it; browsers take them, and so do sidecars."""


def is_web_url(url: str) -> bool:
    """Whether the address is http or https, names a host, and holds no white space or control characters."""
    return _split(url) is not None


def deep_link(url: str | None, seconds: float | None) -> str | None:
    """The address of the recording at that moment, in whole seconds; unchanged where there is no clock.

    YouTube and Spotify take the moment in the query, Vimeo in the fragment, and everything else as a W3C media
    fragment (https://www.w3.org/TR/media-frags/). An address that is not http or https yields null.
    """
    parts = None if url is None else _split(url)
    if url is None or parts is None:
        return None
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return parts.geturl()
    moment = int(seconds)
    host = (parts.hostname or "").removeprefix("www.")
    if host == "youtu.be" or host == "youtube.com" or host.endswith((".youtube.com", "youtube-nocookie.com")):
        # The embedded player knows only `start`, which takes no unit.
        clock = f"start={moment}" if parts.path.startswith("/embed/") else f"t={moment}s"
        return _in_query(parts, clock)
    if host == "open.spotify.com":
        return _in_query(parts, f"t={moment}")
    if host == "vimeo.com" or host.endswith(".vimeo.com"):
        return _in_fragment(parts, f"t={moment}s")
    return _in_fragment(parts, f"t={moment}")


def _split(url: str) -> SplitResult | None:
    if _NOT_IN_URLS.search(url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    path, query, fragment = (_TO_ESCAPE.sub(lambda c: f"%{ord(c[0]):02X}", part) for part in parts[2:])
    return parts._replace(path=path, query=query, fragment=fragment)


def _in_query(parts: SplitResult, clock: str) -> str:
    kept = [field for field in parts.query.split("&") if field and field.partition("=")[0] not in _YOUTUBE_CLOCKS]
    fragment = "" if _CLOCK_FRAGMENT.fullmatch(parts.fragment) else parts.fragment
    return parts._replace(query="&".join([*kept, clock]), fragment=fragment).geturl()


def _in_fragment(parts: SplitResult, clock: str) -> str:
    # A fragment of the page's own (a section, a route) is worth more than a moment that would break it.
    if parts.fragment and not _CLOCK_FRAGMENT.fullmatch(parts.fragment):
        return parts.geturl()
    return parts._replace(fragment=clock).geturl()
