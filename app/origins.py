"""Web origins: scheme, host and port, written as browsers write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str | None:
    """The origin in lower case and without a default port; null where the text is anything else, or more than that."""
    matched = _ORIGIN.fullmatch(text)
    if matched is None:
        return None
    scheme, host, digits = matched.groups()
    scheme = scheme.lower()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        return None
    return f"{scheme}://{host.lower()}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def parse_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Each origin once, blanks left out. Raises ValueError for what is not an origin."""
    origins: list[str] = []
    for each in filter(None, map(str.strip, texts)):
        origin = parse_origin(each)
        if origin is None:
            raise ValueError(
                f"{each!r} is not an origin: write scheme, host and port alone, such as https://example.org:8443"
            )
        origins.append(origin)
    return tuple(dict.fromkeys(origins))
