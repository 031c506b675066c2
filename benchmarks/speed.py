"""How long a question takes, against the least it could take with this model, in one run.

    python benchmarks/speed.py TRANSCRIPTS_DIR [--runs 15]

Prints the median wall time of `onrecord ask` from process start on the sample corpus, next to a process that only loads
the model and embeds one text; and the median time of a hybrid search over TRANSCRIPTS_DIR with everything loaded, next
to the bare forward pass for the same query.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    embedder = load_embedder()
    with tempfile.TemporaryDirectory() as folder:
        sample, meetings = Path(folder, "sample"), Path(folder, "meetings")
        ingest([CORPUS], sample, embedder, Limits())
        report = ingest([args.transcripts_dir], meetings, embedder, Limits())
        ask = [sys.executable, "-m", "app", "ask", "--index", str(sample), "what did Beykpour say about OKRs?"]

        def run(command: list[str]) -> None:
            subprocess.run(command, check=True, capture_output=True, cwd=CORPUS.parent)

        ask_ms = median_ms(lambda: run(ask), args.runs)
        model_ms = median_ms(lambda: run([sys.executable, "-c", MODEL_ONLY]), args.runs)
        index = Index.open(meetings, embedder)
        rounds = args.runs * 4
        forward_ms = statistics.median(median_ms(lambda q=q: embedder.embed([q]), rounds) for q in QUESTIONS)
        search_ms = statistics.median(median_ms(lambda q=q: search(index, q), rounds) for q in QUESTIONS)
        answer_ms = statistics.median(median_ms(lambda q=q: quote(index, Settings(), q), rounds) for q in QUESTIONS)
        index.close()
    print("| what | median ms | of the least |\n| --- | --- | --- |")
    print(f"| a process that loads the model and embeds one text | {model_ms:.0f} | 1 |")
    print(f"| `onrecord ask` on the sample corpus, from process start | {ask_ms:.0f} | {ask_ms / model_ms:.2f} |")
    print(f"| forward pass for a query | {forward_ms:.1f} | 1 |")
    searched = f"search over {report.passages} passages, embedding included"
    print(f"| {searched} | {search_ms:.1f} | {search_ms / forward_ms:.2f} |")
    print(f"| answer in quotations, embedding included | {answer_ms:.1f} | {answer_ms / forward_ms:.2f} |")


if __name__ == "__main__":
    main()
