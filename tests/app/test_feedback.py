from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.answer import Answer
from app.api import create_app
from app.feedback import UNRATED_DAYS, UNRATED_KEPT, Feedback, FeedbackError
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
        rated, oldest, second = (kept(feedback, number) for number in range(3))
        assert feedback.rate(rated, "up", None)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO answer SELECT NULL, 'answer ' || i, given, snapshot, question, understood, status, text,"
                " citations, answerer, model, confidence, NULL, NULL, NULL, NULL FROM n JOIN answer a"
                " WHERE a.id = 'answer 2'",
                (UNRATED_KEPT + 1,),
            )
        assert feedback.rate(rated, "down", None)
        left = {row["id"] for row in rows(path)}
        assert len(left) == UNRATED_KEPT + 1
        assert rated in left
        assert second in left
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
