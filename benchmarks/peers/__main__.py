"""On Record and its peers on the same meetings and questions: ingest, search, memory, start, recall.

    python -m benchmarks.peers QUESTIONS_DIR [--only llamaindex] [--questions N] [--venvs DIR] [--write]

QUESTIONS_DIR is a folder as benchmarks/retrieval.py takes it. Each peer is set up as its own documentation shows, in a
virtual environment of its own, which the first run makes (1.6 GB each): the packages in NAME.txt here, and torch.
All run the same model one after another, On Record first, by the same protocol. Prints Markdown; with --write into
benchmarks/results/peers.md.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.peers.harness import DEPTH, ON_RECORD, PEERS, STARTS, Ingested, Measured, Questions, Tool, python_of

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "peers.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One measure; `why` is said where On Record is not ahead. `best` is null where there is no better and worse."""

    title: str
    value: Callable[[Measured, int], float | None]
    form: str
    best: Callable[..., float] | None
    why: str = ""


LESS_READ = """LlamaIndex's model reads the first 256 tokens of each 1,024 and nothing of the rest. The others embed
  passages and nothing else; On Record embeds each sentence too, and indexes words and people."""
LENGTHS = "Passages differ in length, and LangChain's overlap: words a second are what compares."
MORE_DONE = """On Record searches words beside vectors, weighs the neighbours of what it finds, and reads the turns,
  times and sentences of each passage from files; all but txtai keep every text in memory."""

ROWS = (
    Row("passages", lambda m, _: m.ingested.passages, ",.0f", None),
    Row("words of the meetings ingested a second", lambda m, words: words / m.ingested.seconds, ",.0f", max, LESS_READ),
    Row("passages ingested a second", lambda m, _: m.ingested.passages / m.ingested.seconds, ".1f", max, LENGTHS),
    Row("search of all meetings, p50, ms", lambda m, _: m.everywhere.percentile(0.5), ".1f", min, MORE_DONE),
    Row("search of all meetings, p99, ms", lambda m, _: m.everywhere.percentile(0.99), ".1f", min, MORE_DONE),
    Row("search of one meeting, p50, ms", lambda m, _: m.within and m.within.percentile(0.5), ".1f", min, MORE_DONE),
    Row("search of one meeting, p99, ms", lambda m, _: m.within and m.within.percentile(0.99), ".1f", min, MORE_DONE),
    Row("most memory while ingesting, MB", lambda m, _: m.ingested.peak_mb, ",.0f", min),
    Row("most memory while searching, MB", lambda m, _: max(each.peak_mb for each in m.searches), ",.0f", min),
    Row("start of the process to the first answer, s", lambda m, _: m.start_seconds, ".2f", min),
    Row("recall@1000 words, one meeting", lambda m, _: m.within and m.within.recall, ".3f", max),
    Row("recall@1000 words, all meetings", lambda m, _: m.everywhere.recall, ".3f", max),
)


def table(measured: Mapping[Tool, Measured], words: int) -> list[str]:
    """A column for each tool, the best of each row in bold."""
    lines = ["| | " + " | ".join(tool.title for tool in measured) + " |", "| --- |" + " ---: |" * len(measured)]
    for row in ROWS:
        values = [row.value(m, words) for m in measured.values()]
        best = row.best and row.best(value for value in values if value is not None)
        cells = ["–" if v is None else f"**{v:{row.form}}**" if v == best else f"{v:{row.form}}" for v in values]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return lines


def behind(measured: Mapping[Tool, Measured], words: int) -> list[str]:
    """A line for each row in which another tool is ahead of On Record: which, how far, and why."""
    lines: list[str] = []
    for row in ROWS:
        own = row.value(measured[ON_RECORD], words)
        if row.best is None or own is None:
            continue
        better = [
            f"{tool.title} by {max(value, own) / min(value, own) - 1:.0%}"
            for tool, m in measured.items()
            if (value := row.value(m, words)) is not None and row.best(value, own) != own
        ]
        if better:
            lines.append(f"- {row.title}: {', '.join(better)}. {row.why or 'Not explained.'}")
    return lines or ["None."]


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))


def report(measured: Mapping[Tool, Measured], questions: Questions, load: float) -> str:
    peers = {tool: m for tool, m in measured.items() if tool is not ON_RECORD}
    own = {ON_RECORD: measured[ON_RECORD]}
    vectors = own | {tool: m for tool, m in peers.items() if not tool.hybrid}
    hybrids = own | {tool: m for tool, m in peers.items() if tool.hybrid}
    versions = ", ".join(dict.fromkeys(f"{tool.title.split(' hybrid')[0]} {tool.version}" for tool in measured))
    answerable = sum(query["answerable"] for query in questions.queries)
    lost = ", ".join(
        f"{tool.title} {n}" for tool, m in measured.items() if (n := sum(each.lost for each in m.searches))
    )
    parts = [
        "# On Record and its peers",
        f"`python -m benchmarks.peers QUESTIONS_DIR`, {date.today()}, {os.cpu_count()} cores of {processor()}, load "
        f"before the run {load:.1f}: {len(questions.transcripts)} meetings, {questions.words:,} words, "
        f"{len(questions.queries)} questions, {answerable} of them with an answer.\n{versions}.",
        NOTES,
        "## As their documentation begins",
        "\n".join(table(vectors, questions.words)),
        "On Record is not ahead in:",
        "\n".join(behind(vectors, questions.words)),
    ]
    if len(hybrids) > 1:
        parts += [
            "## With words beside vectors, as their documentation shows for it",
            "\n".join(table(hybrids, questions.words)),
            "On Record is not ahead in:",
            "\n".join(behind(hybrids, questions.words)),
        ]
    if lost:
        parts.append(f"Passages found whose text is not in the meeting as it was given, left out: {lost}.")
    return "\n\n".join(parts) + "\n"


NOTES = f"""\
- The model is all-MiniLM-L6-v2 for all. The peers run it in 32 bits through sentence-transformers on torch; On Record
  runs the eight-bit copy that it ships on onnxruntime.
- The peers read each meeting as a text of `Speaker: words` lines, On Record the transcripts as they are.
- Ingesting: from files to the whole index on disk, in one process with the model loaded that has ingested one meeting
  before. LlamaIndex: its default splitter, 1,024 tokens, of which the model reads the first 256. LangChain: 1,000
  characters, 200 of them again in the next passage. Haystack: its default splitter, 200 words. txtai: Chonkie's
  recursive splitter, 1,000 characters.
- Searching: the {DEPTH} best passages, the embedding of the question included, one question after another. Of one
  meeting: by the tool's own filter on metadata; LangChain and txtai filter only what was found before, and are told to
  find everything first.
- Start: median of {STARTS}, the files being in the page cache.
- Recall@1000 words: the share of the words that answer among the first 1,000 words of what is found, by the same
  function for all; the names of speakers cost nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_dir", type=Path)
    parser.add_argument("--only", choices=sorted({tool.name for tool in PEERS}), help="measure On Record and this one")
    parser.add_argument("--questions", type=int, help="ask only the first N")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv" / "peers")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    tools: Sequence[Tool] = [ON_RECORD, *(tool for tool in PEERS if args.only in (None, tool.name))]
    pythons = [python_of(tool, args.venvs) for tool in tools]
    load = os.getloadavg()[0]
    scoring = runpy.run_path(str(args.questions_dir / "score.py"), run_name="score")
    texts = Path(tempfile.gettempdir(), "onrecord-peers")
    questions = Questions(args.questions_dir, texts, scoring, args.questions)
    ingested: dict[str, Ingested] = {}
    measured: dict[Tool, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        for tool, python in zip(tools, pythons, strict=True):
            store = Path(folder, tool.index)
            if tool.index not in ingested:
                ingested[tool.index] = questions.ingest(tool, python, store)
            measured[tool] = m = questions.measure(tool, python, store, ingested[tool.index])
            print(f"{tool.title}: {m.ingested.seconds:.0f} s, {m.everywhere.recall:.3f}", file=sys.stderr)
    shutil.rmtree(texts)
    text = report(measured, questions, load)
    if args.write:
        RESULTS.write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
