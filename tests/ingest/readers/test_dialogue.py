from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document, Person, format_timestamp
from ingest.readers import dialogue, read_document
from ingest.sidecar import Sidecar
from ingest.turns import fold

PODCAST = """---
guest: Ada Byron
host: [Len Host]
title: "Engines that weave | Ada Byron"
description: |
  We talk about engines. (00:00) Introduction
  Note: this isn't speech
youtube_url: https://www.youtube.com/watch?v=abc
publish_date: 2023-01-05
duration: 1:02:03
keywords:
- engines
---

# Engines that weave | Ada Byron

## Transcript

Ada Byron (00:00:00):
The engine weaves patterns. Remember: nobody had (12:30) seen one.

Len Host (00:00:24):
Welcome, Ada.

(00:01:10):
So what does it weave?

Ada Byron (00:01:12.5):
Algebra.

As the loom weaves flowers.

Len Host (00:01:20): Mm-hm.

Ada Byron (01:01:14):
And leaves.
"""

OTTER = """Design review

Speaker 1  0:03
Hello and welcome, we start at 10:30.
Is everybody here?

Priya Natarajan  0:15
Nearly.

Speaker 1  1:02:03
Then we wait.

Transcribed by https://otter.ai
"""

REV = """Mr. X (Riding, Party) (00:00):
Thank you, Mr. Speaker.

李小龍 (00:10.5):
你好。

🎙️ Host: (00:20)
Go on.

Jean-Luc O'Neil 3rd (00:25):
I will.
"""

DESCRIPT = """# The mill

[00:00:12] **Grace:** Welcome back: it's cold.

[00:00:20] Kay: Very.

**Grace** (00:30): So we walk.

**Kay (00:40):** We walk.

00:00:50 Grace: Home.
"""


def read(folder: Path, text: str, name: str = "the-talk.md") -> Document:
    (folder / name).write_text(text, encoding="utf-8")
    return read_document(folder / name, Limits())


def spoken(document: Document) -> list[tuple[str | None, float | None, str]]:
    return [(turn.speaker, turn.start, turn.text) for turn in document.turns]


def test_headers_with_clocks_and_front_matter(tmp_path: Path) -> None:
    document = read(tmp_path, PODCAST)
    assert (document.title, document.kind) == ("Engines that weave | Ada Byron", "transcript")
    assert (document.url, document.date) == ("https://www.youtube.com/watch?v=abc", "2023-01-05")
    assert document.people == (Person("Ada Byron", "guest"), Person("Len Host", "host"))
    assert spoken(document) == [
        ("Ada Byron", 0.0, "The engine weaves patterns. Remember: nobody had (12:30) seen one."),
        ("Len Host", 24.0, "Welcome, Ada. So what does it weave?"),
        ("Ada Byron", 72.5, "Algebra. As the loom weaves flowers. And leaves."),
        ("Len Host", 80.0, "Mm-hm."),
    ]
    assert {turn.heading for turn in document.turns} == {("Transcript",)}
    assert [(cue.start, cue.line) for cue in document.turns[1].cues] == [(24.0, 22), (70.0, 25)]
    assert document.turns[2].cue_at(document.turns[2].text.index("leaves")).start == 3674.0


def test_names_and_clocks_on_lines_of_their_own(tmp_path: Path) -> None:
    document = read(tmp_path, OTTER, "review.txt")
    assert document.title == "Design review"
    assert spoken(document) == [
        ("Speaker 1", 3.0, "Hello and welcome, we start at 10:30. Is everybody here?"),
        ("Priya Natarajan", 15.0, "Nearly."),
        ("Speaker 1", 3723.0, "Then we wait."),
        (None, None, "Transcribed by https://otter.ai"),
    ]


def test_names_of_every_kind(tmp_path: Path) -> None:
    document = read(tmp_path, REV)
    assert document.title == "the talk"
    assert spoken(document) == [
        ("Mr. X (Riding, Party)", 0.0, "Thank you, Mr. Speaker."),
        ("李小龍", 10.5, "你好。"),
        ("🎙️ Host", 20.0, "Go on."),
        ("Jean-Luc O'Neil 3rd", 25.0, "I will."),
    ]


def test_clocks_before_names_and_bold_names(tmp_path: Path) -> None:
    document = read(tmp_path, DESCRIPT)
    assert document.title == "The mill"
    assert spoken(document) == [
        ("Grace", 12.0, "Welcome back: it's cold."),
        ("Kay", 20.0, "Very."),
        ("Grace", 30.0, "So we walk."),
        ("Kay", 40.0, "We walk."),
        ("Grace", 50.0, "Home."),
    ]


def test_clocks_without_names(tmp_path: Path) -> None:
    text = (
        "[00:00.000 --> 00:07.000]  The bees\n[00:07.000 --> 00:09.500]  came back.\n[00:09.500 --> 00:11.000]  Yes.\n"
    )
    (tmp_path / "bees.meta.yaml").write_text("default_speaker: Nadia Petrova\n")
    (turn,) = read(tmp_path, text, "bees.txt").turns
    assert (turn.speaker, turn.attribution, turn.text) == ("Nadia Petrova", "inferred", "The bees came back. Yes.")
    assert [(cue.start, cue.end) for cue in turn.cues] == [(0.0, 7.0), (7.0, 9.5), (9.5, 11.0)]


def test_headers_without_clocks_where_they_are_the_rule(tmp_path: Path) -> None:
    text = """Interview with a miller

Grace: When did it close?

Tom Okafor: In 1987. Note: the river rose twice.

It rose again later.

Grace: Twice?
"""
    document = read(tmp_path, text)
    assert document.title == "Interview with a miller"
    assert spoken(document) == [
        ("Grace", None, "When did it close?"),
        ("Tom Okafor", None, "In 1987. Note: the river rose twice. It rose again later."),
        ("Grace", None, "Twice?"),
    ]
    turn = document.turns[1]
    assert turn.locator_at(turn.text.index("again")) == "line 7"


@pytest.mark.parametrize(
    "text",
    [
        "Acquisition: users find you\nActivation: they try it\nRetention: they stay\nRevenue: they pay\n",
        "# Changes\n\nAdded: a door\n\nFixed: a window\n\nAdded: a roof\n\nFixed: a wall\n",
        "A page\n\nSome words about trains, and at 10:30 one left.\n\nNote: it was late.\n",
        'Hiring well\n\n"Hire slowly."\n49:14\n\nFiring\n\n"Never quickly."\n(51:02)\n',
        "Chapters\n\nIntro (00:00)\nHiring (12:10)\nIntro (13:00)\nEnd (20:00)\n\nThe page goes on from here.\n",
        "One line\n",
    ],
)
def test_what_is_no_dialogue(text: str) -> None:
    assert not dialogue.matches(text)


@pytest.mark.parametrize(
    "header", ["{clock} {name}", "### {name} ({clock})", "**{name}** - {clock}", "{name} [{clock}]"]
)
def test_headers_without_a_colon(tmp_path: Path, header: str) -> None:
    said = [("Jane Doe", "00:12", "Hello: you."), ("Bob", "00:15", "Hi."), ("Jane Doe", "1:00:20", "Bye.")]
    text = "\n\n".join(f"{header.format(name=name, clock=clock)}\n{words}" for name, clock, words in said)
    assert spoken(read(tmp_path, text)) == [
        ("Jane Doe", 12.0, "Hello: you."),
        ("Bob", 15.0, "Hi."),
        ("Jane Doe", 3620.0, "Bye."),
    ]


def test_a_chapter_title_among_headers_is_nobody(tmp_path: Path) -> None:
    text = "Jane (00:01): One.\n\n## Growth (00:05)\nLoose words.\n\nBob (00:06): Two.\n"
    document = read(tmp_path, text)
    assert [(turn.speaker, turn.heading) for turn in document.turns] == [
        ("Jane", ()),
        (None, ("Growth (00:05)",)),
        ("Bob", ("Growth (00:05)",)),
    ]


def test_headings_part_the_conversation(tmp_path: Path) -> None:
    text = """# The show

A talk about mills. Recorded: in May.

## First half
Grace (00:01): One.
### Detail
Grace (00:05): Two.
## Second half
Loose words.

(00:09): Three.
"""
    document = read(tmp_path, text)
    assert [(turn.heading, turn.speaker, turn.start, turn.text) for turn in document.turns] == [
        ((), None, None, "A talk about mills. Recorded: in May."),
        (("First half",), "Grace", 1.0, "One."),
        (("First half", "Detail"), "Grace", 5.0, "Two."),
        (("Second half",), None, None, "Loose words."),
        (("Second half",), "Grace", 9.0, "Three."),
    ]


def test_the_default_speaker_is_not_given_the_description(tmp_path: Path) -> None:
    text = "A talk about mills.\n\n[00:01] One.\n[00:02] Two.\n[00:03] Three.\n"
    document = dialogue.read(tmp_path / "a.txt", text, Sidecar(default_speaker="Grace"))
    assert [turn.speaker for turn in document.turns] == [None, "Grace"]


def test_malformed_front_matter_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read(tmp_path, PODCAST.replace("guest: Ada Byron", "guest: [Ada\nhost: Len"))
    assert (caught.value.line, "is not valid YAML" in caught.value.reason) == (3, True)


def test_only_web_addresses_and_real_dates_are_taken(tmp_path: Path) -> None:
    text = PODCAST.replace("https://www.youtube.com/watch?v=abc", "javascript:alert(1)").replace("2023-01-05", "soon")
    document = read(tmp_path, text)
    assert (document.url, document.date) == (None, None)


def test_a_rule_at_the_top_is_no_front_matter(tmp_path: Path) -> None:
    document = read(tmp_path, "---\n\nGrace (00:01): One: two.\n\n---\n\nKay (00:02): Three.\n")
    assert spoken(document) == [("Grace", 1.0, "One: two."), ("Kay", 2.0, "Three.")]


NAMES = st.sampled_from(["Grace Mbeki", "Mr. X (Riding, Party)", "O'Neil-Li", "Speaker 2", "李小龍", "🎙️ Host"])
SENTENCES = st.text(st.sampled_from("abc ,.'\n"), min_size=1, max_size=40).filter(lambda text: bool(fold(text)))


@given(st.lists(st.tuples(NAMES, st.integers(0, 20_000), SENTENCES), min_size=2, max_size=8))
def test_what_is_written_with_headers_is_read_back(blocks: list[tuple[str, int, str]]) -> None:
    text = "\n\n".join(f"{name} ({format_timestamp(clock)}):\n{words}" for name, clock, words in blocks)
    assert dialogue.matches(text)
    document = dialogue.read(Path("talk.md"), text, Sidecar())
    cues = {cue.position: (turn, cue) for turn in document.turns for cue in turn.cues}
    assert sorted(cues) == list(range(len(blocks)))
    for position, (name, clock, words) in enumerate(blocks):
        turn, cue = cues[position]
        assert (turn.speaker, cue.start) == (name, float(clock))
        assert turn.text[cue.offset :].startswith(fold(words))
