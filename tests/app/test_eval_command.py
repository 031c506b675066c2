from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.cli import main
from app.evaluate import Comparison, Corpus, difference_rows, look_up
from app.question_set import EvaluationError, Question, read_questions
from app.settings import Settings
from index.embed import Embedder
from index.search import Index
from tests.asking import answer

INSIGHTS = "kayvon-beykpour-insights"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, sample_index: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONRECORD_INDEX_DIR", str(sample_index))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main(["eval", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: dict[str, object] | str, name: str = "questions.jsonl") -> Path:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts))
        return path

    return write


def asked(number: str, question: str, **fields: object) -> dict[str, object]:
    return {"id": number, "question": question, "answerable": True, "source": INSIGHTS, **fields}


OKRS = asked(
    "okrs",
    "what did Beykpour say about OKRs?",
    speaker="Kyvon Bakepour",
    gold=[{"start": 2954, "end": 2954}],
    split="first",
    domain="no field of ours",
)
NOTES = asked("notes", "what is the product death cycle?", source="ESCAPING-the-build-trap-notes", split="second")
SHIPS = asked(
    "ships", "how are wooden ships caulked with oakum and pitch?", answerable=False, split="second", kind="off-topic"
)
COWS = asked("cows", "which breed of dairy cows gives most milk?", answerable=False, source=None, kind="off-topic")


OLD: dict[str, object] = {
    "file": "questions.jsonl",
    "snapshot": "before",
    "open": False,
    "top_k": 30,
    "questions": 1,
    "measures": {},
    "results": [{"id": "okrs", "status": "answered", "noted": {"answerable": 1, "abstained": 0, "recall@1000w": 0.25}}],
}


def json_of(ran: Ran) -> Any:
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_measures_by_split_and_over_all(run: Run, write: Write) -> None:
    found = json_of(run(write(OKRS, NOTES, "", SHIPS, COWS), "--json"))
    assert (found["questions"], found["open"], found["top_k"], found["comparison"]) == (4, False, 30, None)
    assert [result["id"] for result in found["results"]] == ["okrs", "notes", "ships", "cows"]
    measures = found["measures"]
    assert {frozenset(cells) for cells in measures.values()} == {frozenset({"first", "second", "all"})}
    assert all(
        (cell["low"] is None) == (cell["value"] is None) or name.startswith(("auroc", "abstention"))
        for name, cells in measures.items()
        for cell in cells.values()
    )
    for name in ("recall@500w", "hit@1", "speaker_precision", "citation_hit"):
        assert measures[name]["all"] == {"value": 1, "low": 1, "high": 1, "questions": 1}, name
        assert measures[name]["second"] == {"value": None, "low": None, "high": None, "questions": 0}
    assert 0 < measures["precision@500w"]["first"]["value"] < 0.5
    assert measures["time_error_p50_s"]["all"]["value"] == 0
    for name in ("check_quote", "check_speaker", "check_time", "check_markers"):
        assert measures[name]["all"]["value"] == 1, name
    assert measures["check_no_answer"]["second"] == {"value": 1, "low": 1, "high": 1, "questions": 1}
    assert measures["abstention_recall"]["all"]["value"] == 1
    assert measures["abstention_recall"]["first"]["value"] is None
    assert measures["answered_answerable"]["all"]["value"] == 1
    assert measures["auroc"]["all"]["value"] == measures["auroc, off-topic"]["all"]["value"] == 1
    assert 0 < measures["search_p50_ms"]["all"]["value"] <= measures["search_p99_ms"]["all"]["value"]
    assert measures["answer_p99_ms"]["all"]["questions"] == 4


def test_open_questions_are_asked_of_everything(run: Run, write: Write) -> None:
    traps = asked("traps", "what is a build trap?", gold=[{"start": 0, "end": 1e6}])  # all of that source
    filtered = json_of(run(write(traps), "--json"))["results"][0]["noted"]
    assert filtered["precision@500w"] > 0.9  # but for an introduction without a time
    assert filtered["mrr"] == 1
    found = json_of(run(write(traps), "--open", "--json"))
    assert found["open"] is True
    noted = found["results"][0]["noted"]
    assert noted["precision@500w"] < 0.9
    assert noted["mrr"] < 1  # the notes on that very book come first, where they may


def test_a_table_for_people(run: Run, write: Write) -> None:
    old = write(OLD, name="old.json")
    ran = run(write(OKRS, SHIPS), "--top-k", "5", "--compare", old)
    assert (ran.code, ran.err) == (0, "")
    figures, differences = ran.out.split("\n\n")
    rows = [line.split("\t") for line in figures.splitlines()]
    assert rows[0] == ["measure", "first", "second", "all"]
    cells = {row[0]: row[1:] for row in rows[1:]}
    assert cells["recall@1000w"] == ["1.000 [1.000, 1.000]", "–", "1.000 [1.000, 1.000]"]
    assert cells["abstention_f1"] == ["–", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]"]
    assert differences.splitlines()[0] == "measure\tfirst\tall"
    assert "\nrecall@1000w\t+0.750\t+0.750\n" in differences  # one question proves nothing: no star


def test_without_splits_there_is_one_column(run: Run, write: Write) -> None:
    ran = run(write({"id": "1", "question": "What is a build trap?", "answerable": True}))
    assert ran.out.splitlines()[0] == "measure\tall"


def test_differences_from_an_earlier_run(run: Run, write: Write, tmp_path: Path) -> None:
    many = [{**OKRS, "id": f"{n}", "split": None} for n in range(12)]
    old = tmp_path / "old.json"
    old.write_text(run(write(*many), "--json").out)
    same = json_of(run(write(*many), "--compare", old, "--json"))["comparison"]
    assert (same["file"], same["questions"]) == (str(old), 12)
    assert same["measures"]["recall@500w"]["all"] == {
        "old": 1,
        "new": 1,
        "difference": 0,
        "p_value": 1,
        "significant": False,
    }
    worse = json.loads(old.read_text())
    for result in worse["results"]:
        result["noted"]["citation_hit"] = 0.0
    worse["results"] = worse["results"][1:]
    old.write_text(json.dumps(worse))
    document = json_of(run(write(*many), "--compare", old, "--json"))
    better = document["comparison"]
    assert better["questions"] == 11
    difference = better["measures"]["citation_hit"]["all"]
    assert (difference["old"], difference["new"], difference["difference"]) == (0, 1, 1)
    assert difference["p_value"] < 0.01
    assert difference["significant"] is True
    assert better["measures"]["auroc"]["all"]["difference"] is None
    rows = dict(difference_rows(Comparison.model_validate(better)))
    assert rows["measure"] == "all"
    assert rows["citation_hit"] == "+1.000 *"
    assert rows["mrr"] == "+0.000"
    assert rows["auroc"] == "–"


def test_a_false_citation_is_found_out(sample_index: Path, embedder: Embedder) -> None:
    index = Index.open(sample_index, embedder)
    settings = Settings(min_confidence=0)
    [citation, *_] = answer(index, settings, "what did Beykpour say about OKRs?", source=INSIGHTS).citations
    [elsewhere, *_] = answer(index, settings, "what is the product death cycle?").citations
    corpus = Corpus(index.store)
    found = look_up(corpus, citation)
    assert (found.source, found.speaker, found.checks) == (INSIGHTS, "Kayvon Beykpour", (True, True, True))
    assert len(found.words) == len(set(found.words)) > 20
    assert citation.start is not None
    false = {
        "quote": (citation.quote.replace("OKRs", "KPIs"), (False, False, False)),
        "passage_id": (elsewhere.passage_id, (False, False, False)),
        "speaker": ("Harry Stebbings", (True, False, True)),
        "start": (citation.start + 1, (True, True, False)),
        "timestamp": ("0:00", (True, True, False)),
    }
    for field, (value, checks) in false.items():
        assert look_up(corpus, replace(citation, **{field: value})).checks == checks, field
    made_up = look_up(corpus, replace(citation, quote="never said by anybody"))
    assert (made_up.words, made_up.speaker) == ([None] * 4, None)
    index.close()


def test_the_documented_lines_are_read() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    lines = [line for line in readme.read_text().splitlines() if line.startswith('{"id"')]
    questions = [Question.model_validate_json(line) for line in lines]
    assert [(question.source, question.answerable) for question in questions] == [
        ("interview", True),
        ("interview", False),
    ]


GOOD = json.dumps(OKRS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "x", ', "is not valid JSON: EOF while parsing"),
        ("[]", "Input should be an object"),
        ('{"id": "x", "answerable": true}', "question: Field required"),
        (json.dumps(asked("x", "  ")), "question: must not be blank"),
        (json.dumps(asked("x", "what?", answerable="yes")), "answerable: Input should be a valid boolean"),
        (json.dumps(asked("x", "what?", gold=[{"start": 1}])), "gold.0.end: Field required"),
        (json.dumps(asked("x", "what?", gold=[{"start": 2, "end": 1}])), "gold.0: end must not be before start"),
        (json.dumps(asked("x", "what?", gold=[{"start": -1, "end": 1}])), "gold.0.start: Input should be greater"),
        (GOOD, "id: 'okrs' is the id of line 1 too"),
        (json.dumps(asked("x", "what?", source="elsewhere")), "source: the index holds no 'elsewhere'"),
        (json.dumps({**OKRS, "id": "x", "source": None}), "source: must be there"),
        (json.dumps({**OKRS, "id": "x", "speaker": "Nobody"}), "speaker: nobody called 'Nobody' speaks in"),
        (json.dumps({**OKRS, "id": "x", "gold": [{"start": 9e6, "end": 9e6}]}), "gold: no words of"),
    ],
)
def test_a_bad_line_is_named_with_its_field(run: Run, write: Write, line: str, reason: str) -> None:
    path = write(GOOD, "", line)
    ran = run(path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"onrecord: {path}:3: {reason}")


def test_a_file_that_cannot_be_used(run: Run, write: Write, tmp_path: Path) -> None:
    missing = run(tmp_path / "none.jsonl")
    assert (missing.code, missing.out) == (2, "")
    assert "none.jsonl" in missing.err
    assert run(write(GOOD), "--compare", tmp_path / "none.json").code == 2
    assert run(write(GOOD), "--top-k", "0").code == 2
    assert run(write(GOOD), "--index", tmp_path).code == 3
    empty = run(write("", " "))
    assert (empty.code, "holds no question" in empty.err) == (1, True)
    other = write('{"file": 1}', name="old.json")
    told = run(write(GOOD), "--compare", other)
    assert (told.code, f"{other} is not what `onrecord eval --json` prints: file: " in told.err) == (1, True)
    old = tmp_path / "old.json"
    old.write_text(run(write(GOOD), "--json").out)
    strange = run(write(NOTES), "--compare", old)
    assert (strange.code, "none of its questions is asked here" in strange.err) == (1, True)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b'\r\n{"id": "\xff"}\n')
    with pytest.raises(EvaluationError, match=r"questions\.jsonl:2: is not valid JSON"):
        read_questions(path)
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n")
    assert [(line, question.id) for line, question in read_questions(path).items()] == [(1, "okrs")]
