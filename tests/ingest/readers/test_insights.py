"""Pages of insights: whose the quotations are, when they were said, and what is never taken for a quotation."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.model import Document, Person
from ingest.names import is_full_name
from ingest.readers import insights
from ingest.sidecar import Sidecar, load_sidecar

CORPUS = Path(__file__).parents[3] / "corpus"
PAGE = """# Insights from Marisol Quintana

Marisol Quintana runs the seed bank of the Alto Valley.

3 skills · 5 insights

## Soil

Healthy soil is a community, not a substance.
“You do not feed the plant. You feed
the soil, and the soil
feeds the plant.” [12:05]
“Worms are my colleagues.”
(1:02:33)

"Patience" is the first tool.

"I waited eleven years for "the old wheat" to come back."

## Seeds
Seeds travel with stories.
"Every bean in this jar has a grandmother..."

02:10
"""


def read(text: str, sidecar: Sidecar | None = None) -> Document:
    assert insights.matches(text)
    return insights.read(Path("page.txt"), text, sidecar or Sidecar())


def fold(text: str) -> str:
    return " ".join(text.split())


def test_each_quotation_has_its_own_time_claim_and_heading():
    quoted = [turn for turn in read(PAGE).turns if turn.speaker]
    assert [(turn.text, turn.start, turn.end, turn.note, turn.heading) for turn in quoted] == [
        (
            "You do not feed the plant. You feed the soil, and the soil feeds the plant.",
            725.0,
            None,
            "Healthy soil is a community, not a substance.",
            ("Soil",),
        ),
        ("Worms are my colleagues.", 3753.0, None, "Healthy soil is a community, not a substance.", ("Soil",)),
        (
            'I waited eleven years for "the old wheat" to come back.',
            None,
            None,
            '"Patience" is the first tool.',
            ("Soil",),
        ),
        ("Every bean in this jar has a grandmother...", 130.0, None, "Seeds travel with stories.", ("Seeds",)),
    ]
    assert {turn.speaker for turn in quoted} == {"Marisol Quintana"}
    assert {turn.attribution for turn in quoted} == {"stated"}


def test_the_biography_is_nobodys_and_counts_are_left_out():
    document = read(PAGE)
    assert [turn.text for turn in document.turns if turn.speaker is None] == [
        "Marisol Quintana runs the seed bank of the Alto Valley."
    ]
    assert document.kind == "insights"
    assert document.people == (Person("Marisol Quintana"),)


def test_lines_and_positions_are_those_of_the_file():
    turns = read(PAGE).turns
    assert [turn.cues[0].position for turn in turns] == list(range(len(turns)))
    lines = PAGE.split("\n")
    assert all(turn.text.split()[0] in lines[turn.cues[0].line - 1] for turn in turns)


@pytest.mark.parametrize(
    ("title", "person"),
    [
        ("Tomasz Kowalski", "Tomasz Kowalski"),
        ("Insights from Priya Raman", "Priya Raman"),
        ("Ngozi Adeyemi — insights", "Ngozi Adeyemi"),
        ("Ngozi Adeyemi: insights by skill", "Ngozi Adeyemi"),
        ("Elena Fischer’s insights", "Elena Fischer"),
        ("Growth Lessons", None),
        ("Product Management Insights", None),
    ],
)
def test_the_person_is_taken_from_the_title_only_where_it_is_safe(title: str, person: str | None):
    document = read(f'{title}\n\nA claim.\n\n"One."\n1:00\n\nAnother claim.\n\n"Two."\n2:00\n')
    assert [turn.speaker for turn in document.turns] == [person, person]


def test_the_sidecar_goes_before_the_title():
    sidecar = Sidecar(people=(Person("Marisol Quintana Vega", "guest", ("Marisol Quintana",)),))
    assert {t.speaker for t in read(PAGE, sidecar).turns} == {None, "Marisol Quintana Vega"}
    assert {t.speaker for t in read(PAGE, Sidecar(default_speaker="Ana Lima")).turns} == {None, "Ana Lima"}


def test_a_time_without_quotation_and_a_quotation_without_end_are_told():
    text = 'Jane Rhodes\n\n12:00\n\nClaim one.\n"Never closed\n\nClaim two.\n"Closed."\n0:30\n"Also closed."\n0:40\n'
    document = read(text)
    assert [line for line, _ in document.warnings] == [3, 6]
    assert [(t.text, t.start) for t in document.turns] == [
        ("Never closed", None),
        ("Closed.", 30),
        ("Also closed.", 40),
    ]


def test_a_page_that_signs_a_quotation_is_believed():
    text = 'Jane Rhodes\n\nA claim.\n"Mine."\n0:30\n\nAnother.\n"His."\n0:40\n— Omar Haddad\n'
    assert [turn.speaker for turn in read(text).turns] == ["Jane Rhodes", "Omar Haddad"]


@pytest.mark.parametrize(
    "text",
    [
        "Shopping\n\nMilk\nEggs\n12:30\n",
        'He said "yes".\nThen we left.\n"No," she said.\n',
        "Jane Doe (00:12):\nHello.\n\nBob Roe (00:20):\nHi.\n",
        "",
        "12:00\n" * 50,
    ],
)
def test_other_texts_do_not_match(text: str):
    assert not insights.matches(text)


def test_the_page_of_the_corpus():
    path = CORPUS / "kayvon-beykpour-insights.txt"
    text = path.read_text()
    document = insights.read(path, text, load_sidecar(path))
    by_start = {turn.start: turn for turn in document.turns if turn.speaker}
    assert len([turn for turn in document.turns if turn.speaker == "Kayvon Beykpour"]) == 15
    assert by_start[2954.0].text.startswith("If the only way the organization is trained to think about what to build")
    assert by_start[2954.0].text.endswith("you should b...")
    assert by_start[2954.0].heading == ("Product Management Skills",)
    assert by_start[3674.0].text.startswith("The reason that the Periscope app failed")
    last = document.turns[-1]
    assert last.text.startswith("The best cheat codes")
    assert (last.start, last.end) == (None, None)
    assert last.note.startswith("The guest emphasizes")
    assert not any("15 insights" in turn.text or turn.text.endswith("Skills") for turn in document.turns)


words = st.text(st.characters(codec="utf-8", exclude_characters='"“”«»„\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029'))


@given(st.lists(st.tuples(words, words, st.integers(0, 35_999)), min_size=2, max_size=5))
def test_every_text_and_note_stands_in_the_page(entries: list[tuple[str, str, int]]):
    text = "Priya Raman\n\n" + "\n".join(
        f'Claim {claim}.\n"So {quotation}"\n{s // 3600}:{s // 60 % 60:02}:{s % 60:02}\n'
        for claim, quotation, s in entries
    )
    document = insights.read(Path("page.txt"), text, Sidecar())
    folded = fold(text)
    assert all(turn.text in folded and turn.note in folded for turn in document.turns)


@pytest.mark.parametrize(
    "name", ["Jeff Bezos", "Satya Nadella", "Elon Musk", "Steve Jobs", "Vincent van Gogh", "Ana J. Lima"]
)
def test_names_of_persons(name: str):
    assert is_full_name(name)


@pytest.mark.parametrize(
    "label",
    [
        "Pirate Metrics",
        "Company Vision",
        "Grace Period",
        "North Star",
        "Reduce Costs",
        "Rollout Plan",
        "Jeff",
        "a b",
        "Hu, J",
    ],
)
def test_labels_that_are_no_names(label: str):
    assert not is_full_name(label)
