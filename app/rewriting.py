"""Follow-up questions made to stand alone: from what a client sends along, and by a model where there is one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from app.conversation import KEPT_EXCHANGES, Exchange
from app.drafts import without_thoughts
from app.errors import ModelError
from app.followup import stand_alone
from app.llm import ChatModel, complete
from app.prompts import rewrite_prompt
from app.question import find_mentions, understand
from app.wording import fault_of_form
from ingest.names import is_english_word
from ingest.speakers import Speaker, fold_name

REWRITE_TOKENS = 400
"""A question is short, but a model may think first."""
LONGEST_REWRITE = 600

_LABEL = re.compile(r"^(?:(?:the\s+)?(?:new|rewritten|standalone)\s+question|question|q)\s*:\s*", re.IGNORECASE)


async def rewrite(model: ChatModel, question: str, history: Sequence[Exchange], deadline: float) -> str | None:
    """The question as it stands alone after the history; null where the model gives none in time that will do.

    What it writes is taken only where it is made of known words.
    """
    try:
        async with asyncio.timeout_at(deadline):
            reply = await complete(model, rewrite_prompt(question, history), max_tokens=REWRITE_TOKENS)
    except (ModelError, TimeoutError):
        return None
    return _usable(reply, question, history)


def recalled(pairs: Sequence[tuple[str, str]], speakers: Sequence[Speaker]) -> list[Exchange]:
    """What was asked and answered before, oldest first, as exchanges: each question as it stood alone by the rules."""
    history: list[Exchange] = []
    for question, answer in pairs[-KEPT_EXCHANGES:]:
        asked = understand(stand_alone(question, history, speakers) or question, speakers)
        named = asked.asked.speakers if asked.asked else ()
        named = named or next((m.speakers for m in find_mentions(answer, speakers) if m.speakers), ())
        history.append(Exchange(asked.text, answer, asked.subject, named, answered=bool(answer)))
    return history


def _usable(reply: str, question: str, history: Sequence[Exchange]) -> str | None:
    """The last line of a reply, if it is a question about nothing that was not spoken of.

    Every word of it that is a name, a number or no ordinary English stands in the question or the history.
    """
    lines = [" ".join(line.split()).strip('"“”*`') for line in without_thoughts(reply).splitlines() if line.strip()]
    if not lines:
        return None
    written = _LABEL.sub("", lines[-1])
    if not re.search(r"\w", written) or len(written) > LONGEST_REWRITE or fault_of_form(written):
        return None
    known = _words(" ".join([question, *(f"{e.question} {e.answer} {' '.join(e.speakers)}" for e in history)]))
    strange = [word for word in re.findall(r"\w+", written)[1:] if fold_name(word) not in known and not _plain(word)]
    return None if strange else written


def _words(text: str) -> set[str]:
    return {fold_name(word) for word in re.findall(r"\w+", text)}


def _plain(word: str) -> bool:
    return word.islower() and is_english_word(word)
