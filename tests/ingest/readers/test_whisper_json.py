from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document
from ingest.readers import read_document

WHISPER = """{"text": " So the bees came back. We counted them.", "language": "en", "segments": [
{"id": 0, "seek": 0, "start": 0.0, "end": 2.84, "text": " So the bees came back.", "tokens": [50364, 407],
 "temperature": 0.0, "avg_logprob": -0.21, "compression_ratio": 1.4, "no_speech_prob": 0.02},
{"id": 1, "seek": 0, "start": 2.84, "end": 5.0, "text": " We counted them.", "tokens": [492], "temperature": 0.0}]}
"""

WHISPERX = """{"segments": [
{"start": 0.511, "end": 2.012, "text": " Did the bees come back?", "speaker": "SPEAKER_00", "words": [
  {"word": "Did", "start": 0.511, "end": 0.7, "score": 0.9, "speaker": "SPEAKER_00"}, {"word": "2"}]},
{"start": 2.3, "end": 2.6, "text": " Yeah.", "speaker": "SPEAKER_01", "words": []},
{"start": 2.7, "end": 4.1, "text": " How many?", "speaker": "SPEAKER_00", "words": []},
{"start": 4.5, "end": 6.0, "text": " We counted them.", "words": []}],
"word_segments": [{"word": "Did", "start": 0.511, "end": 0.7, "score": 0.9}]}
"""


def read(folder: Path, text: str) -> Document:
    (folder / "bees.json").write_text(text, encoding="utf-8")
    return read_document(folder / "bees.json", Limits())


def test_without_speakers_all_is_one_turn_that_keeps_each_clock(tmp_path: Path) -> None:
    (turn,) = read(tmp_path, WHISPER).turns
    assert (turn.speaker, turn.text) == (None, "So the bees came back. We counted them.")
    assert [(cue.start, cue.end) for cue in turn.cues] == [(0.0, 2.84), (2.84, 5.0)]


def test_speakers_where_the_segment_has_one(tmp_path: Path) -> None:
    document = read(tmp_path, WHISPERX)
    assert [(turn.speaker, turn.start, turn.text) for turn in document.turns] == [
        ("SPEAKER_00", 0.511, "Did the bees come back?"),
        ("SPEAKER_01", 2.3, "Yeah."),
        ("SPEAKER_00", 2.7, "How many?"),
        (None, 4.5, "We counted them."),
    ]


def test_a_sidecar_names_the_only_speaker(tmp_path: Path) -> None:
    (tmp_path / "bees.meta.yaml").write_text("default_speaker: Nadia Petrova\n")
    (turn,) = read(tmp_path, WHISPER).turns
    assert (turn.speaker, turn.attribution) == ("Nadia Petrova", "inferred")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"segments": [{"start": "0:01", "text": "a"}]}', "segment 0, start: Input should be a valid number"),
        ('{"segments": [{"start": 0, "end": -2, "text": "a"}]}', "segment 0, end: Input should be greater than"),
        ('{"segments": [{"start": 0, "end": 2}]}', "segment 0, text: Field required"),
        ('{"segments": "none"}', "segments: Input should be a valid array"),
    ],
)
def test_a_fault_names_segment_and_field(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ReadError, match=reason):
        read(tmp_path, text)
