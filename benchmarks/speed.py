"""How long a question takes, against the least it could take with this model, in one run.

    python benchmarks/speed.py TRANSCRIPTS_DIR [--runs 15]

Prints the median wall time of `onrecord ask` from process start, on the sample corpus and over TRANSCRIPTS_DIR, next
to a process that only loads the model and embeds one text; and the median time of a hybrid search over TRANSCRIPTS_DIR
with everything loaded, next to the bare forward pass for the same query; and what an answer that a model writes takes
beside the search and the model: prompt, reading, checks, citations. No question's vector is remembered between runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.answer import Answerer, Asked, answer
from app.llm import Message, Usage
from app.logs import log_to_stderr
from app.quoting import quote, search
from app.settings import Settings
from index.build import ingest
from index.embed import load_embedder
from index.search import Index
from ingest.limits import Limits

CORPUS = Path(__file__).parent.parent / "corpus"
QUESTIONS = (
    "what did they say about the batteries of the remote control?",
    "how is the recording equipment set up?",
    "What did the Project Manager think of the budget?",
    "why was the payment delayed?",
    "which features of the speech recogniser were discussed?",
    "what do schools need to reopen safely?",
)
MODEL_ONLY = "from index.embed import load_embedder; load_embedder().embed(['what did they say?'])"


class Instant:
    """A model that answers at once, with a sentence for each of the first three that it is offered."""

    name = "instant"

    async def stream(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None, *, max_tokens: int | None = None
    ) -> AsyncGenerator[str | Usage]:
        offered = re.findall(r"^\[(\d+)\] (.*)$", messages[1].content, re.MULTILINE)
        drafts = [{"cites": [int(n)], "text": text} for n, text in offered[:3]]
        written = json.dumps({"answered": True, "sentences": drafts})
        for at in range(0, len(written), 4):
            yield written[at : at + 4]
        yield Usage(0, 0)


def own_ms(index: Index, question: str, runs: int) -> float:
    """What an answer takes beside the search and a model that takes no time."""
    settings = Settings()
    answerer = Answerer(settings, Instant())
    times: list[float] = []
    with asyncio.Runner() as runner:
        for _ in range(runs):
            began = time.perf_counter()
            quote(index, settings, question)
            searched = time.perf_counter()
            given = runner.run(answer(index, answerer, Asked(question)))
            times.append((time.perf_counter() - searched - (searched - began)) * 1000)
            assert given.answerer == "llm", question
    return statistics.median(times)


def median_ms(action: Callable[[], object], runs: int) -> float:
    times: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transcripts_dir", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    log_to_stderr(Settings())
    embedder = load_embedder()
    with tempfile.TemporaryDirectory() as folder:
        sample, meetings = Path(folder, "sample"), Path(folder, "meetings")
        ingest([CORPUS], sample, embedder, Limits())
        report = ingest([args.transcripts_dir], meetings, embedder, Limits())
        ask = [sys.executable, "-m", "app", "ask", "--index"]

        def run(command: list[str]) -> None:
            subprocess.run(command, check=True, capture_output=True, cwd=CORPUS.parent)

        ask_ms = median_ms(lambda: run([*ask, str(sample), "what did Beykpour say about OKRs?"]), args.runs)
        meetings_ms = median_ms(lambda: run([*ask, str(meetings), QUESTIONS[0]]), args.runs)
        model_ms = median_ms(lambda: run([sys.executable, "-c", MODEL_ONLY]), args.runs)
        index = Index.open(meetings, embedder)
        rounds = args.runs * 4
        forward_ms = statistics.median(median_ms(lambda q=q: embedder.embed([q]), rounds) for q in QUESTIONS)
        settings = Settings()

        def fresh() -> Index:
            """The same index, which remembers no question's vector."""
            return Index(index.store, embedder)

        search_ms = statistics.median(median_ms(lambda q=q: search(fresh(), q), rounds) for q in QUESTIONS)
        answer_ms = statistics.median(median_ms(lambda q=q: quote(fresh(), settings, q), rounds) for q in QUESTIONS)
        own = statistics.median(own_ms(index, q, rounds) for q in QUESTIONS)
        index.close()
    print("| what | median ms | of the least |\n| --- | --- | --- |")
    print(f"| a process that loads the model and embeds one text | {model_ms:.0f} | 1 |")
    print(f"| `onrecord ask` on the sample corpus, from process start | {ask_ms:.0f} | {ask_ms / model_ms:.2f} |")
    started = f"`onrecord ask` over {report.added} transcripts, from process start"
    print(f"| {started} | {meetings_ms:.0f} | {meetings_ms / model_ms:.2f} |")
    print(f"| forward pass for a query | {forward_ms:.1f} | 1 |")
    searched = f"search over {report.passages} passages, embedding included"
    print(f"| {searched} | {search_ms:.1f} | {search_ms / forward_ms:.2f} |")
    print(f"| answer in quotations, embedding included | {answer_ms:.1f} | {answer_ms / forward_ms:.2f} |")
    print(
        f"| all but search and model, where a model answers with three sentences | {own:.1f} | {own / forward_ms:.2f} |"
    )


if __name__ == "__main__":
    main()
