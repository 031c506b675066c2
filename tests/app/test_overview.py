from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.api import create_app
from app.overview import OverviewResponse, look_over
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder
from index.search import Index
from ingest.limits import Limits

Look = Callable[..., OverviewResponse]
TALK = (
    "Ann Lee (00:00:10):\nThe pricing page was the first thing we changed. The pricing page had nine plans, and nobody"
    " read them.\n\nBob Ray (00:01:00):\nI would have kept the free trial. The free trial brought us the schools.\n\n"
    "Ann Lee (00:02:30):\nThe pricing page is short now, and people trust it.\n"
)


@pytest.fixture
def look(tmp_path: Path, embedder: Embedder) -> Look:
    """Looks over a corpus of the texts given by file name."""

    def look(**files: str) -> OverviewResponse:
        corpus, folder = tmp_path / "corpus", tmp_path / "snapshots"
        corpus.mkdir()
        for name, text in files.items():
            (corpus / f"{name}.txt").write_text(text)
        assert not ingest([corpus], folder, embedder, Limits()).errors
        with closing(Index.open(folder, embedder)) as index:
            return look_over(index, Settings(index_dir=folder))

    return look


@pytest.fixture
def client(sample_index: Path, tmp_path: Path, embedder: Embedder) -> Iterator[TestClient]:
    settings = Settings(index_dir=sample_index, feedback=":memory:", conversations=":memory:")
    with TestClient(create_app(settings, embedder)) as client:
        yield client


def test_every_question_is_answered_by_whom_it_asks(client: TestClient) -> None:
    overview = client.get("/v1/overview").json()
    assert (overview["sources"], overview["speakers"]) == (3, 5)
    assert len(set(overview["questions"])) == 4
    speakers = [each["name"] for each in client.get("/v1/speakers").json()["speakers"]]
    for question in overview["questions"]:
        answer = client.post("/v1/ask", json={"question": question}).json()
        assert answer["status"] == "answered"
        assert answer["reading"] is None
        [asked] = [name for name in speakers if name in question]
        assert {citation["speaker"] for citation in answer["citations"]} == {asked}
    assert client.get("/v1/overview").json() == overview


def test_the_questions_are_about_what_each_comes_back_to(look: Look) -> None:
    found = look(talk=TALK)
    assert found.questions[:2] == [
        "What did Ann Lee say about the pricing page?",
        "What did Bob Ray say about the free trial?",
    ]


def test_time_is_that_of_transcripts_that_have_a_clock(look: Look) -> None:
    notes = (
        'Ann Lee\n\nAnn Lee ran a shop.\n\nGrowth\n\nShort pages sell.\n\n"The pricing page is short now."\n01:00:00\n'
    )
    assert look(talk=TALK, notes=notes).seconds == 140


def test_without_a_clock_there_is_no_time(look: Look) -> None:
    assert look(talk="Ann Lee: Tea is grown in the hills.\n\nBob Ray: Not any more.\n").seconds is None


def test_labels_become_what_people_are_called(look: Look) -> None:
    found = look(
        talk=TALK.replace("Ann Lee", "Hon. Ann Lee (Minister of Health)").replace("Bob Ray", "Project Manager")
    )
    assert found.questions[:2] == [
        "What did Ann Lee say about the pricing page?",
        "What did the Project Manager say about the free trial?",
    ]


def test_nobody_is_asked_for_by_number(look: Look) -> None:
    found = look(talk=TALK.replace("Ann Lee", "Speaker 1").replace("Bob Ray", "Speaker 2"))
    assert "What is said about the pricing page?" in found.questions
    assert not any("Speaker" in question for question in found.questions)


def test_words_that_mean_nothing_make_no_question(look: Look) -> None:
    assert (
        look(talk="Ann Lee (00:00:01):\nYeah, well, you know.\n\nBob Ray (00:00:04):\nI think so too.\n").questions
        == []
    )


def test_before_there_is_an_index_there_is_nothing_to_look_over(tmp_path: Path, embedder: Embedder) -> None:
    with TestClient(create_app(Settings(index_dir=tmp_path), embedder)) as client:
        response = client.get("/v1/overview")
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"


def test_a_newer_snapshot_is_looked_over_anew(tmp_path: Path, embedder: Embedder) -> None:
    corpus, folder = tmp_path / "corpus", tmp_path / "snapshots"
    corpus.mkdir()
    (corpus / "talk.txt").write_text(TALK)
    ingest([corpus], folder, embedder, Limits())
    with TestClient(create_app(Settings(index_dir=folder, reload_seconds=0.01), embedder)) as client:
        assert client.get("/v1/overview").json()["sources"] == 1
        (corpus / "other.txt").write_text("Cy Orr (00:00:01):\nThe harbour was shut. The harbour was open by May.\n")
        newer = ingest([corpus], folder, embedder, Limits())
        while newer.snapshot not in client.get("/readyz").text:
            pass
        overview = client.get("/v1/overview").json()
        assert overview["sources"] == 2
        assert "What did Cy Orr say about the harbour?" in overview["questions"]
