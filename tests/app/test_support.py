from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from app.citations import cite
from app.drafts import Draft
from app.support import MOST_CITES, Checker, Offered, Refusal, Supported, Unsupported
from app.wording import LONGEST_DRAFT, normalised
from index.embed import Embedder
from index.search import Hit, Index
from ingest.model import Cue, Passage, Source, Span, Turn
from ingest.passages import split_sentences
from ingest.speakers import Speaker

KAYVON, HARRY, PERRI, BEZOS, HU = (
    "Kayvon Beykpour",
    "Harry Stebbings",
    "Melissa Perri",
    "Jeff Bezos",
    "Oliver Hu",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Every sentence of the sample corpus, offered under a number, and a checker of drafts that cite them."""

    offered: dict[int, Offered]
    speakers: list[Speaker]
    checker: Checker

    def id_of(self, words: str) -> int:
        """The number of the only sentence that holds these words."""
        (found,) = [each.id for each in self.offered.values() if words in each.text]
        return found

    def check(self, text: str, *cited: str, last_named: tuple[str, ...] = ()) -> Supported | Unsupported | Refusal:
        return self.checker.check(Draft(text, tuple(self.id_of(words) for words in cited)), last_named)


@pytest.fixture(scope="module")
def sample(sample_index: Path, embedder: Embedder) -> Iterator[Sample]:
    index = Index.open(sample_index, embedder)
    hits = index.search("product", embedder.embed(["product"])[0], 1000)
    assert len(hits) == len(index)
    places = ((hit, i) for hit in hits for i in range(len(hit.passage.sentences)))
    offered = {number: Offered(number, hit, i) for number, (hit, i) in enumerate(places, start=1)}
    speakers = index.store.speakers()
    yield Sample(offered, speakers, Checker(offered, speakers))
    index.close()


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("Kayvon Beykpour said that retention wasn't good.", ["that retention wasn't good"]),
        (
            "Kayvon said Periscope failed because retention was poor.",
            ["The reason that the Periscope app", "Our poor retention"],
        ),
        ("At 28:50, Kayvon Beykpour said: “The sacred cows are like their own roadmap.”", ["The sacred cows are"]),
        ('According to Beykpour, sacred cows are "like their own roadmap" (28:50).', ["The sacred cows are"]),
        ("The guest explains that sacred cows are a roadmap of their own.", ["The sacred cows are"]),
        ("As the guest put it, sacred cows are «like their own roadmap».", ["The sacred cows are"]),
        ("Sacred cows are ‘like their own roadmap’, which isn't a surprise.", ["The sacred cows are"]),
        ("“The sacred cows are like their own roadmap,” said Kyvon Bakepour.", ["The sacred cows are"]),
        ("He joined Twitter in 2015 through the acquisition of Periscope.", ["originally joined Twitter"]),
        ("Kayvon Beykpour joined Twitter in 2015.", ["originally joined Twitter"]),
        ("TikTok Live and Facebook's live video drew on Periscope.", ["Periscope pioneered technology"]),
        ("The data platform had 30 features, of which people used only 2%.", ["had a total of 30"]),
        (
            "Perri writes that a data platform had thirty features and about forty more on the backlog.",
            ["had a total of 30"],
        ),
        ("Bezos said “Our goal is to be earth’s most customer-centric company.”", ["earth’s most"]),
        ("In Jeff Bezos' words, the goal is to be “Earth's most customer-centric company”.", ["earth’s most"]),
        ("**Oliver Hu** argues that infrastructure teams celebrate *deep dives*.", ["teams also celebrate"]),
        ("- In his notes of March 8, 2023, Oliver Hu calls culture a challenge.", ["balance the culture"]),
        ("She warns that companies in output mode are optimized for output [9].", ["Yet most companies I encounter"]),
        ("Under Customer Centricity, the customer comes first.", ["focus obsessively on the customer"]),
        (
            "Perri says that the build trap distracts companies, and Hu calls the book fun to read.",
            ["terrifying place for companies", "very fun to read"],
        ),
    ],
)
def test_what_the_cited_sentences_bear_out_is_supported(sample: Sample, text: str, cited: list[str]) -> None:
    found = sample.check(text, *cited)
    assert isinstance(found, Supported), found
    assert found.text == normalised(text)
    assert {each.text for each in found.cited} >= {sample.offered[sample.id_of(cited[0])].text}


@pytest.mark.parametrize(
    ("text", "cited", "reason"),
    [
        (
            "Harry Stebbings said that retention wasn't good.",
            "that retention wasn't good",
            "claims for Harry Stebbings",
        ),
        ("The host said that retention wasn't good.", "that retention wasn't good", "claims for host"),
        ("Elon Musk said that retention wasn't good.", "that retention wasn't good", "claims for Elon Musk"),
        ("According to Musk, retention wasn't good.", "that retention wasn't good", "claims for Musk"),
        ("In Melissa Perri's view, retention wasn't good.", "that retention wasn't good", "claims for Melissa Perri"),
        ("Oliver Hu: “retention wasn't good”", "that retention wasn't good", "claims for Oliver Hu"),
        ("“Retention wasn't good,” said Jeff Bezos.", "that retention wasn't good", "claims for Jeff Bezos"),
        (
            "Hu, who led product at Twitter, has also said that retention wasn't good.",
            "that retention",
            "claims for Hu",
        ),
        ("Perri and Beykpour say that retention wasn't good.", "that retention wasn't good", "claims for Perri"),
        ("Gates thinks that retention wasn't good.", "that retention wasn't good", "claims for Gates"),
        ("Kayvon Beykpour said that he joined Twitter in 2015.", "originally joined Twitter", "nobody named"),
        ("He said that he joined Twitter in 2015.", "originally joined Twitter", "claims for He"),
        ("Kayvon Beykpour said that “retention was good”.", "that retention wasn't good", "word for word"),
        ("Kayvon Beykpour said that “retention … wasn't good”.", "that retention wasn't good", "word for word"),
        ("Kayvon Beykpour spoke of 'retention that was good'.", "that retention wasn't good", "word for word"),
        ("Kayvon Beykpour called it “art”.", "start there", "word for word"),
        ("Kayvon Beykpour said that “retention wasn't good.", "that retention wasn't good", "in pairs"),
        ("At 28:51, Kayvon Beykpour spoke of sacred cows.", "The sacred cows are", "“28:51”"),
        ("Kayvon Beykpour spoke of three sacred cows.", "The sacred cows are", "“3”"),
        ("The platform had 31 features.", "had a total of 30", "“31”"),
        ("The platform had 30 features, of which 3% were used.", "had a total of 30", "“3”"),
        ("He joined Twitter in 2016.", "originally joined Twitter", "“2016”"),
        ("In his notes of March 9, 2023, Oliver Hu calls culture a challenge.", "balance the culture", "“9”"),
        ("Instagram failed since retention wasn't good.", "that retention wasn't good", "“Instagram”"),
        ("Twitter failed since retention wasn't good.", "that retention wasn't good", "“Twitter”"),
        ("The AI app failed since retention wasn't good.", "that retention wasn't good", "“AI”"),
        ("By GPT-4, retention wasn't good.", "that retention wasn't good", "“GPT-4”"),
        ("In May, retention wasn't good.", "that retention wasn't good", "“May”"),
        ("Melissa Perri wanted to change the lack of ambition.", "change the lack of ambition", "“Melissa Perri”"),
        ("The host wanted to change the lack of ambition.", "change the lack of ambition", "“host”"),
        ("Rain is expected in the mountains.", "The sacred cows are", "hardly a word in common"),
        ("Retention wasn't good, see https://example.org.", "that retention wasn't good", "a link"),
    ],
)
def test_what_they_do_not_bear_out_is_unsupported(sample: Sample, text: str, cited: str, reason: str) -> None:
    found = sample.check(text, next(each.text for each in sample.offered.values() if cited in each.text))
    assert isinstance(found, Unsupported), found
    assert reason in found.reason


SPEAKERS = [Speaker("Ann Lee", ("Anne Li",), ("host",)), Speaker("Bob Ray"), Speaker("Cy Fox", (), ("guest",))]
TALK = (
    ("Ann Lee", "Bob, why did Acme leave Berlin in 2019?"),
    ("Bob Ray", "Rents were high. We paid five thousand euros. Staff hated it. I met Jane Doe there."),
    ("Ann Lee", "You joined Acme early. I wanted a garden. Cy thinks rents fell."),
    (None, "The building stood empty for years. She said so."),
    ("Cy Fox", "Rents fell later. Bob Ray said that staff loved Berlin."),
)


def talk(*turns: tuple[str | None, str], title: str = "A talk with Cy Fox") -> Hit:
    """A passage of turns a minute apart."""
    said = [Turn(who, text, (Cue(i, 0, 60.0 * i),), heading=("Offices",)) for i, (who, text) in enumerate(turns)]
    spans = [Span(i, *ends) for i, turn in enumerate(said) for ends in split_sentences(turn.text)]
    source = Source("talk", "talk.vtt", title, "transcript", date="2024-05-06")
    passage = Passage("p", "talk", 0, tuple(spans), 0)
    return Hit(1, 1.0, 1.0, passage, source, dict(enumerate(said)), np.zeros((len(spans), 4), dtype=np.int8))


def check(text: str, *cites: int, last_named: Sequence[str] = ()) -> Supported | Unsupported | Refusal:
    """Checks a draft about the talk, whose sentences are numbered from 0."""
    hit = talk(*TALK)
    offered = {i: Offered(i, hit, i) for i in range(len(hit.passage.sentences))}
    return Checker(offered, SPEAKERS).check(Draft(text, cites), last_named)


def shown(found: Supported | Unsupported | Refusal) -> list[tuple[int, int]] | str:
    """The first and last sentences of what is cited, or why not."""
    if isinstance(found, Supported):
        return [(each.first, each.last) for each in found.cited]
    return found.reason if isinstance(found, Unsupported) else "refusal"


def test_the_numbers_of_the_talk() -> None:
    hit = talk(*TALK)
    texts = ["Rents were high.", "You joined Acme early.", "The building stood empty for years.", "Rents fell later."]
    assert [Offered(0, hit, i).text for i in (1, 5, 8, 10)] == texts
    assert (Offered(0, hit, 8).speaker, Offered(0, hit, 10).speaker) == (None, "Cy Fox")


def test_sentences_in_a_row_are_one_citation() -> None:
    assert shown(check("Rents were high and staff hated it.", 3, 1)) == [(3, 3), (1, 1)]
    assert shown(check("Rents were high, they paid and staff hated it.", 3, 1, 10, 2)) == [(1, 3), (10, 10)]
    assert shown(check("Rents were high, and fell.", 1, 10)) == [(1, 1), (10, 10)]
    found = check("Rents were high.", 1)
    assert isinstance(found, Supported)
    assert cite(found.cited[0].hit, found.cited[0].first, found.cited[0].last).quote == "Rents were high."
    assert (found.cited[0].speaker, found.cited[0].text) == ("Bob Ray", "Rents were high.")


def test_cites_of_what_was_not_offered_are_dropped_and_counted() -> None:
    found = check("Rents were high.", 99, 1, 99, 98)
    assert isinstance(found, Supported)
    assert (shown(found), found.dropped) == ([(1, 1)], 2)
    assert check("Rents were high.", 99) == Unsupported("It cites none of the numbered sentences.", 1)
    assert check("Rents were high.") == Unsupported("It cites none of the numbered sentences.", 0)


def test_only_the_first_cites_count() -> None:
    assert (
        shown(check("The building stood empty.", 1, 2, 3, 5, 6, 7, 8))
        == "It has hardly a word in common with what it cites."
    )
    assert MOST_CITES == 6


@pytest.mark.parametrize(
    ("text", "cites", "cited"),
    [
        ("Bob Ray said that rents were high.", (1, 10), [(1, 1)]),
        ("Bob Ray said that rents were high, while Cy Fox said that they fell.", (1, 10), [(1, 1), (10, 10)]),
        ("Ray and Fox talk about rents.", (1, 10, 7), [(1, 1), (10, 10)]),
        ("Bob Ray said that rents were high.", (10,), "It claims for Bob Ray what Cy Fox said."),
        ("Bob Ray, whom Ann interviewed, said that rents were high.", (10,), "It claims for Bob Ray what Cy Fox said."),
        ("Ray and Fox talk about rents.", (1,), "It claims for Fox what Bob Ray said."),
        ("Bob Ray said that the building stood empty.", (8,), "It claims for Bob Ray what nobody named said."),
        ("The building stood empty, according to the host.", (8, 6), "It has hardly a word in common"),
        ("Cy Fox said that Bob Ray said that staff loved Berlin.", (11,), [(11, 11)]),
        ("The guest claims Ray said that staff loved Berlin.", (11,), [(11, 11)]),
        ("Bob Ray said that staff loved Berlin.", (11,), "It claims for Bob Ray what Cy Fox said."),
        ("Cy Fox spoke, and Bob Ray said that staff loved Berlin.", (11,), "It claims for Bob Ray what Cy Fox said."),
        ("Jane Doe said that staff hated it.", (3, 4), "It claims for Jane Doe what Bob Ray said."),
        ("Bob Ray met Jane Doe.", (4,), [(4, 4)]),
        ("Bob Ray said “Rents were high” and Cy Fox said “Rents fell later”.", (1, 10), [(1, 1), (10, 10)]),
        ("Cy Fox said “Rents were high” and Bob Ray said “Rents fell later”.", (1, 10), "“Rents were high” is not"),
        ("“Rents were high,” said Ray. “Rents fell later,” said Fox.", (1, 10), [(1, 1), (10, 10)]),
        ("Anne Li wanted a garden.", (6,), [(6, 6)]),
        ("Cy Fox wanted a garden.", (6,), "“Cy Fox” is not"),
        ("In the talk with Cy Fox, the host wanted a garden.", (6,), [(6, 6)]),
        ("Cy Fox joined Acme early.", (5,), [(5, 5)]),
        ("Bob Ray joined Acme early.", (5,), "“Bob Ray” is not"),
    ],
)
def test_words_stay_with_whoever_said_them(
    text: str, cites: tuple[int, ...], cited: list[tuple[int, int]] | str
) -> None:
    found = shown(check(text, *cites))
    assert found.startswith(cited) if isinstance(found, str) and isinstance(cited, str) else found == cited


@pytest.mark.parametrize(
    ("text", "cites", "last_named", "supported"),
    [
        ("He said that rents were high.", (1,), ("Bob Ray",), True),
        ("He said that rents were high.", (10,), ("Bob Ray",), False),
        ("He said that rents were high.", (1,), (), True),
        ("The building stood empty, he said.", (8,), (), False),
        ("Later, she explained that rents were high.", (1,), ("Ann Lee",), False),
        ("They also note that rents were high.", (1,), ("Bob Ray", "Cy Fox"), True),
        ("According to him, rents were high.", (1,), ("Cy Fox",), False),
        ("In his own words, “Rents fell later”.", (10,), ("Cy Fox",), True),
        ("Cy Fox came, and he said that rents were high.", (1,), ("Bob Ray",), False),
        ("Jane Doe was there, and she said that staff hated it.", (3, 4), ("Bob Ray",), False),
        ("He hated it.", (3,), ("Ann Lee",), True),
    ],
)
def test_he_and_she_mean_whoever_was_named_last(
    text: str, cites: tuple[int, ...], last_named: tuple[str, ...], supported: bool
) -> None:
    assert isinstance(check(text, *cites, last_named=last_named), Supported) == supported


@pytest.mark.parametrize(
    ("text", "cites", "named"),
    [
        ("Ray said that rents were high.", (1,), ("Bob Ray",)),
        ("Rents were high.", (1,), ("Ann Lee",)),
        ("Rents were high, he said.", (1,), ("Bob Ray",)),
        ("Cy Fox says that Bob Ray said that staff loved Berlin.", (11,), ("Cy Fox", "Bob Ray")),
        ("Staff loved Berlin if one asks Bob Ray.", (11,), ("Bob Ray",)),
        ("Jane Doe was there.", (4,), ("Jane Doe",)),
    ],
)
def test_who_is_named_is_told(text: str, cites: tuple[int, ...], named: tuple[str, ...]) -> None:
    last = named if "he said" in text else ("Ann Lee",)
    found = check(text, *cites, last_named=last)
    assert isinstance(found, Supported), found
    assert found.named == named


@pytest.mark.parametrize(
    ("text", "cites", "cited"),
    [
        ("Rents were high in Berlin for Acme.", (1,), [(1, 1)]),
        ("Asked by Ann, Bob Ray said that rents were high.", (1,), [(1, 1)]),
        ("In Offices, rents were high.", (1,), [(1, 1)]),
        ("In May 2024, rents were high.", (1,), [(1, 1)]),
        ("At 1:00 rents were high.", (1,), [(1, 1)]),
        ("At 0:00 rents were high.", (1,), "“0:00” is not"),
        ("In June 2024, rents were high.", (1,), "“June” is not"),
        ("In 2019, rents were high.", (1,), "“2019” is not"),
        ("Rents were high: 5,000 euros.", (1, 2), [(1, 2)]),
        ("Staff hated paying €5k.", (3,), [(2, 3)]),
        ("Staff hated it when five thousand were paid.", (3,), [(2, 3)]),
        ("Staff hated paying 5,001 euros.", (3,), "“5,001” is not"),
        ("Staff hated paying 5,000 euros to Jane Doe.", (3,), "“Jane” is not"),
        ("Rents fell by 5,000.", (10,), "“5,000” is not"),
    ],
)
def test_names_and_numbers_stand_in_or_beside_what_is_cited(
    text: str, cites: tuple[int, ...], cited: list[tuple[int, int]] | str
) -> None:
    found = shown(check(text, *cites))
    assert found.startswith(cited) if isinstance(found, str) and isinstance(cited, str) else found == cited


@pytest.mark.parametrize(
    ("said", "claimed", "supported"),
    [
        ("It grew by twenty-five percent.", "It grew by 25%.", True),
        ("It grew by 25%.", "It grew by twenty-five percent.", True),
        ("It cost three million dollars.", "It cost $3 million, or 3M.", True),
        ("It cost three million dollars.", "It cost $3 billion.", False),
        ("It grew in nineteen eighty four.", "It grew in 1984.", True),
        ("It grew 3.5 times.", "It grew 3.50 times.", True),
        ("It grew 3.5 times.", "It grew 35 times.", False),
        ("It grew in the third year.", "It grew in the 3rd year.", True),
        ("It grew in the third year.", "It grew in the second year.", False),
        ("It grew in the third year.", "It grew in the first year.", False),
        ("It grew at last.", "First, it grew, at first for a second, and no one saw it.", True),
        ("It grew at 9:30.", "It grew at 9:30.", True),
        ("It grew at 9:30.", "It grew at 9:31.", False),
        ("It grew to one hundred and one.", "It grew to 101.", True),
        ("It grew to 100.", "It grew to one hundred and one.", False),
        ("It grew to ½.", "It grew to ¼.", False),
        ("It grew to 1500 in 1,500 days.", "It grew to 1,500.", True),
    ],
)
def test_numbers_are_compared_by_value(said: str, claimed: str, supported: bool) -> None:
    hit = talk(("Ann Lee", said), title="A talk")
    checker = Checker({1: Offered(1, hit, 0)}, SPEAKERS)
    assert isinstance(checker.check(Draft(claimed, (1,))), Supported) == supported


@pytest.mark.parametrize(
    ("quotation", "supported"),
    [
        *(('“was like, "go" and left”', True), ("\"was like, 'go' and left\"", True), ("„Was like“", True)),
        *(("“go and left”", False), ('"was like, "went" and left"', False), ("“was like, “go” and left”", True)),
        *(("“HE WAS  LIKE.”", True), ("“he was lik”", False), ("‘was like, go off’", False), ("‘the boss’s’", True)),
        *(
            ("the users' and bosses' wishes", True),
            ("“it’s his”", True),
            ("“he was” like “go”", True),
            ("5” tall", False),
        ),
        *(("«it's his»", True), ("“ ”", True), ("“was...”", True)),
    ],
)
def test_quotations_are_word_for_word(quotation: str, supported: bool) -> None:
    hit = talk(("Ann Lee", 'He was like, "go" and left, and it\'s his.'), title="A talk")
    checker = Checker({1: Offered(1, hit, 0)}, SPEAKERS)
    assert isinstance(checker.check(Draft(f"It left: {quotation}", (1,))), Supported) == supported


def test_a_quotation_is_of_one_turn() -> None:
    hit = talk(("Ann Lee", "Rents fell."), ("Bob Ray", "Then they rose. Rents fell. Oh no."), title="A talk")
    checker = Checker({i: Offered(i, hit, i) for i in range(4)}, SPEAKERS)
    assert shown(checker.check(Draft("“Then they rose. Rents fell.”", (1, 2)))) == [(1, 2)]
    assert "word for word" in shown(checker.check(Draft("“Rents fell. Then they rose.”", (0, 1))))
    assert "word for word" in shown(checker.check(Draft("“Then they rose. Oh no.”", (1, 3))))


@pytest.mark.parametrize(
    "text",
    [
        "The passages do not mention pricing.",
        "The provided documents don't say when.",
        "Unfortunately, the context does not contain this information.",
        "The text does not explicitly state who founded it.",
        "The transcript lacks details.",
        "None of the passages mentions pricing.",
        "There is no information about pricing in the documents.",
        "There isn't any mention of his salary.",
        "Based on the provided passages, there is no mention of pricing.",
        "No information about pricing is provided.",
        "Beykpour's salary is not mentioned in the transcripts.",
        "Kayvon does not say in the passages why he left.",
        "It is not mentioned whether he left.",
        "Not mentioned.",
        "I don't know.",
        "I could not find anything about that.",
        "I'm sorry, but I can't help with that.",
        "We don't have enough information.",
        "The question cannot be answered from the given excerpts.",
    ],
)
def test_a_remark_on_the_passages_is_a_refusal(text: str) -> None:
    assert check(text) == check(text, 1) == Refusal()


@pytest.mark.parametrize(
    "text",
    [
        "Rents do not mention pricing to customers.",
        "There was no evidence that rents were high.",
        "Staff could not find a source of rents.",
        "The source of the rents was not addressed by staff.",
        "Staff had no information about rents.",
        "Nobody knew about rents.",
        "The context of the rents was unclear.",
        "There is no replacement for rents.",
        "They did not discuss rents with staff.",
    ],
)
def test_a_claim_that_denies_something_is_none(text: str) -> None:
    assert isinstance(check(text, 1), Supported)


def test_a_claim_beside_a_remark_on_the_passages_is_asked_for_again() -> None:
    assert isinstance(check("The passages do not mention pricing. Bob Ray said that rents were high.", 1), Unsupported)
    assert isinstance(check("The passages do not mention pricing, but rents were high.", 1), Unsupported)
    assert check("The passages do not mention pricing. They mention others.") == Refusal()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "See [this](a).",
            "An ![image](a).",
            "A <b>bold</b> word.",
            "<!channel> Rents",
            "<@U12> said so.",
            "</p>",
            "<?x",
        ),
        *(
            "Ask @here.",
            "@ann said so.",
            "Mail ann@lee.org.",
            "https://a.b",
            "ftp://a",
            "See example.com.",
            "www.a.org",
        ),
        *("javascript:alert(1)", "java\u200bscript:alert(1)", "data:text/html,x", "[7](javascript:alert(1))"),
        *("", " \n", "...", "**", "[7]", "\u2060", "123", "rents " * 101),
    ],
)
def test_what_is_no_plain_sentence_is_unsupported(text: str) -> None:
    assert isinstance(check(text, 1), Unsupported)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Rents, e.g. these.",
            "Rents were high at 1:00, i.e. then.",
            "Rents and rents/rents.",
            "Data: rents were high.",
        ),
        *("Rents < staff, R&D > rents.", "Rents ... were high", "Rents (high) — “high”!", "Rents were high @ once."),
    ],
)
def test_ordinary_punctuation_is_allowed(text: str) -> None:
    found = check(text, 1)
    assert isinstance(found, Supported) or "R&D" in found.reason  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("**X** said `y` __z__ *w* _v_ a_b 5*3", "X said y z w v a_b 5*3"),
        ("- a bullet", "a bullet"),
        ("2. **A**: b", "A: b"),
        ("## A heading", "A heading"),
        ("2015. So it was.", "2015. So it was."),
        ("a [7] b [\u20608] c [[7]3] [７].", "a b c."),
        ("x\u202ey\u2060z\x00", "xyz"),
        ("a\n\t b\u2028c", "a b c"),
    ],
)
def test_what_is_no_word_is_taken_out(text: str, plain: str) -> None:
    assert normalised(text) == plain


@pytest.mark.parametrize(
    "part", ["in text ", "the ", "“", "'a ", "[3", "[", "X, ", "X and ", "not in ", "1,", "no ", "said "]
)
def test_a_long_draft_is_refused_at_once(part: str) -> None:
    for text in (part * 10_000, (part * 600)[:LONGEST_DRAFT]):
        assert not isinstance(check(text, 1), Supported)


def quotable(sample: Sample) -> Iterator[tuple[Offered, str]]:
    """The sentences that somebody says, long enough to have something to alter, and what is claimed with each."""
    for each in sample.offered.values():
        if each.speaker and len(each.text.split()) >= 6 and len(each.text) < LONGEST_DRAFT - 100:
            citation = cite(each.hit, each.index, each.index)
            said = f"{each.speaker} said: “{each.text}”"
            yield each, f"At {citation.timestamp}, {said}" if citation.timestamp else said


def altered(text: str, each: Offered, sample: Sample, chance: random.Random) -> str:
    """The claim with another speaker, another time, or another word in its quotation."""
    kind = chance.choice(("speaker", "time", "word", "word"))
    assert each.speaker
    if kind == "speaker":
        other = chance.choice([speaker.name for speaker in sample.speakers if speaker.name != each.speaker])
        return text.replace(each.speaker, other, 1)
    if kind == "time" and (time := re.match(r"At ([\d:]+)", text)):
        digits = [i for i in range(*time.span(1)) if text[i].isdigit()]
        at = chance.choice(digits)
        return f"{text[:at]}{(int(text[at]) + chance.randint(1, 9)) % 10}{text[at + 1 :]}"
    words = list(re.finditer(r"[^\W_]+", each.text))
    word = chance.choice(words)
    others = {
        other.casefold() for sentence in sample.offered.values() for other in re.findall(r"[^\W_]+", sentence.text)
    }
    other = chance.choice(sorted(others - {word.group().casefold()}))
    return text.replace(each.text, f"{each.text[: word.start()]}{other}{each.text[word.end() :]}")


def test_no_alteration_of_a_quotation_gets_through(sample: Sample) -> None:
    chance = random.Random(7)
    claims = list(quotable(sample))
    refused = [
        text for each, text in claims if not isinstance(sample.checker.check(Draft(text, (each.id,))), Supported)
    ]
    assert refused == []
    got_through: list[str] = []
    for each, text in itertools.islice(itertools.cycle(claims), 1000):
        wrong = altered(text, each, sample, chance)
        assert wrong != text
        if isinstance(sample.checker.check(Draft(wrong, (each.id,))), Supported):
            got_through.append(wrong)
    assert got_through == []
