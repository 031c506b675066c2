"""The HTTP API: routes that translate between the shapes of `schemas` and what the index and `answer()` do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.access import Access, caller_of, describe_access, own_names
from app.answer import Answerer, Asked, answer
from app.conversation import Conversations
from app.errors import UnknownFilterError
from app.feedback import Feedback, feedback_router
from app.keys import KnownKeys
from app.live import LiveIndex, followed
from app.llm import open_model
from app.load import BodyLimit, Load
from app.mcp_server import McpOverHttp, mcp_server
from app.metrics import Metrics, Observe
from app.openai_api import chat_router
from app.overview import overview_router, suggest
from app.pages import SafeHeaders, pages_router
from app.problems import add_problem_handlers, problem_responses
from app.quoting import search
from app.rates import Rates
from app.schemas import (
    AskRequest,
    AskResponse,
    SearchRequest,
    SearchResponse,
    SourceResponse,
    SourcesResponse,
    SpeakersResponse,
    list_sources,
    list_speakers,
    passage_out,
)
from app.settings import Settings
from app.stages import WatchedReranker, Watcher, watching
from app.streaming import ask_events, described_stream, event_stream, events_of, unless_gone
from app.traces import open_traces
from app.widget_access import WidgetAccess, WidgetTokens, widget_token_router
from app.window import read_window
from index.embed import Embedder
from index.rerank import Reranker

if TYPE_CHECKING:
    from app.slack import SlackBot

SEARCHES_AT_ONCE = min(4, os.cpu_count() or 1)
"""Searches, answers and listings that are worked on at the same time; others wait for their turn. More would not be
done sooner: most of the work holds the interpreter, of which there is one, and threads that fight for it keep the event
loop from it too."""

_Seconds = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="seconds from the start")]
_TurnIndex = Annotated[int | None, Query(ge=0, le=2**31, description="index of a turn; both ends are included")]


def create_app(settings: Settings, embedder: Embedder, reranker: Reranker | None = None) -> FastAPI:
    """The app over one index folder; it may still be empty, and is followed from snapshot to snapshot."""
    keys = KnownKeys(settings.api_keys) if settings.api_keys is not None else None
    rates = Rates(settings)
    live = LiveIndex(settings.where, embedder, WatchedReranker(reranker) if reranker else None)
    metrics = Metrics(live, settings.index_dir)
    traces = open_traces(settings)
    watcher = Watcher(metrics.stage, traces)
    model = open_model(settings, metrics.model_call) if settings.has_llm else None
    conversations = Conversations(settings.conversations_path, settings.conversation_hours)
    feedback = Feedback(settings.feedback_path, settings.feedback_days)
    answerer = Answerer(settings, model, conversations, metrics.answer, feedback.remember)
    tokens = WidgetTokens(settings.secret.get_secret_value() if settings.secret else None)
    mcp = McpOverHttp(mcp_server(live, answerer, caller_of), settings.widget_origins, settings.max_request_bytes)
    slack = _slack_bot(settings, live, answerer, feedback, metrics) if settings.has_slack else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        current_default_thread_limiter().total_tokens = SEARCHES_AT_ONCE
        app.openapi()  # made now and kept: whoever asked for it first would keep all others waiting
        async with followed(live, settings.reload_seconds), mcp.run():
            if slack:
                with watching(watcher):  # all that it does from now on
                    await slack.start()
            yield
            if slack:
                await slack.stop()
        conversations.close()
        feedback.close()
        await rates.close()
        if model:
            await model.close()
        if traces:
            await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="On Record",
        version=version("onrecord"),
        description="Ask a collection of transcripts and notes; every claim of an answer cites who said it, and when.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere; `pages` has one
        redoc_url=None,
        # FastAPI's own tells of whole paths, queries and errors; what `traces` tells holds nobody's words.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.stopping = False  # whoever ends the server says so
    add_problem_handlers(app)
    app.add_middleware(BodyLimit, most=settings.max_request_bytes)
    app.add_middleware(Load, most=settings.max_waiting, seconds=settings.request_seconds)
    alone = keys is None and not settings.open
    names = own_names((settings.public_url or "", *settings.widget_origins)) if alone else None
    app.add_middleware(Access, keys=keys, rates=rates, names=names)
    app.add_middleware(WidgetAccess, origins=settings.widget_origins, tokens=tokens)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Observe, metrics=metrics, watcher=watcher)
    _add_probes(app, live, metrics)
    _add_questions(app, live, answerer)
    app.include_router(chat_router(live, answerer))
    _add_listings(app, live)
    app.include_router(overview_router(live, settings))
    app.include_router(feedback_router(feedback), dependencies=[Depends(_json_only)])
    app.include_router(widget_token_router(tokens, settings.widget_origins))
    app.include_router(pages_router())
    if slack and settings.slack_signing_secret:
        app.include_router(slack.router())
    app.state.slack = slack
    app.routes.append(mcp.route)
    _describe(app, settings)
    return app


def _describe(app: FastAPI, settings: Settings) -> None:
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _leave_out_fastapis_errors(document)
            describe_access(document, keys=settings.api_keys is not None, origins=settings.widget_origins)
        return plain()

    app.openapi = described


def _leave_out_fastapis_errors(document: dict[str, Any]) -> None:
    """What FastAPI says of wrong requests wherever a route does not say it: nobody gets that here."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _slack_bot(
    settings: Settings, live: LiveIndex, answerer: Answerer, feedback: Feedback, metrics: Metrics
) -> SlackBot:
    from app.slack import SlackBot  # slow to load, and of no use to most

    groups = frozenset(settings.slack_groups)

    def suggested() -> list[str]:
        with live.use(groups) as index:
            return suggest(index, settings)

    return SlackBot(
        settings, lambda asked: events_of(live, groups, answerer, asked), suggested, feedback, metrics.slack
    )


def _add_probes(app: FastAPI, live: LiveIndex, metrics: Metrics) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 while the process lives."""
        return {"status": "ok"}

    @app.get("/readyz", responses=problem_responses(503))
    async def readyz(request: Request) -> dict[str, str]:
        """200 when a snapshot is loaded and the server is not about to end, else 503 with the reason."""
        if request.app.state.stopping:
            raise HTTPException(503, "The server is about to end.")
        return {"status": "ready", "snapshot": live.ready()}

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Prometheus' text format."""
        metrics.tasks = len(asyncio.all_tasks())
        # Not in line with the searches, of whose crowding it is to tell.
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE_LATEST)


def _add_questions(app: FastAPI, live: LiveIndex, answerer: Answerer) -> None:
    problems = problem_responses(400, 413, 415, 422, 503)
    streamed = described_stream("The answer, or what it is made of", "passages", "citation", "token", "done", "error")
    ask_responses = {**problems, 200: streamed}

    @app.post("/v1/search", response_model=SearchResponse, responses=problems, dependencies=[Depends(_json_only)])
    def search_passages(asked: SearchRequest, request: Request) -> Response:
        """The passages that a query finds, best first."""
        began = time.perf_counter()
        with live.use(caller_of(request).groups) as index:
            hits = search(index, asked.query, top_k=asked.top_k, speaker=asked.speaker, source=asked.source)
        took_ms = round((time.perf_counter() - began) * 1000, 3)
        passages = [passage_out(hit) for hit in hits]
        return _json(SearchResponse(query=asked.query, took_ms=took_ms, passages=passages))

    @app.post("/v1/ask", response_model=AskResponse, responses=ask_responses, dependencies=[Depends(_json_only)])
    async def ask(body: AskRequest, request: Request) -> Response:
        """The answer to a question, with the citations it rests on; as Server-Sent Events where asked for."""
        caller = caller_of(request)
        asked = Asked(
            body.question,
            top_k=body.top_k,
            speaker=body.speaker,
            source=body.source,
            conversation_id=body.conversation_id,
            owner=caller.owner,
        )
        if body.stream or request.headers.get("accept", "").startswith("text/event-stream"):
            return await event_stream(ask_events(events_of(live, caller.groups, answerer, asked)), answerer.settings)
        with live.use(caller.groups) as index:
            return _json(AskResponse.model_validate(await unless_gone(request, answer(index, answerer, asked))))


def _add_listings(app: FastAPI, live: LiveIndex) -> None:
    @app.get("/v1/sources", response_model=SourcesResponse, responses=problem_responses(503))
    def sources(request: Request) -> Response:
        """All documents."""
        with live.use(caller_of(request).groups) as index:
            return _json(SourcesResponse(sources=list_sources(index.store)))

    @app.get("/v1/sources/{source_id}", response_model=SourceResponse, responses=problem_responses(404, 422, 503))
    def source(
        request: Request,
        source_id: str,
        start: _Seconds = None,
        end: _Seconds = None,
        first: _TurnIndex = None,
        last: _TurnIndex = None,
    ) -> Response:
        """A document and its turns, or those between two moments, or between two turns."""
        with live.use(caller_of(request).groups) as index:
            try:
                window = read_window(index.store, source_id, start=start, end=end, first=first, last=last)
            except UnknownFilterError as error:
                raise HTTPException(404, f"There is no source {source_id!r}; GET /v1/sources lists them.") from error
        return _json(window)

    @app.get("/v1/speakers", response_model=SpeakersResponse, responses=problem_responses(503))
    def speakers(request: Request) -> Response:
        """All who speak."""
        with live.use(caller_of(request).groups) as index:
            return _json(SpeakersResponse(speakers=list_speakers(index.store)))


def _json(body: BaseModel) -> Response:
    """The body as it is, which FastAPI would check once more, and write on the event loop."""
    return Response(body.model_dump_json(), media_type="application/json")


async def _json_only(request: Request) -> None:
    """Refuses forms, which any web page could have a visitor's browser send here."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "The body must be JSON, sent with Content-Type: application/json.")
