"""Snapshots are switched while requests are under way: none fails, and none is answered from two of them."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.reliability.row import Row
from benchmarks.reliability.talks import generations, question, run_ingest, write_talks
from tests.chat_server import MODEL, ChatServer, Reply, first_sentence
from tests.real_server import Server

CLIENTS = 16
SLOW_SECONDS = 0.1
"""For each word that the slow model writes, so that snapshots are switched meanwhile."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(slots=True)
class Seen:
    """What clients saw; `silent` are answers without a word of any document, `by_model` those that a model wrote."""

    answered: int = 0
    silent: int = 0
    by_model: int = 0
    failed: list[str] = field(default_factory=list[str])
    mixed: list[str] = field(default_factory=list[str])
    generations: set[int] = field(default_factory=set[int])


def requests(chance: random.Random, most: int) -> Iterator[Request]:
    """So many of all kinds that show words of documents."""
    for number in range(most):
        asked = question(chance.randrange(60))
        kind = chance.random()
        if kind < 0.4:
            yield Request("POST", "/v1/search", {"query": asked})
        elif kind < 0.6:
            yield Request("POST", "/v1/ask", {"question": asked})
        elif kind < 0.8:
            yield Request("POST", "/v1/ask", {"question": asked, "stream": True})
        elif kind < 0.85:
            message = {"role": "user", "content": asked}
            yield Request("POST", "/v1/chat/completions", {"model": "onrecord", "messages": [message]})
        elif kind < 0.9:
            yield Request("GET", "/v1/sources")
        else:
            yield Request("GET", f"/v1/sources/talk-{number % 10}")


def fault(request: Request, status: int, text: str) -> str | None:
    """Why this is no whole answer; null for one that is."""
    if status != 200:
        return f"{status}: {text[:200]}"
    if request.body and request.body.get("stream"):
        return None if "event: done" in text and "event: error" not in text else f"broken off: {text[-200:]}"
    try:
        json.loads(text)
    except ValueError:
        return f"no JSON: {text[-200:]}"
    return None


async def ask_all(url: str, most: int, seed: int, seen: Seen, ended: asyncio.Event) -> None:
    """Asks so many from CLIENTS at a time, and then on until the last snapshot has been seen."""
    left = requests(random.Random(seed), most)
    further = requests(random.Random(seed + 1), 100 * most)

    async def client(session: aiohttp.ClientSession) -> None:
        while request := next(left, None) or (None if ended.is_set() else next(further, None)):
            try:
                async with session.request(request.method, request.path, json=request.body) as response:
                    text = await response.text()
                    why = fault(request, response.status, text)
            except (aiohttp.ClientError, TimeoutError) as error:
                text, why = "", repr(error)
            seen.answered += 1
            if why:
                seen.failed.append(f"{request.method} {request.path}: {why}")
                continue
            found = generations(text)
            seen.generations |= found
            seen.silent += not found
            seen.by_model += '"answerer":"llm"' in text
            if len(found) > 1:
                seen.mixed.append(f"{request.method} {request.path}: epochs {sorted(found)} in one answer")

    timeout = aiohttp.ClientTimeout(total=90)
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


async def switch(url: str, corpus: Path, index_dir: Path, ingests: int, most: int, seen: Seen) -> None:
    """The requests, and beside them the ingests: each when that before it has been seen, and its share is answered."""
    ended = asyncio.Event()
    asking = asyncio.create_task(ask_all(url, most, ingests, seen, ended))

    async def until_seen(number: int) -> None:
        for _ in range(6000):
            if number in seen.generations and seen.answered >= number * most // (ingests + 1):
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"epoch{number} is not seen")

    try:
        for number in range(1, ingests + 1):
            await until_seen(number - 1)
            write_talks(corpus, number)
            await asyncio.to_thread(run_ingest, corpus, index_dir)
        await until_seen(ingests)
    except (TimeoutError, subprocess.CalledProcessError) as error:
        seen.failed.append(str(error))
    finally:
        ended.set()
        await asyncio.gather(asking)


def measure(quick: bool) -> list[Row]:
    """The rows; 20 ingests and 10,000 requests for each, or few of both."""
    ingests, most = (4, 400) if quick else (20, 10_000)
    rows: list[Row] = []
    for workers, by_model in ((1, False), (2, False), (1, True)):
        way = f"{workers} worker{'s' if workers > 1 else ''}, {'a slow model' if by_model else 'quotations'}"
        with tempfile.TemporaryDirectory() as name, ChatServer() if by_model else nullcontext() as model:
            folder = Path(name)
            corpus, index_dir = folder / "corpus", folder / "snapshots"
            write_talks(corpus, 0)
            run_ingest(corpus, index_dir)
            settings = {"ONRECORD_RELOAD_SECONDS": "0.1"}
            if model:
                model.otherwise = lambda messages: Reply(
                    re.findall(r"\S+\s*", first_sentence(messages)), seconds=SLOW_SECONDS
                )
                settings |= {
                    "OPENAI_BASE_URL": model.url,
                    "ONRECORD_LLM_MODEL": MODEL,
                    "ONRECORD_LLM_CONCURRENCY": "64",
                }
            seen = Seen()
            with Server(folder, index_dir, workers, settings) as server:
                asyncio.run(switch(server.url, corpus, index_dir, ingests, most, seen))
                log = server.log()
            left = [path.name for path in index_dir.iterdir() if path.is_dir()]
        told = f"{ingests} switches, {len(seen.generations)} snapshots seen, {seen.silent} answers without words"
        if by_model:
            told += f", {seen.by_model} by the model"
        failing = Row(f"no request fails while snapshots are switched ({way})", seen.answered, told, seen.failed)
        if "Traceback" in log:
            failing.faults.append(f"the log has a stack trace: {log[log.index('Traceback') :][:2000]}")
        rows.append(failing)
        rows.append(Row(f"no answer mixes two snapshots ({way})", seen.answered, told, seen.mixed))
        cleared = Row(f"superseded snapshots are deleted ({way})", seen=f"{len(left)} left of {ingests + 1}")
        cleared.check(len(left) <= 3, f"left: {left}")
        rows.append(cleared)
    return rows
