"""The server is killed while conversations and feedback are written: whatever it acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from app.conversation import Conversations
from app.feedback import Feedback
from benchmarks.reliability.row import Row
from benchmarks.reliability.talks import question, run_ingest, write_talks
from tests.real_server import Server

CLIENTS = 6
EXCHANGES = 8
"""Questions of a conversation; fewer than are kept of one."""
OWNER, KEY = "kills", "a-key-for-this-benchmark-alone"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@dataclass(slots=True)
class Acknowledged:
    """What clients were told is done: the questions of each conversation in their order, and ratings by feedback id."""

    exchanges: dict[str, list[str]] = field(default_factory=lambda: defaultdict[str, list[str]](list))
    ratings: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    def count(self) -> int:
        return sum(map(len, self.exchanges.values())) + len(self.ratings)


async def write(url: str, trial: int, known: Acknowledged, chance: random.Random) -> None:
    """Clients that ask and rate until the server is gone."""

    async def client(session: aiohttp.ClientSession, name: int) -> None:
        for number in range(10_000):
            conversation = f"t{trial}-c{name}-{number // EXCHANGES}"
            mark = f"t{trial}c{name}n{number}"
            asked = f"{question(number + name).removesuffix('?')} in {mark}?"
            stream = chance.random() < 0.5
            body = {"question": asked, "conversation_id": conversation, "stream": stream}
            async with session.post("/v1/ask", json=body) as response:
                text = await response.text()
                if response.status != 200:
                    raise RuntimeError(f"{response.status}: {text[:200]}")
            whole = text.partition("event: done")[2].partition("data: ")[2].splitlines()[0] if stream else text
            answer = json.loads(whole)["id"]
            known.exchanges[conversation].append(mark)
            rating = chance.choice(["up", "down"])
            rated = {"answer_id": answer, "rating": rating, "comment": mark}
            async with session.post("/v1/feedback", json=rated) as response:
                if response.status != 201:
                    raise RuntimeError(f"{response.status}: {await response.text()}")
                known.ratings[(await response.json())["id"]] = rating, mark

    async def until_gone(session: aiohttp.ClientSession, name: int) -> None:
        with suppress(aiohttp.ClientError, ConnectionError, IndexError):
            await client(session, name)

    async with aiohttp.ClientSession(url, headers=HEADERS) as session:
        await asyncio.gather(*(until_gone(session, name) for name in range(CLIENTS)))


def lost(server: Server, known: Acknowledged) -> list[str]:
    """What is not there of that; the files are read beside the server that has them open."""
    missing: list[str] = []
    for path in (server.conversations, server.feedback):
        with closing(sqlite3.connect(path)) as db:
            [(found,), *_] = db.execute("PRAGMA integrity_check").fetchall()
        if found != "ok":
            missing.append(f"{path.name}: {found}")
    with closing(Conversations(str(server.conversations), 72)) as conversations:
        for name, marks in known.exchanges.items():
            kept = " ".join(each.question for each in conversations.history(name, OWNER))
            missing += [f"conversation {name} has lost {mark}" for mark in marks if f"{mark}?" not in kept]
    with closing(Feedback(str(server.feedback), 365)) as feedback:
        kept_ratings = {each.id: (each.rating, each.comment) for each in feedback.rated()}
    missing += [f"rating {each} is lost" for each, rated in known.ratings.items() if kept_ratings.get(each) != rated]
    return missing


async def is_followed_up(url: str, known: Acknowledged) -> bool:
    """Whether the server itself still knows a conversation that it was killed in."""
    name = next(reversed(known.exchanges))
    body = {"question": "And what did she say about storms?", "conversation_id": name}
    async with (
        aiohttp.ClientSession(url, headers=HEADERS) as session,
        session.post("/v1/ask", json=body) as response,
    ):
        return bool((await response.json())["reading"])


def measure(quick: bool) -> list[Row]:
    """The rows, over 50 kills, or few."""
    kills = 4 if quick else 50
    chance = random.Random(1)
    killed = Row("a server that is killed (-9) answers again after its restart")
    nothing_lost = Row("nothing acknowledged is lost by a kill -9 of the server: conversations and feedback")
    whole = Row("the databases are intact after a kill -9 of the server, and a conversation goes on")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_talks(folder / "corpus", 0)
        run_ingest(folder / "corpus", folder / "snapshots")
        settings = {"ONRECORD_API_KEYS": f"{OWNER}:{KEY}"}
        server, known = Server(folder, folder / "snapshots", 1, settings), Acknowledged()
        for trial in range(kills):
            asyncio.run(_write_until_killed(server, trial, known, chance))
            try:
                server = Server(folder, folder / "snapshots", 1 + trial % 2, settings)
            except RuntimeError as error:
                killed.check(False, f"kill {trial}: {error}")
                break
            killed.check(True, "")
            missing = lost(server, known)
            damage = [each for each in missing if "sqlite" in each]
            if not asyncio.run(is_followed_up(server.url, known)):
                damage.append("a follow-up is not understood")
            whole.check(not damage, f"kill {trial}: {damage}")
            nothing_lost.faults += [f"kill {trial}: {each}" for each in missing]
        if server.process.poll() is None:
            server.stop()
    nothing_lost.trials = known.count()
    nothing_lost.seen = (
        f"{kills} kills; {sum(map(len, known.exchanges.values()))} exchanges, {len(known.ratings)} ratings"
    )
    return [killed, nothing_lost, whole]


async def _write_until_killed(server: Server, trial: int, known: Acknowledged, chance: random.Random) -> None:
    before = known.count()
    writing = asyncio.create_task(write(server.url, trial, known, chance))
    while known.count() == before and not writing.done():
        await asyncio.sleep(0.001)
    await asyncio.sleep(chance.uniform(0, 2))
    await asyncio.to_thread(server.kill)
    await writing
