from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.model import Cue, Document, Person, Turn
from ingest.speakers import Guess, Naming, Speaker, Spellings, bare_name, fold_name, merge_speakers

NAMES = st.text(st.sampled_from("aB é.-'’()[]¨Dr, "), max_size=14) | st.text(max_size=6)


def document(*said: str | None, people: tuple[Person, ...] = (), access: tuple[str, ...] = ()) -> Naming:
    turns = tuple(Turn(name, "Words.", (Cue(i, 0),)) for i, name in enumerate(said))
    return Naming.of(Document("Talk", "transcript", turns, people, access=access))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Renée Müller", "RENEE MULLER"),
        ("Tim O’Reilly", "Tim O'Reilly"),
        ("Dr. Jane Doe", "Jane Doe"),
        ("The Right Hon. Jane Doe", "jane doe"),
        ("Jane  Doe.", "Jane Doe"),
        ("Jean-Luc Picard", "jean-luc picard"),
        ("Straße Groß", "STRASSE GROSS"),
        ("ﬁona ﬂynn", "Fiona Flynn"),
    ],
)
def test_spellings_that_fold_alike(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mr. Hill", "Mrs. Hill"),
        ("Dr. No", "No"),
        ("Jane Doe (Leeds)", "Jane Doe (York)"),
        ("Jean-Luc Picard", "Jean Luc-Picard"),
        ("田中", "中田"),
        ("¨", "´"),
        ("???", "!!!"),
    ],
)
def test_people_that_do_not_fold_alike(one: str, other: str) -> None:
    assert fold_name(one) != fold_name(other)


@pytest.mark.parametrize(
    ("label", "bare"),
    [
        ("Mr. Bob Ray (Leeds, Lab)", "bob ray"),
        ("Bob Ray MP", "bob ray"),
        ("Sir Bob Ray KC MP [by video]", "bob ray"),
        ("Bob MP", "bob mp"),
        ("(Interpreter)", "interpreter"),
        ("Renée", "renee"),
    ],
)
def test_bare_names(label: str, bare: str) -> None:
    assert bare_name(label) == bare


@given(NAMES)
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)
    assert bare_name(bare_name(name)) == bare_name(name)


@given(st.lists(NAMES.filter(bool), min_size=1, max_size=8))
def test_every_name_has_one_speaker_who_bears_it(names: list[str]) -> None:
    speakers, [canonical] = merge_speakers([document(*names)])
    assert canonical.keys() == set(names)
    assert {name for s in speakers for name in (s.name, *s.aliases)} == set(names)
    assert sum(1 + len(s.aliases) for s in speakers) == len(set(names))
    for name in names:
        assert fold_name(canonical[name]) == fold_name(name)
    assert [speaker.name for speaker in speakers] == sorted(speaker.name for speaker in speakers)


def test_the_name_most_turns_use_is_canonical() -> None:
    speakers, canonical = merge_speakers([document("JANE DOE", "Jane Doe", None), document("Jane Doe", "Bob Ray")])
    assert speakers == [Speaker("Bob Ray"), Speaker("Jane Doe", ("JANE DOE",))]
    assert canonical == [
        {"JANE DOE": "Jane Doe", "Jane Doe": "Jane Doe"},
        {"Jane Doe": "Jane Doe", "Bob Ray": "Bob Ray"},
    ]


def test_a_listed_name_goes_before_a_frequent_one() -> None:
    people = (Person("Jane Doe", "guest", ("Jayne Dough",)),)
    speakers, [canonical] = merge_speakers([document("Jayne Dough", "Jayne Dough", "jane doe", people=people)])
    assert speakers == [Speaker("Jane Doe", ("Jayne Dough", "jane doe"), ("guest",))]
    assert set(canonical.values()) == {"Jane Doe"}


def test_an_alias_listed_in_one_document_holds_in_all() -> None:
    _, [other, listing] = merge_speakers(
        [
            document("Kyvon Bakepour"),
            document("K. Beykpour", people=(Person("Kayvon Beykpour", None, ("K Beykpour",)),)),
        ]
    )
    assert other == {"Kyvon Bakepour": "Kyvon Bakepour"}
    assert listing == {"K. Beykpour": "Kayvon Beykpour"}
    _, [other, _] = merge_speakers(
        [document("Kyvon Bakepour"), document(people=(Person("Kayvon Beykpour", None, ("kyvon bakepour",)),))]
    )
    assert other == {"Kyvon Bakepour": "Kayvon Beykpour"}


def test_namesakes_that_sidecars_tell_apart_stay_apart() -> None:
    actor, baker = Person("Bob Ray (actor)", "guest", ("Bob Ray",)), Person("Bob Ray (baker)", None, ("Bob Ray",))
    documents = [document("Bob Ray", people=(actor,)), document("BOB RAY", people=(baker,)), document("Bob Ray")]
    speakers, canonical = merge_speakers(documents)
    assert canonical == [{"Bob Ray": "Bob Ray (actor)"}, {"BOB RAY": "Bob Ray (baker)"}, {"Bob Ray": "Bob Ray"}]
    assert speakers == [
        Speaker("Bob Ray"),
        Speaker("Bob Ray (actor)", ("Bob Ray",), ("guest",)),
        Speaker("Bob Ray (baker)", ("Bob Ray",)),
    ]


def test_aliases_join_in_chains_and_roles_add_up() -> None:
    speakers, _ = merge_speakers(
        [
            document("Liz", people=(Person("Elizabeth Ray", "host", ("Liz",)),)),
            document("Beth Ray", people=(Person("Elizabeth Ray", "guest", ("Beth Ray",)), Person("Bob"))),
        ]
    )
    assert speakers == [Speaker("Bob"), Speaker("Elizabeth Ray", ("Beth Ray", "Liz"), ("host", "guest"))]


def test_the_order_of_documents_does_not_matter() -> None:
    documents = [
        document("Liz", "Bob", people=(Person("Elizabeth Ray", "host", ("Liz",)),)),
        document("Beth Ray", people=(Person("Elizabeth Ray", None, ("Beth Ray",)),)),
        document("elizabeth ray", "Bob"),
    ]
    assert merge_speakers(documents)[0] == merge_speakers(documents[::-1])[0]


def test_what_a_private_document_says_of_names_is_for_its_readers() -> None:
    known = (Person("Robert Ray", "chair", ("Bob",)),)
    documents = [document("Bob", "Ann"), document("Robert Ray", "ANN", people=known, access=("board",))]
    speakers, canonical = merge_speakers(documents)
    assert canonical == [{"Bob": "Bob", "Ann": "Ann"}, {"Robert Ray": "Bob", "ANN": "Ann"}]
    assert speakers == [Speaker("Ann", ("ANN",)), Speaker("Bob", ("Robert Ray",), ("chair",))]
    assert merge_speakers(documents[:1])[0] == [Speaker("Ann"), Speaker("Bob")]


def test_two_whom_only_a_private_document_knows_to_be_one_keep_their_names_for_all() -> None:
    known = (Person("Robert Ray", None, ("Bob", "Bobby")),)
    documents = [document("Bob", "Bobby"), document("Robert Ray", "Bob", people=known, access=("board",))]
    speakers, canonical = merge_speakers(documents)
    assert canonical == [{"Bob": "Bob", "Bobby": "Bobby"}, {"Robert Ray": "Robert Ray", "Bob": "Robert Ray"}]
    assert [speaker.name for speaker in speakers] == ["Bob", "Bobby", "Robert Ray"]


SPELLINGS = st.sampled_from(["Bob", "BOB", "Bob Ray", "Robert Ray", "Dr Bob Ray", "Ann", "Änn", "Annie"])
GROUPS = st.frozensets(st.sampled_from(["board", "legal", "press"]))
PEOPLE = st.lists(st.builds(Person, SPELLINGS, st.sampled_from([None, "host"]), st.lists(SPELLINGS).map(tuple)))


@st.composite
def namings(draw: st.DrawFn) -> Naming:
    turns = draw(st.dictionaries(SPELLINGS, st.integers(1, 5), max_size=4))
    return Naming(turns, tuple(draw(PEOPLE)), tuple(sorted(draw(GROUPS))))


@given(st.lists(namings(), max_size=6), GROUPS)
def test_for_those_who_may_not_read_a_document_all_names_are_as_without_it(
    documents: list[Naming], groups: frozenset[str]
) -> None:
    speakers, canonical = merge_speakers(documents)
    assert {name for names in canonical for name in names.values()} <= {speaker.name for speaker in speakers}
    readable = [i for i, each in enumerate(documents) if not each.access or groups & set(each.access)]
    assert merge_speakers([documents[i] for i in readable])[1] == [canonical[i] for i in readable]


CAST = [
    Speaker("Kayvon Beykpour", ("K. Beykpour",)),
    Speaker("Harry Stebbings"),
    Speaker("Mr. Bob Ray (Leeds, Lab)"),
    Speaker("Mary Ray"),
    Speaker("Li Na"),
    Speaker("Jean Luc M. Picard"),
    Speaker("¨"),
]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("Kyvon Bakepour", ("Kayvon Beykpour",)),
        ("bakepour", ("Kayvon Beykpour",)),
        ("Stebings", ("Harry Stebbings",)),
        ("Hary Stebings", ("Harry Stebbings",)),
        ("Steb Bings", ("Harry Stebbings",)),
        ("HarryStebbins", ("Harry Stebbings",)),
        ("Jean Luck Pickard", ("Jean Luc M. Picard",)),
        ("Jean Pickard", ("Jean Luc M. Picard",)),
        ("Bob Ray", ("Mr. Bob Ray (Leeds, Lab)",)),
        ("Johnson", ()),
        ("Jane Johnson", ()),
        ("Harry Potter", ()),
        ("Ray", ()),  # too short to guess by
        ("", ()),
        ("???", ()),
    ],
)
def test_the_closest_of_a_cast(words: str, meant: tuple[str, ...]) -> None:
    assert Spellings(CAST).closest(words).speakers == meant


def test_two_who_are_equally_close_both_come_back() -> None:
    smiths = Spellings([Speaker("Anna Smith"), Speaker("Ben Smith"), Speaker("Cy Jones")])
    assert smiths.closest("Smyth") == Guess(("Anna Smith", "Ben Smith"))


def test_two_who_are_nearly_as_close_are_suggestions() -> None:
    cast = Spellings([Speaker("Anna Hansen"), Speaker("Ben Hanson"), Speaker("Cy Jones")])
    assert cast.closest("Hansan") == Guess(suggestions=("Anna Hansen", "Ben Hanson"))


def test_one_who_is_not_quite_close_is_a_suggestion() -> None:
    assert Spellings(CAST).closest("Stubins") == Guess(suggestions=("Harry Stebbings",))


@pytest.mark.parametrize(("words", "found"), [("Samesen", ("Ann Samsen",)), ("Petersen", ())])
def test_a_usual_surname_is_seldom_a_slip(words: str, found: tuple[str, ...]) -> None:
    assert Spellings([Speaker("Ann Samsen"), Speaker("Bo Pedersun")]).closest(words).speakers == found


def test_single_words_of_longer_names_can_be_left_out() -> None:
    whole = Spellings([Speaker("Marketing Expert"), Speaker("Interviewer")], whole=True)
    assert whole.closest("Marketing") == Guess()
    assert whole.closest("Interveiwer") == Guess(("Interviewer",))
    assert whole.closest("Marketting Expert") == Guess(("Marketing Expert",))


@given(NAMES, st.lists(NAMES, max_size=4))
def test_guessing_stands_any_name(words: str, names: list[str]) -> None:
    guess = Spellings([Speaker(name) for name in names]).closest(words)
    assert {*guess.speakers, *guess.suggestions} <= set(names)
    assert not (guess.speakers and guess.suggestions)


@given(st.text(st.sampled_from("abcdeé"), min_size=4, max_size=8), st.text(max_size=8))
def test_nobody_is_closer_than_who_is_called_so(name: str, other: str) -> None:
    assert name in Spellings([Speaker(name), Speaker(other)]).closest(name).speakers
