"""Fits the weights of `app/confidence.py` on questions made from a set that is kept apart from every evaluation.

    python benchmarks/calibrate.py TRAINING_DIR

TRAINING_DIR holds `transcripts/` and `queries.jsonl` of answerable questions. Unanswerable ones are made from them:
another domain's question, another person's name, another meeting's topic under the right person's name, and
`offtopic.txt`. Each is asked of single meetings and, openly, of a few meetings, of one domain, and of all, so that the
weights hold for scopes of every size. Prints the weights, and how well they do on meetings that were held out.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import refusal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.question import understand
from app.quoting import gather, known_speakers
from index.build import ingest
from index.embed import Embedder, load_embedder
from index.search import Index
from ingest.limits import Limits

OFFTOPIC = Path(__file__).with_name("offtopic.txt")
NEIGHBOURHOOD_SECONDS = 5.0
WORD = re.compile(r"[a-z]{5,}")
DETAILS = {
    "shoe size": "shoe shoes size",
    "bank account number": "bank account",
    "blood type": "blood",
    "wedding day": "wedding married marry",
    "hobby": "hobby hobbies pastime",
    "mother tongue": "tongue native mother",
    "e-mail address": "email mail address",
    "age": "age aged old years",
}
FIGURES = {
    "Who invented the {}?": "invent invented inventor invention",
    "How heavy is the {}?": "heavy weight weighs weigh kilo kilos gram grams light pounds",
    "How much money goes into the {}?": refusal.PRICE,
    "When did the {} begin?": f"{refusal.DATE} start started begin began begins",
    "Where was the {} made?": "made make country factory place manufactured produced",
}
"""Other details than those of `refusal.py`, which is for measuring."""


@dataclass(frozen=True)
class Case:
    """A question with what it is asked of and whether that answers it; `group` is the meeting it was made from."""

    question: str
    source: str | None
    answerable: bool
    kind: str
    group: str


Row = tuple[Case, tuple[float, ...], tuple[float, ...] | None]
"""A case with the signs of its topic and, where it asks for a person, of that person."""


def speaks_near(segments: list[dict[str, Any]], speaker: str, gold: list[dict[str, float]]) -> bool:
    return any(
        segment["speaker"] == speaker
        and span["start"] - NEIGHBOURHOOD_SECONDS <= segment["startTime"] <= span["end"] + NEIGHBOURHOOD_SECONDS
        for segment in segments
        for span in gold
    )


def filtered_cases(queries: list[dict[str, Any]], transcripts: Path, rng: random.Random) -> Iterator[Case]:
    """Questions of single meetings."""
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for query in queries:
        by_source[query["source"]].append(query)
    domains = {query["source"]: query["domain"] for query in queries}
    offtopic = OFFTOPIC.read_text("utf-8").splitlines()
    foreign = {d: rare_words(transcripts, {s for s in domains if domains[s] != d}) for d in set(domains.values())}
    for source, own in by_source.items():
        segments = json.loads((transcripts / f"{source}.json").read_text("utf-8"))["segments"]
        words: dict[str, int] = defaultdict(int)
        for segment in segments:
            words[segment["speaker"]] += len(segment["body"].split())
        talkers = [name for name, count in words.items() if count >= 100]
        elsewhere = [query for query in queries if domains[query["source"]] != domains[source]]
        for query in own:
            yield Case(query["question"], source, True, "answerable", source)
            if not query["speaker"] or query["speaker"] not in query["question"]:
                continue
            silent = [name for name in talkers if not speaks_near(segments, name, query["gold"])]
            for name in rng.sample(silent, min(3, len(silent))):
                other = query["question"].replace(query["speaker"], name)
                yield Case(other, source, False, "wrong person", source)
            stranger = rng.choice([q for q in elsewhere if q["speaker"] and q["speaker"] in q["question"]])
            moved = stranger["question"].replace(stranger["speaker"], query["speaker"])
            yield Case(moved, source, False, "wrong topic", source)
        plain = [query for query in elsewhere if not query["speaker"]]
        for query in rng.sample(plain, min(len(own), len(plain))):
            yield Case(query["question"], source, False, "other domain", source)
        for question in rng.sample(offtopic, 2):
            yield Case(question, source, False, "off topic", source)
        yield from short_cases(segments, foreign[domains[source]], source, rng)


def short_cases(segments: list[dict[str, Any]], foreign: list[str], source: str, rng: random.Random) -> Iterator[Case]:
    """Questions of one or two rare words: said, said only by others, and never said there."""
    said: dict[str, set[str]] = defaultdict(set)
    for segment in segments:
        for word in set(WORD.findall(segment["body"].lower())):
            said[word].add(segment["speaker"])
    counts: dict[str, int] = defaultdict(int)
    for segment in segments:
        for word in set(WORD.findall(segment["body"].lower())):
            counts[word] += 1
    rare = sorted(word for word, count in counts.items() if 1 <= count <= 4)
    absent = [word for word in foreign if word not in counts]
    speakers = sorted({segment["speaker"] for segment in segments})
    for word in rng.sample(rare, min(6, len(rare))):
        plain = rng.choice(["What was said about {}?", "what is {}?", "why {}?", "{}"]).format(word)
        yield Case(plain, source, True, "answerable word", source)
        who = rng.choice(sorted(said[word]))
        asked = rng.choice(["What did {} say about {}?", "what does {} think of {}?"])
        yield Case(asked.format(who, word), source, True, "answerable word", source)
        others = [name for name in speakers if name not in said[word]]
        if others:
            yield Case(asked.format(rng.choice(others), word), source, False, "wrong person's word", source)
    for word in rng.sample(absent, min(6, len(absent))):
        plain = rng.choice(["What was said about {}?", "what is {}?", "why {}?", "{}"]).format(word)
        yield Case(plain, source, False, "absent word", source)
        asked = rng.choice(["What did {} say about {}?", "what does {} think of {}?"])
        yield Case(asked.format(rng.choice(speakers), word), source, False, "absent word", source)


def detail_cases(queries: list[dict[str, Any]], transcripts: Path, index: Index) -> Iterator[Case]:
    """Details of persons and things that the meetings don't tell, and of things that they do."""
    marked = [{**query, "answerable": True, "split": ""} for query in queries]
    ids = {Path(source.path).stem: source.id for source in index.store.sources()}
    paths = sorted(transcripts.iterdir())
    meetings = refusal.Meetings([refusal.Meeting(path, marked, index, ids[path.stem]) for path in paths], index)
    rng = random.Random(12)
    for meeting in meetings.all:
        cases = chain(
            refusal.details(meeting, meetings, rng, DETAILS), refusal.figures(meeting, meetings, rng, FIGURES)
        )
        for case in cases:
            yield Case(case.question, case.source, case.answerable, case.kind, meeting.name)


def rare_words(transcripts: Path, sources: set[str]) -> list[str]:
    """Words that few of the meetings hold, sorted."""
    counts: dict[str, int] = defaultdict(int)
    for source in sources:
        text = (transcripts / f"{source}.json").read_text("utf-8")
        for word in {w for s in json.loads(text)["segments"] for w in WORD.findall(s["body"].lower())}:
            counts[word] += 1
    return sorted(word for word, count in counts.items() if count <= 3)


def open_cases(queries: list[dict[str, Any]], sources: set[str], rng: random.Random) -> Iterator[Case]:
    """Questions of several meetings at once; those of domains that are not among them cannot be answered."""
    inside = {query["domain"] for query in queries if query["source"] in sources}
    for query in queries:
        if query["source"] in sources:
            yield Case(query["question"], None, True, "answerable", query["source"])
        elif query["domain"] not in inside and not query["speaker"] and rng.random() < 0.5:
            yield Case(query["question"], None, False, "other domain", query["source"])
    for question in OFFTOPIC.read_text("utf-8").splitlines():
        yield Case(question, None, False, "off topic", "offtopic")


def signs(index: Index, case: Case, ids: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    source = ids[case.source] if case.source else None
    asked = understand(case.question, known_speakers(index, source))
    wanted = asked.asked.speakers if asked.asked else ()
    evidence = gather(index, asked, wanted, 8, source)
    return astuple(evidence.topic_signs), astuple(evidence.speaker_signs) if evidence.speaker_signs else None


class Meetings:
    """An index of all transcripts, and of any of them: those need no embedding of their own."""

    def __init__(self, folder: Path, transcripts: Path, embedder: Embedder) -> None:
        self._folder, self._embedder = folder, embedder
        self._corpus = Path(shutil.copytree(transcripts, folder / "corpus"))
        self._transcripts = transcripts
        ingest([self._corpus], folder / "all", embedder, Limits())
        self.index = Index.open(folder / "all", embedder)

    def ask(self, stems: set[str], cases: Iterator[Case]) -> list[Row]:
        """The signs of the cases, asked of the meetings `stems` alone."""
        for path in self._transcripts.iterdir():
            if path.stem in stems:
                shutil.copy(path, self._corpus)
            else:
                (self._corpus / path.name).unlink(missing_ok=True)
        part = Path(shutil.copytree(self._folder / "all", self._folder / "part"))
        ingest([self._corpus], part, self._embedder, Limits())
        index = Index.open(part, self._embedder)
        ids = {Path(source.path).stem: source.id for source in index.store.sources()}
        rows = [(case, *signs(index, case, ids)) for case in cases]
        index.close()
        shutil.rmtree(part)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training_dir", type=Path)
    parser.add_argument("--signs", type=Path, help="keep the signs of all cases in this file, or take them from it")
    args = parser.parse_args()
    if args.signs and args.signs.exists():
        rows = [(Case(**case), topic, speaker) for case, topic, speaker in json.loads(args.signs.read_text("utf-8"))]
    else:
        rows = collect(args.training_dir)
        if args.signs:
            args.signs.write_text(json.dumps([(case.__dict__, topic, speaker) for case, topic, speaker in rows]))
    fit(rows)


def collect(training_dir: Path) -> list[Row]:
    rng = random.Random(11)
    transcripts = training_dir / "transcripts"
    queries = [json.loads(line) for line in (training_dir / "queries.jsonl").read_text("utf-8").splitlines()]
    everything = {query["source"] for query in queries}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        meetings = Meetings(Path(folder), transcripts, load_embedder())
        rows += meetings.ask(everything, filtered_cases(queries, transcripts, rng))
        rows += meetings.ask(everything, open_cases(queries, everything, rng))
        rows += meetings.ask(everything, detail_cases(queries, transcripts, meetings.index))
        for domain in sorted({query["domain"] for query in queries}):
            inside = {query["source"] for query in queries if query["domain"] == domain}
            few = [set(rng.sample(sorted(inside), min(size, len(inside)))) for size in (3, 8)]
            for stems in (inside, *few):
                rows += meetings.ask(stems, open_cases(queries, stems, rng))
    return rows


def fit(rows: list[Row]) -> None:
    groups = sorted({case.group for case, _, _ in rows})
    held_out = set(groups[::4])
    cases = [case for case, _, _ in rows]
    train = np.asarray([case.group not in held_out for case in cases])
    y = np.asarray([case.answerable for case in cases])
    topic = np.asarray([signs for _, signs, _ in rows])
    about_topic = np.asarray([not case.kind.startswith("wrong person") for case in cases])
    named = np.asarray([signs is not None for _, _, signs in rows])
    speaker = np.asarray([signs or (0.0,) * 4 for _, _, signs in rows])
    topic_model = fitted(topic[train & about_topic], y[train & about_topic])
    speaker_model = fitted(speaker[train & named], y[train & named])
    both = np.where(
        named,
        np.minimum(topic_model.predict_proba(topic)[:, 1], speaker_model.predict_proba(speaker)[:, 1]),
        topic_model.predict_proba(topic)[:, 1],
    )
    for name, model in (("TOPIC_WEIGHTS", topic_model), ("SPEAKER_WEIGHTS", speaker_model)):
        weights = ", ".join(f"{w:.3f}" for w in (model.intercept_[0], *model.coef_[0]))
        print(f"{name} = ({weights})")
    test = ~train
    print(f"{train.sum()} cases fitted, {test.sum()} held out")
    print(f"AUROC held out: {roc_auc_score(y[test], both[test]):.3f}")
    threshold = float(np.quantile(both[test & y], 0.05))
    print(f"confidence that 95 % of the answerable reach: {threshold:.3f}")
    scopes = np.asarray(["one meeting" if case.source else "open" for case in cases])
    for scope in ("one meeting", "open"):
        here = test & (scopes == scope)
        answered, auroc = np.mean(both[here & y] >= threshold), roc_auc_score(y[here], both[here])
        print(f"{scope}: answerable answered {answered:.3f}, AUROC {auroc:.3f}")
        for kind in sorted({case.kind for case in cases if not case.answerable}):
            these = here & np.asarray([case.kind == kind for case in cases])
            if these.any():
                print(f"  {kind}: {these.sum()} asked, refused {np.mean(both[these] < threshold):.3f}")


def fitted(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    """Weights for answerable and unanswerable questions in equal number."""
    return LogisticRegression(C=10.0, max_iter=5000, class_weight="balanced").fit(x, y)


if __name__ == "__main__":
    main()
