from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document
from ingest.readers import podcast_json, read_document
from ingest.sidecar import Sidecar
from ingest.turns import fold

# As Buzzsprout writes them: a few words each, the speaker only where the show has several.
BUZZSPROUT = """{
  "version": "1.0.0",
  "segments": [
    {"speaker": "Maya Lindqvist", "startTime": 0.12, "endTime": 3.4, "body": "Welcome back to the garden show,"},
    {"speaker": "Maya Lindqvist", "startTime": 3.4, "endTime": 6.02, "body": "where we talk\\nabout  soil."},
    {"speaker": "Tom Okafor", "startTime": 6.02, "endTime": 6.5, "body": "Mm-hm."},
    {"speaker": "Maya Lindqvist", "startTime": 6.5, "endTime": 9.75, "body": "Today: compost, and why it smells."},
    {"speaker": "Tom Okafor", "startTime": 10, "endTime": 14.25, "body": "Because people never turn it."},
    {"startTime": 14.25, "endTime": 16, "body": "[laughter]"},
    {"speaker": "  ", "startTime": 16, "endTime": 17, "body": "   "}
  ]
}
"""


def read(folder: Path, text: str, name: str = "garden-show_12.json") -> Document:
    (folder / name).write_text(text, encoding="utf-8")
    return read_document(folder / name, Limits())


def test_segments_become_turns(tmp_path: Path) -> None:
    document = read(tmp_path, BUZZSPROUT)
    assert (document.title, document.kind) == ("garden show 12", "transcript")
    assert [(turn.speaker, turn.start, turn.end, turn.text) for turn in document.turns] == [
        (
            "Maya Lindqvist",
            0.12,
            9.75,
            "Welcome back to the garden show, where we talk about soil. Today: compost, and why it smells.",
        ),
        ("Tom Okafor", 6.02, 6.5, "Mm-hm."),
        ("Tom Okafor", 10.0, 14.25, "Because people never turn it."),
        (None, 14.25, 16.0, "[laughter]"),
    ]
    assert {turn.attribution for turn in document.turns} == {"stated"}
    assert document.turns[0].cue_at(document.turns[0].text.index("compost")).start == 6.5


def test_the_default_speaker_is_inferred(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    document = podcast_json.read(path, BUZZSPROUT, Sidecar(default_speaker="The audience"))
    assert [(turn.speaker, turn.attribution) for turn in document.turns][-2:] == [
        ("Tom Okafor", "stated"),
        ("The audience", "inferred"),
    ]


def test_the_sidecar_has_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "show.meta.yaml").write_text(
        "title: The garden show\ndate: 2024-04-01\nurl: https://example.org/12.mp3\n"
        "people: [{name: Maya Lindqvist, role: host}]\n"
    )
    document = read(tmp_path, BUZZSPROUT, "show.json")
    assert (document.title, document.date, document.url) == (
        "The garden show",
        "2024-04-01",
        "https://example.org/12.mp3",
    )
    assert [(person.name, person.role) for person in document.people] == [("Maya Lindqvist", "host")]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("startTime", "6.5", "segment 1, startTime: Input should be a valid number"),
        ("startTime", True, "segment 1, startTime: Input should be a valid number"),
        ("startTime", None, "segment 1, startTime: Input should be a valid number"),
        ("startTime", -1, "segment 1, startTime: Input should be greater than or equal to 0"),
        ("startTime", float("nan"), "segment 1, startTime: Input should be a finite number"),
        ("endTime", float("inf"), "segment 1, endTime: Input should be a finite number"),
        ("endTime", 10**400, "segment 1, endTime: Input should be a finite number"),
        ("body", ["a"], "segment 1, body: Input should be a valid string"),
        ("speaker", 7, "segment 1, speaker: Input should be a valid string"),
    ],
)
def test_a_fault_names_segment_field_and_line(tmp_path: Path, field: str, value: object, reason: str) -> None:
    segments: list[dict[str, Any]] = [{"startTime": n, "endTime": n, "body": "a } , {"} for n in range(3)]
    segments[1][field] = value
    with pytest.raises(ReadError) as caught:
        read(tmp_path, json.dumps({"version": "1.0.0", "segments": segments}, indent=1))
    assert (caught.value.line, caught.value.reason) == (9, reason)


def test_a_missing_field_and_a_segment_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="segment 0, body: Field required"):
        read(tmp_path, '{"segments": [{"startTime": 1}]}')
    with pytest.raises(ReadError, match="segment 1: Input should be an object"):
        read(tmp_path, '{"segments": [{"startTime": 1, "body": "a"}, 5]}')


def test_a_field_given_twice_is_no_fault(tmp_path: Path) -> None:
    document = read(tmp_path, '{"segments": [{"startTime": 1, "startTime": 2, "body": "Hello."}]}')
    assert document.turns[0].start == 2.0


SEGMENTS = st.lists(
    st.fixed_dictionaries(
        {"startTime": st.floats(0, 1e6), "body": st.text(st.characters(exclude_categories=["Cs"]), max_size=20)},
        optional={"endTime": st.floats(0, 1e6), "speaker": st.sampled_from(["Ann", "Ben"])},
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEGMENTS)
def test_no_words_and_no_clock_are_lost_or_made(segments: list[dict[str, Any]]) -> None:
    document = podcast_json.read(Path("a.json"), json.dumps({"segments": segments}), Sidecar())
    cues = sorted((cue.position, cue.start) for turn in document.turns for cue in turn.cues)
    spoken = [each for each in segments if fold(each["body"])]
    assert [start for _, start in cues] == [each["startTime"] for each in spoken]
    said = sorted(word for turn in document.turns for word in turn.text.split())
    assert said == sorted(word for each in spoken for word in each["body"].split())
