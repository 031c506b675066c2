from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.api import SEARCHES_AT_ONCE, create_app
from app.settings import Settings
from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits
from tests.held import Held

CITATION = {
    *(
        "marker",
        "quote",
        "speaker",
        "attribution",
        "start",
        "end",
        "timestamp",
        "locator",
        "url",
        "passage_id",
        "source",
        "turn",
        "offset",
        "question",
        "asked_by",
    ),
}
SOURCE = {"id", "title", "kind", "url", "date"}
LISTED = SOURCE | {"speakers", "turns", "passages"}


@pytest.fixture(scope="module")
def app(sample_index: Path, embedder: Embedder) -> FastAPI:
    """An app that answers whatever it is asked: how sure is sure enough is not what is tested here."""
    return create_app(Settings(index_dir=sample_index, min_confidence=0.0), embedder)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def ask(client: TestClient, question: str, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/ask", json={"question": question, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in response.text
    return body


def test_an_answer_has_the_fields_of_the_contract(client: TestClient) -> None:
    given = ask(client, "what did Beykpour say about OKRs?", conversation_id="chat-7")
    assert given.keys() == {
        *("status", "answer", "conversation_id", "citations", "answerer", "model", "degraded", "took_ms"),
        *("near_misses", "reading", "confidence", "id"),
    }
    assert (given["status"], given["conversation_id"], given["answerer"]) == ("answered", "chat-7", "quotes")
    first = given["citations"][0]
    assert first.keys() == CITATION
    assert first["source"].keys() == SOURCE
    assert first["quote"].startswith("If the only way the organization is trained to think about what to build")
    assert (first["speaker"], first["attribution"]) == ("Kayvon Beykpour", "stated")
    assert (first["start"], first["timestamp"], first["marker"]) == (2954.0, "49:14", 1)
    assert set(re.findall(r"\[(\d+)\]", given["answer"])) == {str(c["marker"]) for c in given["citations"]}
    assert 0 <= given["confidence"] <= 1


def test_an_answer_that_is_none_cites_nothing(sample_index: Path, embedder: Embedder) -> None:
    with TestClient(create_app(Settings(index_dir=sample_index, min_confidence=1.0), embedder)) as client:
        given = ask(client, "what is the product death cycle?")
    assert (given["status"], given["citations"]) == ("no_answer", [])
    assert given["conversation_id"]
    assert given["near_misses"]
    for miss in given["near_misses"]:
        assert miss.keys() == CITATION


def test_the_words_cited_stand_in_the_passage_cited(client: TestClient) -> None:
    question = "why did Periscope fail?"
    passages = client.post("/v1/search", json={"query": question, "top_k": 100}).json()["passages"]
    turns = {passage["id"]: [turn["text"] for turn in passage["turns"]] for passage in passages}
    cited = ask(client, question)["citations"]
    assert cited
    for citation in cited:
        assert any(citation["quote"] in text for text in turns[citation["passage_id"]])


def test_a_search_has_the_fields_of_the_contract(client: TestClient) -> None:
    response = client.post("/v1/search", json={"query": "OKRs", "top_k": 3})
    found = response.json()
    assert found.keys() == {"query", "took_ms", "passages"}
    assert (found["query"], found["took_ms"] > 0) == ("OKRs", True)
    assert [passage["rank"] for passage in found["passages"]] == [1, 2, 3]
    for passage in found["passages"]:
        assert passage.keys() == {
            *(
                "id",
                "rank",
                "score",
                "text",
                "speakers",
                "start",
                "end",
                "timestamp",
                "locator",
                "url",
                "source",
                "turns",
            ),
        }
        assert passage["source"].keys() == SOURCE
        for turn in passage["turns"]:
            assert turn.keys() == {"speaker", "start", "end", "text"}
        assert passage["text"] == "\n".join(turn["text"] for turn in passage["turns"])
        assert passage["start"] == passage["turns"][0]["start"]
    scores = [passage["score"] for passage in found["passages"]]
    assert scores == sorted(scores, reverse=True)


def test_filters_hold(client: TestClient) -> None:
    body = {"query": "customers", "speaker": "bezos", "top_k": 50}
    by_speaker = client.post("/v1/search", json=body).json()["passages"]
    assert by_speaker
    assert all("Jeff Bezos" in passage["speakers"] for passage in by_speaker)
    body = {"query": "customers", "source": "kayvon-beykpour-insights", "top_k": 50}
    by_source = client.post("/v1/search", json=body).json()["passages"]
    assert {passage["source"]["id"] for passage in by_source} == {"kayvon-beykpour-insights"}
    given = ask(client, "customers", source="escaping-the-build-trap-notes", speaker="Jeff Bezos")
    assert {citation["speaker"] for citation in given["citations"]} <= {"Jeff Bezos"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/ask", {}, "question"),
        ("/v1/ask", {"question": "  "}, "question"),
        ("/v1/ask", {"question": "x" * 4001}, "question"),
        ("/v1/ask", {"question": 5}, "question"),
        ("/v1/ask", {"question": "x", "top_k": 0}, "top_k"),
        ("/v1/ask", {"question": "x", "stream": "yes"}, "stream"),
        ("/v1/ask", {"question": "x", "colour": "red"}, "colour"),
        ("/v1/ask", {"question": "x", "speaker": "Nobody Whatsoever"}, "speaker"),
        ("/v1/ask", ["x"], "body"),
        ("/v1/ask", {f"field {number}": "x" for number in range(101)}, "body"),
        ("/v1/feedback", {f"field {number}": "x" for number in range(101)}, "body"),
        ("/v1/search", {"query": ""}, "query"),
        ("/v1/search", {"query": "x", "top_k": 101}, "top_k"),
        ("/v1/search", {"query": "x", "source": "no-such-source"}, "source"),
    ],
)
def test_bad_fields_are_named(client: TestClient, path: str, body: object, field: str) -> None:
    found = problem(client.post(path, json=body), 422)
    assert [error["field"] for error in found["errors"]] == [field]
    assert found["errors"][0]["message"] in found["detail"]


@pytest.mark.parametrize(
    "body",
    [b'{"question": ', b"\xff\xfe{}", b"[" * 9_000, b'{"question": "x", "top_k": ' + b"9" * 5000 + b"}", b"question"],
)
def test_what_is_not_json_is_a_bad_request(client: TestClient, body: bytes) -> None:
    found = problem(client.post("/v1/ask", content=body, headers={"Content-Type": "application/json"}), 400)
    assert [error["field"] for error in found["errors"]] == ["body"]


def test_strange_text_is_no_server_error(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    surrogate = problem(client.post("/v1/ask", content=rb'{"question": "a \ud800 b"}', headers=headers), 422)
    assert surrogate["errors"][0]["field"] == "question"
    for text in (
        "OKRs \x00 and \x1b[31m",
        "🦜" * 2000,
        "\u202eOKRs",
        "a" * 4000,
        '") OR 1=1 --',
        "AND OR NOT +-*(){}[]^~",
    ):
        assert ask(client, text)["status"] in ("answered", "no_answer")
        assert client.post("/v1/search", json={"query": text}).status_code == 200


def test_only_json_is_taken_and_not_too_much(client: TestClient) -> None:
    problem(client.post("/v1/ask", data={"question": "OKRs"}), 415)
    problem(client.post("/v1/ask", content=b'{"question": "OKRs"}'), 415)
    large = b'{"question": "' + b"x" * (1 << 20) + b'"}'
    problem(client.post("/v1/ask", content=large, headers={"Content-Type": "application/json"}), 413)
    piecewise = iter([b" " * 100_000] * 20)
    problem(client.post("/v1/ask", content=piecewise, headers={"Content-Type": "application/json"}), 413)


def test_only_searches_wait_for_searches(sample_index: Path, embedder: Embedder, tmp_path: Path) -> None:
    held = Held(embedder)
    settings = Settings(
        index_dir=sample_index, conversations=str(tmp_path / "conversations"), feedback=str(tmp_path / "feedback")
    )
    with TestClient(create_app(settings, held)) as client, ThreadPoolExecutor(SEARCHES_AT_ONCE + 4) as clients:
        searches = [
            clients.submit(client.post, "/v1/search", json={"query": f"customers {number}"})
            for number in range(SEARCHES_AT_ONCE + 4)
        ]
        try:
            for _ in range(SEARCHES_AT_ONCE):
                assert held.begun.acquire(timeout=60)
            for path in ("/healthz", "/readyz", "/metrics", "/", "/widget.js", "/v1/models"):
                assert client.get(path).status_code == 200
            rated = client.post("/v1/feedback", json={"answer_id": "none", "rating": "up"})
            assert rated.status_code == 404
            assert not held.begun.acquire(blocking=False)
        finally:
            held.may_go_on.set()
        assert {search.result().status_code for search in searches} == {200}


def test_unknown_addresses_and_methods_are_problems(client: TestClient) -> None:
    problem(client.get("/v1/nothing"), 404)
    refused = client.get("/v1/ask")
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"


def test_what_nobody_foresaw_says_nothing_of_its_cause(app: FastAPI, client: TestClient) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret of the house")

    found = problem(client.get("/broken"), 500)
    assert "secret" not in json.dumps(found)


def test_sources_are_listed(client: TestClient) -> None:
    listed = client.get("/v1/sources").json()
    assert listed.keys() == {"sources"}
    assert [source["id"] for source in listed["sources"]] == [
        "20-product-kayvon-beykpour",
        "escaping-the-build-trap-notes",
        "kayvon-beykpour-insights",
    ]
    for source in listed["sources"]:
        assert source.keys() == LISTED
        assert source["turns"] > source["passages"] > 0
    assert "Kayvon Beykpour" in listed["sources"][0]["speakers"]


def test_speakers_are_listed(client: TestClient) -> None:
    speakers = {speaker["name"]: speaker for speaker in client.get("/v1/speakers").json()["speakers"]}
    guest = speakers["Kayvon Beykpour"]
    assert guest.keys() == {"name", "aliases", "turns", "sources"}
    assert "Kyvon Bakepour" in guest["aliases"]
    assert guest["sources"] == ["20-product-kayvon-beykpour", "kayvon-beykpour-insights"]
    assert guest["turns"] > speakers["Jeff Bezos"]["turns"] > 0


def test_a_source_is_shown_whole_or_through_a_window(client: TestClient) -> None:
    address = "/v1/sources/kayvon-beykpour-insights"
    whole = client.get(address).json()
    assert whole.keys() == {"source", "turns"}
    assert whole["source"].keys() == LISTED
    assert [turn["index"] for turn in whole["turns"]] == list(range(whole["source"]["turns"]))
    keys = {"index", "speaker", "start", "end", "timestamp", "locator", "url", "text"}
    assert all(turn.keys() == keys for turn in whole["turns"])
    by_clock = client.get(address, params={"start": 2900, "end": 3000}).json()["turns"]
    assert [turn["timestamp"] for turn in by_clock] == ["49:14"]
    assert by_clock[0] == whole["turns"][by_clock[0]["index"]]
    assert client.get(address, params={"first": 2, "last": 4}).json()["turns"] == whole["turns"][2:5]
    assert client.get(address, params={"first": 2}).json()["turns"] == whole["turns"][2:]
    assert client.get(address, params={"last": 0}).json()["turns"] == whole["turns"][:1]
    assert client.get(address, params={"first": 5000}).json()["turns"] == []
    timed = [turn for turn in whole["turns"] if turn["start"] is not None]
    assert len(timed) < len(whole["turns"]), "a turn without a time is in no window of the clock"
    assert client.get(address, params={"start": 0}).json()["turns"] == timed


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start=5&end=1", "end"),
        ("first=3&last=1", "last"),
        ("first=1&start=3", "first"),
        ("last=1&end=3", "last"),
        ("start=-1", "start"),
        ("start=nan", "start"),
        ("end=soon", "end"),
        ("first=1.5", "first"),
        ("last=99999999999999999999", "last"),
    ],
)
def test_windows_that_make_no_sense_are_refused(client: TestClient, query: str, field: str) -> None:
    found = problem(client.get(f"/v1/sources/kayvon-beykpour-insights?{query}"), 422)
    assert [error["field"] for error in found["errors"]] == [field]


def test_a_source_without_a_clock_is_not_asked_for_seconds(client: TestClient) -> None:
    found = problem(client.get("/v1/sources/escaping-the-build-trap-notes?start=1"), 422)
    assert "use first and last" in found["detail"]
    problem(client.get("/v1/sources/no-such-source"), 404)


def test_probes_and_pages(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert paths.keys() >= {"/v1/ask", "/v1/search", "/v1/sources", "/v1/sources/{source_id}", "/v1/speakers"}
    assert "application/problem+json" in paths["/v1/ask"]["post"]["responses"]["422"]["content"]


def test_metrics_count_requests_and_answers_without_a_word_of_them(sample_index: Path, embedder: Embedder) -> None:
    with TestClient(create_app(Settings(index_dir=sample_index, min_confidence=0.0), embedder)) as client:
        ask(client, "what did Beykpour say about OKRs?")
        client.get("/v1/sources/no-such-source")
        client.request("BREW", "/coffee")
        text = client.get("/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["onrecord_http_requests_total", "/v1/ask", "200", "POST"] == 1
    assert samples["onrecord_http_requests_total", "/v1/sources/{source_id}", "404", "GET"] == 1
    assert samples["onrecord_http_requests_total", "404", "none", "other"] == 1
    assert samples["onrecord_answers_total", "answered", "quotes"] == 1
    assert samples["onrecord_snapshot_records", "sources"] == 3
    assert "OKR" not in text
    assert "coffee" not in text


def test_logs_hold_no_word_of_a_question(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    ask(client, "who hosts the marmalade podcast?")
    client.post("/v1/ask", json={"question": "marmalade", "speaker": "marmalade"})
    written = capsys.readouterr()
    assert "route=/v1/ask" in written.out + written.err
    assert "marmalade" not in written.out + written.err


def test_without_an_index_it_says_so_and_picks_up_the_one_that_comes(tmp_path: Path, embedder: Embedder) -> None:
    settings = Settings(index_dir=tmp_path / "snapshots", reload_seconds=0.01)
    with TestClient(create_app(settings, embedder)) as client:
        assert client.get("/healthz").status_code == 200
        for response in (
            client.get("/readyz"),
            client.post("/v1/ask", json={"question": "x"}),
            client.post("/v1/search", json={"query": "x"}),
            client.get("/v1/sources"),
            client.get("/v1/sources/talk"),
            client.get("/v1/speakers"),
        ):
            assert "onrecord ingest" in problem(response, 503)["detail"]
            assert int(response.headers["retry-after"]) > 0
        assert "onrecord_snapshot_info" not in client.get("/metrics").text
        (tmp_path / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
        ingest([tmp_path / "talk.txt"], settings.index_dir, embedder, Limits())
        while client.get("/readyz").status_code != 200:
            pass
        assert client.get("/v1/sources").json()["sources"][0]["id"] == "talk"


def test_requests_go_on_while_the_corpus_is_ingested_anew(tmp_path: Path, embedder: Embedder) -> None:
    settings = Settings(index_dir=tmp_path / "snapshots", reload_seconds=0.01)
    talk = tmp_path / "talk.txt"

    def write(number: int) -> str:
        talk.write_text(f"Ann Lee (00:00:01):\nShips are built of oak, number {number}.\n")
        return ingest([talk], settings.index_dir, embedder, Limits()).snapshot

    write(0)
    with TestClient(create_app(settings, embedder)) as client, ThreadPoolExecutor(4) as pool:

        def search_often() -> list[tuple[int, str]]:
            answers: list[tuple[int, str]] = []
            for _ in range(15):
                response = client.post("/v1/search", json={"query": "what are ships built of?"})
                answers.append((response.status_code, response.json()["passages"][0]["text"]))
            return answers

        searches = [pool.submit(search_often) for _ in range(4)]
        for number in range(1, 4):
            last = write(number)
        answers = [answer for search in searches for answer in search.result()]
        while client.get("/readyz").json()["snapshot"] != last:
            pass
        assert client.get("/v1/sources/talk").json()["turns"][0]["text"] == "Ships are built of oak, number 3."
    assert {status for status, _ in answers} == {200}
    assert {text for _, text in answers} <= {f"Ships are built of oak, number {number}." for number in range(4)}
