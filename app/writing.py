"""The LLM answerer: a model writes, and what it writes is shown sentence by sentence, once checked and cited by us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from app.citations import Citation, cite
from app.drafts import Draft, DraftReader
from app.errors import ContextOverflowError, InvalidResponseError, ModelError, ModelTimeoutError
from app.events import Cited, Token
from app.llm import ChatModel, Usage, complete
from app.prompts import SCHEMA, Prompt, answer_prompt, repair_prompt, repeats_rules
from app.settings import Settings
from app.stages import stage
from app.support import Checker, Refusal, Supported, Unsupported
from app.support import Cited as Support
from index.search import Hit
from ingest.speakers import Speaker, fold_name

MAX_SENTENCES = 12
MAX_REPAIRS = 3
"""Sentences asked for again in one answer; a model that gets more than these wrong will get those wrong too."""
REPAIR_TOKENS = 300

_log = structlog.get_logger()

Emit = Callable[[Token | Cited], None]


@dataclass(slots=True)
class Tally:
    """What became of the sentences and ids of one answer: `shown` as written, `repaired` and then shown, `removed`."""

    shown: int = 0
    repaired: int = 0
    removed: int = 0
    dropped_ids: int = 0
    usage: Usage = field(default_factory=lambda: Usage(0, 0))


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote that may be shown: empty where nothing of it may, or where it `refused`.

    `failure` is why it broke off, or never began, where it did.
    """

    text: str
    citations: tuple[Citation, ...]
    refused: bool
    failure: ModelError | None
    tally: Tally


async def write(
    model: ChatModel,
    settings: Settings,
    question: str,
    hits: Sequence[Hit],
    speakers: Sequence[Speaker],
    *,
    instructions: str,
    deadline: float,
    emit: Emit,
) -> Written:
    """Has the model answer from the hits, best first, and emits each sentence when it and those before it are settled.

    `speakers` are all who may be spoken of; at `deadline`, in the loop's time, what is there must do. Never raises
    ModelError. A prompt that proves too long is halved once.
    """
    tokens = settings.llm_context_tokens - settings.llm_max_tokens
    written = await _written(model, answer_prompt(question, hits, instructions, tokens), speakers, deadline, emit)
    if written.text or not isinstance(written.failure, ContextOverflowError):
        return written
    _log.info("prompt halved", tokens=tokens)
    halved = answer_prompt(question, hits, instructions, tokens // 2)
    return await _written(model, halved, speakers, deadline, emit)


async def _written(
    model: ChatModel, prompt: Prompt, speakers: Sequence[Speaker], deadline: float, emit: Emit
) -> Written:
    answer = _Answer(model, prompt, Checker(prompt.offered, speakers), emit)
    failure: ModelError | None
    try:
        async with asyncio.timeout_at(deadline):
            failure = await answer.read()
            await answer.settle()
    except TimeoutError:
        failure = ModelTimeoutError()
    finally:
        answer.abandon()
    refused = not answer.text and failure is None and answer.refused
    return Written(answer.text, tuple(answer.citations), refused, failure, answer.tally)


class _Answer:
    """An answer being written. Its sentences keep their order: one that is asked for again holds up those behind it."""

    def __init__(self, model: ChatModel, prompt: Prompt, checker: Checker, emit: Emit) -> None:
        self._model = model
        self._prompt = prompt
        self._checker = checker
        self._emit = emit
        self._waiting: list[Supported | asyncio.Task[Supported | None]] = []
        self._seen: set[str] = set()
        self._named: tuple[str, ...] = ()
        self._repairs = 0
        self._cited: list[Support] = []
        self.text = ""
        self.citations: list[Citation] = []
        self.refused = False
        self.tally = Tally()

    async def read(self) -> ModelError | None:
        """Takes what the model writes to its end, or to its failure, which is returned."""
        reader = DraftReader()
        try:
            with stage("generate"):
                async with aclosing(self._model.stream(self._prompt.messages, SCHEMA)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Usage):
                            self.tally.usage = piece
                        elif self._take(reader.feed(piece)):
                            break
        except ModelError as error:
            return error
        self._take(reader.finish())
        self.refused |= reader.answered is False or not (reader.malformed or self._seen)
        if reader.malformed and not self._seen and not self.refused:
            _log.warning("no answer from the model", kind=InvalidResponseError.kind, model=self._model.name)
            return InvalidResponseError()
        return None

    def _take(self, drafts: Sequence[Draft]) -> bool:
        """Checks drafts and emits what can be; true where no more are wanted."""
        for draft in drafts:
            # A model that turns in circles says the same again.
            if (said := fold_name(draft.text)) in self._seen:
                continue
            self._seen.add(said)
            self._check(draft)
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, asyncio.Task) and not first.done():
                break
            self._show(self._waiting.pop(0))
        return len(self._seen) >= MAX_SENTENCES

    def _checked(self, draft: Draft, named: tuple[str, ...]) -> Supported | Unsupported | Refusal:
        with stage("verify"):
            if repeats_rules(draft.text):
                return Unsupported("It repeats these rules.", 0)
            return self._checker.check(draft, named)

    def _check(self, draft: Draft) -> None:
        checked = self._checked(draft, self._named)
        if isinstance(checked, Supported):
            self.tally.dropped_ids += checked.dropped
            self._named = checked.named or self._named
            self._waiting.append(checked)
        elif isinstance(checked, Unsupported):
            self.tally.dropped_ids += checked.dropped
            if self._repairs < MAX_REPAIRS:
                self._repairs += 1
                self._waiting.append(asyncio.create_task(self._repair(draft, checked.reason, self._named)))
            else:
                self.tally.removed += 1
        else:
            self.refused = True

    async def _repair(self, draft: Draft, reason: str, named: tuple[str, ...]) -> Supported | None:
        messages = repair_prompt(self._prompt, draft.text, reason)
        reader = DraftReader()
        try:
            reply = await complete(self._model, messages, SCHEMA, max_tokens=REPAIR_TOKENS)
        except ModelError:
            return None
        drafts = [*reader.feed(reply), *reader.finish()]
        checked = self._checked(drafts[0], named) if drafts else None
        return checked if isinstance(checked, Supported) else None

    async def settle(self) -> None:
        """Waits for what is asked for again, and emits it in its place."""
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, asyncio.Task):
                await asyncio.wait([first])
            self._show(self._waiting.pop(0))

    def abandon(self) -> None:
        """Gives up what is still waiting; it counts as removed."""
        for each in self._waiting:
            if isinstance(each, asyncio.Task):
                each.cancel()
        self.tally.removed += len(self._waiting)

    def _show(self, settled: Supported | asyncio.Task[Supported | None]) -> None:
        if isinstance(settled, asyncio.Task):
            mended = settled.result()
            if mended is None:
                self.tally.removed += 1
                return
            self.tally.repaired += 1
            self.tally.dropped_ids += mended.dropped
            self._named = mended.named or self._named
            settled = mended
        else:
            self.tally.shown += 1
        markers = dict.fromkeys(self._marker(support) for support in settled.cited)
        text = f"{settled.text} {''.join(f'[{marker}]' for marker in markers)}"
        text = f" {text}" if self.text else text
        self.text += text
        self._emit(Token(text))

    def _marker(self, support: Support) -> int:
        """The marker of a citation that holds these sentences: one there is already, or a new one."""
        for citation, cited in zip(self.citations, self._cited, strict=True):
            if (
                cited.hit.passage.id == support.hit.passage.id
                and cited.first <= support.first
                and support.last <= cited.last
            ):
                return citation.marker
        citation = cite(support.hit, support.first, support.last, len(self.citations) + 1)
        self.citations.append(citation)
        self._cited.append(support)
        self._emit(Cited(citation))
        return citation.marker
