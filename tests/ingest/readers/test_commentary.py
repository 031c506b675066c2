"""Quotation and commentary: who says which quotation, and that commentary is never anybody's words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.model import Document, Person
from ingest.readers import commentary
from ingest.sidecar import Sidecar, load_sidecar

CORPUS = Path(__file__).parents[3] / "corpus"
EPISODE = """In this episode of "Design Matters Daily," Laura Whitfield sits down with Linear CEO Tomas Okafor to talk \
about craft. Okafor explains how his team built an issue tracker that people enjoy.

"Hello and welcome to Design Matters Daily, the show about people who make things."
This quote introduces the episode and its subject.

"We built Linear as a tool for teams that love speed. Thousands of teams trust Linear today, and we help them ship."
This quote emphasizes the value of Linear as a tool for teams.

"Slack is a tool that teams love and trust, and it helps them talk."
The quote highlights the value of Slack as a tool for distributed teams.

"We gave people 20% off and a free trial, and they still left."
This quote describes a failed promotion that the host asks about.

"Thank you so much for having me."
This quote conveys gratitude.
"""
FIELDWORK = """The Ice Table

Hosted by Ravi Menon. Ingrid Sørensen, a glaciologist, joins Ravi Menon to discuss ice cores.

Ice remembers what the sky forgot.
This quote captures Sørensen's poetic view of ice cores.
This statement also shows her love of the field.
We drilled for nine weeks.
We drank a lot of coffee.
This quote illustrates the hardships of the field season.
My guest today has spent three winters on the ice.
Here, the host introduces Sørensen's experience.
"A core is an archive."
It sums up her work in one image.
"You count the layers like rings of a tree."
The quote explains how layers are dated.
"""


def read(text: str, sidecar: Sidecar | None = None) -> Document:
    assert commentary.matches(text)
    return commentary.read(Path("talk.txt"), text, sidecar or Sidecar())


def episode(quotation: str, comment: str, sidecar: Sidecar | None = None) -> str | None:
    """Who is said to speak the quotation, among others of the episode."""
    document = read(f"{EPISODE}\n{quotation}\n{comment}\n", sidecar)
    assert document.turns[-1].text == quotation.strip('"')
    assert document.turns[-1].note == comment
    return document.turns[-1].speaker


def test_guest_and_host_come_from_the_introduction():
    document = read(EPISODE)
    assert document.title == "Design Matters Daily: Tomas Okafor"
    assert document.kind == "transcript"
    assert document.people == (Person("Laura Whitfield", "host"), Person("Tomas Okafor", "guest"))
    assert document.turns[0].speaker is None
    assert [turn.speaker for turn in document.turns[1:]] == ["Laura Whitfield"] + ["Tomas Okafor"] * 4
    assert {turn.attribution for turn in document.turns[1:]} == {"inferred"}
    assert document.turns[1].cues[0].line == 3
    assert document.turns[1].start is None


def test_quotations_in_a_row_missing_marks_and_two_commentaries():
    document = read(FIELDWORK)
    assert document.title == "The Ice Table"
    assert [(turn.text, turn.speaker) for turn in document.turns[1:]] == [
        ("Ice remembers what the sky forgot.", "Ingrid Sørensen"),
        ("We drilled for nine weeks.", "Ingrid Sørensen"),
        ("We drank a lot of coffee.", "Ingrid Sørensen"),
        ("My guest today has spent three winters on the ice.", "Ravi Menon"),
        ("A core is an archive.", "Ingrid Sørensen"),
        ("You count the layers like rings of a tree.", "Ingrid Sørensen"),
    ]
    assert document.turns[1].note.endswith("This statement also shows her love of the field.")
    assert [turn.note for turn in document.turns[2:4]] == [
        "",
        "This quote illustrates the hardships of the field season.",
    ]
    assert document.turns[5].note == "It sums up her work in one image."


@pytest.mark.parametrize(
    ("quotation", "comment"),
    [
        ('"Thanks for joining us, Tomas."', "The quote closes the interview."),
        ('"Use code DESIGN20 at checkout."', "This quote mentions a discount."),
        ('"This episode is brought to you by Notion."', "This quote thanks Notion."),
        ('"My name is Laura Whitfeld and I draw."', "This quote tells who is speaking."),
        ('"How do you decide what not to build?"', "In this quote, Whitfield asks how he chooses."),
        ('"So what is next?"', "This quote captures the host's curiosity about the future."),
        (
            '"Gusto is the easiest way to pay people, trusted by thousands of teams."',
            "This quote emphasizes the value of Gusto as a tool for small companies.",
        ),
        ('"Payroll is a pain, so try Gusto."', "This quote promotes Gusto to listeners."),
    ],
)
def test_what_the_host_says(quotation: str, comment: str):
    assert episode(quotation, comment) == "Laura Whitfield"


@pytest.mark.parametrize(
    ("quotation", "comment"),
    [
        ('"We say no by default."', "This quote answers the host's question about focus."),
        ('"I\'m Tomas Okafor and I started in a garage."', "The quote recounts the origin of the company."),
        ('"When people joined we said, welcome to the team, here is your laptop."', "This quote recounts hiring."),
        ('"Our executive sponsor left."', "This quote explains the importance of an executive sponsor."),
        ('"You go to google.com and type it in."', "This quote illustrates how people search."),
        ('"Engineers use code to think."', "This quote reflects on engineering."),
        ('"We spent ten million dollars on that product."', "This quote reveals the cost of the product."),
        ('"Our guests today want something else."', "This quote explains how travel changed."),
        ('"It was fun. Thanks for having me here."', "This quote conveys his gratitude."),
    ],
)
def test_what_the_guest_says(quotation: str, comment: str):
    assert episode(quotation, comment) == "Tomas Okafor"


def test_the_sidecar_spells_the_names():
    sidecar = Sidecar(
        title="Craft",
        people=(Person("Laura Whitfield-Jones", "host", ("Laura Whitfield",)), Person("Tomás Okafor", "guest")),
        default_speaker="Tomas Okafor",
    )
    document = read(EPISODE, sidecar)
    assert document.title == "Craft"
    assert [turn.speaker for turn in document.turns[1:]] == ["Laura Whitfield-Jones"] + ["Tomás Okafor"] * 4


def test_nobody_is_invented_where_nobody_is_named():
    text = "A talk about bread.\n" + '"Flour matters."\nThis quote highlights flour.\n' * 3
    text += '"Welcome to the bread show."\nThis quote introduces the show.\n'
    assert {turn.speaker for turn in read(text).turns} == {None}


def test_commentary_above_every_quotation_is_kept_and_told():
    text = '"Flour matters."\nThis quote highlights flour.\n' * 3
    document = read(f"Bread is discussed at length here.\n\n\n{text}")
    assert document.turns[0].text == "Bread is discussed at length here."
    assert [turn.text for turn in document.turns[1:]] == ["Flour matters."] * 3


def test_a_quotation_over_several_lines_is_one():
    text = 'About bread.\n"Flour matters,\nand so does water."\nThis quote highlights flour.\n'
    text += '"Salt."\nThe quote emphasizes salt.\n"Heat."\nThis quote explains heat.\n'
    assert read(text).turns[1].text == "Flour matters, and so does water."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This quote is lovely.\n",
        "# Reading notes\n\nThis quote highlights the book.\n\n> Be kind.\n\nI went home.\n\nThen I slept.\n\nGood.\n",
        "Anna: This quote highlights it.\nBob: The quote explains it.\nAnna: This quote shows it.\n",
        "The quote highlights.\n" * 10,
    ],
)
def test_other_texts_do_not_match(text: str):
    assert not commentary.matches(text)


def test_the_episode_of_the_corpus_with_and_without_its_sidecar():
    path = CORPUS / "20-product-kayvon-beykpour.txt"
    text = path.read_text()
    document = commentary.read(path, text, load_sidecar(path))
    assert document.title == "20 Product: Kayvon Beykpour"
    hosts = [turn for turn in document.turns if turn.speaker == "Harry Stebbings"]
    assert [turn.text.split()[:4] for turn in hosts] == [
        ["This", "is", "20", "product"],
        ["And", "speaking", "of", "incredible"],
    ]
    assert len([turn for turn in document.turns if turn.speaker == "Kayvon Beykpour"]) == 26
    space = next(turn for turn in document.turns if "SpaceX" in turn.text and turn.speaker)
    assert space.text == "I am awestruck and inspired by what SpaceX is doing."
    assert (space.attribution, space.start) == ("inferred", None)
    assert not any(turn.text.startswith(("This quote", "The quote")) for turn in document.turns)
    bare = commentary.read(path, text, Sidecar())
    assert bare.people == (Person("Harry Stebbings", "host"), Person("Kyvon Bakepour", "guest"))
    assert [t.speaker for t in bare.turns].count("Harry Stebbings") == 2


plain = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1).map(lambda text: f"We {text}")


@given(st.lists(st.tuples(plain, plain), min_size=3, max_size=6))
def test_every_line_comes_out_once_as_words_or_note(pairs: list[tuple[str, str]]):
    text = "A summary.\n" + "".join(f"{quotation}\nThis quote shows {comment}\n" for quotation, comment in pairs)
    document = commentary.read(Path("talk.txt"), text, Sidecar())
    folded = " ".join(text.split())
    assert all(turn.text in folded for turn in document.turns)
    assert sum(len((turn.text + turn.note).replace(" ", "")) for turn in document.turns) >= len(
        "".join(text.split())
    ) - 2 * (len(pairs) + 1)
