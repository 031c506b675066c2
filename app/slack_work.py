"""The work behind Slack's doors: every question in the ledger is answered once, whatever dies in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from app.answer import Answer, Asked, Event
from app.citations import Citation
from app.events import Cited, Passages, Token
from app.schemas import MAX_TEXT
from app.settings import Settings
from app.slack_api import Count, SlackApi, SlackError
from app.slack_blocks import (
    FAILED,
    LOOKING,
    TOO_LONG,
    TOO_OLD,
    Message,
    answer_messages,
    draft_message,
    help_message,
    plain_message,
)
from app.slack_ledger import LEASE_SECONDS, Claim, Ledger, LedgerError, SlackQuestion, Taken
from app.slack_reply import Held, Reply, UnwantedError
from app.stages import span

MOST_AT_ONCE = 64
"""Questions that are claimed, each with a message that says so; as many are answered at once as the model takes."""
ANSWER_TRIES = 3
MOST_TRIES = 8
"""Answers that were begun and did not come to their end: the question may be what the process dies of."""
FIRST_SECONDS = 0.7
"""An answer that is whole by then is posted at once; else there is a message that says what is being done."""
UPDATE_SECONDS = 1.0
LOOK_SECONDS = 1.0
"""How often the ledger is asked for what another process left."""
SLACK_DOWN_SECONDS = 15.0

# No later try ends otherwise: the place, or the right to write there, is gone.
_HOPELESS = frozenset(
    {
        *(
            "account_inactive",
            "cannot_reply_to_message",
            "cant_delete_message",
            "channel_not_found",
            "ekm_access_denied",
            "invalid_auth",
        ),
        *("is_archived", "message_not_found", "missing_scope", "no_permission", "not_authed", "not_in_channel"),
        *("restricted_action", "team_access_not_granted", "thread_not_found", "token_expired", "token_revoked"),
    }
)

_T = TypeVar("_T")
_log = structlog.get_logger()


class SlackWorker:
    """Takes questions out of the ledger and answers them, in tasks of its own between `start` and `stop`."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        ask: Callable[[Asked], AsyncGenerator[Event]],
        suggest: Callable[[], Sequence[str]],
        count: Count,
    ) -> None:
        """`ask` gives the events of an answer, `suggest` questions to begin with; that may take a while.

        `count` is told how each step ends.
        """
        self._settings = settings
        self._ledger = ledger
        self._ask = ask
        self._suggest = suggest
        self._count = count
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        # A thread of its own: receipts must not queue behind answers.
        self._thread = ThreadPoolExecutor(1, "slack-ledger")
        self._answering = asyncio.Semaphore(settings.llm_concurrency)
        self._answers = set[asyncio.Task[None]]()
        self._others = set[asyncio.Task[None]]()
        self._failed = set[str]()
        self._more = asyncio.Event()

    async def start(self) -> None:
        """Takes up what was left, and whatever comes."""
        self.api = SlackApi(self._settings, self._count)
        self._loops = [asyncio.create_task(self._take_up()), asyncio.create_task(self._renew())]

    async def stop(self) -> None:
        """Ends in order: what is unfinished is left to the next process."""
        tasks = [*self._loops, *self._answers, *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.keep(partial(self._ledger.release, self._holder))
        except LedgerError as error:
            _log.error("slack questions not released", reason=str(error))
        await self.api.close()
        self._thread.shutdown()

    async def receive(self, question: SlackQuestion) -> Taken:
        """Keeps a question durably, and has it answered. Raises LedgerError where it cannot be kept."""
        taken = await self.keep(partial(self._ledger.receive, question, self._settings.slack_questions_per_hour))
        self._count("delivery", taken)
        if taken == "taken":
            _log.info("slack question taken", key=question.key, kind=question.kind)
            self._more.set()
        return taken

    async def keep(self, call: Callable[[], _T]) -> _T:
        """Runs something that asks the ledger."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that need not survive the process, nor be waited for."""

        async def harmless() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  nothing depends on it
                _log.warning("slack call failed", reason=_reason(error))

        task = asyncio.create_task(harmless())
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def suggested(self) -> Sequence[str]:
        """Questions to begin with; none where there is no index."""
        try:
            return await asyncio.to_thread(self._suggest)
        except Exception as error:  # noqa: BLE001  help without examples is help, too
            _log.warning("no questions suggested", reason=_reason(error))
            return ()

    async def _take_up(self) -> None:
        while True:
            self._more.clear()
            try:
                while len(self._answers) < MOST_AT_ONCE:
                    claim = await self.keep(partial(self._ledger.claim, self._holder))
                    if claim is None:
                        break
                    task = asyncio.create_task(self._answer(claim))
                    self._answers.add(task)
                    task.add_done_callback(self._ended)
            except LedgerError as error:
                _log.error("slack questions not read", reason=str(error))
            # Not wait_for, which in Python 3.11 takes no notice of being cancelled where something ends at that moment.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._more.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._answers.discard(task)
        self._more.set()  # the next of its thread may be waiting

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 5)
            try:
                await self.keep(partial(self._ledger.renew, self._holder))
            except LedgerError as error:
                _log.error("slack questions not held", reason=str(error))

    async def _answer(self, claim: Claim) -> None:
        # The same for every try, in whichever process; this task's alone.
        bind_contextvars(request_id=f"slack-{hashlib.sha256(claim.question.key.encode()).hexdigest()[:16]}")
        with span("slack answer"):
            self._count("answer", await self._answered(claim))

    async def _answered(self, claim: Claim) -> str:
        """How it ended; what is not given and not given up is tried again."""
        key, ledger, holder = claim.question.key, self._ledger, self._holder
        outcome = "put back"
        try:
            try:
                shared = await self._given(claim)
                await self.keep(partial(ledger.finish, key, holder, shared))
                outcome = "failed" if key in self._failed else "given"
            except UnwantedError:
                outcome = "unwanted"
                await self.keep(partial(ledger.put_back, key, holder, 0.0))
            except Exception as error:  # noqa: BLE001  whatever it is, the question must not be lost
                hopeless = isinstance(error, SlackError) and error.error in _HOPELESS
                if hopeless or claim.tries > MOST_TRIES:
                    _log.error("slack question not answered", key=key, reason=_reason(error), tries=claim.tries)
                    await self.keep(partial(ledger.finish, key, holder))
                    outcome = "given up"
                elif isinstance(error, SlackError) and error.uncertain:
                    _log.warning("slack cannot be reached", key=key, reason=_reason(error))
                    outcome = "unreachable"
                    await self.keep(partial(ledger.put_back, key, holder, SLACK_DOWN_SECONDS, counted=False))
                else:
                    _log.error("slack question put back", key=key, reason=_reason(error), exc_info=error)
                    await self.keep(partial(ledger.put_back, key, holder, min(60.0, 2.0**claim.tries)))
        except LedgerError as error:  # when the lease has run out, somebody tries again
            _log.error("slack question not kept", key=key, reason=str(error))
        self._failed.discard(key)
        return outcome

    async def _given(self, claim: Claim) -> str | None:
        """Answers; what of it is kept to be shared."""
        match claim.question.kind:
            case "message":
                await self._answer_in_thread(claim)
            case "command":
                return await self._answer_in_private(claim)
            case "share":
                await self._share(claim)
        return None

    async def _answer_in_thread(self, claim: Claim) -> None:
        question, ledger, holder = claim.question, self._ledger, self._holder
        held = Held(
            wanted=lambda: self.keep(partial(ledger.wanted, question.key, holder)),
            begin_posting=lambda: self.keep(partial(ledger.begin_posting, question.key, holder)),
            posted=lambda parts: self.keep(partial(ledger.posted, question.key, holder, tuple(parts))),
        )
        reply = Reply(self.api, held, claim)
        if claim.state == "withdrawn":
            await reply.remove()
            return
        if claim.state == "posting":
            await reply.look()
        if fixed := await self._fixed(claim):
            await reply.show_last([fixed])
            return
        if question.channel.startswith("D"):
            self.spawn(self._set_status(question))
        draft = _Draft(self._settings.public_url)
        asked = Asked(
            question.text,
            conversation_id=f"slack:{question.team}:{question.channel}:{question.thread}",
            owner=f"slack:{question.team}:{question.channel}",
        )
        reading = asyncio.create_task(self._read(claim, asked, draft))
        try:
            await asyncio.wait([reading], timeout=FIRST_SECONDS)
            while not reading.done():
                await reply.show_draft(draft.message())
                await asyncio.wait([reading], timeout=UPDATE_SECONDS)
            given = reading.result()
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        messages = [plain_message(FAILED)] if given is None else answer_messages(given, self._settings.public_url)
        await reply.show_last(messages)

    async def _fixed(self, claim: Claim) -> Message | None:
        """What is said without looking anything up."""
        said: Message | None = None
        if not claim.question.text:
            said = help_message(await self.suggested())
        elif len(claim.question.text) > MAX_TEXT:
            said = plain_message(TOO_LONG.format(most=f"{MAX_TEXT:,}"))
        elif claim.tries >= MOST_TRIES:
            said = plain_message(FAILED)
        if said:
            await self._begin(claim)
        return said

    async def _begin(self, claim: Claim) -> None:
        if not await self.keep(partial(self._ledger.begin_answering, claim.question.key, self._holder)):
            raise UnwantedError

    async def _read(self, claim: Claim, asked: Asked, draft: _Draft) -> Answer | None:
        """The answer; null where none can be made, time and again."""
        async with self._answering:
            await self._begin(claim)
            try:
                async with aclosing(self._ask(asked)) as events:
                    async for event in events:
                        if isinstance(event, Answer):
                            return event
                        draft.take(event)
            except Exception:
                if claim.tries + 1 < ANSWER_TRIES:
                    raise
                _log.exception("slack question cannot be answered", key=claim.question.key)
                self._failed.add(claim.question.key)
        return None

    async def _answer_in_private(self, claim: Claim) -> str | None:
        """Replaces what the command was acknowledged with; the messages that can be shared."""
        question, shared = claim.question, None
        if not await self.keep(partial(self._ledger.begin_posting, question.key, self._holder)):
            raise UnwantedError
        if fixed := await self._fixed(claim):
            messages = [fixed]
        else:
            asked = Asked(question.text, owner=f"slack:{question.team}:{question.channel}:{question.user}")
            given = await self._read(claim, asked, _Draft(None))
            if given is None:
                messages = [plain_message(FAILED)]
            else:
                messages = answer_messages(given, self._settings.public_url, share=question.key)
                for_all = answer_messages(given, self._settings.public_url, shared_by=question.user)
                shared = json.dumps([[message.text, message.blocks] for message in for_all])
        for number, message in enumerate(messages):
            await self._respond_with(question, message, response_type="ephemeral", replace_original=number == 0)
        return shared

    async def _share(self, claim: Claim) -> None:
        """At most once: whether a response URL took something cannot be found out."""
        question = claim.question
        if claim.state == "posting":
            _log.warning("whether an answer was shared is not known", key=question.key)
            return
        answer = await self.keep(partial(self._ledger.answer_of, question.text))
        if not await self.keep(partial(self._ledger.begin_posting, question.key, self._holder)):
            raise UnwantedError
        if answer is None:
            old = plain_message(TOO_OLD)
            await self._respond_with(question, old, response_type="ephemeral", replace_original=False)
            return
        for text, blocks in json.loads(answer):
            message = Message(text, blocks)
            await self._respond_with(question, message, response_type="in_channel", replace_original=False)

    async def _respond_with(self, question: SlackQuestion, message: Message, **how: str | bool) -> None:
        try:
            await self.api.respond(question.reply_url, **how, text=message.text, blocks=message.blocks)
        except SlackError as error:
            if error.uncertain:
                raise
            _log.error("slack answer not delivered", key=question.key, reason=str(error))

    async def _set_status(self, question: SlackQuestion) -> None:
        """Only threads of the assistant pane have one; for others Slack refuses it."""
        fields = {"channel_id": question.channel, "thread_ts": question.thread, "status": LOOKING}
        with suppress(SlackError):
            await self.api.post("assistant.threads.setStatus", "never", **fields)


class _Draft:
    """What there is of an answer yet."""

    def __init__(self, public_url: str | None) -> None:
        self._public_url = public_url
        self._titles: list[str] = []
        self._text = ""
        self._citations: list[Citation] = []

    def take(self, event: Passages | Token | Cited) -> None:
        match event:
            case Passages(_, _, hits):
                self._titles = [hit.source.title for hit in hits]
            case Token(text):
                self._text += text
            case Cited(citation):
                self._citations.append(citation)

    def message(self) -> Message:
        return draft_message(self._titles, self._text, self._citations, self._public_url)


def _reason(error: Exception) -> str:
    """For logs: what other messages hold may be somebody's words."""
    return str(error) if isinstance(error, SlackError) else type(error).__name__
