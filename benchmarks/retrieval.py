"""How well the passages that answer are found: BM25 alone, dense alone, plain RRF, and the hybrid that ships.

    python benchmarks/retrieval.py QUESTIONS_DIR [--known-items 300]

QUESTIONS_DIR holds `transcripts/`, `queries.jsonl` and `score.py`, which scores each ranking. The transcripts are
ingested into a temporary index. Prints a Markdown table; search is timed in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from app.quoting import search
from index.build import ingest
from index.embed import load_embedder
from index.lexical import terms
from index.search import Hit, Index
from index.store import Scope
from ingest.limits import Limits

DEPTH = 30
MEASURES = ("recall@500w", "recall@1000w", "recall@2000w", "precision@1000w", "ndcg@10", "mrr")
Ranker = Callable[[str, str | None, int], Sequence[Hit]]


def rankers(index: Index) -> dict[str, Ranker]:
    def alone(engine: str) -> Ranker:
        def rank(question: str, source: str | None, depth: int) -> Sequence[Hit]:
            rows, scores = (lexical if engine == "lexical" else dense)(question, source, depth)
            return index._hits(rows, scores.tolist(), index.embedder.embed([question])[0])

        return rank

    def found(question: str, source: str | None, depth: int):
        return index.store.find(terms(question), index.embedder.embed([question])[0], depth, Scope(source), ())

    def lexical(question: str, source: str | None, depth: int):
        return found(question, source, depth).lexical

    def dense(question: str, source: str | None, depth: int):
        return found(question, source, depth).dense

    def rrf(question: str, source: str | None, depth: int) -> Sequence[Hit]:
        """Reciprocal rank fusion with constant 60, ranks from 1 (Cormack, Clarke & Büttcher, SIGIR 2009)."""
        scores: dict[int, float] = {}
        for rows, _ in (lexical(question, source, 1000), dense(question, source, 1000)):
            for rank, row in enumerate(rows.tolist(), start=1):
                scores[row] = scores.get(row, 0.0) + 1 / (60 + rank)
        best = sorted(scores, key=lambda row: (-scores[row], row))[:depth]
        vector = index.embedder.embed([question])[0]
        return index._hits(np.asarray(best, np.int64), [scores[row] for row in best], vector)

    def hybrid(question: str, source: str | None, depth: int) -> Sequence[Hit]:
        return search(index, question, top_k=depth, source=source)

    return {"BM25": alone("lexical"), "dense": alone("dense"), "RRF": rrf, "hybrid": hybrid}


def as_result(hit: Hit, names: dict[str, str]) -> dict[str, object]:
    spans = [(hit.turns[span.turn], span) for span in hit.passage.spans]
    return {
        "source": names[hit.source.id],
        "turns": [{"start": t.cue_at(s.begin).start, "text": t.text[s.begin : s.end]} for t, s in spans],
    }


def known_items(index: Index, count: int) -> list[tuple[str, str]]:
    """Questions made of three rare words of one passage, and that passage's id."""
    rng = random.Random(7)
    every = (passage for source in index.store.sources() for passage in index.store.passages_of(source.id))
    passages = [passage for passage in every if passage.words > 60]
    items: list[tuple[str, str]] = []
    while len(items) < count:
        passage = rng.choice(passages)
        turns = index.store.turns(passage.source_id)
        text = " ".join(turns[s.turn].text[s.begin : s.end] for s in passage.sentences)
        rare = sorted({w for w in re.findall(r"[a-z]{4,}", text.lower()) if 0 < _frequency(index, w) <= 0.01})
        if len(rare) >= 3:
            items.append((f"What was said about {' '.join(rng.sample(rare, 3))}?", passage.id))
    return items


def _frequency(index: Index, word: str) -> float:
    found = index.store.lexical.search(terms(word), len(index))[0]
    return len(found) / len(index) if len(found) >= 2 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_dir", type=Path)
    parser.add_argument("--known-items", type=int, default=300)
    args = parser.parse_args()
    scoring = runpy.run_path(str(args.questions_dir / "score.py"), run_name="score")
    queries = [json.loads(line) for line in (args.questions_dir / "queries.jsonl").read_text("utf-8").splitlines()]
    queries = [query for query in queries if query["answerable"]]
    embedder = load_embedder()
    with tempfile.TemporaryDirectory() as folder:
        report = ingest([args.questions_dir / "transcripts"], Path(folder), embedder, Limits())
        index = Index.open(Path(folder), embedder)
        files = {source.id: Path(source.path).stem for source in index.store.sources()}
        ids = {stem: source_id for source_id, stem in files.items()}
        meetings = {stem: scoring["Meeting"](args.questions_dir / "transcripts" / f"{stem}.json") for stem in ids}
        print(
            f"{len(ids)} sources, {report.passages} passages, {len(queries)} questions, "
            f"ingested in {report.seconds:.0f} s\n"
        )
        splits = [*sorted({query["split"] for query in queries}), "all"]
        for scope in ("with the source filter", "open"):
            print(f"| {scope} | " + " | ".join(MEASURES) + " | p50 ms | p99 ms |")
            print("| --- |" + " --- |" * (len(MEASURES) + 2))
            for name, rank in rankers(index).items():
                rows, times = [], []
                for query in queries:
                    began = time.perf_counter()
                    hits = rank(query["question"], ids[query["source"]] if scope != "open" else None, DEPTH)
                    times.append((time.perf_counter() - began) * 1000)
                    found = [as_result(hit, files) for hit in hits]
                    rows.append((query["split"], scoring["retrieval"](found, query, meetings[query["source"]])))
                times.sort()
                speed = f"{times[len(times) // 2]:.1f} | {times[int(len(times) * 0.99)]:.1f}"
                for split in splits:
                    means = [statistics.fmean(m[k] for s, m in rows if split in (s, "all")) for k in MEASURES]
                    figures = " | ".join(f"{mean:.3f}" for mean in means)
                    print(f"| {name}, {split} | {figures} | {speed if split == 'all' else ' | '} |")
            print()
        items = known_items(index, args.known_items)
        print(f"| {len(items)} known items, open | first | first 5 | first 10 |\n| --- | --- | --- | --- |")
        for name, rank in rankers(index).items():
            ranks = [next((h.rank for h in rank(q, None, 10) if h.passage.id == want), 99) for q, want in items]
            print(
                f"| {name} | " + " | ".join(f"{sum(r <= k for r in ranks) / len(ranks):.3f}" for k in (1, 5, 10)) + " |"
            )
        index.close()


if __name__ == "__main__":
    main()
