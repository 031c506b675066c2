"""Who is meant, when several may be, and what is said of whoever does not speak."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.answer import Answer
from app.errors import UnknownFilterError
from app.quoting import search
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder
from index.search import Index
from ingest.limits import Limits
from tests.asking import answer

FILES = {
    "budget.md": """
Sarah Connor (00:00:05):
Is the budget for the new data centre enough? I think the budget of nine million will not cover the cooling.

Sarah Miles (00:00:20):
The budget is generous. We will spend half of it on the racks, as Ada Lovelace advised us last spring.

Tom Hart (00:01:00):
The lease of the data centre ends in May, and Sarah Connor signed it herself in Rotterdam.
When does the generator arrive?

Sarah Miles (00:01:30):
In the first week of June, by barge. It is the biggest one that they make.
""",
    "stage.md": """
Bob Ray (00:00:03):
Acting is listening. On stage you listen to the silence of the audience.
""",
    "stage.meta.yaml": 'people:\n  - name: "Bob Ray (actor)"\n    aliases: ["Bob Ray"]\n',
    "bakery.md": """
Bob Ray (00:00:04):
Bread is patience. The dough rests for a day before it goes into the oven.
""",
    "bakery.meta.yaml": 'people:\n  - name: "Bob Ray (baker)"\n    aliases: ["Bob Ray"]\n',
}
ANYWAY = Settings(min_confidence=0.0)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Index]:
    folder: Path = tmp_path_factory.mktemp("people")
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, text in FILES.items():
        (corpus / name).write_text(text, "utf-8")
    assert not ingest([corpus], folder / "index", embedder, Limits()).errors
    index = Index.open(folder / "index", embedder)
    yield index
    index.close()


def quoted(given: Answer) -> set[str | None]:
    return {citation.speaker for citation in given.citations}


def test_two_of_one_first_name_are_both_quoted_and_named(index: Index) -> None:
    given = answer(index, ANYWAY, "What did Sarah say about the budget?")
    assert quoted(given) == {"Sarah Connor", "Sarah Miles"}
    assert given.answer.startswith("“Sarah” may be Sarah Connor or Sarah Miles.")
    assert given.reading is not None
    assert given.reading.speaker == "Sarah Connor or Sarah Miles"


def test_one_of_them_by_full_name(index: Index) -> None:
    given = answer(index, ANYWAY, "What did Sarah Miles say about the budget?")
    assert quoted(given) == {"Sarah Miles"}
    assert given.reading is None


def test_two_who_are_asked_for_together(index: Index) -> None:
    given = answer(index, ANYWAY, "What did Sarah Connor and Sarah Miles say about the budget?")
    assert quoted(given) == {"Sarah Connor", "Sarah Miles"}
    assert given.reading is None


def test_namesakes_are_kept_apart_by_their_sidecars(index: Index) -> None:
    names = {speaker.name for speaker in index.store.speakers()}
    assert {"Bob Ray (actor)", "Bob Ray (baker)"} <= names
    assert "Bob Ray" not in names
    given = answer(index, ANYWAY, "What did Bob Ray say about patience?")
    assert given.answer.startswith("“Bob Ray” may be Bob Ray (actor) or Bob Ray (baker).")
    assert quoted(answer(index, ANYWAY, "What about patience?", speaker="Bob Ray (baker)")) == {"Bob Ray (baker)"}
    with pytest.raises(UnknownFilterError, match="name one of them"):
        search(index, "patience", speaker="Bob Ray")


def test_who_does_not_speak_is_shown_where_he_is_mentioned(index: Index) -> None:
    given = answer(index, Settings(), "What did Ada Lovelace say about racks?")
    assert given.status == "no_answer"
    assert given.citations == ()
    assert given.answer == "Nobody called Ada Lovelace speaks in these documents. Mentioned by Sarah Miles (0:20)."
    assert [(c.speaker, c.timestamp) for c in given.near_misses] == [("Sarah Miles", "0:20")]


def test_an_answer_is_shown_with_the_question_it_answers(index: Index) -> None:
    given = answer(index, ANYWAY, "When does the generator arrive?")
    cited = next(c for c in given.citations if "June" in c.quote)
    assert (cited.speaker, cited.timestamp) == ("Sarah Miles", "1:30")
    assert (cited.question, cited.asked_by) == ("When does the generator arrive?", "Tom Hart")
    lease = answer(index, ANYWAY, "Who signed the lease in Rotterdam?").citations[0]
    assert (lease.question, lease.asked_by) == (None, None)


def test_what_somebody_did_may_be_told_by_others(index: Index) -> None:
    given = answer(index, Settings(), "Where did Sarah Connor sign the lease of the data centre?")
    assert "Tom Hart" in quoted(given)


def test_somebody_who_is_asked_about_nothing_in_particular_is_quoted(index: Index) -> None:
    given = answer(index, Settings(), "What did Tom Hart say?")
    assert quoted(given) == {"Tom Hart"}


@pytest.mark.parametrize("question", ["what", "why?", "tell me more", "who is he"])
def test_nothing_is_asked(question: str, index: Index) -> None:
    given = answer(index, Settings(), question)
    assert given.status == "no_answer"
    assert given.answer.startswith("Ask about something")


@pytest.mark.parametrize("question", ["Which transcripts do you have?", "list the documents", "What can I ask about?"])
def test_what_there_is_to_ask(question: str, index: Index) -> None:
    given = answer(index, Settings(), question)
    assert (given.status, given.citations) == ("answered", ())
    assert given.answer == "3 documents to ask: bakery; budget; stage."
