"""Answers made wrong on their way: a quotation, a name, a time or a number altered in 1,000 of them gets none shown."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.answer import Answerer, Asked, answer
from app.api import create_app
from app.llm import Message, Usage
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder
from index.search import Index
from ingest.limits import Limits
from ingest.model import format_timestamp
from tests.conftest import CORPUS

ANSWERS = 1000
HTTP_ANSWERS = 200
FEWEST_WORDS = 6
"""Words of a sentence that is quoted."""

TALKS = {
    "harbours": ("Ann Host", "Ben Ward", "harbour", "quay", "boats"),
    "gardens": ("Ann Host", "Cara Lund", "garden", "orchard", "trees"),
    "trains": ("Dov Adler", "Ben Ward", "railway", "station", "trains"),
}
ANSWERED = (
    "We measured the {0} for 14 months before anybody believed our figures about the {2}.",
    "The old {1} was closed in 1987 because nobody would pay for its repair.",
    "I never thought that a {0} could change how a whole town talks about {2}.",
    "Our first plan for the {1} cost 40 million and failed within three years.",
    "People came to look at the {2} and stayed for the quiet of the {1}.",
    "You learn more from a {0} that fails than from ten reports on {2}.",
)
ASKED = (
    "What did you measure at the {0}?",
    "Why was the {1} closed, and who paid for the {2}?",
    "What should a town know of its {0} before it buys {2}?",
)


@pytest.fixture(scope="module")
def index_dir(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample corpus beside three talks in which the same is said of other things by other people."""
    folder, snapshots = tmp_path_factory.mktemp("talks"), tmp_path_factory.mktemp("index") / "snapshots"
    for name, (host, guest, *things) in TALKS.items():
        turns = [f"{host} (00:00:03):\n" + " ".join(line.format(*things) for line in ASKED)]
        for i, line in enumerate(ANSWERED):
            turns.append(
                f"{guest} (00:{7 * i + 2:02d}:{5 * i + 11:02d}):\n{line.format(*things)} That is what I tell everybody."
            )
            turns.append(
                f"{host} (00:{7 * i + 4:02d}:{3 * i + 20:02d}):\nAnd what became of the {things[i % 3]}, would you say?"
            )
        (folder / f"{name}.md").write_text("\n\n".join(turns) + "\n")
    report = ingest([CORPUS, folder], snapshots, embedder, Limits())
    assert not report.errors
    return snapshots


@pytest.fixture(scope="module")
def index(index_dir: Path, embedder: Embedder) -> Iterator[Index]:
    index = Index.open(index_dir, embedder)
    yield index
    index.close()


Sentence = tuple[int, str, str, str | None]
"""Number, words, speaker and timestamp of a sentence that a prompt offers."""


def offered(messages: Sequence[Message]) -> list[Sentence]:
    """The sentences of a prompt that somebody says."""
    found: list[Sentence] = []
    speaker, time = "", None
    for line in messages[1].content.splitlines():
        if numbered := re.match(r"\[(\d+)\] (.*)", line):
            found += [(int(numbered[1]), numbered[2], speaker, time)] if speaker else []
        elif header := re.fullmatch(r"(.+?)(?: \(([\d:]+)\))?:", line):
            speaker, time = ("" if header[1].startswith(("From ", "Nobody named")) else header[1]), header[2]
    return found


FORMS = (
    "{name} said: “{words}”",
    "{name} says “{words}”",
    "“{words},” said {name}.",
    "According to {name}, “{words}”.",
    "As {name} puts it, “{words}”.",
    "{name}: “{words}”",
    "In {name}'s words, “{words}”.",
    "“{words}” — {name}.",
    "At {time}, {name} said: “{words}”",
    "{name} ({time}): “{words}”",
)


class Mutant:
    """A model that writes a right sentence and the same one altered, and insists on it when it is asked to mend it.

    What it wrote is kept: `right` and `wrong`, the latter with the kind of alteration.
    """

    name = "mutant"

    def __init__(self, speakers: Sequence[str], seed: int) -> None:
        self._speakers = speakers
        self._rng = random.Random(seed)
        self.right = self.wrong = self.kind = ""
        self._reply = ""

    async def stream(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None, *, max_tokens: int | None = None
    ) -> AsyncGenerator[str | Usage]:
        if len(messages) == 2:
            self._write(offered(messages))
        yield self._reply

    def _write(self, sentences: Sequence[Sentence]) -> None:
        # Quotation marks would have to be nested, and a blank before a comma is taken out of what a model writes.
        quotable = [
            s for s in sentences if len(s[1].split()) >= FEWEST_WORDS and not re.search(r"[“”\"]| [.,;:!?]", s[1])
        ]
        number, words, speaker, time = self._rng.choice(quotable)
        words = words.rstrip(" .!?…")
        form = self._rng.choice(FORMS if time else [form for form in FORMS if "{time}" not in form])
        self.right = form.format(name=speaker, words=words, time=time)
        altered: dict[str, str] = {}
        while not altered:
            self.kind, alter = self._rng.choice(list(ALTERATIONS.items()))
            altered = alter(self._rng, {"name": speaker, "words": words, "time": time or ""}, self._speakers)
            if "time" in altered and "{time}" not in form:
                altered = {}
        self.wrong = form.format(**({"name": speaker, "words": words, "time": time} | altered))
        # First the wrong one: what stands before it must not lend it a speaker.
        drafts = [{"cites": [number], "text": text} for text in (self.wrong, self.right)]
        self._reply = json.dumps({"sentences": drafts})


Parts = dict[str, str]
Alteration = Callable[[random.Random, Parts, Sequence[str]], Parts]
"""The parts of a sentence that are altered; nothing where there is nothing to alter."""


def _other_word(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    words = parts["words"].split()
    i = rng.randrange(len(words))
    return _quoted(
        parts, [*words[:i], rng.choice(["never", "terrible", "profits", "Twitter", "seldom", "42"]), *words[i + 1 :]]
    )


def _dropped(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    words = parts["words"].split()
    i = rng.randrange(1, len(words) - 1)
    return _quoted(parts, [*words[:i], *words[i + 1 :]])


def _swapped(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    words = parts["words"].split()
    i = rng.randrange(len(words) - 1)
    return _quoted(parts, [*words[:i], words[i + 1], words[i], *words[i + 2 :]])


def _negated(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    words = parts["words"].split()
    i = rng.randrange(1, len(words))
    return _quoted(parts, [*words[:i], rng.choice(["not", "never", "hardly"]), *words[i:]])


def _shortened(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    words = parts["words"].split()
    i = rng.randrange(1, len(words) - 2)
    return _quoted(parts, [*words[:i], "…", *words[i + 2 :]])


def _number(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    numbers = list(re.finditer(r"\d+", parts["words"]))
    if not numbers:
        return {}
    found = rng.choice(numbers)
    before, after = parts["words"][: found.start()], parts["words"][found.end() :]
    return {"words": f"{before}{int(found.group()) + rng.randint(1, 9)}{after}"}


def _time(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    if not parts["time"]:
        return {}
    seconds = 0
    for part in parts["time"].split(":"):
        seconds = seconds * 60 + int(part)
    return {"time": format_timestamp(seconds + rng.choice([1, 10, 59, 60, 600, 3600]))}


def _speaker(rng: random.Random, parts: Parts, speakers: Sequence[str]) -> Parts:
    return {"name": rng.choice([name for name in speakers if name != parts["name"]])}


def _quoted(parts: Parts, words: Sequence[str]) -> Parts:
    """The altered quotation, unless it is still one piece of the right one."""
    altered = " ".join(words)
    return {} if altered.strip(" .,;:!?'-").casefold() in parts["words"].casefold() else {"words": altered}


ALTERATIONS: dict[str, Alteration] = {
    "another word": _other_word,
    "a word dropped": _dropped,
    "two words swapped": _swapped,
    "a negation put in": _negated,
    "words left out": _shortened,
    "another number": _number,
    "another time": _time,
    "another speaker": _speaker,
}

QUESTIONS = (
    ("What did they learn from the harbour and its boats?", "harbours"),
    ("Why was the quay closed?", "harbours"),
    ("What was measured in the garden?", "gardens"),
    ("What did the orchard cost?", "gardens"),
    ("How does a railway change how a town talks?", "trains"),
    ("What became of the trains at the station?", "trains"),
    ("What did Beykpour say about OKRs?", "kayvon-beykpour-insights"),
    ("Why did Periscope fail?", "20-product-kayvon-beykpour"),
    ("What is the build trap?", "escaping-the-build-trap-notes"),
    ("What makes a good product manager?", "escaping-the-build-trap-notes"),
)


def test_no_altered_sentence_is_shown(index: Index) -> None:
    model = Mutant([speaker.name for speaker in index.store.speakers()], seed=7)
    answerer = Answerer(Settings(), model)
    through: list[str] = []
    kinds: dict[str, int] = {}
    controls = 0

    async def run() -> None:
        nonlocal controls
        for i in range(ANSWERS):
            question, source = QUESTIONS[i % len(QUESTIONS)]
            given = await answer(index, answerer, Asked(question, source=source))
            assert model.right, "the model was not asked"
            kinds[model.kind] = kinds.get(model.kind, 0) + 1
            controls += given.answerer == "llm" and f"{model.right} [1]" in given.answer
            if given.answerer == "llm" and given.answer != f"{model.right} [1]":
                through.append(f"{model.kind}: {given.answer} for {model.right}")

    asyncio.run(run())
    assert kinds.keys() == ALTERATIONS.keys()
    assert not through, f"{len(through)} of {ANSWERS} got through: {through[:5]}"
    assert controls >= 0.95 * ANSWERS, f"only {controls} of {ANSWERS} right sentences were shown"


def test_what_comes_out_is_what_the_index_holds(index: Index, index_dir: Path, embedder: Embedder) -> None:
    every = (passage for source in index.store.sources() for passage in index.store.passages_of(source.id))
    passages = {passage.id: passage for passage in every}
    checked = 0
    settings = Settings(index_dir=index_dir, conversations=":memory:", feedback=":memory:")
    words = sorted({word for passage in passages.values() for word in _long_words(index, passage.source_id)})
    asked = random.Random(3).sample(words, HTTP_ANSWERS)
    with TestClient(create_app(settings, embedder)) as client:
        for word in asked:
            given = client.post("/v1/ask", json={"question": f"What was said about {word}?"}).json()
            for citation in [*given["citations"], *given["near_misses"]]:
                source = index.store.source(citation["source"]["id"])
                assert source is not None
                turn = index.store.turns(source.id)[citation["turn"]]
                begin = citation["offset"]
                end = begin + len(citation["quote"])
                start = turn.cue_at(begin).start
                passage = passages[citation["passage_id"]]
                assert citation["quote"] == turn.text[begin:end]
                assert any(s.turn == citation["turn"] and s.begin <= begin and end <= s.end for s in passage.spans)
                assert passage.source_id == source.id
                assert (citation["speaker"], citation["attribution"]) == (turn.speaker, turn.attribution)
                assert (citation["start"], citation["end"]) == (start, turn.end_at(begin, end))
                assert citation["timestamp"] == (None if start is None else format_timestamp(start))
                assert citation["locator"] == turn.locator_at(begin)
                assert citation["source"] == {
                    field: getattr(source, field) for field in ("id", "title", "kind", "url", "date")
                }
                checked += 1
    assert checked > HTTP_ANSWERS


def _long_words(index: Index, source_id: str) -> set[str]:
    return set(re.findall(r"\b[a-z]{6,}\b", " ".join(turn.text for turn in index.store.turns(source_id))))
