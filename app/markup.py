"""Words of documents made inert: nothing in them can pass for a marker of ours, a link, an image, HTML or a mention."""

from __future__ import annotations

import re
import unicodedata

WORD_JOINER = "\u2060"
"""Invisible, of no width, and no place to break a line (Unicode, section 23.2)."""
_JOINS_LETTERS = "\u200c\u200d"
"""The two invisible characters that words of some scripts are spelled with."""

# After what it breaks up: `[1]`, `[INST]`, `](`, `]:`, `![`, `<b`, `<@U1`, `<!here`, `<|im_end|>`, `&lt;`, `https:`,
# `//`, `evil.com`, `mailto:`, `@name`. What remains of an address must not be one: hence each of its joints.
_ACTIVE = re.compile(
    r"\[(?=\d+\]|/?(?-i:[A-Z])+\])|\](?=[(\[:])|!(?=\[)|<(?=[a-z/!@#?|])|&(?=#?\w+;)|\b[a-z][a-z0-9+.-]{1,15}:(?=//)|/(?=/)"
    r"|(?<=\w)\.(?=[^\W\d_]{2})|\b(?:mailto|javascript|vbscript|data|tel)(?=:)|[@＠](?=\w)",
    re.IGNORECASE,
)


def inert(text: str) -> str:
    """The text on one line, with an invisible word joiner in whatever a channel could take for more than words.

    Characters that control a terminal or the direction of writing, and others that nobody sees, are left out.
    """
    visible = (c for c in " ".join(text.split()) if c in _JOINS_LETTERS or unicodedata.category(c)[0] != "C")
    return _ACTIVE.sub(lambda found: found.group() + WORD_JOINER, "".join(visible))
