from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api import create_app
from app.cli import main
from app.last_ingest import FILE, kept, read_last_ingest
from app.settings import Settings
from index.build import ingest
from index.changes import Report
from index.embed import Embedder
from index.errors import StoreError
from index.rerank import CrossEncoderReranker
from ingest.limits import Limits
from tests.chat_server import MODEL, ChatServer, Messages, Reply, Tear, refusal
from tests.serving import served
from tests.slack_server import BOT_TOKEN, SIGNING_SECRET, SlackServer, Trouble
from tests.slack_workspace import Workspace

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"
OATS = "what is said about growing oats on Mars?"


class Service:
    """A running service, and what it counts."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        response = self.client.post("/v1/ask", json={"question": question, **fields})
        assert response.status_code == 200, response.text
        return response.json()

    def counted(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with these labels."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@contextmanager
def opened(
    folder: Path, index: Path, embedder: Embedder, reranker: CrossEncoderReranker | None = None, **others: Any
) -> Generator[Service]:
    kept = {"conversations": str(folder / "c.sqlite"), "feedback": str(folder / "f.sqlite")}
    app = create_app(Settings(index_dir=index, **{"llm_model": "", **kept, **others}), embedder, reranker)
    with served(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield Service(client)


def test_stages_of_quotations_are_timed(
    tmp_path: Path, sample_index: Path, embedder: Embedder, cross_encoder: Path
) -> None:
    reranker = CrossEncoderReranker(str(cross_encoder))
    with opened(tmp_path, sample_index, embedder, reranker) as service:
        service.client.post("/v1/search", json={"query": "OKRs"})
        assert service.counted("onrecord_stage_seconds_count", stage="retrieve") == 1
        assert service.counted("onrecord_stage_seconds_count", stage="quote") == 0
        service.ask(OATS)
        spent = {
            stage: service.counted("onrecord_stage_seconds_sum", stage=stage)
            for stage in ("quote", "retrieve", "rerank")
        }
        assert service.counted("onrecord_stage_seconds_count", stage="quote") == 1
        assert service.counted("onrecord_stage_seconds_count", stage="rerank") >= 2
        assert service.counted("onrecord_stage_seconds_count", stage="generate") == 0
        assert service.counted("onrecord_answers_total", status="no_answer", answerer="quotes") == 1
    assert 0 < spent["rerank"] < spent["retrieve"]


def test_what_a_model_does_is_counted_and_timed(
    chat_server: ChatServer, tmp_path: Path, sample_index: Path, embedder: Embedder
) -> None:
    model = {"openai_base_url": chat_server.url, "llm_model": MODEL, "llm_retries": 0}
    first: list[str] = []

    def write(messages: Messages) -> str:
        """One sentence that a passage bears out, with an id too many, and one that none does."""
        said = re.search(r"^\[(\d+)\] If the only way the organization", messages[1]["content"], re.MULTILINE)
        assert said
        borne_out = {"cites": [int(said[1]), 4711], "text": "Kayvon Beykpour warns of OKRs alone."}
        invented = {"cites": [int(said[1])], "text": "Janet Keiller of Dundee invented marmalade in 1797."}
        first.append(json.dumps({"answered": True, "sentences": [borne_out, invented]}))
        return first[0]

    with opened(tmp_path, sample_index, embedder, **model) as service:
        chat_server.script = [write, Reply(["No."])]
        service.ask(OKRS)
        [_, again] = chat_server.requests
        assert service.counted("onrecord_stage_seconds_count", stage="generate") == 2
        assert service.counted("onrecord_stage_seconds_count", stage="verify") >= 2
        assert service.counted("onrecord_model_sentences_total", outcome="removed") == 1
        assert service.counted("onrecord_model_sentences_total", outcome="shown") == 1
        assert service.counted("onrecord_model_dropped_ids_total") == 1
        assert service.counted("onrecord_model_tokens_total", kind="prompt") == 2 + len(again.body["messages"])
        assert service.counted("onrecord_model_tokens_total", kind="completion") == len(first[0]) + 1
        assert service.counted("onrecord_model_call_seconds_count", outcome="ok") == 2
        chat_server.script = [refusal(401, "no"), Tear()]
        for _ in range(2):
            assert service.ask(OKRS)["degraded"]
        assert service.counted("onrecord_model_call_seconds_count", outcome="key refused") == 1
        assert service.counted("onrecord_model_call_seconds_count", outcome="unavailable") == 1
        assert service.counted("onrecord_answers_degraded_total") == 2
        assert service.counted("onrecord_answers_total", answerer="llm") == 1


def test_what_becomes_of_questions_in_slack_is_counted(
    slack: SlackServer, tmp_path: Path, sample_index: Path, embedder: Embedder
) -> None:
    bot = {
        "slack_ledger": str(tmp_path / "slack.sqlite"),
        "slack_bot_token": BOT_TOKEN,
        "slack_signing_secret": SIGNING_SECRET,
        "slack_api_url": f"{slack.url}/api/",
        "slack_channels": "C0001",
        "slack_questions_per_hour": 2,
    }
    slack.trouble["chat.postMessage"] = [Trouble(error="channel_not_found")]
    with opened(tmp_path, sample_index, embedder, **bot) as service:

        def outcomes(step: str, outcome: str) -> float:
            return service.counted("onrecord_slack_outcomes_total", step=step, outcome=outcome)

        workspace = Workspace(slack, str(service.client.base_url), service.client)
        workspace.asks(OKRS)
        slack.wait_for(lambda: outcomes("answer", "given up"))
        workspace.asks(OKRS, kinds=("app_mention", "app_mention"))
        slack.wait_for(lambda: outcomes("answer", "given"))
        workspace.asks(OKRS)
        workspace.asks(OKRS, channel="C0002")
        assert outcomes("delivery", "taken") == 2
        assert outcomes("delivery", "known") == 1
        assert outcomes("delivery", "refused") == 1
        assert outcomes("delivery", "not here") == 1
        assert outcomes("answer", "given up") == outcomes("answer", "given") == 1
        assert outcomes("call", "channel_not_found") == 1
        assert outcomes("call", "ok") >= 1


class TestIngest:
    def test_its_outcome_is_shown_by_whoever_serves(
        self, tmp_path: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ONRECORD_INDEX_DIR", str(tmp_path / "snapshots"))
        folder = tmp_path / "talks"
        folder.mkdir()
        (folder / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
        began = time.time()
        with opened(tmp_path, tmp_path / "snapshots", embedder, reload_seconds=0.01) as service:
            assert "onrecord_ingest" not in service.client.get("/metrics").text
            assert main(["ingest", str(folder)]) == 1
            while service.client.get("/readyz").status_code != 200:
                pass
            assert service.counted("onrecord_ingest_ok") == 1
            assert service.counted("onrecord_ingest_sources", outcome="added") == 1
            assert service.counted("onrecord_ingest_sources", outcome="failed") == 1
            assert service.counted("onrecord_ingest_embedded_passages") == 1
            assert service.counted("onrecord_ingest_seconds") > 0
            first = service.counted("onrecord_ingest_ended_timestamp_seconds")
            assert began <= first <= time.time()
            made = service.counted("onrecord_snapshot_created_timestamp_seconds")
            assert began - 1 <= made <= first
            (folder / "broken.pdf").unlink()
            assert main(["ingest", str(folder)]) == 0  # changes nothing, and is shown all the same
            assert service.counted("onrecord_ingest_ended_timestamp_seconds") > first
            assert service.counted("onrecord_ingest_sources", outcome="unchanged") == 1
            assert service.counted("onrecord_snapshot_created_timestamp_seconds") == made

    def test_one_that_fails_is_shown_and_still_fails(self, tmp_path: Path, embedder: Embedder) -> None:
        def fail() -> Report:
            raise StoreError("the database is gone")

        with pytest.raises(StoreError):
            kept(tmp_path / "snapshots", fail)
        with opened(tmp_path, tmp_path / "snapshots", embedder) as service:
            assert service.counted("onrecord_ingest_ok") == 0
            assert service.counted("onrecord_ingest_ended_timestamp_seconds") > 0
            assert "onrecord_ingest_sources{" not in service.client.get("/metrics").text

    def test_what_cannot_be_written_down_fails_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert kept(tmp_path / "file", Report) == Report()
        assert read_last_ingest(tmp_path / "file") is None

    @pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"ended": "noon"}', b"\xff"])
    def test_damage_is_no_outcome(self, tmp_path: Path, damaged: bytes) -> None:
        (tmp_path / FILE).write_bytes(damaged)
        assert read_last_ingest(tmp_path) is None

    def test_an_index_is_whole_with_it(self, tmp_path: Path, embedder: Embedder) -> None:
        (tmp_path / "talk.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak.\n")
        where = tmp_path / "snapshots"
        kept(where, lambda: ingest([tmp_path / "talk.txt"], where, embedder, Limits()))
        assert main(["verify", "--index", str(where)]) == 0
