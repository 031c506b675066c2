"""How well questions without an answer are refused, and those with one answered, by the one threshold that ships.

    python benchmarks/refusal.py QUESTIONS_DIR

QUESTIONS_DIR holds `transcripts/` and `queries.jsonl`, answerable and not. More of both sorts are made from the same
meetings, by rules and fixed seeds: 100 or more for each way of having no answer, next to questions of the same form
that have one. Then the same threshold is tried on all meetings at once and on the sample corpus.
Prints Markdown tables; a bracket is the 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from app.question import Mention, understand
from app.quoting import known_speakers, quote
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder, load_embedder
from index.evaluate import Statistic, Table, auroc, bootstrap_interval
from index.lexical import terms
from index.search import Index
from ingest.limits import Limits
from ingest.names import is_english_word

T = TypeVar("T")
SETTINGS = Settings()
ROOT = Path(__file__).parent.parent
OFFTOPIC = Path(__file__).with_name("offtopic.txt")
LOST = 0.05
"""The share of answerable questions given up in "refused at 5 % lost"."""
BINS = 10
NEAR_GOLD = 5.0
NEAR = 60.0
"""Seconds around a turn in which whoever speaks may be speaking of the same."""
TALKS = 100
"""Words from which somebody takes part in a meeting."""
RARE = 1.0
"""The idf from which a word says what a question is about: that of a word which 37 % of the passages hold."""
EACH = 4
"""Questions of a kind that are made for each meeting."""
WORD = re.compile(r"[a-z]{5,}")
THING = re.compile(r"\b(?:the|of|about|on|for) ([a-z]{4,})(?=[?.]|$| (?:of|for|in|on|to|and|when|that|by|with|from)\b)")
"""A word that is a noun, as far as the words around it tell."""
ABOUT = ("What was said about {}?", "How was {} discussed?", "Tell me about {}.", "what is {}?")
SAID = ("What did {} say about {}?", "What is {}'s view of {}?", "How did {} explain {}?")
DETAILS = {
    "salary": "salary salaries wage wages earn earns earned earnings income paid",
    "phone number": "phone telephone phones mobile",
    "birthday": "birthday birth birthdate born",
    "home address": "address street postcode lives",
    "favourite film": "film films movie movies cinema",
}
"""What a meeting doesn't tell of a person, each with words without which it can't be told."""
PRICE = "price prices pricing cost costs euro euros pound pounds dollar dollars pence cent cents money budget cheap"
PRICE += " expensive pay paid million billion thousand hundred fund funding"
DATE = "date dates january february march april may june july august september october november december monday tuesday"
DATE += " wednesday thursday friday saturday sunday year years month months week weeks today tomorrow yesterday"
FIGURES = {
    "What is the price of the {}?": PRICE,
    "How expensive was the {}?": PRICE,
    "What is the date of the {}?": DATE,
    "In which month was the {}?": DATE,
}
"""Questions with words without one of which they can't be answered."""


@dataclass(frozen=True)
class Case:
    """A question, the meeting that it is asked of (None: of all) and the part of the set that this meeting is in."""

    question: str
    source: str | None
    answerable: bool
    kind: str
    split: str = ""


class Meeting:
    """A transcript, with what is asked of it and the stems of its turns."""

    def __init__(self, path: Path, queries: Sequence[dict[str, Any]], index: Index, source_id: str) -> None:
        self.name = path.stem
        self.queries = [query for query in queries if query["source"] == path.stem and query["answerable"]]
        self.domain, self.split = self.queries[0]["domain"], self.queries[0]["split"]
        self.speakers = known_speakers(index, source_id)
        self.segments = json.loads(path.read_text("utf-8"))["segments"]
        self.stems = [frozenset(terms(segment["body"])) for segment in self.segments]
        self.held = frozenset[str]().union(*self.stems)
        words: Counter[str] = Counter()
        for segment in self.segments:
            words[segment["speaker"]] += len(segment["body"].split())
        self.talkers = sorted(name for name, count in words.items() if count >= TALKS)

    def near(self, stem: str, seconds: float) -> list[int]:
        """The turns that begin within so many seconds of one that holds the stem."""
        starts = [segment["startTime"] for segment in self.segments]
        times = [start for start, stems in zip(starts, self.stems, strict=True) if stem in stems]
        return [i for i, start in enumerate(starts) if any(abs(start - time) <= seconds for time in times)]

    def says(self, turns: Iterable[int]) -> set[str]:
        return {self.segments[i]["speaker"] for i in turns}

    def near_gold(self, speaker: str, gold: Sequence[dict[str, float]]) -> bool:
        return any(
            segment["speaker"] == speaker
            and span["start"] - NEAR_GOLD <= segment["startTime"] <= span["end"] + NEAR_GOLD
            for segment in self.segments
            for span in gold
        )

    def mention(self, query: dict[str, Any]) -> Mention | None:
        """Where a question names whose words it asks for."""
        return understand(query["question"], self.speakers).asked if query["speaker"] else None

    def case(self, question: str, kind: str, *, answerable: bool = False) -> Case:
        return Case(question, self.name, answerable, kind, self.split)


class Meetings:
    """All meetings, and which words are rare among them."""

    def __init__(self, meetings: Sequence[Meeting], index: Index) -> None:
        self.all = meetings
        self._store = index.store
        spread: dict[str, Counter[str]] = defaultdict(Counter)
        words: dict[str, set[str]] = defaultdict(set)
        for meeting in meetings:
            spread[meeting.domain].update(meeting.held)
            words[meeting.domain].update(*(WORD.findall(segment["body"].lower()) for segment in meeting.segments))
        self._rare = {
            domain: sorted(w for w in said if is_english_word(w) and 2 <= spread[domain][self.stem(w)] <= 4)
            for domain, said in words.items()
        }

    def stem(self, word: str) -> str:
        return terms(word)[0]

    def stems(self, words: str) -> set[str]:
        return set(terms(words))

    def rare(self, meeting: Meeting, *, said: bool) -> list[str]:
        """Words of two to four meetings of the domain, which this one holds or not."""
        return [word for word in self._rare[meeting.domain] if (self.stem(word) in meeting.held) == said]

    def elsewhere(self, meeting: Meeting, *, same_domain: bool) -> Iterator[tuple[Meeting, dict[str, Any], str]]:
        """The questions of other meetings whose key word this one lacks, with that word."""
        for other in self.all:
            if other is not meeting and (other.domain == meeting.domain) == same_domain:
                for query in other.queries:
                    key = self.key_word(other, query)
                    if key and self.stem(key) not in meeting.held:
                        yield other, query, key

    def key_word(self, meeting: Meeting, query: dict[str, Any]) -> str | None:
        """The rarest English word of a question that its meeting holds, the name of whoever is asked for left aside."""
        asked, text = meeting.mention(query), query["question"]
        words = re.findall(r"\b[a-z]{4,}\b", text[: asked.begin] + text[asked.end :] if asked else text)
        held = {word: self.stem(word) for word in words if self.stem(word) in meeting.held}
        idf = self._store.idf(list(held.values()))
        held = {word: idf[stem] for word, stem in held.items()}
        rare = [(idf, word) for word, idf in held.items() if idf >= RARE and is_english_word(word)]
        return max(rare, default=(0.0, None))[1]


Maker = Callable[[Meeting, Meetings, random.Random], Iterator[Case]]


def drawn(population: Sequence[T], count: int, rng: random.Random) -> list[T]:
    return rng.sample(population, min(count, len(population)))


def absent_words(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    for word in drawn(meetings.rare(meeting, said=False), EACH, rng):
        yield meeting.case(rng.choice(ABOUT).format(word), "absent word")
    for word in drawn(meetings.rare(meeting, said=False), EACH, rng):
        asked = rng.choice(SAID).format(rng.choice(meeting.talkers), word)
        yield meeting.case(asked, "absent word, of a person")


def said_words(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    for word in drawn(meetings.rare(meeting, said=True), EACH, rng):
        yield meeting.case(rng.choice(ABOUT).format(word), "word that is said", answerable=True)
    for word in drawn(meetings.rare(meeting, said=True), EACH, rng):
        who = rng.choice(sorted(meeting.says(meeting.near(meetings.stem(word), 0))))
        asked = rng.choice(SAID).format(who, word)
        yield meeting.case(asked, "word that is said, of who says it", answerable=True)


def others_words(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    for word in drawn(meetings.rare(meeting, said=True), 3 * EACH, rng):
        silent = set(meeting.talkers) - meeting.says(meeting.near(meetings.stem(word), NEAR))
        if silent:
            asked = rng.choice(SAID).format(rng.choice(sorted(silent)), word)
            yield meeting.case(asked, "word that is said, of who is silent")


def swapped(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    foreign = sorted({key for _, _, key in meetings.elsewhere(meeting, same_domain=True)})
    for query in meeting.queries:
        key = meetings.key_word(meeting, query)
        if key:
            question = re.sub(rf"\b{key}\b", rng.choice(foreign), query["question"])
            yield meeting.case(question, "one key word swapped")


def wrong_topics(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    strange = [
        named(query["question"], asked, rng.choice(meeting.talkers))
        for other, query, _ in meetings.elsewhere(meeting, same_domain=False)
        if (asked := other.mention(query))
    ]
    for question in drawn(strange, EACH, rng):
        yield meeting.case(question, "right person, wrong topic")


def wrong_persons(meeting: Meeting, meetings: Meetings, rng: random.Random) -> Iterator[Case]:
    for query in meeting.queries:
        silent = [name for name in meeting.talkers if not meeting.near_gold(name, query["gold"])]
        if asked := meeting.mention(query):
            for name in drawn(silent, 4, rng):
                yield meeting.case(named(query["question"], asked, name), "right topic, wrong person")


def details(
    meeting: Meeting, meetings: Meetings, rng: random.Random, asked: Mapping[str, str] = DETAILS
) -> Iterator[Case]:
    """Templates: what is asked of a person is told nowhere in the meeting, by the words that it would take."""
    untold = [detail for detail, words in asked.items() if not meetings.stems(words) & meeting.held]
    pairs = [(name, detail) for name in meeting.talkers for detail in untold]
    for name, detail in drawn(pairs, EACH, rng):
        yield meeting.case(f"What is {name}'s {detail}?", "a person's detail")


def figures(
    meeting: Meeting, meetings: Meetings, rng: random.Random, asked: Mapping[str, str] = FIGURES
) -> Iterator[Case]:
    """Templates: prices and dates of things, where none is told near them, and where one is told in the same turn."""
    keys = {word for query in meeting.queries for word in THING.findall(query["question"])}
    untold: list[str] = []
    told: list[str] = []
    for key, (form, words) in product(sorted(keys), asked.items()):
        of_its_sort = meetings.stems(words)
        if any(of_its_sort & meeting.stems[i] for i in meeting.near(meetings.stem(key), 0)):
            told.append(form.format(key))
        elif not any(of_its_sort & meeting.stems[i] for i in meeting.near(meetings.stem(key), NEAR)):
            untold.append(form.format(key))
    for question in drawn(untold, 2 * EACH, rng):
        yield meeting.case(question, "price or date of a thing")
    for question in drawn(told, 2 * EACH, rng):
        yield meeting.case(question, "price or date told with the thing", answerable=True)


def named(question: str, asked: Mention, name: str) -> str:
    return question[: asked.begin] + name + question[asked.end :]


MAKERS: tuple[Maker, ...] = (
    absent_words,
    others_words,
    wrong_persons,
    wrong_topics,
    swapped,
    details,
    figures,
    said_words,
)


def made(meetings: Meetings) -> list[Case]:
    """The made questions of all kinds, each kind with a seed of its own."""
    cases: list[Case] = []
    for maker in MAKERS:
        rng = random.Random(maker.__name__)
        cases += [case for meeting in meetings.all for case in maker(meeting, meetings, rng)]
    return cases


def given(queries: Sequence[dict[str, Any]], meetings: Sequence[Meeting]) -> list[Case]:
    splits = {meeting.name: meeting.split for meeting in meetings}
    kinds = {"other-domain": "other domain", "false-attribution": "false attribution", None: "answerable"}
    return [
        Case(q["question"], q["source"], q["answerable"], kinds[q.get("kind")], splits[q["source"]]) for q in queries
    ]


def unheard(index: Index, names: Sequence[str]) -> list[Case]:
    """Usual English words that no document holds, plain and of those who speak; and the list of other subjects."""
    rng = random.Random("unheard")
    lines = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt").read_text("utf-8-sig").splitlines()
    usual = [line.split()[0] for line in lines if 1_000_000 <= int(line.split()[1]) <= 20_000_000]
    absent = [word for word in usual if WORD.fullmatch(word) and not len(index.store.lexical.search(terms(word), 1)[0])]
    asked = [rng.choice(ABOUT).format(word) for word in rng.sample(absent, 100)]
    of_persons = [rng.choice(SAID).format(rng.choice(names), word) for word in rng.sample(absent, 100)]
    return [
        *(Case(question, None, False, "absent word") for question in asked),
        *(Case(question, None, False, "absent word, of a person") for question in of_persons),
        *(Case(question, None, False, "off topic") for question in OFFTOPIC.read_text("utf-8").splitlines()),
    ]


@dataclass(frozen=True)
class Asked:
    case: Case
    confidence: float


def ask(index: Index, cases: Iterable[Case]) -> list[Asked]:
    """The confidence of each; 0 where the answer is refused although the confidence would do: nobody is called so."""
    ids = {Path(source.path).stem: source.id for source in index.store.sources()}
    asked: list[Asked] = []
    for case in cases:
        answered = quote(index, SETTINGS, case.question, source=ids[case.source] if case.source else None)
        sure = answered.confidence >= SETTINGS.min_confidence
        refused_anyway = answered.status == "no_answer" and sure
        asked.append(Asked(case, 0.0 if refused_anyway else answered.confidence))
    return asked


def table(asked: Iterable[Asked]) -> Table:
    return np.asarray([(float(each.case.answerable), each.confidence) for each in asked])


def answered_share(rows: Table) -> float:
    return float((rows[:, 1] >= SETTINGS.min_confidence).mean()) if len(rows) else math.nan


def refused_share(rows: Table) -> float:
    return 1 - answered_share(rows)


def bar(answerable: Table) -> float:
    """The confidence that all but `LOST` of the answerable reach."""
    return float(np.quantile(answerable[:, 1], LOST, method="lower"))


def refused_at_lost(rows: Table) -> float:
    yes, no = rows[rows[:, 0] == 1], rows[rows[:, 0] == 0]
    return float((no[:, 1] < bar(yes)).mean()) if len(yes) and len(no) else math.nan


def calibration_error(rows: Table) -> float:
    """Σ over bins of (mass) · |mean confidence - share answerable|: `BINS` bins of equal mass, in order of confidence.

    Both sorts of question count for half of the mass, as where the weights were fitted. Naeini, Cooper &
    Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    yes = rows[:, 0] == 1
    if yes.all() or not yes.any():
        return math.nan
    mass = np.where(yes, 0.5 / yes.sum(), 0.5 / (~yes).sum())
    bins = np.minimum(((np.cumsum(mass) - mass / 2) * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, mass * (rows[:, 1] - yes), BINS)
    return float(np.abs(gaps).sum())


def auroc_of(rows: Table) -> float:
    return auroc(rows[:, 0], rows[:, 1])


def cell(statistic: Statistic, rows: Table, *, interval: bool = True) -> str:
    value = statistic(rows) if len(rows) else math.nan
    if math.isnan(value):
        return "–"
    low, high = bootstrap_interval(statistic, rows) if interval else (math.nan, math.nan)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if interval else f"{value:.3f}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"| {title} | {' | '.join(columns)} |")
    print("| --- |" + " ---: |" * len(columns))
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def print_set(title: str, asked: Sequence[Asked]) -> None:
    """The whole of a set with its splits: the questions as they were given."""
    splits = sorted({each.case.split for each in asked if not each.case.answerable} - {""})
    parts = [[each for each in asked if split in (each.case.split, "all")] for split in (*splits, "all")]
    kinds = sorted({each.case.kind for each in asked if not each.case.answerable})

    def row(name: str, statistic: Statistic, kept: Callable[[Case], bool] = lambda case: True) -> list[str]:
        return [name, *(cell(statistic, table(each for each in part if kept(each.case))) for part in parts)]

    print_table(
        title,
        (*splits, "all"),
        [
            ["questions, answerable and not", *(counted(part) for part in parts)],
            row("AUROC", auroc_of),
            *(row(f"AUROC, {kind}", auroc_of, lambda c, kind=kind: c.answerable or c.kind == kind) for kind in kinds),
            row(f"refused at {LOST:.0%} of answerable lost", refused_at_lost),
            row("answerable answered, shipped threshold", answered_share, lambda c: c.answerable),
            row("unanswerable refused, shipped threshold", refused_share, lambda c: not c.answerable),
            row("calibration error, both sorts weighed alike", calibration_error),
        ],
    )


def counted(asked: Sequence[Asked]) -> str:
    answerable = sum(each.case.answerable for each in asked)
    return f"{answerable} + {len(asked) - answerable} ({answerable / len(asked):.0%} answerable)"


def print_kinds(title: str, asked: Sequence[Asked], answerable: Sequence[Asked]) -> None:
    """A row for each kind; "at 5 % lost" and AUROC are next to the `answerable`."""
    bottom, reference = bar(table(answerable)), table(answerable)
    rows: list[list[str]] = []
    for kind in dict.fromkeys(each.case.kind for each in asked):
        these = [each for each in asked if each.case.kind == kind]
        here = table(these)
        by_split = [table(e for e in these if e.case.split == split) for split in ("train", "val")]
        if these[0].case.answerable:
            last = ["–", "–"]
            share, name = answered_share, f"{kind}: **answered**"
        else:
            last = [f"{(here[:, 1] < bottom).mean():.3f}", f"{auroc_of(np.concatenate([reference, here])):.3f}"]
            share, name = refused_share, f"{kind}: refused"
        shares = [cell(share, part, interval=False) for part in by_split]
        rows.append([name, str(len(these)), *shares, cell(share, here), *last])
    columns = ("asked", "train", "val", "all, shipped threshold", f"refused at {LOST:.0%} lost", "AUROC")
    print_table(title, columns, rows)


def sample_cases() -> list[Case]:
    lines = [json.loads(line) for line in (ROOT / "tests" / "golden" / "sample.jsonl").read_text("utf-8").splitlines()]
    kinds = {True: "golden, answerable", False: "golden, not answerable"}
    return [Case(line["question"], None, yes, kinds[yes]) for line in lines for yes in [line["status"] == "answered"]]


def open_index(folder: Path, corpus: Path, embedder: Embedder) -> Index:
    ingest([corpus], folder, embedder, Limits())
    return Index.open(folder, embedder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions_dir", type=Path)
    args = parser.parse_args()
    embedder = load_embedder()
    with tempfile.TemporaryDirectory() as folder:
        index = open_index(Path(folder) / "meetings", args.questions_dir / "transcripts", embedder)
        measure_meetings(index, args.questions_dir)
        index.close()
        index = open_index(Path(folder) / "sample", ROOT / "corpus", embedder)
        measure_sample(index)
        index.close()


def measure_meetings(index: Index, questions_dir: Path) -> None:
    queries = [json.loads(line) for line in (questions_dir / "queries.jsonl").read_text("utf-8").splitlines()]
    ids = {Path(source.path).stem: source.id for source in index.store.sources()}
    paths = sorted((questions_dir / "transcripts").iterdir())
    meetings = Meetings([Meeting(path, queries, index, ids[path.stem]) for path in paths], index)
    asked = ask(index, given(queries, meetings.all))
    print_set("of one meeting", asked)
    answerable = [each for each in asked if each.case.answerable]
    cases = made(meetings)
    print_kinds("made questions, of one meeting", ask(index, cases), answerable)
    opened = [replace(each.case, source=None) for each in answerable]
    opened += [replace(case, source=None) for case in cases if case.answerable and case.kind.startswith("word")]
    names = sorted({name for meeting in meetings.all for name in meeting.talkers})
    asked = ask(index, [*opened, *unheard(index, names)])
    answerable = [each for each in asked if each.case.kind == "answerable"]
    print_set("of all meetings at once", [*answerable, *(each for each in asked if not each.case.answerable)])
    print_kinds("by kind, of all meetings at once", asked, answerable)


def measure_sample(index: Index) -> None:
    names = [speaker.name for speaker in known_speakers(index, None)]
    asked = ask(index, [*sample_cases(), *unheard(index, names)])
    print_kinds("sample corpus", asked, [each for each in asked if each.case.answerable])


if __name__ == "__main__":
    main()
