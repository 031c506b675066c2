"""What is there to watch a service by agrees with what a running one tells, and with what is written of it."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.api import create_app
from app.cli import main
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import MODEL, ChatServer, Reply
from tests.conftest import CORPUS
from tests.serving import served
from tests.slack_server import BOT_TOKEN, SIGNING_SECRET, SlackServer
from tests.slack_workspace import Workspace

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

ROOT = Path(__file__).parent.parent
ALERTS = ROOT / "deploy/alerts/onrecord.yml"
DASHBOARD = ROOT / "deploy/grafana/onrecord.json"
DOCS = ROOT / "docs/observability.md"
OKRS = "what did Beykpour say about OKRs?"
# What Prometheus itself adds to every sample, and what it makes of every server.
ITS_OWN = {"job", "instance"}
METRIC = re.compile(r"\b((?:onrecord|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True)
class Told:
    """The values that each label of each sample had."""

    families: dict[str, set[str]]
    samples: dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Told:
    """What `/metrics` says after an ingest, searches, answers of both kinds, and questions in Slack."""
    folder = tmp_path_factory.mktemp("watched")
    index = folder / "snapshots"
    with ChatServer() as model, SlackServer() as slack:
        settings = {
            "index_dir": index,
            "reload_seconds": 0.01,
            "openai_base_url": model.url,
            "llm_model": MODEL,
            "slack_bot_token": BOT_TOKEN,
            "slack_signing_secret": SIGNING_SECRET,
            "slack_api_url": f"{slack.url}/api/",
        }
        model.script = [Reply('{"answered": true, "sentences": [{"cites": [1], "text": "Oats grow on Mars."}]}')]
        index.mkdir()
        app = create_app(Settings(**settings), embedder)
        with served(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
            assert client.post("/v1/ask", json={"question": OKRS}).status_code == 503
            assert main(["ingest", str(CORPUS), "--index", str(index)]) == 0
            while client.get("/readyz").status_code != 200:
                pass
            for question in (OKRS, OKRS, "how are oats grown on Mars?"):
                assert client.post("/v1/ask", json={"question": question}).status_code == 200
            client.post("/v1/search", json={"query": "OKRs"})
            ts = Workspace(slack, url, client).asks(OKRS)
            slack.wait_for(lambda: slack.answers(ts))
            slack.wait_for(lambda: 'outcome="given"' in client.get("/metrics").text)
            text = client.get("/metrics").text
    families: dict[str, set[str]] = {}
    samples: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = samples.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        families[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return Told(families, samples)


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Everything that the alerts and the dashboard ask Prometheus."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    dashboard = json.loads(DASHBOARD.read_text())
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])
    yield from (variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_what_is_asked_for_is_there(told: Told, expression: str) -> None:
    asked = METRIC.findall(expression)
    assert asked or expression.startswith("up{")
    known = set(ITS_OWN)
    for name, matchers in asked:
        assert name in told.samples
        labels = told.samples[name]
        known |= labels.keys()
        for label, operator, value in MATCHER.findall(matchers):
            assert label in labels or label in ITS_OWN, f"{name} has no {label}"
            # What errors there are differs, and what all is well with does not.
            if operator in ("=", "=~") and label in labels and label not in ("status", "outcome"):
                assert labels[label] & set(value.split("|")), f"{name} has no {label} {value}"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= known


def test_outcomes_that_are_asked_for_are_written_in_the_code() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "app").glob("*.py"))
    for expression in expressions():
        for name, matchers in METRIC.findall(expression):
            for label, _, value in MATCHER.findall(matchers):
                if label in ("outcome", "status") and not name.startswith("onrecord_http"):
                    assert all(f'"{each}"' in code for each in value.split("|")), value


def test_every_metric_and_label_is_written_down(told: Told) -> None:
    rows = re.findall(r"^\| (`(?:onrecord|process)_[^|]+) \|([^|]*)\|", DOCS.read_text(), re.MULTILINE)
    written = {
        name: set(re.findall(r"`(\w+)`", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)
    }
    ours = {name: labels for name, labels in told.families.items() if not name.endswith("_created")}
    assert {name: labels for name, labels in written.items() if name.startswith("onrecord")} == {
        name: labels for name, labels in ours.items() if name.startswith("onrecord")
    }
    assert ours.keys() <= written.keys()


def test_every_event_is_written_down() -> None:
    logged = {event for path in (ROOT / "app").glob("*.py") for event in events(ast.parse(path.read_text()))}
    assert {"request", "answer", "index opened"} < logged
    written = DOCS.read_text()
    assert not {event for event in logged if f"`{event}`" not in written}, "docs/observability.md has a table of events"


def events(module: ast.Module) -> Iterator[str]:
    """What is logged, as it stands in the calls."""
    for node in ast.walk(module):
        match node:
            case ast.Call(
                ast.Attribute(logger, "info" | "warning" | "error" | "exception" | "critical"),
                [ast.Constant(event), *_],
            ):
                if ast.unparse(logger).rpartition(".")[2] == "_log":
                    yield str(event)
            case _:
                pass


def test_every_alert_says_what_it_is_about() -> None:
    written = DOCS.read_text()
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        assert f"`{rule['alert']}`" in written
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = {(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
    assert len(cells) == sum(p["w"] * p["h"] for p in places)
    assert max(x for x, _ in cells) < 24
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("arguments", [("check", "rules", "onrecord.yml"), ("test", "rules", "onrecord_test.yml")])
def test_prometheus_own_tool_agrees(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Prometheus")
    ran = subprocess.run([promtool, *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
