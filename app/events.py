"""What comes before the whole of an answer: the passages it is looked for in, then citations and pieces of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.citations import Citation
from index.search import Hit


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages that the answer may quote, best first; and the ids that the answer will have."""

    answer_id: str
    conversation_id: str
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation, verified; it comes before the text that bears its marker."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer's text; it is never taken back."""

    text: str
