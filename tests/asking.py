"""`answer()` for tests, which have no event loop."""

from __future__ import annotations

from typing import Any

from app.answer import Answer, Asked, asking
from app.settings import Settings
from index.search import Index


def answer(index: Index, settings: Settings, question: str, **limits: Any) -> Answer:
    """The answer as the settings have it, without a conversation."""
    with asking(index, settings) as ask:
        return ask(Asked(question, **limits))
