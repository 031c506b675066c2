"""Asks the questions of a file and measures what comes back: the run behind `onrecord eval`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from app.answer import Answer, Asked
from app.citations import Citation
from app.question_set import EvaluationError, Question, read_questions, reason
from app.quoting import search
from app.schemas import passage_out
from index import evaluate as measure
from index.evaluate import Statistic, Table
from index.places import Places, find_quote, word_offsets
from index.search import Hit, Index
from index.store import Store
from ingest.model import Passage, Span, Turn, format_timestamp
from ingest.speakers import bare_name

BUDGETS = (500, 1000, 2000)
DEPTHS = (1, 5, 10)
SIGNIFICANT = 0.05
ALL = "all"
"""The column over all questions, whatever their split."""

Progress = Callable[[int, int], None]
Ask = Callable[[Asked], Answer]
_Cell = TypeVar("_Cell")


class Figure(BaseModel):
    """A measure over `questions` questions with the bounds of its 95 % interval; null where it does not apply."""

    value: float | None
    low: float | None
    high: float | None
    questions: int


class Result(BaseModel):
    """What was noted of one question: what the measures are made of, and what a later run is compared with."""

    id: str
    status: str
    noted: dict[str, float]


class Difference(BaseModel):
    """A measure now and in an earlier run, over the questions of both; `p_value` as `paired_p_value` has it."""

    old: float | None
    new: float | None
    difference: float | None
    p_value: float | None
    significant: bool


class Comparison(BaseModel):
    """Differences by measure, then by split or `all`. `questions` are in both runs."""

    file: str
    questions: int
    measures: dict[str, dict[str, Difference]]


class Evaluation(BaseModel):
    """A run: figures by measure, then by split or `all`, and what they were made of."""

    file: str
    snapshot: str
    open: bool
    top_k: int
    questions: int
    measures: dict[str, dict[str, Figure]]
    results: list[Result]
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class _Measure:
    """A statistic over what was noted of the questions: `of` gets an array for each of the columns."""

    name: str
    columns: tuple[str, ...]
    of: Callable[..., float]

    @property
    def statistic(self) -> Statistic:
        return lambda table: self.of(*table.T)


def evaluate(
    index: Index,
    ask: Ask,
    file: Path,
    *,
    top_k: int = 30,
    everywhere: bool = False,
    compared: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Asks every question, of its own source or (`everywhere`) of all, and compares with an earlier run's JSON.

    `top_k` is the number of passages ranked; answers are as `ask` gives them. Raises EvaluationError where a file
    cannot be used, before anything is asked.
    """
    old = _read_evaluation(compared) if compared else None
    questions = read_questions(file)
    corpus = Corpus(index.store)
    targets = [_target(corpus, question, f"{file}:{line}") for line, question in questions.items()]
    kinds = sorted({t.question.kind for t in targets if t.question.kind and not t.question.answerable})
    run = partial(_ask, index, ask, corpus, top_k=top_k, everywhere=everywhere, kinds=kinds)
    run(targets[0])  # uncounted: the first call of all loads what the others find in memory
    results: list[Result] = []
    for target in targets:
        results.append(run(target))
        progress(len(results), len(targets))
    splits = {t.question.id: t.question.split for t in targets}
    measures = _measures(kinds)
    return Evaluation(
        file=str(file),
        snapshot=index.holdings.id,
        open=everywhere,
        top_k=top_k,
        questions=len(results),
        measures={each.name: _by_split(results, splits, partial(_figure, each)) for each in measures},
        results=results,
        comparison=_compare(measures, results, splits, old, str(compared)) if old else None,
    )


class _Document:
    """One source of the index: where its words stand, and what each of its passages holds."""

    def __init__(self, store: Store, source_id: str) -> None:
        turns = store.turns(source_id)
        self.turns: Mapping[int, Turn] = dict(enumerate(turns))
        self.places = Places(turns)
        self.passages: Mapping[str, Passage] = {passage.id: passage for passage in store.passages_of(source_id)}


class Corpus:
    """The sources of the index, each read when it is first met."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._named: dict[str, set[str]] = {}
        for source in store.sources():
            self._named.setdefault(Path(source.path).stem.casefold(), set()).add(source.id)
        self.document = cache(partial(_Document, store))

    def find(self, name: str) -> list[str]:
        """The ids of the sources of that id, else of that file stem."""
        folded = name.casefold()
        return [folded] if self._store.source(folded) else sorted(self._named.get(folded, ()))

    def speakers(self, name: str, source_id: str | None) -> frozenset[str]:
        """The canonical names of whoever is called so."""
        wanted = bare_name(name)
        return frozenset(
            speaker.name
            for speaker in self._store.speakers(source_id)
            if wanted in map(bare_name, (speaker.name, *speaker.aliases))
        )

    def words(self, hit: Hit, source_id: str | None) -> list[int | None]:
        """The words of a passage, as positions in the source of that id."""
        places = self.document(hit.source.id).places
        return [w if hit.source.id == source_id else None for s in hit.passage.spans for w in places.words(s)]


@dataclass(frozen=True, slots=True)
class _Target:
    """A question with what it names, as the index has it."""

    question: Question
    source: str | None
    gold: frozenset[int]
    speakers: frozenset[str]


def _target(corpus: Corpus, question: Question, where: str) -> _Target:
    source: str | None = None
    gold: frozenset[int] = frozenset()
    speakers: frozenset[str] = frozenset()
    if question.source is not None:
        found = corpus.find(question.source)
        if not found:
            raise EvaluationError(f"{where}: source: the index holds no {question.source!r}; see `onrecord sources`")
        if len(found) > 1:
            raise EvaluationError(
                f"{where}: source: {question.source!r} may be {' or '.join(found)}; name one by its id"
            )
        source = found[0]
    if question.answerable and question.gold:
        if source is None:
            raise EvaluationError(f"{where}: source: must be there, since gold is a time in it")
        places = corpus.document(source).places
        gold = frozenset(word for span in question.gold for word in places.words_between(span.start, span.end))
        if not gold:
            raise EvaluationError(f"{where}: gold: no words of {source} start at these times")
    if question.answerable and question.speaker is not None:
        speakers = corpus.speakers(question.speaker, source)
        if not speakers:
            raise EvaluationError(
                f"{where}: speaker: nobody called {question.speaker!r} speaks in {source or 'the index'}"
            )
    return _Target(question, source, gold, speakers)


def _ask(
    index: Index,
    ask: Ask,
    corpus: Corpus,
    target: _Target,
    *,
    top_k: int,
    everywhere: bool,
    kinds: Sequence[str],
) -> Result:
    question, scope = target.question, None if everywhere else target.source
    began = time.perf_counter()
    hits = search(index, question.question, top_k=top_k, source=scope)
    searched = time.perf_counter()
    given = ask(Asked(question.question, source=scope))
    answered = time.perf_counter()
    noted = {
        "answerable": float(question.answerable),
        "abstained": float(given.status == "no_answer"),
        "confidence": given.confidence,
        "search_ms": (searched - began) * 1000,
        "answer_ms": (answered - searched) * 1000,
    }
    for kind in kinds:
        if question.answerable or question.kind == kind:
            noted[_of_kind(kind)] = float(question.answerable)
    noted |= _retrieval(corpus, target, hits) | _citations(corpus, target, given)
    return Result(id=question.id, status=given.status, noted={k: v for k, v in noted.items() if not math.isnan(v)})


def _of_kind(kind: str) -> str:
    """The column that is 1 for the answerable questions and 0 for those of that kind."""
    return f"answerable, not {kind}"


def _retrieval(corpus: Corpus, target: _Target, hits: Sequence[Hit]) -> dict[str, float]:
    if not target.gold:
        return {}
    passages = [corpus.words(hit, target.source) for hit in hits]
    noted = {"ndcg@10": measure.ndcg(passages, target.gold), "mrr": measure.reciprocal_rank(passages, target.gold)}
    for budget in BUDGETS:
        noted[f"recall@{budget}w"] = measure.span_recall(passages, target.gold, budget)
        noted[f"precision@{budget}w"] = measure.span_precision(passages, target.gold, budget)
    if len(target.question.gold) == 1:  # one right place
        moment = target.question.gold[0].start
        stretches = [_stretch(corpus, hit) if hit.source.id == target.source else None for hit in hits]
        noted |= {f"hit@{k}": measure.hit_at(stretches, moment, k) for k in DEPTHS}
        first = next((hit for hit in hits if hit.source.id == target.source), None)
        noted["time_error"] = measure.time_error(_starts(corpus, first) if first else (), moment)
    return noted


def _starts(corpus: Corpus, hit: Hit) -> list[float]:
    places = corpus.document(hit.source.id).places
    return [start for span in hit.passage.spans for start in places.starts(span)]


def _stretch(corpus: Corpus, hit: Hit) -> tuple[float, float] | None:
    """First and last second of a passage, as it is shown."""
    shown, starts = passage_out(hit), _starts(corpus, hit)
    if shown.start is None:
        return None
    return shown.start, max([*starts, shown.start if shown.end is None else shown.end])


def _citations(corpus: Corpus, target: _Target, given: Answer) -> dict[str, float]:
    cited = [look_up(corpus, citation) for citation in given.citations]
    checks = [each.checks for each in cited]
    noted = {
        "check_quote": measure.mean(np.asarray([quote for quote, _, _ in checks], float)),
        "check_speaker": measure.mean(np.asarray([speaker for _, speaker, _ in checks], float)),
        "check_time": measure.mean(np.asarray([moment for _, _, moment in checks], float)),
        "check_markers": float(measure.markers_match(given.answer, [c.marker for c in given.citations])),
        "check_no_answer": math.nan if given.status == "answered" else float(not given.citations),
    }
    if target.gold:
        words = [w if each.source == target.source else None for each in cited for w in each.words]
        noted["citation_precision"] = measure.citation_precision(words, target.gold)
        noted["citation_hit"] = measure.citation_hit(words, target.gold)
    if target.speakers:
        speakers = [each.speaker for each in cited for _ in each.words]
        noted["speaker_precision"] = measure.speaker_precision(speakers, target.speakers)
    return noted


@dataclass(frozen=True, slots=True)
class Cited:
    """What the index itself has under a citation.

    `checks` say whether the quote stands in one turn of the cited passage, whether it is that speaker's there, and
    whether it has that start and timestamp.
    """

    source: str
    words: Sequence[int | None]
    speaker: str | None
    checks: tuple[bool, bool, bool]


def look_up(corpus: Corpus, citation: Citation) -> Cited:
    """Checks a citation; where its quote stands more than once in the passage, at the place that suits it best."""
    document = corpus.document(citation.source.id)
    passage = document.passages.get(citation.passage_id)
    best: tuple[tuple[bool, bool, bool], Span] | None = None
    for span in find_quote(citation.quote, document.turns, passage.spans if passage else ()):
        turn = document.turns[span.turn]
        start = turn.cue_at(span.begin).start
        shown = None if start is None else format_timestamp(start)
        checks = (True, turn.speaker == citation.speaker, (start, shown) == (citation.start, citation.timestamp))
        if best is None or sum(checks) > sum(best[0]):
            best = checks, span
    if best is None:
        unknown = [None] * len(word_offsets(citation.quote))
        return Cited(citation.source.id, unknown, None, (False, False, False))
    checks, span = best
    return Cited(citation.source.id, document.places.words(span), document.turns[span.turn].speaker, checks)


def _measures(kinds: Iterable[str]) -> list[_Measure]:
    means = [f"{name}@{budget}w" for name in ("recall", "precision") for budget in BUDGETS]
    means += ["ndcg@10", "mrr", *(f"hit@{k}" for k in DEPTHS)]
    cited = ["speaker_precision", "citation_precision", "citation_hit"]
    cited += ["check_quote", "check_speaker", "check_time", "check_markers", "check_no_answer"]
    said = ("answerable", "abstained")
    half, most = partial(measure.nearest_rank, share=0.5), partial(measure.nearest_rank, share=0.99)
    return [
        *(_Measure(name, (name,), measure.mean) for name in means),
        _Measure("time_error_p50_s", ("time_error",), half),
        *(_Measure(name, (name,), measure.mean) for name in cited),
        _Measure("abstention_precision", said, measure.abstention_precision),
        _Measure("abstention_recall", said, measure.abstention_recall),
        _Measure("abstention_f1", said, measure.abstention_f1),
        _Measure("answered_answerable", said, measure.answered_share),
        _Measure("auroc", ("answerable", "confidence"), measure.auroc),
        *(_Measure(f"auroc, {kind}", (_of_kind(kind), "confidence"), measure.auroc) for kind in kinds),
        _Measure("search_p50_ms", ("search_ms",), half),
        _Measure("search_p99_ms", ("search_ms",), most),
        _Measure("answer_p50_ms", ("answer_ms",), half),
        _Measure("answer_p99_ms", ("answer_ms",), most),
    ]


def _by_split(
    results: Sequence[Result], splits: Mapping[str, str | None], cell: Callable[[Sequence[Result]], _Cell]
) -> dict[str, _Cell]:
    """A cell for the questions of each split, and one for all."""
    names = sorted({split for split in splits.values() if split is not None} - {ALL})
    cells = {name: cell([result for result in results if splits[result.id] == name]) for name in names}
    return {**cells, ALL: cell(results)}


def _table(each: _Measure, results: Iterable[Result]) -> Table:
    rows = [[result.noted.get(column, math.nan) for column in each.columns] for result in results]
    return np.asarray(rows, dtype=np.float64).reshape(-1, len(each.columns))


def _figure(each: _Measure, results: Sequence[Result]) -> Figure:
    table = _table(each, results)
    table = table[~np.isnan(table).any(axis=1)]
    low, high = measure.bootstrap_interval(each.statistic, table)
    return Figure(value=_known(each.statistic(table)), low=_known(low), high=_known(high), questions=len(table))


def _compare(
    measures: Iterable[_Measure],
    results: Sequence[Result],
    splits: Mapping[str, str | None],
    old: Evaluation,
    file: str,
) -> Comparison:
    before = {result.id: result for result in old.results}
    both = [result for result in results if result.id in before]
    if not both:
        raise EvaluationError(f"{file}: none of its questions is asked here")
    common = {result.id: splits[result.id] for result in both}
    differences = {each.name: _by_split(both, common, partial(_difference, each, before)) for each in measures}
    return Comparison(file=file, questions=len(both), measures=differences)


def _difference(each: _Measure, before: Mapping[str, Result], results: Sequence[Result]) -> Difference:
    new, old = _table(each, results), _table(each, (before[result.id] for result in results))
    if each.of is measure.auroc:
        # Only the order counts: two runs' confidences need not be on one scale to be exchanged.
        for table in (new, old):
            table[:, 1] = np.unique(table[:, 1], return_inverse=True)[1]
    values = each.statistic(old), each.statistic(new)
    p_value = measure.paired_p_value(each.statistic, old, new)
    return Difference(
        old=_known(values[0]),
        new=_known(values[1]),
        difference=_known(values[1] - values[0]),
        p_value=_known(p_value),
        significant=p_value < SIGNIFICANT,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _read_evaluation(path: Path) -> Evaluation:
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise EvaluationError(f"{path} is not what `onrecord eval --json` prints: {reason(error)}") from error


def figure_rows(run: Evaluation) -> list[list[str]]:
    """The table that people read: headings first, then a row for each measure."""
    return [
        _headings(run.measures),
        *([name, *map(_figure_cell, cells.values())] for name, cells in run.measures.items()),
    ]


def difference_rows(comparison: Comparison) -> list[list[str]]:
    """The same for the differences; a star marks the significant ones."""
    rows = ([name, *map(_difference_cell, cells.values())] for name, cells in comparison.measures.items())
    return [_headings(comparison.measures), *rows]


def _headings(measures: Mapping[str, Mapping[str, object]]) -> list[str]:
    return ["measure", *next(iter(measures.values()))]


def _figure_cell(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]")


def _difference_cell(difference: Difference) -> str:
    if difference.difference is None:
        return "–"
    return f"{difference.difference:+.3f}" + (" *" if difference.significant else "")
