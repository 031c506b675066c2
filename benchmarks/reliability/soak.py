"""Mixed load for a long time: what a server holds, and how quickly it answers, must not grow.

The first minutes are left out, in which caches fill; of the rest the first third is compared with the last.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import psutil

from benchmarks.reliability.row import Row, quantile
from benchmarks.reliability.talks import question, run_ingest, write_talks
from tests.real_server import Server

CLIENTS = 6
THINK_SECONDS = 0.05
SAMPLE_SECONDS = 5.0
ORIGIN = "https://blog.example"
MOST_GROWTH = {"memory, MB": 1.1, "file handles": 1.1, "threads": 1.1}
"""How much larger the median of the last third may be."""
SPARE = {"memory, MB": 20.0, "file handles": 5.0, "threads": 2.0}
"""So much more is no growth, however small it was."""
MOST_SLOWER = 1.5
"""The machine has other work, and its clock is no steadier than that."""

_TASKS = re.compile(r"^onrecord_tasks(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """Latencies as (when, seconds), and samples of what the processes hold, by name; times since the beginning."""

    began: float = field(default_factory=time.monotonic)
    latencies: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])
    wrong: list[str] = field(default_factory=list[str])
    requests: int = 0
    ingests: int = 0

    def now(self) -> float:
        return time.monotonic() - self.began


class Client:
    """One of the clients: what it does next is drawn."""

    def __init__(self, session: aiohttp.ClientSession, name: int, seen: Seen) -> None:
        self._session, self._name, self._seen = session, name, seen
        self._chance = random.Random(name)
        self._number = 0
        self._answer: str | None = None

    async def act(self) -> None:
        """One thing that clients do."""
        acts: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._search, 8),
            (self._ask, 5),
            (self._stream, 4),
            (self._rate, 2),
            (self._read, 2),
            (self._widget, 1),
            (self._misuse, 2),
        ]
        self._number += 1
        (act,) = self._chance.choices([each for each, _ in acts], [weight for _, weight in acts])
        await act()

    def _question(self) -> str:
        asked = question(self._chance.randrange(60)).removesuffix("?")
        return f"{asked} in {self._chance.choice(['spring', 'summer', 'autumn'])} {self._number}?"

    async def _search(self) -> None:
        await self._post("/v1/search", {"query": self._question()}, 200)

    async def _ask(self) -> None:
        conversation = f"soak-{self._name}-{self._number // 40}"
        text = await self._post("/v1/ask", {"question": self._question(), "conversation_id": conversation}, 200)
        found = re.search(r'"id":"([0-9a-f]{32})"', text)
        self._answer = found and found[1]

    async def _stream(self) -> None:
        text = await self._post("/v1/ask", {"question": self._question(), "stream": True}, 200)
        if "event: done" not in text:
            self._seen.wrong.append(f"a stream broke off: {text[-200:]}")

    async def _rate(self) -> None:
        if self._answer:
            await self._post("/v1/feedback", {"answer_id": self._answer, "rating": "up"}, 201)

    async def _read(self) -> None:
        await self._send("GET", self._chance.choice(["/v1/sources", "/v1/sources/talk-3", "/v1/speakers", "/"]), 200)

    async def _widget(self) -> None:
        text = await self._post("/v1/widget-token", {}, 200, Origin=ORIGIN)
        if token := re.search(r'"token":"([^"]+)"', text):
            proof = {"Origin": ORIGIN, "X-OnRecord-Token": token[1]}
            await self._post("/v1/search", {"query": self._question()}, 200, **proof)

    async def _misuse(self) -> None:
        bad: list[tuple[str, object, int]] = [
            ("/v1/ask", {"question": ""}, 422),
            ("/v1/search", {"query": "x", "top_k": -1}, 422),
            ("/v1/feedback", {"answer_id": "nobody's", "rating": "up"}, 404),
            ("/v1/nowhere", {}, 404),
        ]
        path, body, status = self._chance.choice(bad)
        await self._post(path, body, status)

    async def _post(self, path: str, body: object, wanted: int, **headers: str) -> str:
        return await self._send("POST", path, wanted, json=body, headers=headers)

    async def _send(self, method: str, path: str, wanted: int, **request: object) -> str:
        began = time.perf_counter()
        async with self._session.request(method, path, **request) as response:  # type: ignore[arg-type]
            text = await response.text()
        self._seen.latencies.append((self._seen.now(), time.perf_counter() - began))
        self._seen.requests += 1
        if response.status != wanted:
            self._seen.wrong.append(f"{method} {path}: {response.status}, not {wanted}: {text[:200]}")
        return text


async def load(
    server: Server, corpus: Path, index_dir: Path, seconds: float, ingest_seconds: float, seen: Seen
) -> None:
    """Clients, ingests and samples, for so long."""

    async def client(session: aiohttp.ClientSession, name: int) -> None:
        acting = Client(session, name, seen)
        while seen.now() < seconds:
            try:
                await acting.act()
            except (aiohttp.ClientError, TimeoutError) as error:
                seen.wrong.append(repr(error))
            await asyncio.sleep(THINK_SECONDS)

    async def ingests() -> None:
        while seen.now() + ingest_seconds < seconds:
            await asyncio.sleep(ingest_seconds)
            seen.ingests += 1
            write_talks(corpus, seen.ingests)
            await asyncio.to_thread(run_ingest, corpus, index_dir)

    async def samples(session: aiohttp.ClientSession) -> None:
        while seen.now() < seconds:
            for name, value in held(server.processes()).items():
                seen.samples.setdefault(name, []).append((seen.now(), value))
            async with session.get("/metrics") as response:
                if found := _TASKS.search(await response.text()):
                    seen.samples.setdefault("tasks", []).append((seen.now(), float(found[1])))
            await asyncio.sleep(SAMPLE_SECONDS)

    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(server.url, timeout=timeout) as session:
        await asyncio.gather(ingests(), samples(session), *(client(session, name) for name in range(CLIENTS)))


def held(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """What processes hold together. Memory is what is theirs alone: files that are mapped come and go."""
    return {
        "memory, MB": sum(process.memory_full_info().uss for process in processes) / 2**20,
        "file handles": float(sum(process.num_fds() for process in processes)),
        "threads": float(sum(process.num_threads() for process in processes)),
    }


def thirds(series: Sequence[tuple[float, float]], seconds: float) -> tuple[list[float], list[float]]:
    """The first and the last third, the first tenth of all left out."""
    begin = seconds / 10
    third = (seconds - begin) / 3
    first = [value for when, value in series if begin <= when < begin + third]
    return first, [value for when, value in series if when >= seconds - third]


def measure(quick: bool, minutes: float = 30.0) -> list[Row]:
    """The rows, over so many minutes, or one."""
    seconds, ingest_seconds = (60.0, 10.0) if quick else (minutes * 60, 60.0)
    seen = Seen()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, index_dir = folder / "corpus", folder / "snapshots"
        write_talks(corpus, 0)
        run_ingest(corpus, index_dir)
        with Server(folder, index_dir, 1, {"ONRECORD_WIDGET_ORIGINS": ORIGIN}) as server:
            seen = Seen()
            asyncio.run(load(server, corpus, index_dir, seconds, ingest_seconds, seen))
            log = server.log()
    how = f"{seconds / 60:g} minutes, {CLIENTS} clients, {seen.ingests} ingests"
    rows = [Row(f"nothing fails under mixed load ({how})", seen.requests, faults=seen.wrong)]
    if "Traceback" in log:
        rows[0].faults.append(f"the log has a stack trace: {log[log.index('Traceback') :][:2000]}")
    for what, series in sorted(seen.samples.items()):
        first, last = thirds(series, seconds)
        before, after = median(first or [0.0]), median(last or [0.0])
        row = Row(
            f"{what}: no growth under mixed load",
            len(series),
            f"{before:.0f} in the first third, {after:.0f} in the last",
        )
        if after > max(before * MOST_GROWTH.get(what, 1.1), before + SPARE.get(what, 5.0)):
            row.faults.append(f"from {before:.1f} to {after:.1f}")
        rows.append(row)
    first, last = thirds(seen.latencies, seconds)
    for share in (0.5, 0.99):
        before, after = quantile(first, share) * 1000, quantile(last, share) * 1000
        row = Row(f"latency p{share * 100:g}: no growth under mixed load", len(seen.latencies))
        row.seen = f"{before:.0f} ms in the first third, {after:.0f} in the last"
        if after > max(MOST_SLOWER * before, before + 20):
            row.faults.append(f"from {before:.0f} to {after:.0f} ms")
        rows.append(row)
    return rows
