"""`answer()`: the one way from a question to a cited answer, whatever door it came through."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import structlog
from starlette.concurrency import run_in_threadpool

from app import logs
from app.citations import Citation
from app.conversation import ConversationError, Conversations, Exchange
from app.deadline import deadline as request_deadline
from app.events import Cited, Passages, Token
from app.followup import may_depend, stand_alone
from app.llm import ChatModel, Usage, open_model
from app.quoting import Quoted, Reading, known_speakers, quote, refuse
from app.rewriting import recalled, rewrite
from app.settings import Settings
from app.writing import Tally, Written, write
from index.search import Index
from ingest.speakers import Speaker

UNBORNE = "What the language model wrote is not borne out by the documents."
OWN_WORDS = "These are the documents' own words."
BROKEN_OFF = "The rest of this answer is missing."
FINISH_SECONDS = 1.0
"""What is left of a request's time for an answer without the model, or with what it has written."""

_log = structlog.get_logger()

_MARKER = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came in.

    `speaker` and `source` limit what is searched, `top_k` (1 to 100) how many passages may be quoted. A conversation is
    its owner's alone: `owner` is whatever tells this client from others. `history` are earlier questions with their
    answers, oldest first, where the client sends them along; then nothing is kept. `instructions` are how the reader
    wants to be answered, for a model.
    """

    question: str
    top_k: int = 8
    speaker: str | None = None
    source: str | None = None
    conversation_id: str | None = None
    owner: str = ""
    history: tuple[tuple[str, str], ...] | None = None
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer from any answerer: every marker `[n]` in `answer` has one citation, and every citation a marker.

    A `no_answer` has no citations; `near_misses` are what was found instead, without markers in the text. `id` names
    this answer and no other. `usage` is null where no model was asked.
    """

    status: Literal["answered", "no_answer"]
    answer: str
    id: str = ""
    conversation_id: str = ""
    citations: tuple[Citation, ...] = ()
    answerer: Literal["quotes", "llm"] = "quotes"
    model: str | None = None
    degraded: str | None = None
    took_ms: float = 0.0
    near_misses: tuple[Citation, ...] = ()
    reading: Reading | None = None
    confidence: float = 0.0
    usage: Usage | None = None


Event = Passages | Token | Cited | Answer


@dataclass(frozen=True, slots=True)
class Answerer:
    """What answers are made with, beside an index: without a model in quotations, without conversations each question
    by itself. `count` is told of every answer, and what became of a model's sentences where one wrote. `keep` is given
    the question as it was asked, the snapshot's id and the answer, in a thread, before the answer is whole.
    """

    settings: Settings
    model: ChatModel | None = None
    conversations: Conversations | None = None
    count: Callable[[Answer, Tally | None], None] = lambda answer, tally: None
    keep: Callable[[str, str, Answer], None] | None = None


async def answer(index: Index, answerer: Answerer, asked: Asked) -> Answer:
    """The whole answer. Raises UnknownFilterError where the index holds no such speaker or source."""
    async with aclosing(stream(index, answerer, asked)) as events:
        async for event in events:
            if isinstance(event, Answer):
                return event
    raise AssertionError("an answer ends with the whole of it")


@contextmanager
def asking(index: Index, settings: Settings) -> Generator[Callable[[Asked], Answer]]:
    """`answer()` for programs that have no event loop."""
    with asyncio.Runner() as runner:
        model = open_model(settings, lambda outcome, seconds, usage: None) if settings.has_llm else None
        answerer = Answerer(settings, model)
        try:
            yield lambda asked: runner.run(answer(index, answerer, asked))
        finally:
            if model:
                runner.run(model.close())


async def stream(index: Index, answerer: Answerer, asked: Asked) -> AsyncGenerator[Event]:
    """The passages, then the text in pieces, citations before the pieces that bear their markers, last the Answer.

    The pieces joined are the Answer's text. Closing the generator ends what the model is doing. Raises
    UnknownFilterError before anything else.
    """
    began = time.perf_counter()
    deadline = asyncio.get_running_loop().time() + answerer.settings.llm_total_seconds
    deadline = min(deadline, request_deadline() - FINISH_SECONDS)
    quoted = await _quoted(index, answerer, asked, deadline)
    answer_id, conversation_id = uuid.uuid4().hex, asked.conversation_id or uuid.uuid4().hex
    yield Passages(answer_id, conversation_id, quoted.evidence.hits if quoted.evidence else ())
    written: Written | None = None
    if answerer.model and _for_a_model(quoted):
        async with aclosing(_written(index, answerer.model, answerer.settings, asked, quoted, deadline)) as events:
            async for event in events:
                if isinstance(event, Written):
                    written = event
                else:
                    yield event
    given = replace(_given(index, answerer, asked, quoted, written), id=answer_id, conversation_id=conversation_id)
    if not (written and written.text):
        for event in _pieces(given):
            yield event
    await asyncio.to_thread(_keep, index, answerer, asked, quoted, given)
    given = replace(given, took_ms=round((time.perf_counter() - began) * 1000, 3))
    answerer.count(given, written.tally if written else None)
    told = {"status": given.status, "answerer": given.answerer, "citations": len(given.citations)}
    _log.info("answer", **told, confidence=given.confidence, ms=given.took_ms, **logs.asked(asked.question))
    yield given


async def _quoted(index: Index, answerer: Answerer, asked: Asked, deadline: float) -> Quoted:
    """The answer in quotations, to the question as it stands alone."""
    question = await _stand_alone(index, answerer, asked, deadline)
    quoted = await run_in_threadpool(
        quote,
        index,
        answerer.settings,
        question or asked.question,
        top_k=asked.top_k,
        speaker=asked.speaker,
        source=asked.source,
    )
    if question is None:
        return quoted
    speaker = quoted.reading.speaker if quoted.reading else " or ".join(quoted.wanted) or None
    return replace(quoted, reading=Reading(question, speaker))


async def _stand_alone(index: Index, answerer: Answerer, asked: Asked, deadline: float) -> str | None:
    """The question of a conversation as it stands alone; null where it does as it is."""
    if asked.history is None and (answerer.conversations is None or asked.conversation_id is None):
        return None
    speakers = await asyncio.to_thread(known_speakers, index, asked.source)
    history = await _history(index, answerer.conversations, asked, speakers)
    if not history or not may_depend(asked.question, history, speakers):
        return None
    by_rule = stand_alone(asked.question, history, speakers)
    if answerer.model is None:
        return by_rule
    rewritten = await rewrite(answerer.model, asked.question, history, deadline)
    if rewritten is None:
        return by_rule
    return None if rewritten == asked.question else rewritten


async def _history(
    index: Index, conversations: Conversations | None, asked: Asked, speakers: Sequence[Speaker]
) -> Sequence[Exchange]:
    if asked.history is not None:
        return recalled(asked.history, speakers)
    if conversations is None or asked.conversation_id is None:
        return ()
    return await asyncio.to_thread(conversations.history, asked.conversation_id, _owner(index, asked))


def _for_a_model(quoted: Quoted) -> bool:
    """Whether a model is asked: there are quotations to write from, of people that the corpus knows."""
    return bool(quoted.citations) and quoted.asked.unknown is None


async def _written(
    index: Index, model: ChatModel, settings: Settings, asked: Asked, quoted: Quoted, deadline: float
) -> AsyncGenerator[Token | Cited | Written]:
    """What the model writes, as it is ready to be shown, and last the Written. Closing it ends the model's call."""
    speakers = await asyncio.to_thread(known_speakers, index, None)
    hits = sorted(quoted.evidence.hits if quoted.evidence else (), key=lambda hit: hit.rank)
    events: asyncio.Queue[Token | Cited | None] = asyncio.Queue()
    writing = asyncio.create_task(
        write(
            model,
            settings,
            quoted.asked.text,
            hits,
            speakers,
            instructions=asked.instructions,
            deadline=deadline,
            emit=events.put_nowait,
        )
    )
    writing.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while event := await events.get():
            yield event
        yield writing.result()
    finally:
        writing.cancel()
        await asyncio.wait([writing])


def _given(index: Index, answerer: Answerer, asked: Asked, quoted: Quoted, written: Written | None) -> Answer:
    """The answer: what a model wrote where something of it may be shown, else the quotations."""
    by_model = written is not None and (written.refused or bool(written.text))
    if written and written.refused:
        quoted = refuse(index, quoted, asked.source)
    given = Answer(
        status=quoted.status,
        answer=quoted.text,
        citations=quoted.citations,
        near_misses=quoted.near_misses,
        answerer="llm" if by_model else "quotes",
        model=answerer.model.name if by_model and answerer.model else None,
        reading=quoted.reading,
        confidence=quoted.confidence,
        usage=written.tally.usage if written else None,
    )
    if written is None or written.refused:
        return given
    if written.text:
        broken = f"{BROKEN_OFF} {written.failure}" if written.failure else None
        return replace(given, answer=written.text, citations=written.citations, degraded=broken)
    return replace(given, degraded=f"{written.failure or UNBORNE} {OWN_WORDS}")


def _pieces(given: Answer) -> Iterator[Token | Cited]:
    """An answer in quotations, line by line."""
    citations = {citation.marker: citation for citation in given.citations}
    for line in given.answer.splitlines(keepends=True):
        for marker in _MARKER.findall(line):
            yield Cited(citations[int(marker)])
        yield Token(line)


def _keep(index: Index, answerer: Answerer, asked: Asked, quoted: Quoted, given: Answer) -> None:
    if answerer.conversations and asked.history is None:
        _remember(answerer.conversations, _owner(index, asked), _exchange(quoted, given), given.conversation_id)
    if answerer.keep:
        answerer.keep(asked.question, index.holdings.id, given)


def _owner(index: Index, asked: Asked) -> str:
    """Whose a conversation is, and what could be read in it: it ends where the groups of its owner change."""
    groups = "*" if index.groups is None else " ".join(sorted(index.groups))
    return f"{asked.owner}\n{groups}" if groups else asked.owner


def _remember(conversations: Conversations, owner: str, exchange: Exchange, conversation_id: str) -> None:
    try:
        conversations.add(conversation_id, owner, exchange)
    except ConversationError as error:  # the answer is worth more than that the next question knows of it
        _log.error("conversation not kept", reason=str(error))


def _exchange(quoted: Quoted, given: Answer) -> Exchange:
    """What later questions need of this one."""
    quoted_speakers = dict.fromkeys(c.speaker for c in given.citations if c.speaker)
    return Exchange(
        question=quoted.asked.text,
        answer=given.answer,
        topic=quoted.asked.subject,
        speakers=quoted.wanted or tuple(quoted_speakers),
        answered=given.status == "answered",
    )
