"""The comparison with peers: how what they find is laid over the meeting, and what each program may import."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.__main__ import ROWS, behind, table
from benchmarks.peers.harness import HERE, ON_RECORD, PEERS, Asked, Ingested, Measured, Transcript, passage_of, recall

PROGRAMS = sorted(HERE.glob("*_peer.py"))


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    file = tmp_path / "tea.json"
    turns = [("Ann", 0.0, "We need a new kettle."), ("Bob", 3.5, "Ann, the old one leaks."), ("Ann", 7.0, "It does.")]
    segments = [{"speaker": speaker, "startTime": start, "body": body} for speaker, start, body in turns]
    file.write_text(json.dumps({"segments": segments}))
    return Transcript(file)


def measured(ms: float, recalled: float) -> Measured:
    asked = Asked([ms], recalled, 0, 200.0)
    return Measured(Ingested(100, 10.0, 200.0), 1.0, asked, asked)


class TestTranscript:
    def test_a_turn_a_line(self, transcript: Transcript) -> None:
        assert transcript.text == "Ann: We need a new kettle.\nBob: Ann, the old one leaks.\nAnn: It does.\n"

    def test_only_whole_words_of_turns_count(self, transcript: Transcript) -> None:
        """The passage begins within `need` and ends within `old`; both names of speakers are left out."""
        passage = transcript.text[10:44]
        assert passage == "ed a new kettle.\nBob: Ann, the old"
        assert transcript.turns(passage[:-1], 10) == [
            {"start": 0.0, "text": "a new kettle."},
            {"start": 3.5, "text": "Ann, the"},
        ]

    @pytest.mark.parametrize("begin", [None, 3])
    def test_found_where_the_tool_does_not_tell_or_is_wrong(self, transcript: Transcript, begin: int | None) -> None:
        assert transcript.turns("It does.", begin) == [{"start": 7.0, "text": "It does."}]

    def test_changed_text_is_not_found(self, transcript: Transcript) -> None:
        assert transcript.turns("It doesn't.", None) is None


def test_recall_is_the_mean_over_questions_with_an_answer(transcript: Transcript) -> None:
    """Of the first question one of two turns is found, of the second nothing; the third has no answer."""

    def score(passages: list[dict[str, Any]], query: dict[str, Any], meeting: set[float]) -> dict[str, float]:
        starts = {turn["start"] for passage in passages for turn in passage["turns"]}
        return {"recall@1000w": len(starts & meeting) / len(meeting)}

    query = {"source": "tea", "answerable": True}
    found = {"meeting": "tea", "text": "Ann: It does.", "begin": None}
    answers = [[passage_of(found, {"tea": transcript})], [], []]
    queries = [query, query, query | {"answerable": False}]
    assert recall(answers, queries, {"tea": {3.5, 7.0}}, score) == 0.25


def test_percentiles_are_nearest_ranks() -> None:
    asked = Asked([float(ms) for ms in range(1, 303)], 0.0, 0, 0.0)
    assert (asked.percentile(0.5), asked.percentile(0.99)) == (151, 299)


def test_each_row_in_which_a_peer_is_ahead_is_named() -> None:
    both = {ON_RECORD: measured(ms=12.0, recalled=0.6), PEERS[0]: measured(ms=10.0, recalled=0.5)}
    lines = behind(both, words=1000)
    assert [line.split(":")[0].removeprefix("- ") for line in lines] == [
        r.title for r in ROWS if "search of" in r.title
    ]
    assert all("LlamaIndex by 20%" in line for line in lines)
    assert "| recall@1000 words, one meeting | **0.600** | 0.500 |" in table(both, words=1000)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_programs_compile_and_stand_alone(program: Path) -> None:
    tree = ast.parse(program.read_text("utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [module for module in modules if module.split(".")[0] in ("app", "index", "ingest", "benchmarks")]
    assert bool(own) == (program.stem == "onrecord_peer")


def test_every_tool_has_a_program_and_a_version() -> None:
    tools = (ON_RECORD, *PEERS)
    assert {HERE / f"{tool.name}_peer.py" for tool in tools} == set(PROGRAMS)
    assert all(tool.version[0].isdigit() for tool in tools)
