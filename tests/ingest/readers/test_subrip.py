from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document
from ingest.readers import read_document, subrip

INTERVIEW = """1
00:00:01,000 --> 00:00:03,500
<i>Interviewer:</i> When did the mill close?

2
00:00:03,700 --> 00:00:06,000
{\\an8}Grace Mbeki: <font color="#fff">In the autumn of</font>

3
00:00:06,000 --> 00:00:07,250
1987

4
00:00:07,250 --> 00:00:09,000
when the river

rose twice.

5
01:00:09,100 --> 01:00:11,000 X1:40 X2:600
- Interviewer: Twice?
- Grace Mbeki: Twice.
"""


def read(folder: Path, text: str) -> Document:
    (folder / "mill.srt").write_text(text, encoding="utf-8")
    return read_document(folder / "mill.srt", Limits())


def spoken(document: Document) -> list[tuple[str | None, float | None, str]]:
    return [(turn.speaker, turn.start, turn.text) for turn in document.turns]


def test_captions_become_turns(tmp_path: Path) -> None:
    document = read(tmp_path, INTERVIEW)
    assert spoken(document) == [
        ("Interviewer", 1.0, "When did the mill close?"),
        ("Grace Mbeki", 3.7, "In the autumn of 1987 when the river rose twice."),
        ("Interviewer", 3609.1, "Twice?"),
        ("Grace Mbeki", 3609.1, "Twice."),
    ]
    assert [(cue.start, cue.end, cue.line) for cue in document.turns[1].cues] == [
        (3.7, 6.0, 6),
        (6.0, 7.25, 10),
        (7.25, 9.0, 14),
    ]


def test_plain_subtitles_are_one_unknown_voice(tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nIt was: cold.\n\n2\n00:00:02,000 --> 00:00:03,000\nVery.\n"
    assert spoken(read(tmp_path, text)) == [(None, 1.0, "It was: cold. Very.")]


def test_cues_without_numbers_or_with_points(tmp_path: Path) -> None:
    text = "00:00:01.000 --> 00:00:02.000\nAda: In\n1912\n\n00:00:02.000 --> 00:00:03.000\n\n"
    assert spoken(read(tmp_path, text)) == [("Ada", 1.0, "In 1912")]


@pytest.mark.parametrize(
    "clock", ["00:00:05,000 --> 00:0", "00:00:05,000 -->", "0" * 5000 + " --> 00:00:01,000", "a --> b"]
)
def test_a_malformed_clock_names_its_line(tmp_path: Path, clock: str) -> None:
    with pytest.raises(ReadError) as caught:
        read(tmp_path, f"1\n00:00:01,000 --> 00:00:02,000\nOne.\n\n2\n{clock}\nTwo.\n")
    assert (caught.value.line, "is not valid SubRip" in caught.value.reason) == (6, True)


def test_what_is_subrip() -> None:
    assert subrip.matches("\n1\n00:00:01,000 --> 00:00:02,000\n")
    assert not subrip.matches("1\nOnce upon a time --> 00:00:02,000\n")
    assert not subrip.matches("At 00:00:01,000 --> nothing")
