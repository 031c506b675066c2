"""Installs the tools, runs each in its own environment, and measures all of them in the same way."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
DEPTH = 30
STARTS = 5
FIRST = "What was said first?"
"""Asked before anything is measured: a tool may know the vector of a question that it was asked before."""
TORCH = "torch==2.13.0"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}

Found = Mapping[str, Any]
Scoring = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """`name` is that of its program and of the file of its pinned packages, `package` the one whose version counts.

    `index` is what it searches: tools of one index share it.
    """

    title: str
    name: str
    package: str
    index: str
    hybrid: bool = False
    filters: bool = True

    @property
    def version(self) -> str:
        if self is ON_RECORD:
            return version(self.package)
        pins = HERE.joinpath(f"{self.name}.txt").read_text("utf-8")
        return pins.split(f"\n{self.package}==")[1].split()[0]


ON_RECORD = Tool("On Record", "onrecord", "onrecord", "onrecord")
PEERS = (
    Tool("LlamaIndex", "llamaindex", "llama-index-core", "llamaindex"),
    Tool("LangChain", "langchain", "langchain-community", "langchain"),
    Tool("Haystack", "haystack", "haystack-ai", "haystack"),
    Tool("txtai", "txtai", "txtai", "txtai"),
    Tool("LlamaIndex hybrid", "llamaindex", "llama-index-core", "llamaindex", hybrid=True),
    Tool("LangChain hybrid", "langchain", "langchain-community", "langchain", hybrid=True, filters=False),
    Tool("Haystack hybrid", "haystack", "haystack-ai", "haystack", hybrid=True),
    Tool("txtai hybrid", "txtai", "txtai", "txtai-hybrid", hybrid=True),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """All questions in one scope, one after another, in a process of their own.

    `ms` are in order of size, one for each question, though it be asked of two meetings. `lost` counts passages, over
    all questions, whose text is not in the meeting as it was given.
    """

    ms: Sequence[float]
    recall: float
    lost: int
    peak_mb: float

    def percentile(self, share: float) -> float:
        """The nearest rank."""
        return self.ms[math.ceil(share * len(self.ms)) - 1]


@dataclass(frozen=True, slots=True)
class Ingested:
    """All meetings, in a process of its own."""

    passages: int
    seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Measured:
    """`within` is null where the tool cannot search one meeting alone."""

    ingested: Ingested
    start_seconds: float
    everywhere: Asked
    within: Asked | None

    @property
    def searches(self) -> list[Asked]:
        return [asked for asked in (self.everywhere, self.within) if asked]


class Transcript:
    """A meeting as a person would hand it to a tool that knows no transcripts: `Speaker: words`, a turn a line."""

    def __init__(self, path: Path) -> None:
        self.text = ""
        self._turns: list[tuple[int, float, str]] = []
        for turn in json.loads(path.read_text("utf-8"))["segments"]:
            self.text += f"{turn['speaker']}: "
            self._turns.append((len(self.text), turn["startTime"], turn["body"]))
            self.text += f"{turn['body']}\n"

    def turns(self, passage: str, begin: int | None) -> list[dict[str, Any]] | None:
        """The words of each turn that a passage holds whole, without the names; null where it is not in the text.

        `begin` is where the tool says that it stands.
        """
        if begin is None or not self.text.startswith(passage, begin):
            begin = self.text.find(passage)
        if begin < 0:
            return None
        end = begin + len(passage)
        held: list[dict[str, Any]] = []
        for first, start, body in self._turns:
            if first >= end or first + len(body) <= begin:
                continue
            words = [
                w.span() for w in re.finditer(r"\S+", body) if begin <= first + w.start() and first + w.end() <= end
            ]
            if words:
                held.append({"start": start, "text": body[words[0][0] : words[-1][1]]})
        return held


def python_of(tool: Tool, venvs: Path) -> Path:
    """The interpreter of the tool's environment, which is made where it is not there with just these packages."""
    if tool is ON_RECORD:
        return Path(sys.executable)
    pins, folder = HERE / f"{tool.name}.txt", venvs / tool.name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_bytes() != pins.read_bytes():
        print(f"Installing {tool.title} into {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*install, "--no-deps", "-r", pins], check=True)
        subprocess.run([*install, TORCH], check=True)  # its build differs from machine to machine
        stamp.write_bytes(pins.read_bytes())
    return python


class Process:
    """A tool's program; what goes wrong in it is in the file `log`."""

    def __init__(self, python: Path, tool: Tool, command: str, texts: Path, store: Path, log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, HERE / f"{tool.name}_peer.py", *["--hybrid"] * tool.hybrid, command, texts, store],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | OFFLINE,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def ask(self, question: str, meeting: str | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"question": question, "meeting": meeting, "depth": DEPTH}) + "\n")
        self._process.stdin.flush()
        return self.answer()


def passage_of(found: Found, transcripts: Mapping[str, Transcript]) -> dict[str, Any] | None:
    """A passage in the form that the question set's script scores; null where its text is not in the meeting."""
    turns = found["turns"] if "turns" in found else transcripts[found["meeting"]].turns(found["text"], found["begin"])
    return None if turns is None else {"source": found["meeting"], "turns": turns}


def recall(
    answers: Sequence[Sequence[Mapping[str, Any]]],
    queries: Sequence[Mapping[str, Any]],
    meetings: Mapping[str, Any],
    score: Callable[..., Mapping[str, float]],
) -> float:
    """Mean recall@1000 words over the questions that have an answer, by the question set's own function."""
    return statistics.fmean(
        score(passages, query, meetings[query["source"]])["recall@1000w"]
        for passages, query in zip(answers, queries, strict=True)
        if query["answerable"]
    )


class Questions:
    """A question set in a folder as benchmarks/retrieval.py takes it, and its meetings as texts in another.

    The other is the same in every run: LlamaIndex embeds the path of the file with each passage.
    """

    def __init__(self, folder: Path, texts: Path, scoring: Scoring, limit: int | None) -> None:
        lines = (folder / "queries.jsonl").read_text("utf-8").splitlines()
        self.queries: list[dict[str, Any]] = [json.loads(line) for line in lines][:limit]
        self.originals, self.texts, self._score = folder / "transcripts", texts, scoring["retrieval"]
        files = sorted(self.originals.glob("*.json"))
        self.transcripts = {path.stem: Transcript(path) for path in files}
        self._meetings = {path.stem: scoring["Meeting"](path) for path in files}
        self.words = sum(len(meeting.words) for meeting in self._meetings.values())
        shutil.rmtree(texts, ignore_errors=True)
        texts.mkdir(parents=True)
        for name, transcript in self.transcripts.items():
            texts.joinpath(f"{name}.txt").write_text(transcript.text, "utf-8")

    def ingest(self, tool: Tool, python: Path, store: Path) -> Ingested:
        with self._start(tool, python, "ingest", store) as process:
            return Ingested(**process.answer())

    def measure(self, tool: Tool, python: Path, store: Path, ingested: Ingested) -> Measured:
        """Starts anew on what was ingested, and asks everything: of all meetings, and of the one that is meant."""

        def start() -> Process:
            return self._start(tool, python, "search", store)

        starts: list[float] = []
        for _ in range(STARTS):
            began = time.perf_counter()
            with start() as process:
                process.ask(FIRST, None)
                starts.append(time.perf_counter() - began)
        with start() as process:
            everywhere = self._ask_all(process, within=False)
        within = None
        if tool.filters:
            with start() as process:
                within = self._ask_all(process, within=True)
        return Measured(ingested, statistics.median(starts), everywhere, within)

    def _start(self, tool: Tool, python: Path, command: str, store: Path) -> Process:
        texts = self.originals if tool is ON_RECORD else self.texts
        return Process(python, tool, command, texts, store, store.with_suffix(".log"))

    def _ask_all(self, process: Process, within: bool) -> Asked:
        process.ask(FIRST, None)
        given = [process.ask(query["question"], query["source"] if within else None) for query in self.queries]
        times: dict[str, float] = {}
        for query, each in zip(self.queries, given, strict=True):
            times.setdefault(query["question"], each["ms"])
        laid = [[passage_of(found, self.transcripts) for found in each["found"]] for each in given]
        answers = [[passage for passage in passages if passage] for passages in laid]
        return Asked(
            sorted(times.values()),
            recall(answers, self.queries, self._meetings, self._score),
            sum(map(len, laid)) - sum(map(len, answers)),
            given[-1]["peak_mb"],
        )
