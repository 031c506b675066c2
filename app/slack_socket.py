"""The Slack bot over Socket Mode: a process that Slack reaches through a connection of its own, no address needed."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient
from structlog.contextvars import bound_contextvars

from app.api import create_app
from app.logs import configure_logs
from app.settings import Settings
from app.slack import SlackBot
from index.embed import Embedder
from index.rerank import Reranker


def run(settings: Settings, embedder: Embedder, reranker: Reranker | None) -> None:
    """Answers until SIGTERM or SIGINT. The settings must hold both tokens."""
    configure_logs(settings)
    asyncio.run(_run(settings, embedder, reranker))


async def _run(settings: Settings, embedder: Embedder, reranker: Reranker | None) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    # The service without its HTTP: the same index, model, conversations and feedback, opened and closed the same way.
    app = create_app(settings, embedder, reranker)
    async with app.router.lifespan_context(app), connected(settings, app.state.slack):
        await told.wait()


class _Handler(AsyncSocketModeHandler):
    async def handle(self, client: Any, req: SocketModeRequest) -> None:
        """Each delivery has an id, as a request has."""
        with bound_contextvars(request_id=req.envelope_id):
            await super().handle(client, req)  # pyright: ignore[reportUnknownMemberType]


@asynccontextmanager
async def connected(settings: Settings, bot: SlackBot) -> AsyncGenerator[None]:
    """While the bot is connected; connections that end are replaced."""
    token = settings.slack_app_token
    web_client = AsyncWebClient(base_url=settings.slack_api_url)
    handler: Any = _Handler(
        bot.app, token.get_secret_value() if token else None, web_client=web_client, logger=logging.getLogger(__name__)
    )
    await handler.connect_async()
    try:
        yield
    finally:
        await handler.close_async()
