"""Words of documents made inert: nothing in them can pass for a marker of ours, a link, an image, HTML or a mention."""

from __future__ import annotations

import re

WORD_JOINER = "\u2060"
"""Invisible, of no width, and no place to break a line (Unicode, section 23.2)."""

# After what it breaks up: `[1]`, `](`, `![`, `<b`, `<@U1`, `<!here`, `https://`, `www.`, `mailto:`, `@name`.
_ACTIVE = re.compile(
    r"\[(?=\d+\])|\](?=[(\[])|!(?=\[)|<(?=[a-z/!@#?])|\b[a-z][a-z0-9+.-]{1,15}:(?=//)|\bwww(?=\.)"
    r"|\b(?:mailto|javascript|data)(?=:)|@(?=\w)",
    re.IGNORECASE,
)


def inert(text: str) -> str:
    """The text with an invisible word joiner in whatever a channel could take for more than words."""
    return _ACTIVE.sub(lambda found: found.group() + WORD_JOINER, text)
