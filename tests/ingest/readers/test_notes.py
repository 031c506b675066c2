"""Notes, articles and other prose: headings, bylines, furniture, and whose words each paragraph holds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.model import Document, Person
from ingest.readers import notes
from ingest.sidecar import Sidecar, load_sidecar

CORPUS = Path(__file__).parents[3] / "corpus"
BUILD_TRAP = CORPUS / "escaping-the-build-trap-notes.txt"


def read(text: str, sidecar: Sidecar | None = None, name: str = "file.txt") -> Document:
    assert notes.matches(text)
    return notes.read(Path(name), text, sidecar or Sidecar())


def rows(document: Document) -> list[tuple[str | None, tuple[str, ...], str]]:
    return [(turn.speaker, turn.heading, turn.text) for turn in document.turns]


MEETING = """---
title: Sprint review
author: Nadia Petrova
date: 2024-05-06
---
# Sprint review

Attendees: Anna, Bob Lindqvist, Chidi

## Decisions
- Anna: I'll take the rollout to the [north region](https://example.com/a_b).
- [x] Bob Lindqvist: we *never* test on Fridays.
- Rollout Plan: three stages, starting with the smallest region of them all.
- **Cost Centre**: unchanged

> The customer is the person who pays.
> — Peter Drucker

| Item | Owner |
| --- | --- |
| Rollout | Anna |

Satya Nadella: Our industry does not respect tradition, it only respects innovation.
Grace Period: customers have thirty days to pay before we act on it.
Pirate Metrics: the five numbers that every start-up should look at weekly.
"""


def test_meeting_notes_tell_people_from_labels():
    document = read(MEETING)
    assert (document.title, document.date, document.kind) == ("Sprint review", "2024-05-06", "article")
    me, decisions = "Nadia Petrova", ("Decisions",)
    assert rows(document) == [
        (me, (), "Attendees: Anna, Bob Lindqvist, Chidi"),
        ("Anna", decisions, "I'll take the rollout to the north region."),
        ("Bob Lindqvist", decisions, "we never test on Fridays."),
        (me, decisions, "Rollout Plan: three stages, starting with the smallest region of them all."),
        (me, decisions, "Cost Centre: unchanged"),
        ("Peter Drucker", decisions, "The customer is the person who pays."),
        (me, decisions, "Item | Owner"),
        (me, decisions, "Rollout | Anna"),
        ("Satya Nadella", decisions, "Our industry does not respect tradition, it only respects innovation."),
        (me, decisions, "Grace Period: customers have thirty days to pay before we act on it."),
        (me, decisions, "Pirate Metrics: the five numbers that every start-up should look at weekly."),
    ]
    assert {turn.attribution for turn in document.turns} == {"stated"}
    assert document.turns[1].cues[0].line == 11
    assert document.turns[1].locator_at(0) == "Decisions › line 11"


def test_a_diary_has_its_days_as_headings_and_its_wrapped_lines_joined():
    document = read(
        "Monday, 3 March 2025\n"
        "Rain all day. I walked to the harbour and counted the boats that had come back\n"
        "from the storm; there were nine, which is two fewer than the harbour master had\n"
        "hoped for.\n\nMade soup.\n\nTuesday, 4 March 2025\nThe sun came out. Wrote to Henrik.\n",
        name="diary.txt",
    )
    assert document.title == "diary"
    assert [(speaker, heading) for speaker, heading, _ in rows(document)] == [
        (None, ("Monday, 3 March 2025",)),
        (None, ("Monday, 3 March 2025",)),
        (None, ("Tuesday, 4 March 2025",)),
    ]
    assert document.turns[0].text.endswith("two fewer than the harbour master had hoped for.")


def test_an_e_readers_clippings_are_the_books_words_but_for_the_readers_notes():
    document = read(
        "The Quiet Machine (Elena Fischer)\n- Your Highlight on page 12 | location 123-125 | Added on Sunday\n\n"
        "Machines are quiet when they are loved\n==========\n"
        "The Quiet Machine (Elena Fischer)\n- Your Note on page 14 | location 150 | Added on Sunday\n\n"
        "Compare with Pirsig.\n==========\n"
        "The Quiet Machine (Elena Fischer)\n- Your Highlight on page 20 | location 200 | Added on Monday\n\n"
        "Oil is a form of attention.\n==========\n"
    )
    assert document.kind == "notes"
    assert [(t.speaker, t.attribution, t.text) for t in document.turns] == [
        ("Elena Fischer", "inferred", "Machines are quiet when they are loved"),
        (None, "stated", "Compare with Pirsig."),
        ("Elena Fischer", "inferred", "Oil is a form of attention."),
    ]


def test_an_export_of_highlights_ends_where_ones_own_thoughts_begin():
    document = read(
        "# The Quiet Machine\n\n## Metadata\n- Author: [[Elena Fischer]]\n- Category: #books\n\n## Highlights\n"
        "- Machines are quiet when loved. ([Location 123](https://example.com/x?a=b))\n- Oil is attention. (Page 12)\n"
        "  - Note: so true\n\n## My thoughts\nA lovely book.\n"
    )
    assert rows(document) == [
        (None, ("Metadata",), "Category: #books"),
        ("Elena Fischer", ("Highlights",), "Machines are quiet when loved."),
        ("Elena Fischer", ("Highlights",), "Oil is attention."),
        (None, ("Highlights",), "Note: so true"),
        (None, ("My thoughts",), "A lovely book."),
    ]


def test_a_readme_keeps_its_words_and_loses_its_markers():
    document = read(
        "# fastcat\n\nA tool that joins `files`, because __speed__ matters and snake_case_names stay; 2 * 3 * 4.\n\n"
        "## Install\n\n```sh\npip install fastcat\n```\n\nUsage\n-----\nRun **it** [now](http://example.com).\n\n"
        "1. First step\n2. Second step that goes\n   on below\n\n![logo](a.png)\n\n***\n\n## Empty\n\n## Last\nEnd.\n"
    )
    assert document.title == "fastcat"
    assert rows(document) == [
        (None, (), "A tool that joins files, because speed matters and snake_case_names stay; 2 * 3 * 4."),
        (None, ("Install",), "pip install fastcat"),
        (None, ("Usage",), "Run it now."),
        (None, ("Usage",), "First step"),
        (None, ("Usage",), "Second step that goes on below"),
        (None, (), "Empty"),
        (None, ("Last",), "End."),
    ]


def test_an_article_with_a_byline_and_furniture():
    document = read(
        "Why Harbours Silt Up\n\nElena Fischer\nThe Tidal Letter\n7 min read · May 6, 2021\n\nShare\nFollow\n\n--\n\n"
        "Silt is patient.\n\nThe Long Answer\n\nRivers carry it down.\n\nDredging\nIt costs more each year.\n\n"
        "“Mud never sleeps.” — Omar Haddad, pilot\n\n--\n"
    )
    assert (document.title, document.date, document.kind) == ("Why Harbours Silt Up", "2021-05-06", "article")
    assert document.people == (Person("Elena Fischer", "author"), Person("Omar Haddad"))
    assert rows(document) == [
        ("Elena Fischer", (), "Silt is patient."),
        ("Elena Fischer", ("The Long Answer",), "Rivers carry it down."),
        ("Elena Fischer", ("The Long Answer", "Dredging"), "It costs more each year."),
        ("Omar Haddad", ("The Long Answer", "Dredging"), "“Mud never sleeps.”"),
    ]


def test_book_notes_change_voice_at_the_excerpts():
    document = read(
        "The Quiet Machine: reading notes\n\nBy Nadia Petrova\n\n"
        "The Quiet Machine by Elena Fischer, notes and reflections\n\n"
        "I read it on a train.\n\nHighlights\n\nChapter 1 Oil\n\nOil is a form of attention.\n\n"
        "My Thoughts\n\nIt made me oil my bicycle.\n"
    )
    assert document.kind == "notes"
    assert [(t.speaker, t.attribution, t.heading, t.text) for t in document.turns[1:]] == [
        ("Nadia Petrova", "stated", (), "I read it on a train."),
        ("Elena Fischer", "inferred", ("Chapter 1 Oil",), "Oil is a form of attention."),
        ("Nadia Petrova", "stated", ("My Thoughts",), "It made me oil my bicycle."),
    ]


def test_the_sidecar_says_who_writes_and_who_is_quoted():
    sidecar = Sidecar(
        people=(Person("Elena Fischer", "author of the book"), Person("Yusuf Demir", "note-taker", ("YD",)))
    )
    document = read("# Notes\n\nMine.\n\n# Excerpts\n\nHers.\n\nYD: Mine again.\n", sidecar)
    assert [(t.speaker, t.attribution, t.text) for t in document.turns] == [
        ("Yusuf Demir", "inferred", "Mine."),
        ("Elena Fischer", "inferred", "Hers."),
        ("Yusuf Demir", "stated", "Mine again."),
    ]


def test_plain_prose_without_any_name_is_nobodys():
    document = read("It rained, and nobody came to the fair that we had planned.\n\nWe went home.\n", name="fair.txt")
    assert document.title == "fair"
    assert rows(document) == [
        (None, (), "It rained, and nobody came to the fair that we had planned."),
        (None, (), "We went home."),
    ]


def test_a_list_of_short_lines_is_no_row_of_headings():
    document = read("Groceries\n\nMilk\n\nEggs\n\nBread\n\nButter\n\nThat is all.\n")
    assert [turn.text for turn in document.turns] == ["Milk", "Eggs", "Bread", "Butter", "That is all."]


@pytest.fixture(scope="module")
def build_trap() -> Document:
    return notes.read(BUILD_TRAP, BUILD_TRAP.read_text(), load_sidecar(BUILD_TRAP))


def test_the_notes_of_the_corpus_have_three_voices(build_trap: Document):
    assert (build_trap.title, build_trap.date, build_trap.kind) == (
        "Escaping the Build Trap: reading notes",
        "2023-03-08",
        "notes",
    )
    bezos = [turn for turn in build_trap.turns if turn.speaker == "Jeff Bezos"]
    assert [(t.text.split(".")[0], t.attribution, t.heading) for t in bezos] == [
        (
            "The most important single thing is to focus obsessively on the customer",
            "stated",
            ("Part V The Product-Led Organization", "Customer Centricity"),
        )
    ]
    assert {turn.speaker for turn in build_trap.turns} == {"Oliver Hu", "Melissa Perri", "Jeff Bezos"}
    begin = next(turn for turn in build_trap.turns if turn.speaker == "Melissa Perri")
    assert begin.text.startswith("The build trap is when organizations become stuck")
    assert begin.attribution == "inferred"
    assert all(turn.speaker == "Oliver Hu" for turn in build_trap.turns if turn.cues[0].line < begin.cues[0].line)


def test_the_notes_of_the_corpus_have_their_headings(build_trap: Document):
    heading = {turn.text.split(".")[0]: turn.heading for turn in build_trap.turns}
    part_two = "Part II The Role of the Product Manager"
    assert heading["Product death cycle:"] == (part_two, "Bad Product Manager Archetypes", "The Waiter")
    assert heading["Customers don’t like our AI platform"] == ("Hard to set the right culture",)
    assert heading["Acquisition: users find you"][-1] == "Pirate Metrics"
    assert heading["GA: the solution is widely available to all of our clients"][-1] == "Roadmaps and Sales Teams"
    assert heading["What is your goal?"] == ("Appendix: Six Questions to Determine Whether a Company is Product-Led",)
    paths = {turn.heading[-1] for turn in build_trap.turns if turn.heading}
    assert {"Sales-led", "CONCIERGE", "WIZARD OF OZ", "Hard to build the right team", "The Mini-CEO"} <= paths
    assert not any(path.startswith(("Reduce", "Company vision", "Product metrics")) for path in paths)


def test_nothing_of_the_notes_of_the_corpus_is_lost_but_furniture(build_trap: Document):
    kept = " ".join([turn.text for turn in build_trap.turns] + [h for turn in build_trap.turns for h in turn.heading])
    lost = [
        line
        for line in (" ".join(raw.split()) for raw in BUILD_TRAP.read_text().split("\n"))
        if line and line.removeprefix("• ").removeprefix("Jeff Bezos: ").lstrip("0123456789. ") not in kept
    ]
    assert lost == [
        "Why is AI Platform Team Hard to Succeed & Escaping the Build Trap Reading Notes",
        "Oliver Hu",
        "Keqiu’s Management Notes",
        "21 min readMar 8, 2023",
        "--",
        "Excerpts",
        "--",
        "--",
    ]


marks = str.maketrans("", "", '*_`[]#>-+•|\\"“”')
line = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=90)


@given(st.lists(line, min_size=1, max_size=12).map("\n".join))
def test_every_text_stands_in_the_file_but_for_markers(text: str):
    document = notes.read(Path("x.txt"), text, Sidecar())
    folded = " ".join(text.translate(marks).split())
    for turn in document.turns:
        assert " ".join(turn.text.translate(marks).split()) in folded
    assert [turn.cues[0].position for turn in document.turns] == list(range(len(document.turns)))
    assert all(turn.text for turn in document.turns)


@pytest.mark.parametrize("unit", ["[", "[a](", "*a ", "_a", "`", "# ", "> ", "- ", "A b: ", "Aa", "“", "|", "(", "— "])
def test_hostile_lines_take_linear_time(unit: str):
    assert read(unit * (400_000 // len(unit)) + "\n\nA word.").turns[-1].text == "A word."
