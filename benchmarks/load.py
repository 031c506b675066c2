"""How `onrecord serve` answers many at once over HTTP, and whether it still says in time that it lives.

    python benchmarks/load.py QUESTIONS_DIR [--index DIR] [--seconds 60] [--workers 1 2] [--clients 1 8 64]

QUESTIONS_DIR holds `transcripts/`, which are ingested into a temporary index, and `queries.jsonl`; with `--index` that
index is asked instead, with the same questions. For each number of workers a server is started, and asked over
/v1/search and /v1/ask, in quotations and without filters, by so many clients at a time: each keeps its connection and
asks again as soon as it is answered. No question is asked twice of a server, so that no vector or answer kept of an
earlier one can help: the questions as they are come first, then each with a word of another in place of one of its own.
Meanwhile a process of its own asks /healthz every 50 ms, over a new connection each time. Prints a Markdown table.
Clients, prober and server share the machine's cores: clients elsewhere would leave the server more.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from index.build import ingest
from index.embed import load_embedder
from index.snapshot import hold_current
from ingest.limits import Limits

ROOT = Path(__file__).parent.parent
ROUTES = {"/v1/search": "query", "/v1/ask": "question"}
PROBE_SECONDS = 0.05
WARM_UP_SECONDS = 2.0
_LONG_WORD = re.compile(r"[A-Za-z]{5,}")


@dataclass(slots=True)
class Measured:
    """What clients and prober saw, times in milliseconds."""

    answered: list[float] = field(default_factory=list[float])
    errors: int = 0
    health: list[float] = field(default_factory=list[float])
    seconds: float = 0.0


def distinct_questions(given: Sequence[str]) -> Iterator[str]:
    """The questions in turn, then each with its longest words replaced one by one; none twice."""
    words = sorted({word.lower() for question in given for word in _LONG_WORD.findall(question)})
    asked: set[str] = set()
    for shift in range(-1, 2 * len(words)):
        for number, question in enumerate(given):
            if shift >= 0:
                long = sorted(set(_LONG_WORD.findall(question)), key=lambda word: (-len(word), word))[:2]
                if not long:
                    continue
                new = words[(number * 7 + shift // 2) % len(words)]
                question = question.replace(long[shift % len(long)], new)
            if question not in asked:
                asked.add(question)
                yield question


@contextmanager
def serving(index_dir: Path, folder: Path, workers: int) -> Generator[str]:
    """The address of `onrecord serve`, when all its workers are ready; what it writes goes into the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
    for name in ("conversations", "feedback"):
        kept[f"ONRECORD_{name.upper()}"] = str(folder / f"{name}.sqlite")
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--json", "--index", str(index_dir)]
    command += ["--workers", str(workers)]
    log = folder / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=ROOT, env=kept, stdout=subprocess.PIPE, stderr=written)
        try:
            assert process.stdout is not None
            address = str(json.loads(process.stdout.readline())["url"])
            while log.read_text().count("index opened") < workers:
                if process.poll() is not None:
                    sys.exit(f"the server ended: {log.read_text()}")
                time.sleep(0.1)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(60)
        if ended:
            sys.exit(f"the server ended with {ended}")


def ask_health(address: str) -> float | None:
    """Milliseconds until a new connection has its answer; null where that is not 200."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        return (time.perf_counter() - began) * 1000 if connection.getresponse().status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def probe(address: str, told: Connection) -> None:
    """Tells that it begins, asks /healthz until told to end, then tells how long each took."""
    took: list[float | None] = []
    told.send(None)
    due = time.perf_counter()
    while not told.poll(max(0.0, due - time.perf_counter())):
        took.append(ask_health(address))
        due = max(due + PROBE_SECONDS, time.perf_counter())
    told.send(took)


@contextmanager
def probed(address: str, measured: Measured) -> Generator[None]:
    """Asks /healthz meanwhile, from a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=probe, args=(address, there))
    process.start()
    here.recv()
    try:
        yield
    finally:
        here.send(None)
        took: list[float | None] = here.recv()
        process.join()
        measured.health = [each for each in took if each is not None]
        measured.errors += len(took) - len(measured.health)


async def load(address: str, route: str, questions: Iterator[str], clients: int, seconds: float) -> Measured:
    """So many clients, each with one connection, for so long; what is then under way is waited for."""
    measured = Measured()
    began = time.perf_counter()

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < began + seconds:
            asked = time.perf_counter()
            try:
                async with session.post(route, json={ROUTES[route]: next(questions)}) as response:
                    whole = await response.read()
                    ok = response.status == 200 and whole.endswith(b"}")
            except aiohttp.ClientError:
                ok = False
            if ok:
                measured.answered.append((time.perf_counter() - asked) * 1000)
            else:
                measured.errors += 1

    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(address, connector=connector) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    measured.seconds = time.perf_counter() - began
    return measured


def row(workers: int, route: str, clients: int, measured: Measured) -> str:
    answered, health = (np.asarray(times or [np.nan]) for times in (measured.answered, measured.health))
    figures = [
        f"{len(measured.answered) / measured.seconds:.0f}",
        *(f"{np.percentile(answered, part):.1f}" for part in (50, 99)),
        str(measured.errors),
        *(f"{np.percentile(health, part):.1f}" for part in (50, 99, 100)),
    ]
    return f"| {workers} | `{route}` | {clients} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_dir", type=Path)
    parser.add_argument("--index", type=Path, help="an index that is built already")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    lines = (options.questions_dir / "queries.jsonl").read_text("utf-8").splitlines()
    given = [json.loads(line)["question"] for line in lines]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index_dir = options.index or folder / "snapshots"
        if not options.index:
            ingest([options.questions_dir / "transcripts"], index_dir, load_embedder(), Limits())
        passages = hold_current(index_dir).manifest.counts["passages"]
        print(f"{passages} passages, {os.cpu_count()} cores, {options.seconds:g} s for each line; times in ms.\n")
        print("| workers | route | clients | answers/s | p50 | p99 | errors | /healthz p50 | p99 | most |")
        print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for workers in options.workers:
            questions = distinct_questions(given)
            with serving(index_dir, folder, workers) as address:
                for route in ROUTES:
                    asyncio.run(load(address, route, questions, 8, WARM_UP_SECONDS))
                    for clients in options.clients:
                        seen = Measured()
                        with probed(address, seen):
                            measured = asyncio.run(load(address, route, questions, clients, options.seconds))
                        measured.health, measured.errors = seen.health, measured.errors + seen.errors
                        print(row(workers, route, clients, measured), flush=True)


if __name__ == "__main__":
    main()
