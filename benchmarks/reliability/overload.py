"""More is asked than a server takes on: the surplus is sent away at once, what is taken is answered, and all is well
afterwards."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.reliability.row import Row, quantile
from benchmarks.reliability.talks import question, run_ingest, write_talks
from tests.real_server import Server

WAITING = 32
"""What the server takes on at once."""
CLIENTS = 200
PROBE_SECONDS = 0.05
AT_ONCE_SECONDS = 1.0
"""In which a refusal must come, and an answer of /healthz; far more than either takes on a machine of its own."""


@dataclass(slots=True)
class Seen:
    """Seconds for each answer, refusal and probe; `wrong` is everything else."""

    answered: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    probed: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])


async def ask(session: aiohttp.ClientSession, number: int, seen: Seen) -> None:
    began = time.perf_counter()
    try:
        async with session.post("/v1/ask", json={"question": question(number)}) as response:
            text = await response.text()
            took = time.perf_counter() - began
            if response.status == 200:
                seen.answered.append(took)
            elif response.status == 503 and int(response.headers["Retry-After"]) > 0:
                seen.refused.append(took)
            else:
                seen.wrong.append(f"{response.status}: {text[:200]}")
    except (aiohttp.ClientError, TimeoutError) as error:
        seen.wrong.append(repr(error))


async def probe(session: aiohttp.ClientSession, seen: Seen, ended: asyncio.Event) -> None:
    while not ended.is_set():
        began = time.perf_counter()
        try:
            async with session.get("/healthz") as response:
                if response.status != 200:
                    seen.wrong.append(f"/healthz: {response.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.wrong.append(f"/healthz: {error!r}")
        seen.probed.append(time.perf_counter() - began)
        await asyncio.sleep(PROBE_SECONDS)


async def storm(url: str, seconds: float, clients: int) -> Seen:
    """So many clients for so long, each with a request under way all the time, unless it was sent away: then it waits a
    moment, as the surplus must not be all that the machine works on.
    """
    seen, ended = Seen(), asyncio.Event()
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        while time.perf_counter() < until:
            refused = len(seen.refused)
            await ask(session, number, seen)
            number += clients
            if len(seen.refused) > refused:
                await asyncio.sleep(0.5)

    timeout = aiohttp.ClientTimeout(total=90)
    async with (
        aiohttp.ClientSession(url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
        aiohttp.ClientSession(url, timeout=timeout) as probing,
    ):
        prober = asyncio.create_task(probe(probing, seen, ended))
        await asyncio.gather(*(client(session, number) for number in range(clients)))
        ended.set()
        await prober
    return seen


def measure(quick: bool) -> list[Row]:
    """The rows, over a storm of a minute, or a few seconds."""
    seconds = 5.0 if quick else 60.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_talks(folder / "corpus", 0)
        run_ingest(folder / "corpus", folder / "snapshots")
        with Server(folder, folder / "snapshots", 1, {"ONRECORD_MAX_WAITING": str(WAITING)}) as server:
            calm = asyncio.run(storm(server.url, seconds / 2, WAITING // 2))
            stormy = asyncio.run(storm(server.url, seconds, CLIENTS))
            after = asyncio.run(storm(server.url, seconds / 2, WAITING // 2))
            ready, log = server.status("/readyz"), server.log()
    shed = Row(f"{CLIENTS} clients at a server that takes on {WAITING} requests: the surplus gets 503 and Retry-After")
    shed.trials = len(stormy.answered) + len(stormy.refused) + len(stormy.wrong)
    shed.seen = f"{len(stormy.answered)} answered, {len(stormy.refused)} sent away; {_times(stormy.refused)}"
    shed.faults = stormy.wrong + ([] if stormy.refused else ["nothing was sent away"])
    slow = quantile(stormy.refused, 0.99)
    if slow > AT_ONCE_SECONDS:
        shed.faults.append(f"p99 of refusals {slow:.2f} s")
    # As many as are taken on are worked on in turn: each waits for all of them, and for those that send others away.
    bound = 3 * WAITING * quantile(calm.answered, 0.5) / (WAITING // 2)
    bounded = Row("what an overloaded server takes on is answered in a bounded time", len(stormy.answered))
    bounded.seen = f"{_times(stormy.answered)}; {_times(calm.answered)} with {WAITING // 2} clients"
    if quantile(stormy.answered, 0.99) > max(bound, AT_ONCE_SECONDS):
        bounded.faults.append(f"p99 is beyond {bound:.2f} s")
    lives = Row("/healthz answers quickly meanwhile", len(stormy.probed), _times(stormy.probed))
    if quantile(stormy.probed, 0.99) > AT_ONCE_SECONDS:
        lives.faults.append(f"p99 {quantile(stormy.probed, 0.99):.2f} s")
    recovered = Row("after an overload all is as before", len(after.answered) + len(after.refused) + len(after.wrong))
    recovered.seen = _times(after.answered)
    recovered.faults = after.wrong + ["sent away"] * len(after.refused) + ([] if ready == 200 else ["not ready"])
    if quantile(after.answered, 0.5) > 2 * quantile(calm.answered, 0.5):
        recovered.faults.append("answers take twice as long as before")
    if "Traceback" in log:
        recovered.faults.append(f"the log has a stack trace: {log[log.index('Traceback') :][:2000]}")
    return [shed, bounded, lives, recovered]


def _times(seconds: list[float]) -> str:
    return f"p50 {quantile(seconds, 0.5) * 1000:.0f} ms, p99 {quantile(seconds, 0.99) * 1000:.0f} ms"
