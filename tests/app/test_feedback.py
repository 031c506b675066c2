from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from app.answer import Answer
from app.api import create_app
from app.cases import NOT_NONE, NOT_THIS, eval_case
from app.cli import main
from app.database import ROOM
from app.feedback import UNRATED_DAYS, UNRATED_KEPT, Feedback, FeedbackError, Rated
from app.question_set import read_questions
from app.settings import Settings
from index.embed import Embedder
from index.snapshot import current_folder

QUESTION = "what did Beykpour say about OKRs?"
DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "feedback.sqlite"


@pytest.fixture
def client(sample_index: Path, path: Path, embedder: Embedder) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(sample_index, path), embedder)) as client:
        yield client


def settings_of(index: Path, path: Path) -> Settings:
    return Settings(index_dir=index, feedback=str(path), conversations=":memory:", min_confidence=0.0)


def ask(client: TestClient) -> dict[str, Any]:
    return client.post("/v1/ask", json={"question": QUESTION}).json()


def rate(client: TestClient, answer_id: str, rating: str = "up", **fields: Any) -> Any:
    return client.post("/v1/feedback", json={"answer_id": answer_id, "rating": rating, **fields})


def rows(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM answer ORDER BY number")]


def age(path: Path, days: float) -> None:
    """What a clock does: everything happened so much earlier."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE answer SET given = given - ?, rated = rated - ?", (days * DAY, days * DAY))


def kept(feedback: Feedback, number: int) -> str:
    answer_id = f"answer {number}"
    feedback.remember("Why?", "snapshot", Answer("answered", "So.", answer_id))
    return answer_id


def test_feedback_is_kept_with_what_it_is_about(client: TestClient, path: Path, sample_index: Path) -> None:
    answer = ask(client)
    response = rate(client, answer["id"], "down", comment="  not what I meant ")
    assert response.status_code == 201
    [row] = rows(path)
    assert response.json() == {"id": row["feedback"]}
    assert (row["rating"], row["comment"]) == ("down", "not what I meant")
    assert (row["question"], row["text"], row["status"]) == (QUESTION, answer["answer"], "answered")
    assert (row["answerer"], row["model"], row["confidence"]) == ("quotes", None, answer["confidence"])
    assert json.loads(row["citations"]) == answer["citations"]
    assert row["snapshot"] == current_folder(sample_index).name


def test_a_second_rating_takes_the_place_of_the_first(client: TestClient, path: Path) -> None:
    answer_id = ask(client)["id"]
    first = rate(client, answer_id, "down", comment="too short").json()
    assert rate(client, answer_id, "up").json() == first
    [row] = rows(path)
    assert (row["rating"], row["comment"]) == ("up", None)


def test_a_streamed_answer_can_be_rated_as_soon_as_it_is_whole(client: TestClient) -> None:
    with client.stream("POST", "/v1/ask", json={"question": QUESTION, "stream": True}) as response:
        data = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert rate(client, json.loads(data[-1])["id"]).status_code == 201


def test_what_was_answered_before_a_restart_can_be_rated_after_it(
    client: TestClient, path: Path, sample_index: Path, embedder: Embedder
) -> None:
    answer_id = ask(client)["id"]
    with TestClient(create_app(settings_of(sample_index, path), embedder)) as restarted:
        assert rate(restarted, answer_id).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"answer_id": "no such answer", "rating": "up"}, 404, "no such answer"),
        ({"answer_id": "x", "rating": "meh"}, 422, "rating"),
        ({"answer_id": "x", "rating": "up", "comment": "x" * 2001}, 422, "comment"),
        ({"answer_id": "", "rating": "up"}, 422, "answer_id"),
        ({"rating": "up"}, 422, "answer_id"),
        ({"answer_id": "x", "rating": "up", "stars": 5}, 422, "stars"),
    ],
)
def test_what_cannot_be_kept_is_refused(client: TestClient, body: dict[str, Any], status: int, named: str) -> None:
    response = client.post("/v1/feedback", json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert named in response.json()["detail"]


def test_a_form_of_another_site_is_no_feedback(client: TestClient) -> None:
    form = json.dumps({"answer_id": ask(client)["id"], "rating": "up"})
    assert client.post("/v1/feedback", content=form, headers={"Content-Type": "text/plain"}).status_code == 415


def test_an_answer_that_nobody_rates_is_forgotten(path: Path) -> None:
    with closing(Feedback(str(path), 365)) as feedback:
        unrated, rated = kept(feedback, 1), kept(feedback, 2)
        assert feedback.rate(rated, "up", None)
        age(path, UNRATED_DAYS + 0.1)
        assert feedback.rate(unrated, "up", None) is None
        assert feedback.rate(rated, "up", None)
        assert [row["id"] for row in rows(path)] == [rated]


def test_only_so_many_answers_wait_for_feedback(path: Path) -> None:
    with closing(Feedback(str(path), 365)) as feedback:
        rated, oldest, _ = (kept(feedback, number) for number in range(3))
        assert feedback.rate(rated, "up", None)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO answer SELECT NULL, 'answer ' || i, given, snapshot, question, understood, status, text,"
                " citations, answerer, model, confidence, NULL, NULL, NULL, NULL FROM n JOIN answer a"
                " WHERE a.id = 'answer 2'",
                (UNRATED_KEPT + ROOM,),
            )
        assert feedback.rate(rated, "down", None)
        assert oldest in {row["id"] for row in rows(path)}
        newest = kept(feedback, UNRATED_KEPT + ROOM + 1)
        assert feedback.rate(rated, "down", None)
        left = {row["id"] for row in rows(path)}
        assert len(left) == UNRATED_KEPT + 1
        assert rated in left
        assert newest in left
        assert oldest not in left


@pytest.mark.parametrize(("days", "left"), [(30, 0), (0, 1)])
def test_feedback_is_forgotten_after_its_days_unless_there_are_none(path: Path, days: float, left: int) -> None:
    with closing(Feedback(str(path), days)) as feedback:
        assert feedback.rate(kept(feedback, 1), "up", "words to forget")
    age(path, 31)
    Feedback(str(path), days).close()
    assert len(rows(path)) == left
    held = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert (b"words to forget" in held) == bool(left)


def test_the_file_is_its_owners_alone(path: Path) -> None:
    with closing(Feedback(str(path), 1)) as feedback:
        kept(feedback, 1)
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_file_of_something_else_is_refused_and_its_setting_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear diary, this is no database, though it is long enough to be one." * 20)
    before = path.read_bytes()
    with pytest.raises(FeedbackError, match="ONRECORD_FEEDBACK"):
        Feedback(str(path), 1)
    assert path.read_bytes() == before


def test_a_file_that_breaks_harms_no_answer(client: TestClient, path: Path) -> None:
    answer_id = ask(client)["id"]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE answer")
    assert ask(client)["status"] == "answered"
    response = rate(client, answer_id)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert "feedback.sqlite" not in response.text


def test_any_text_can_be_kept(path: Path) -> None:
    with closing(Feedback(str(path), 1)) as feedback:
        feedback.remember("\udcff?", "snapshot", Answer("no_answer", "\x00\udcff", "a"))
        assert feedback.rate("a", "down", "\x00") is not None


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Run:
    """The command line, with the feedback of these tests."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ran:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *self._capsys.readouterr())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: Path, sample_index: Path) -> Run:
    monkeypatch.setenv("ONRECORD_FEEDBACK", str(path))
    monkeypatch.setenv("ONRECORD_INDEX_DIR", str(sample_index))
    monkeypatch.setenv("ONRECORD_MIN_CONFIDENCE", "0")
    return Run(capsys)


def cited(start: float | None, end: float | None, source: str = "talk", speaker: str | None = "Ann Lee") -> Any:
    place = {"start": start, "end": end, "locator": None, "source": {"id": source, "title": "Talk"}}
    return {"quote": "So it was.", "speaker": speaker, **place}


def rated(rating: str = "up", status: str = "answered", *citations: Any, **fields: Any) -> Rated:
    values: dict[str, Any] = {
        **{"id": "f1", "given": 0.0, "snapshot": "s", "question": "what did Lee say about oaks?", "understood": None},
        **{"status": status, "text": "So. [1]", "citations": json.dumps(citations), "answerer": "quotes"},
        **{"model": None, "confidence": 0.5, "rating": rating, "comment": None},
    }
    return Rated(**(values | fields))


def test_what_a_good_answer_cites_is_gold() -> None:
    case = eval_case(rated("up", "answered", cited(60.0, 72.5), cited(9.0, None), cited(60.0, 72.5)))
    assert (case.id, case.source, case.speaker, case.answerable) == ("f1", "talk", "Ann Lee", True)
    # What starts at 72.5 is the next thing said.
    assert [(gold.start, gold.end) for gold in case.gold] == [(9.0, 9.0), (60.0, 72.499)]
    assert (case.split, case.review) == ("up", None)


@pytest.mark.parametrize(
    ("citations", "source", "speaker"),
    [
        ([cited(1.0, 2.0), cited(1.0, 2.0, source="other")], None, None),
        ([cited(None, None)], "talk", "Ann Lee"),
        ([cited(None, None), cited(None, None, speaker="Bob Lee")], "talk", None),
        ([cited(None, None, speaker=None)], "talk", None),
        ([cited(None, None, speaker="Bob Ray")], "talk", None),
        ([], None, None),
    ],
)
def test_what_cannot_be_told_from_citations_is_left_out(
    citations: list[Any], source: str | None, speaker: str | None
) -> None:
    case = eval_case(rated("up", "answered", *citations))
    assert (case.source, case.speaker, case.gold, case.answerable) == (source, speaker, (), True)


def test_what_a_bad_answer_should_have_been_is_for_a_person_to_say() -> None:
    bad = eval_case(rated("down", "answered", cited(60.0, 72.5), comment="no!"))
    assert (bad.source, bad.gold, bad.answerable, bad.review, bad.comment) == (None, (), True, NOT_THIS, "no!")
    missed = eval_case(rated("down", "no_answer"))
    assert (missed.gold, missed.answerable, missed.review) == ((), True, NOT_NONE)
    right = eval_case(rated("up", "no_answer"))
    assert (right.answerable, right.review) == (False, None)


def test_a_follow_up_is_exported_as_it_was_understood() -> None:
    case = eval_case(rated(question="and about elms?", understood="what did Lee say about elms?"))
    assert (case.question, case.asked) == ("what did Lee say about elms?", "and about elms?")
    far_too_long = eval_case(rated(question="and about elms?", understood="what? " * 1000))
    assert (far_too_long.question, far_too_long.asked) == ("and about elms?", None)


def test_what_is_exported_can_be_measured(client: TestClient, run: Run, tmp_path: Path) -> None:
    good, bad = ask(client), client.post("/v1/ask", json={"question": "what is the product death cycle?"}).json()
    conversation = {
        "question": "and what did he say about jobs-to-be-done?",
        "conversation_id": good["conversation_id"],
    }
    follow_up = client.post("/v1/ask", json=conversation).json()
    ask(client)  # unrated
    rate(client, good["id"])
    rate(client, bad["id"], "down", comment="says \x1b[31mnothing\u2028\x9b1m")
    rate(client, follow_up["id"])
    ran = run("feedback", "export")
    assert (ran.code, ran.err) == (0, "3 questions, 1 of them to review\n")
    assert not set("\x1b\x9b\u2028") & set(ran.out)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert lines[1]["comment"] == "says \x1b[31mnothing\u2028\x9b1m"
    assert "Beykpour" in lines[2]["question"]
    assert lines[2]["asked"] == conversation["question"]
    assert json.loads(run("feedback", "export", "--json").out) == {"questions": lines}
    file = tmp_path / "feedback.jsonl"
    file.write_text(ran.out)
    first, second, _ = read_questions(file).values()
    assert (first.source, first.speaker, first.gold[0].start) == ("kayvon-beykpour-insights", "Kayvon Beykpour", 2954.0)
    assert (second.answerable, second.gold) == (True, ())
    evaluated = run("eval", file, "--json")
    assert evaluated.code == 0, evaluated.err
    measures = json.loads(evaluated.out)["measures"]
    assert measures["citation_precision"]["up"]["questions"] == 2
    assert measures["citation_hit"]["up"]["value"] == 1.0
    assert measures["answered_answerable"]["down"]["questions"] == 1


def test_purging_leaves_nothing_behind(path: Path, run: Run) -> None:
    with closing(Feedback(str(path), 365)) as feedback:
        old = kept(feedback, 1)
        assert feedback.rate(old, "up", "old words")
        age(path, 3)
        assert feedback.rate(kept(feedback, 2), "down", "new words")
        kept(feedback, 3)
        today = date.today()
        before = run("feedback", "purge", "--before", (today - timedelta(days=1)).isoformat(), "--json")
        assert (before.code, json.loads(before.out)) == (0, {"deleted": 1, "rated": 1})
        assert [row["id"] for row in rows(path)] == ["answer 2", "answer 3"]
        assert b"old words" not in b"".join(file.read_bytes() for file in path.parent.iterdir())
        everything = run("feedback", "purge", "--all")
        assert (everything.code, everything.out) == (0, "2 answers deleted, 1 of them rated\n")
        assert rows(path) == []
        assert b"new words" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_day_begins_at_midnight_where_one_is(path: Path, run: Run) -> None:
    midnight = datetime.combine(date.today(), time())
    with closing(Feedback(str(path), 0)) as feedback:
        for number, seconds in enumerate((-1, 0, 1)):
            kept(feedback, number)
            with closing(sqlite3.connect(path)) as db, db:
                given = midnight.timestamp() + seconds
                db.execute("UPDATE answer SET given = ? WHERE id = ?", (given, f"answer {number}"))
    assert run("feedback", "purge", "--before", midnight.date().isoformat()).code == 0
    assert [row["id"] for row in rows(path)] == ["answer 1", "answer 2"]


@pytest.mark.parametrize(
    "arguments",
    [["purge"], ["purge", "--all", "--before", "2026-01-01"], ["purge", "--before", "yesterday"], [], ["import"]],
)
def test_what_to_delete_must_be_said(run: Run, path: Path, arguments: list[str]) -> None:
    with closing(Feedback(str(path), 365)) as feedback:
        kept(feedback, 1)
    ran = run("feedback", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert len(rows(path)) == 1


def test_where_there_is_no_feedback_none_is_made(run: Run, path: Path) -> None:
    for command in (["export"], ["purge", "--all"]):
        ran = run("feedback", *command)
        assert ran.code == 0
        assert str(path) in ran.err
    assert json.loads(run("feedback", "export", "--json").out) == {"questions": []}
    assert not path.exists()


def test_a_file_of_something_else_fails_and_stays(run: Run, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear diary, " * 200)
    ran = run("feedback", "purge", "--all", "--json")
    assert ran.code == 1
    assert "ONRECORD_FEEDBACK" in json.loads(ran.out)["error"]
    assert path.read_text() == "Dear diary, " * 200
