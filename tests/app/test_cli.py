from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

from app.cli import main
from app.server import listen
from index.snapshot import current_folder
from tests.chat_server import ChatServer, refusal

QUESTION = "what did Beykpour say about OKRs?"
QUOTE = "If the only way the organization is trained to think about what to build and what not to build is OKRs"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, sample_index: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONRECORD_INDEX_DIR", str(sample_index))
    monkeypatch.setenv("ONRECORD_MIN_CONFIDENCE", "0")  # how sure is sure enough is not what is tested here
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run


def json_of(ran: Ran) -> Any:
    """The one document on standard output."""
    assert ran.out.endswith("\n")
    return json.loads(ran.out)


def test_the_answer_comes_before_its_citations(run: Run) -> None:
    ran = run("ask", QUESTION)
    assert (ran.code, ran.err) == (0, "")
    answer, citations = ran.out.split("\n\n")
    assert QUOTE in answer
    assert "[1]" in answer
    assert citations.startswith("[1] Kayvon Beykpour · 49:14 · Kayvon Beykpour: insights by skill\n")
    assert "\x1b" not in ran.out


def test_a_name_that_is_only_inferred_is_marked(run: Run) -> None:
    ran = run("ask", "What does Beykpour think of SpaceX?", "--source", "20-product-kayvon-beykpour")
    assert "Kayvon Beykpour (inferred) · " in ran.out
    assert "I am awestruck and inspired by what SpaceX is doing." in ran.out


def test_an_answer_that_is_none_says_what_was_found_instead(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_MIN_CONFIDENCE", "1")
    ran = run("ask", "what is the product death cycle?")
    assert ran.code == 0
    _, instead = ran.out.split("What was found instead\n")
    assert re.match(r"- .+ · .+\n  “.+”\n", instead)


def test_json_is_what_http_would_say(run: Run) -> None:
    asked = json_of(run("ask", QUESTION, "--json"))
    assert asked["status"] == "answered"
    assert asked["citations"][0]["quote"].startswith(QUOTE)
    assert asked["citations"][0]["source"].keys() == {"id", "title", "kind", "url", "date"}
    found = json_of(run("search", "OKRs", "--top-k", "2", "--json"))
    assert found.keys() == {"query", "took_ms", "passages"}
    assert [passage["rank"] for passage in found["passages"]] == [1, 2]
    assert json_of(run("sources", "--json"))["sources"][0]["id"] == "20-product-kayvon-beykpour"
    speakers = json_of(run("speakers", "--json"))["speakers"]
    assert "Kyvon Bakepour" in next(s for s in speakers if s["name"] == "Kayvon Beykpour")["aliases"]


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_model_that_fails_is_told_of_on_stderr_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, chat_server: ChatServer
) -> None:
    chat_server.otherwise = refusal(401, "bad key")
    monkeypatch.setenv("OPENAI_BASE_URL", chat_server.url)
    ran = run("ask", QUESTION, "--json")
    assert "key" in json.loads(ran.out)["degraded"]
    assert "no answer from the model" in ran.err


def test_passages_are_ranked_and_placed(run: Run) -> None:
    ran = run("search", "the product death cycle", "--source", "escaping-the-build-trap-notes", "--top-k", "3")
    assert ran.code == 0
    assert re.findall(r"^ (\d)\. ", ran.out, re.MULTILINE) == ["1", "2", "3"]
    assert "product death cycle" in ran.out
    assert "Escaping the Build Trap: reading notes · 2023-03-08" in ran.out


def test_lists_are_lines_with_tabs_where_no_terminal_is(run: Run) -> None:
    rows = [line.split("\t") for line in run("sources").out.splitlines()]
    assert [row[0] for row in rows] == [
        "20-product-kayvon-beykpour",
        "escaping-the-build-trap-notes",
        "kayvon-beykpour-insights",
    ]
    assert rows[1][1:4] == ["Escaping the Build Trap: reading notes", "notes", "2023-03-08"]
    names = [line.split("\t")[0] for line in run("speakers").out.splitlines()]
    assert names == sorted(names)
    assert {"Harry Stebbings", "Jeff Bezos", "Kayvon Beykpour"} <= set(names)


def test_status_and_verify(run: Run, sample_index: Path) -> None:
    snapshot = current_folder(sample_index).name
    status = json_of(run("status", "--json"))
    assert (status["snapshot"], status["sources"], status["dimension"]) == (snapshot, 3, 384)
    assert status["bytes"] > 100_000
    assert f"snapshot\t{snapshot}\n" in run("status").out
    assert run("verify") == (0, "ok\n", "")
    assert json_of(run("verify", "--json")) == {"ok": True, "snapshot": snapshot, "problems": []}


def test_a_terminal_gets_links_bold_names_and_wrapped_lines(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = tmp_path / "talk.md"
    talk.write_text(
        "---\ntitle: On ships\nyoutube_url: https://www.youtube.com/watch?v=abc\n---\n\n"
        f"Ann Lee (00:01:05):\nShips are built of oak, {'and of oak alone, ' * 10}since oak lasts.\n"
    )
    monkeypatch.setenv("ONRECORD_INDEX_DIR", str(tmp_path / "snapshots"))
    assert run("ingest", talk).code == 0
    piped = run("ask", "what are ships built of?")
    assert "[1] Ann Lee · 1:05 · On ships\n    https://www.youtube.com/watch?v=abc&t=65s\n" in piped.out
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("ask", "what are ships built of?")
    assert "\x1b[1mAnn Lee\x1b[0m" in shown.out
    assert re.search(r"\x1b\]8;id=\d+;https://www\.youtube\.com/watch\?v=abc&t=65s\x1b\\On ships", shown.out)
    assert "\n    https" not in shown.out
    assert max(map(len, shown.out.split("\n\n")[0].splitlines())) <= 88


def test_what_a_terminal_would_obey_does_not_reach_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = tmp_path / "talk.vtt"
    talk.write_text("WEBVTT\n\n00:01.000 --> 00:04.000\n<v Ann Lee>Ships are \x1b[2J\x07 built of \u202eoak.\n")
    monkeypatch.setenv("ONRECORD_INDEX_DIR", str(tmp_path / "snapshots"))
    run("ingest", talk)
    for command in ("ask", "search"):
        ran = run(command, "what are ships built of?")
        assert "Ships are" in ran.out
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", ran.out)


def test_ingest_reports_what_it_did(run: Run, tmp_path: Path) -> None:
    corpus, index = tmp_path / "corpus", tmp_path / "snapshots"
    corpus.mkdir()
    (corpus / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
    first = json_of(run("ingest", corpus, "--index", index, "--json"))
    assert first.keys() == {"snapshot", "sources", "passages", "embedded", "errors", "warnings", "notices", "seconds"}
    assert first["sources"] == {"added": 1, "updated": 0, "unchanged": 0, "removed": 0, "failed": 0}
    assert (first["passages"], first["embedded"], first["errors"]) == (1, 1, [])
    (corpus / "broken.json").write_text('{"segments": [')
    (corpus / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of steel.\n")
    ran = run("ingest", corpus, "--index", index, "--json")
    second = json_of(ran)
    assert ran.code == 1
    assert second["sources"] == {"added": 0, "updated": 1, "unchanged": 0, "removed": 0, "failed": 1}
    [error] = second["errors"]
    assert error.keys() == {"path", "line", "error"}
    assert error["path"].endswith("broken.json")
    assert second["snapshot"] == current_folder(index).name != first["snapshot"]
    told = run("ingest", corpus, "--index", index)
    assert told.code == 1
    assert "0 added, 0 updated, 1 unchanged, 0 removed, 1 failed" in told.out
    assert re.search(r"^error: .*broken\.json.*: .+", told.err, re.MULTILINE)


def test_the_default_corpus_is_the_folder_of_that_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = run("ingest")
    assert (missing.code, missing.out) == (2, "")
    assert "corpus does not exist" in missing.err
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
    monkeypatch.delenv("ONRECORD_INDEX_DIR")
    assert run("ingest").code == 0
    assert current_folder(tmp_path / "index" / "snapshots").is_dir()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ask"], "QUESTION"),
        (["ask", "  "], "question: must not be blank"),
        (["ask", "x" * 4001], "question: String should have at most 4000 characters"),
        (["ask", "\udcff"], "question: Input should be a valid string"),
        (["search", "x", "--top-k", "0"], "top-k: Input should be greater than or equal to 1"),
        (["search", "x", "--top-k", "many"], "--top-k"),
        (["ask", "x", "--speaker", "Nobody Whatsoever"], "there is no speaker 'Nobody Whatsoever'"),
        (["search", "x", "--source", "no-such-source"], "there is no source 'no-such-source'"),
        (["ingest", "no/such/folder"], "no/such/folder does not exist"),
        (["serve", "--port", "70000"], "--port"),
        (["sing"], "No such command 'sing'"),
        ([], "Missing command"),
    ],
)
def test_bad_usage_changes_nothing_and_says_why(run: Run, arguments: list[str], reason: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("onrecord: ")
    assert ran.err.count("\n") == 1
    assert reason in ran.err
    if arguments:
        as_json = run(*arguments, "--json")
        assert (as_json.code, as_json.err) == (2, ran.err)
        assert reason in json_of(as_json)["error"]


def test_settings_at_fault_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_MIN_CONFIDENCE", "often")
    ran = run("ask", "x")
    assert ran.code == 2
    assert "ONRECORD_MIN_CONFIDENCE" in ran.err


@pytest.mark.parametrize("command", [["ask", "x"], ["search", "x"], ["sources"], ["speakers"], ["status"], ["verify"]])
def test_without_an_index_there_is_one_line_and_code_3(run: Run, tmp_path: Path, command: list[str]) -> None:
    ran = run(*command, "--index", tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == f"onrecord: no index in {tmp_path} yet: run `onrecord ingest` first\n"
    assert "onrecord ingest" in json_of(run(*command, "--index", tmp_path, "--json"))["error"]


def test_damage_is_found_and_named(run: Run, tmp_path: Path) -> None:
    talk, index = tmp_path / "talk.txt", tmp_path / "snapshots"
    talk.write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
    run("ingest", talk, "--index", index)
    vectors = next(current_folder(index).rglob("vectors.faiss"))
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    ran = run("verify", "--index", index)
    assert (ran.code, ran.out.startswith("segments/000000/vectors.faiss: ")) == (1, True)
    assert json_of(run("verify", "--index", index, "--json"))["ok"] is False
    asked = run("ask", "ships", "--index", index)
    assert (asked.code, asked.out) == (1, "")
    assert "is damaged (segments/000000/vectors.faiss" in asked.err
    (index / "CURRENT").write_text("elsewhere\n")
    broken = json_of(run("verify", "--index", index, "--json"))
    assert (broken["ok"], broken["snapshot"], len(broken["problems"])) == (False, None, 1)


def test_help_and_version(run: Run) -> None:
    helped = run("--help")
    assert helped.code == 0
    for command in ("ingest", "ask", "search", "sources", "speakers", "serve", "status", "verify"):
        assert command in helped.out
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").out)


def test_json_is_utf8_whatever_the_terminal_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="latin-1"))
    assert main(["ask", QUESTION, "--json"]) == 0
    assert "“" in json.loads(data.getvalue().decode("utf-8"))["answer"]


def test_a_reader_that_leaves_early_is_no_failure_of_ours() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "sources"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1


@pytest.fixture
def server(sample_index: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `onrecord serve` and its address."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()
            process.communicate()


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_answers_and_ends_in_order(
    server: tuple[subprocess.Popen[str], str], run: Run, tmp_path: Path
) -> None:
    process, address = server
    body = json.dumps({"question": QUESTION}).encode()
    request = Request(f"{address}/v1/ask", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as response:
        assert json.load(response)["citations"][0]["timestamp"] == "49:14"
    port = address.rpartition(":")[2]
    taken = run("serve", "--port", port)
    assert (taken.code, taken.out) == (1, "")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in taken.err
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    log = (tmp_path / "log").read_text()
    assert "route=/v1/ask" in log
    assert "OKR" not in log
    assert "Traceback" not in log


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_nothing_sent_waits_for_an_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_ends_in_order_on_an_interrupt_too(server: tuple[subprocess.Popen[str], str]) -> None:
    process, address = server
    with urlopen(f"{address}/readyz", timeout=60) as response:
        assert response.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


def test_a_reranker_that_is_named_orders_the_passages(
    run: Run, monkeypatch: pytest.MonkeyPatch, cross_encoder: Path
) -> None:
    plain = json_of(run("search", QUESTION, "--top-k", "100", "--json"))["passages"]
    monkeypatch.setenv("ONRECORD_RERANKER_MODEL", str(cross_encoder))
    passages = json_of(run("search", QUESTION, "--top-k", "100", "--json"))["passages"]
    assert [each["id"] for each in passages] != [each["id"] for each in plain]
    assert {each["id"] for each in passages[:50]} == {each["id"] for each in plain[:50]}
    assert [each["rank"] for each in passages] == [each["rank"] for each in plain]
    answer = json_of(run("ask", QUESTION, "--json"))
    assert answer["status"] == "answered"


@pytest.mark.usefixtures("cross_encoder")
def test_a_reranker_that_cannot_be_loaded_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONRECORD_RERANKER_MODEL", str(tmp_path))
    ran = run("ask", QUESTION)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"onrecord: the reranker '{tmp_path}' cannot be loaded: ")
