from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document
from ingest.readers import read_document, webvtt

TEAMS = """WEBVTT

7a0c5a3e-0f5e-4f0a-9d9a-2b1f4a8d1c11/16-0
00:00:03.150 --> 00:00:05.910
<v Anna Karlsson>Good morning everyone &amp; welcome
to the budget call.</v>

7a0c5a3e-0f5e-4f0a-9d9a-2b1f4a8d1c11/19-0
00:00:06.000 --> 00:00:06.400
<v.loud O'Neil, Bo (External)>Yeah.</v>

7a0c5a3e-0f5e-4f0a-9d9a-2b1f4a8d1c11/22-0
00:00:06.500 --> 00:00:09.000
<v Anna Karlsson>R&D is < half of the cost.</v> <v O'Neil, Bo (External)>I'd doubt that figure.</v>
"""

ZOOM = """WEBVTT

1
00:00:01.230 --> 00:00:04.560
Jane Doe: Can everybody hear me? It's 12:30 here.

2
00:00:04.800 --> 00:00:06.900
Raj: Note: the link is http://example.org

3
00:00:07.000 --> 00:00:09.100
and it says: read me

4
00:00:09.200 --> 00:00:11.000
Jane Doe: Thanks, Raj.

5
00:00:11.100 --> 00:00:12.000
Note: this was recorded.
"""

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
{blank}
the<00:00:00.500><c> harbour</c><00:00:00.700><c> froze</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
the harbour froze
{blank}

00:00:02.399 --> 00:00:04.500 align:start position:0%
the harbour froze
in<00:00:02.600><c> the</c><00:00:02.800><c> winter</c>

00:00:04.500 --> 00:00:04.510 align:start position:0%
in the winter
{blank}

00:00:04.510 --> 00:00:07.000 align:start position:0%
in the winter
of<00:00:04.900><c> 1963</c>
""".replace("{blank}", " ")  # YouTube leaves a blank on the line where nothing stands yet


def read(folder: Path, text: str) -> Document:
    (folder / "call.vtt").write_text(text, encoding="utf-8")
    return read_document(folder / "call.vtt", Limits())


def spoken(document: Document) -> list[tuple[str | None, float | None, str]]:
    return [(turn.speaker, turn.start, turn.text) for turn in document.turns]


def test_voice_tags(tmp_path: Path) -> None:
    document = read(tmp_path, TEAMS)
    assert spoken(document) == [
        ("Anna Karlsson", 3.15, "Good morning everyone & welcome to the budget call. R&D is < half of the cost."),
        ("O'Neil, Bo (External)", 6.0, "Yeah."),
        ("O'Neil, Bo (External)", 6.5, "I'd doubt that figure."),
    ]
    assert [(cue.position, cue.start, cue.line) for cue in document.turns[0].cues] == [(0, 3.15, 4), (2, 6.5, 13)]


def test_prefixes_that_are_names_and_prefixes_that_are_not(tmp_path: Path) -> None:
    document = read(tmp_path, ZOOM)
    assert spoken(document) == [
        ("Jane Doe", 1.23, "Can everybody hear me? It's 12:30 here."),
        ("Raj", 4.8, "Note: the link is http://example.org and it says: read me"),
        ("Jane Doe", 9.2, "Thanks, Raj. Note: this was recorded."),
    ]


def test_captions_that_roll_up_are_said_once(tmp_path: Path) -> None:
    (turn,) = read(tmp_path, YOUTUBE).turns
    assert turn.text == "the harbour froze in the winter of 1963"
    assert [(cue.start, turn.text[cue.offset :][:6]) for cue in turn.cues] == [
        (0.16, "the ha"),
        (2.399, "in the"),
        (4.51, "of 196"),
    ]


def test_words_said_twice_in_ordinary_captions_stay(tmp_path: Path) -> None:
    cues = [
        f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{words}\n"
        for n, words in enumerate(["No.", "No.", "Stop it.", "Now."])
    ]
    (turn,) = read(tmp_path, "WEBVTT\n\n" + "\n".join(cues)).turns
    assert turn.text == "No. No. Stop it. Now."


def test_a_change_of_speakers_leaves_the_next_unknown(tmp_path: Path) -> None:
    text = """WEBVTT

00:01.000 --> 00:02.000
&gt;&gt; MAYOR LOPEZ: The item passes. >> Point of order!

00:02.000 --> 00:03.000
>> MAYOR LOPEZ: Go ahead.

00:03.000 --> 00:04.000
>>> Thank you, 3 >> 2 as I said.
"""
    assert spoken(read(tmp_path, text)) == [
        ("MAYOR LOPEZ", 1.0, "The item passes."),
        (None, 1.0, "Point of order!"),
        ("MAYOR LOPEZ", 2.0, "Go ahead."),
        (None, 3.0, "Thank you, 3 >> 2 as I said."),
    ]


def test_comments_styles_and_markup_are_not_words(tmp_path: Path) -> None:
    text = """WEBVTT - A title

STYLE
::cue { color: red }

NOTE a comment --> not a cue

NOTE
Jane: hush

00:01.000 --> 00:02.000
<i>Hello</i> <lang en>there</lang>,<br>you&nbsp;<b.big>all</b> &notanentity; a <= b
"""
    document = read(tmp_path, text)
    assert spoken(document) == [(None, 1.0, "Hello there, you all &notanentity; a <= b")]
    assert document.warnings == ()


@pytest.mark.parametrize(
    ("clock", "line"),
    [("00:00:05.000 --> 00:0", 6), ("00:00:05.000 -->", 6), ("00:00:99.000 --> 00:01:00.000", 6), ("x --> y", 6)],
)
def test_a_malformed_clock_names_its_line(tmp_path: Path, clock: str, line: int) -> None:
    with pytest.raises(ReadError) as caught:
        read(tmp_path, f"WEBVTT\n\n00:01.000 --> 00:02.000\nOne.\n\n{clock}\nTwo.\n")
    assert caught.value.line == line
    assert "is not valid WebVTT" in caught.value.reason


def test_words_outside_cues_are_told_of(tmp_path: Path) -> None:
    document = read(tmp_path, "\nWEBVTT\n\n00:01.000 --> 00:02.000\nOne.\n\nTwo, after a blank line.\n")
    assert spoken(document) == [(None, 1.0, "One.")]
    assert document.turns[0].cues[0].line == 4
    assert document.warnings == (
        (7, "these words stand outside any cue and are left out: a cue has no blank line in it"),
    )


def test_what_is_webvtt() -> None:
    assert webvtt.matches("WEBVTT\n") and webvtt.matches("\nWEBVTT - title\n") and webvtt.matches("WEBVTT")
    assert not webvtt.matches("WEBVTTX\n") and not webvtt.matches("About WEBVTT")
