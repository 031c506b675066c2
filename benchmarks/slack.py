"""What Slack's worst does to the bot: is every question answered once, and how long do deliveries wait?

    python -m benchmarks.slack [--deliveries 1000] [--kills 20] [--events 50] [--seed 1]

Replay: deliveries of questions over the sample corpus, duplicated at random, out of order, repeated until they are
acknowledged as Slack repeats them (with shorter pauses), to `onrecord serve`, which is killed with `kill -9` while it
answers, and started again. A scripted model writes for over a second; one call in twenty to Slack fails: 429, 500, 502,
or 503 after it was carried out. Latency: so many events at the same moment, while as many answers of 20 s are under
way. Prints Markdown; exits 1 where an answer is lost or given twice, or a delivery waits for 3 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2

from index.build import ingest
from index.embed import load_embedder
from ingest.limits import Limits
from tests.chat_server import ChatServer, Reply
from tests.slack_replay import ACK_SECONDS, QUESTIONS, Bot, Outcome, Replay
from tests.slack_server import BOT_USER, SlackServer
from tests.slack_workspace import Workspace, event

CORPUS = Path(__file__).parent.parent / "corpus"
ANSWER_SECONDS = 20.0
PIECES = 100


def acknowledged(workspace: Workspace, count: int) -> list[float]:
    """Seconds until each of so many events, sent at the same moment, is acknowledged."""
    together = Barrier(count)

    def deliver(number: int) -> float:
        ts = workspace.slack.next_ts()
        text = f"<@{BOT_USER}> {QUESTIONS[number % len(QUESTIONS)]}"
        body = event("app_mention", text, ts, channel="C0001", user=f"U{number}")
        together.wait()
        began = time.monotonic()
        if workspace.deliver(body) != 200:
            sys.exit("a delivery was not acknowledged")
        return time.monotonic() - began

    with ThreadPoolExecutor(count) as senders:
        return list(senders.map(deliver, range(count)))


def latencies(folder: Path, index: Path, count: int) -> list[tuple[str, list[float]]]:
    """For a bot that is idle, then for one that is answering as many already."""
    with SlackServer() as slack, ChatServer() as model, httpx2.Client(timeout=60, limits=_many(count)) as client:
        model.otherwise = Reply(["and so on "] * PIECES, seconds=ANSWER_SECONDS / PIECES)
        concurrency = str(2 * count)
        bot = Bot(folder, index, slack, model, llm_concurrency=concurrency, llm_total_seconds="60")
        workspace = Workspace(slack, bot.url, client)
        bot.start()
        try:
            idle = acknowledged(workspace, count)
            slack.wait_for(lambda: len(model.requests) >= count, 60)
            return [("idle", idle), (f"answering {count} questions", acknowledged(workspace, count))]
        finally:
            bot.kill()


def _many(count: int) -> httpx2.Limits:
    return httpx2.Limits(max_connections=count, max_keepalive_connections=count)


def report(outcome: Outcome, waits: list[tuple[str, list[float]]]) -> None:
    print("| deliveries | questions asked | answered once | twice | lost | kills | being answered at a kill |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    spread = f"{min(outcome.open_at_kills)} to {max(outcome.open_at_kills)}"
    row = (outcome.deliveries, outcome.asked, outcome.once, outcome.twice, outcome.lost, outcome.kills, spread)
    print(f"| {' | '.join(map(str, row))} |")
    print(
        f"\nDeliveries repeated since nobody acknowledged them: {outcome.retries}. Calls to Slack that failed: "
        f"{outcome.troubles}. Slowest acknowledgement: {outcome.slowest_ack:.2f} s. It took {outcome.seconds:.0f} s.\n"
    )
    print("| events at the same moment | the bot is | acknowledged after, median | at most |")
    print("| ---: | --- | ---: | ---: |")
    for state, seconds in waits:
        print(f"| {len(seconds)} | {state} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s |")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--deliveries", type=int, default=1000)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--events", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = folder / "snapshots"
        ingest([CORPUS], index, load_embedder(), Limits())
        for each in ("replay", "latency"):
            (folder / each).mkdir()
        waits = latencies(folder / "latency", index, options.events)
        replay = Replay(folder / "replay", index, deliveries=options.deliveries, kills=options.kills, seed=options.seed)
        outcome = replay.run()
    report(outcome, waits)
    slow = max(seconds for _, each in waits for seconds in each) >= ACK_SECONDS
    return int(slow or outcome.once != outcome.asked)


if __name__ == "__main__":
    sys.exit(main())
