"""Follow-up questions made to stand alone by rules: ellipses ("and the host?") and pronouns ("why did he say that?").

The rules are those of English. They leave alone what they are not sure of: a wrong topic is worse than an open one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.conversation import KEPT_EXCHANGES, Exchange
from app.ellipsis import completed, find_ellipsis, read_body
from app.past import Past, capitalised
from app.pointing import POINTS_BACK, find_references, open_end, resolved
from ingest.speakers import Speaker

LONGEST_QUESTION = 1000
"""Characters of an earlier question that are looked at."""


def may_depend(question: str, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> bool:
    """Whether a question may mean something else without what came before: an ellipsis, or a word that points back.

    More may than the rules can make stand alone: "is that company profitable?", "which one?".
    """
    if not history:
        return False
    body = read_body(question)
    return bool(
        find_ellipsis(body, speakers)
        or find_references(body.text, speakers)
        or POINTS_BACK.search(body.text)
        or open_end(body.text, speakers, leans=body.leans) is not None
    )


def stand_alone(question: str, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> str | None:
    """The question with what it leaves out; null where it stands alone already, or the history does not tell."""
    if not history or not may_depend(question, history, speakers):
        return None
    body = read_body(question)
    last = [replace(each, question=each.question[:LONGEST_QUESTION]) for each in history[-KEPT_EXCHANGES:]]
    past = Past.of(last, speakers)
    ellipsis = find_ellipsis(body, speakers)
    written = completed(ellipsis, past, speakers) if ellipsis else resolved(body, past, speakers)
    if written is None or written in (question.strip(), body.text):
        return None
    return capitalised(written)
