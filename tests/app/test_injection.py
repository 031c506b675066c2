"""Nothing that documents or askers write changes what is shown, at any door, with a model or without."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from linkify_it import LinkifyIt
from markdown_it import MarkdownIt

from app.markup import inert
from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits
from tests.attacks import (
    ATTACKS,
    FORMS,
    KEY,
    LIMITS,
    QUESTION,
    Attack,
    Service,
    Shown,
    ask,
    attacked,
    documents,
    harm,
    obey,
    serving,
)
from tests.chat_server import ChatServer, Messages
from tests.conftest import CORPUS

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

UNANSWERED = ("an address for a name",)
"""Attacks whose question has no answer, so that no model is asked."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sample corpus with hostile documents in it, answered in quotations and by a model; ids by attack."""

    quotes: Service
    model: Service
    ids: dict[Attack, str]


Corpora = Callable[[Attack], Corpus]


@pytest.fixture(scope="module")
def corpora(sample_index: Path, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpora]:
    """One corpus for all attacks, but for those in a sidecar, since what one says of people holds in all documents."""
    with ExitStack() as stack:
        server = stack.enter_context(ChatServer())
        built: dict[tuple[Attack, ...], Corpus] = {}

        def build(attacks: tuple[Attack, ...]) -> Corpus:
            folder = tmp_path_factory.mktemp("hostile")
            ids = documents(folder, attacks)
            index_dir = tmp_path_factory.mktemp("index") / "snapshots"
            shutil.copytree(sample_index, index_dir)
            ingest([CORPUS, folder], index_dir, embedder, Limits())
            quotes = stack.enter_context(serving(index_dir, embedder))
            return Corpus(quotes, stack.enter_context(serving(index_dir, embedder, server)), ids)

        crowd = tuple(attack for attack in (*ATTACKS, *LIMITS) if attack.place != "sidecar")

        def corpus(attack: Attack) -> Corpus:
            attacks = crowd if attack in crowd else (attack,)
            if attacks not in built:
                built[attacks] = build(attacks)
            return built[attacks]

        yield corpus


def test_there_are_attacks_from_everywhere() -> None:
    assert len(ATTACKS) >= 70
    assert len({str(attack) for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack.place for attack in ATTACKS}) == 9
    assert all(re.search(attack.forbidden, " ".join((*attack.writes, attack.payload))) for attack in ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_changes_nothing(attack: Attack, corpora: Corpora) -> None:
    corpus = corpora(attack)
    source = corpus.ids[attack]
    if corpus.quotes.index.store.source(source) is None:
        assert attack.place == "sidecar"  # what is no address is refused with its document
        return
    assert attacked(corpus.quotes, attack, source) == []
    server = corpus.model.model
    assert server is not None
    server.requests.clear()
    assert attacked(corpus.model, attack, source) == []
    assert bool(server.requests) != (attack.name in UNANSWERED)
    for request in server.requests:
        assert intruders(request.body["messages"]) == []


@pytest.mark.parametrize("attack", LIMITS, ids=str)
def test_what_no_comparison_of_words_can_tell_stays_cited_and_inert(attack: Attack, corpora: Corpora) -> None:
    corpus = corpora(attack)
    source = corpus.ids[attack]
    assert attacked(corpus.quotes, attack, source) == []
    server = corpus.model.model
    assert server is not None
    server.otherwise = lambda messages: [obey(attack, FORMS[0], messages)]
    shown = ask(corpus.model, attack, source)
    harmless = Attack(attack.name, attack.place, attack.payload, attack.writes, "(?!)")
    assert list(harm(harmless, shown, corpus.model.index)) == []
    assert list(harm(attack, shown, corpus.model.index)), "it no longer works: move it to the other attacks"
    assert any(re.search(rf"{re.escape(each)} \[\d", shown.texts[0]) for each in attack.writes)


@pytest.fixture(scope="module")
def follow_ups(corpora: Corpora) -> list[tuple[Attack, dict[str, Any], list[str]]]:
    """The answers to questions that lean on an answer which quotes an attack, and what the attacks achieve there."""
    found: list[tuple[Attack, dict[str, Any], list[str]]] = []
    for attack in (each for each in ATTACKS if each.place == "passage"):
        corpus = corpora(attack)
        for service in (corpus.quotes, corpus.model):
            if service.model:
                service.model.otherwise = lambda messages, attack=attack: [obey(attack, FORMS[1], messages)]  # type: ignore[misc]
            body = {"source": corpus.ids[attack], "conversation_id": f"after {attack}"}
            service.client.post("/v1/ask", json=body | {"question": QUESTION})
            question = "And what else was said about that?"
            given = service.client.post("/v1/ask", json=body | {"question": question}).json()
            found.append((attack, given, list(harm(attack, Shown((given["answer"],), given), service.index))))
    return found


def test_a_question_after_an_answer_that_quotes_an_attack(
    follow_ups: list[tuple[Attack, dict[str, Any], list[str]]],
) -> None:
    assert any(given["reading"] for _, given, _ in follow_ups)
    assert [(attack.name, found) for attack, _, found in follow_ups if found] == []


def test_how_a_question_is_understood_holds_no_markup(
    follow_ups: list[tuple[Attack, dict[str, Any], list[str]]],
) -> None:
    readings = [given["reading"]["question"] for _, given, _ in follow_ups if given["reading"]]
    assert [reading for reading in readings if re.search(r"https?:|[<>@]|\]\(|//", reading)] == []


def intruders(messages: Messages) -> list[str]:
    """What stands in a prompt as only we write it, and is not ours."""
    prompt = messages[1]["content"]
    if messages[0]["content"].startswith("You make"):
        before, inside, after = "", "", ""
    else:
        before, inside, after = re.split(r"^</?passages-[0-9a-f]{8}>$", prompt, flags=re.MULTILINE)
    ours = re.compile(r"$|Question: |The reader asks for")
    found = [
        line for line in prompt.splitlines() if KEY in line or re.search(r"<[|s]|</(?!passages-)|\[/?INST\]", line)
    ]
    found += [line for line in (before + after).splitlines() if not ours.match(line)]
    found += [line for line in inside.splitlines() if not re.match(r"$|\[\d+\] .|.*:$", line)]
    numbers = [int(n) for n in re.findall(r"^\s*\[(\d+)\]", prompt, re.MULTILINE)]
    return found + ([f"numbers {numbers}"] if numbers != list(range(1, len(numbers) + 1)) else [])


HOSTILE = (
    "evil.com EVIL.COM/x //evil.com/x https://evil.com/x www.evil.com ftp://evil.com http://1.2.3.4/ рф.рф a@evil.com",
    "mailto:a@evil.com [x](//evil.com) ![x](//evil.com) <https://evil.com> <b> <img src=x> </b> <!-- &lt;b&gt;",
    "[x]: //evil.com/x",
    "<@U1> <!here> <#C1|x> <https://evil.com|x> @all [1] [23] xn--e1afmkfd.com a.b.c.dev/x HTTPS://evil.com:80/x?y#z",
    "\u202e\u2066\u200b\x1b[31m\x07\u2028[1]\n[2]\r\n# x\n\n- y",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_inert_words_are_words_to_every_reader(text: str) -> None:
    shown = inert(text)
    blocks = MarkdownIt("gfm-like").parse(f"“{shown}” [1]\n{shown}, in {shown}:")
    types = {token.type for block in blocks for token in (block, *(block.children or ()))}
    assert types <= {"paragraph_open", "paragraph_close", "inline", "text", "softbreak"}
    assert not LinkifyIt().test(shown)
    assert not re.search(r"\[\d+\]|<[@#!h]|@\w|[\x00-\x1f\u202a-\u202e\u2028\u200b]", shown)
    assert re.sub(r"\W", "", shown) == re.sub(r"\W", "", text)
