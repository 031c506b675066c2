"""Slack as it is at its worst: events in any order, some more than once, a bot that is killed, calls that fail."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.chat_server import MODEL, ChatServer, Reply
from tests.slack_server import BOT_TOKEN, BOT_USER, SIGNING_SECRET, SlackServer, Trouble
from tests.slack_workspace import Workspace, event

ROOT = Path(__file__).parent.parent
ACK_SECONDS = 3.0
"""So long Slack waits before it takes a delivery for failed."""
MOST_AT_ONCE = 64
KINDS: tuple[tuple[str, ...], ...] = (("app_mention",), ("app_mention", "message"), ("message", "app_mention"))
QUESTIONS = ("what did Beykpour say about OKRs?", "why did Periscope fail?", "what is the build trap?")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the questions, and how it came about. `open_at_kills` are the questions then being answered."""

    deliveries: int
    asked: int
    once: int
    twice: int
    lost: int
    kills: int
    open_at_kills: tuple[int, ...]
    retries: int
    troubles: int
    slowest_ack: float
    seconds: float


class Bot:
    """`onrecord serve` in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, index: Path, slack: SlackServer, model: ChatServer, **settings: str) -> None:
        given = {
            "index_dir": str(index),
            "conversations": str(folder / "conversations.sqlite"),
            "feedback": str(folder / "feedback.sqlite"),
            "slack_ledger": str(folder / "slack.sqlite"),
            "slack_bot_token": BOT_TOKEN,
            "slack_signing_secret": SIGNING_SECRET,
            "slack_api_url": f"{slack.url}/api/",
            "slack_questions_per_hour": "0",
            "llm_model": MODEL,
            "llm_retries": "0",
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
        self._env = {**kept, "OPENAI_BASE_URL": model.url}
        self._env |= {f"ONRECORD_{name.upper()}": value for name, value in given.items()}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = (folder / "log").open("ab")

    def start(self) -> None:
        """Returns when it takes requests."""
        command = [sys.executable, "-m", "app", "serve", "--port", str(self._port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=self._log, stderr=self._log)
        until = time.monotonic() + 60
        while True:
            try:
                if httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            assert self._process.poll() is None, "the bot did not start"
            assert time.monotonic() < until, "the bot did not start in time"
            time.sleep(0.02)

    def kill(self) -> None:
        """As `kill -9` does it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """In order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()


class Replay:
    """So many deliveries of questions, to a bot that is killed so many times on the way."""

    def __init__(
        self, folder: Path, index: Path, *, deliveries: int, kills: int, life: float = 8.0, seed: int = 1
    ) -> None:
        """`life` is how many seconds the bot lives at most, and at least an eighth of it."""
        self._folder = folder
        self._index = index
        self._wanted = deliveries
        self._kills = kills
        self._life = life
        self._chance = random.Random(seed)
        self._retries = 0
        self._troubles = 0
        self._acks: list[float] = []
        self._lock = threading.Lock()

    def run(self) -> Outcome:
        """The outcome, when every question is answered, or nothing has come for a minute."""
        began = time.monotonic()
        with SlackServer() as slack, ChatServer() as model, httpx2.Client(timeout=ACK_SECONDS) as client:
            words = ("They ", "said ", "so, ", "and ", "more ", "of ", "it. ", "[1]")
            model.otherwise = Reply(words, seconds=0.15)
            bot = Bot(self._folder, self._index, slack, model)
            workspace = Workspace(slack, bot.url, client)
            asked, bodies = self._plan(slack)
            slack.chance = self._trouble
            bot.start()
            try:
                open_at_kills = self._deliver(workspace, bot, bodies)
                self._settle(slack, asked)
            finally:
                bot.stop()
            counts = Counter(self._answers(slack)[ts] for ts in asked)
        return Outcome(
            deliveries=len(bodies),
            asked=len(asked),
            once=counts[1],
            twice=sum(count for times, count in counts.items() if times > 1),
            lost=counts[0],
            kills=len(open_at_kills),
            open_at_kills=tuple(open_at_kills),
            retries=self._retries,
            troubles=self._troubles,
            slowest_ack=max(self._acks),
            seconds=time.monotonic() - began,
        )

    def _plan(self, slack: SlackServer) -> tuple[list[str], list[dict[str, Any]]]:
        """The timestamps of the questions, and the deliveries of them: near their order, some several times."""
        asked: list[str] = []
        bodies: list[tuple[float, dict[str, Any]]] = []
        while len(bodies) < self._wanted:
            ts = slack.next_ts()
            # Some are follow-ups in a thread in which something was asked before.
            thread = self._chance.choice(asked) if asked and self._chance.random() < 0.15 else None
            channel = "D0001" if self._chance.random() < 0.2 else "C0001"
            question = self._chance.choice(QUESTIONS)
            kinds = self._chance.choice(KINDS) if channel == "C0001" else ("message",)
            for kind in kinds:
                for _ in range(self._chance.choice((1, 1, 2, 3))):
                    text = f"<@{BOT_USER}> {question}"
                    body = event(kind, text, ts, channel=channel, user=f"U{len(asked) % 40}", thread=thread)
                    bodies.append((len(asked) + self._chance.uniform(0, 20), body))
            asked.append(ts)
        return asked, [body for _, body in sorted(bodies, key=lambda each: each[0])]

    def _trouble(self, method: str) -> Trouble | None:
        with self._lock:
            if not method.startswith("chat.") or self._chance.random() > 0.05:
                return None
            self._troubles += 1
            return self._chance.choice(
                (Trouble(429, retry_after=1), Trouble(500), Trouble(503, carried_out=True), Trouble(502))
            )

    def _deliver(self, workspace: Workspace, bot: Bot, bodies: Sequence[dict[str, Any]]) -> list[int]:
        """All deliveries, in step with the kills; the questions that were open at each of those."""
        open_at_kills: list[int] = []
        share = len(bodies) // (self._kills + 1)
        with ThreadPoolExecutor(MOST_AT_ONCE) as senders:
            for number in range(self._kills + 1):
                last = number == self._kills
                part = bodies[number * share :] if last else bodies[number * share : (number + 1) * share]
                delays = [self._chance.uniform(0, self._life) for _ in part]
                sent = [
                    senders.submit(self._until_acknowledged, workspace, *each)
                    for each in zip(delays, part, strict=True)
                ]
                if not last:
                    time.sleep(self._chance.uniform(self._life / 8, self._life))
                    open_at_kills.append(self._open())
                    bot.kill()
                    bot.start()
                else:
                    for each in sent:
                        each.result()
        return open_at_kills

    def _until_acknowledged(self, workspace: Workspace, delay: float, body: dict[str, Any]) -> None:
        """As Slack does it, but with shorter pauses, and not only three times."""
        attempt = 0
        time.sleep(delay)
        while True:
            headers = {"X_Slack_Retry_Num": str(attempt), "X_Slack_Retry_Reason": "http_error"} if attempt else {}
            began = time.monotonic()
            try:
                if workspace.deliver(body, **headers) == 200:
                    with self._lock:
                        self._acks.append(time.monotonic() - began)
                    return
            except httpx2.TransportError:
                pass
            with self._lock:
                self._retries += 1
            attempt += 1
            time.sleep(0.3 * attempt)

    def _open(self) -> int:
        with closing(sqlite3.connect(self._folder / "slack.sqlite")) as ledger:
            (count,) = ledger.execute(
                "SELECT count(*) FROM question WHERE state NOT IN ('done', 'refused') AND holder IS NOT NULL"
            ).fetchone()
        return count

    def _answers(self, slack: SlackServer) -> Counter[str]:
        """How many finished answers each question has."""
        found = Counter[str]()
        for posted in slack.answers():
            payload = posted.metadata["event_payload"]
            finished = any(block["type"] == "actions" for block in posted.blocks)
            if payload["part"] == 0 and finished:
                found[payload["key"].rpartition(":")[2]] += 1
            elif payload["part"] == 0:
                found[payload["key"].rpartition(":")[2]] += 0
        return found

    def _settle(self, slack: SlackServer, asked: Sequence[str]) -> None:
        calls, quiet = len(slack.calls), time.monotonic()
        while time.monotonic() - quiet < 60:
            found = self._answers(slack)
            if all(found[ts] for ts in asked) and self._open() == 0:
                time.sleep(2)  # whatever is answered twice would be by now
                return
            if len(slack.calls) != calls:
                calls, quiet = len(slack.calls), time.monotonic()
            time.sleep(0.2)
