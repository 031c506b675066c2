from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.conversation import Exchange
from app.followup import LONGEST_QUESTION, may_depend, stand_alone
from app.past import LONGEST_TOPIC
from app.question import understand
from ingest.speakers import Speaker

SPEAKERS = [
    Speaker("Harry Stebbings", ("Harry Stebings",), ("host",)),
    Speaker("Kayvon Beykpour", ("Kyvon Bakepour",), ("guest",)),
    Speaker("Melissa Perri", roles=("author of the book",)),
    Speaker("Jane Doe"),
    Speaker("Bob Ray (Leeds, Lab)"),
    Speaker("Project Manager"),
    Speaker("Industrial Designer"),
    Speaker("Bill Gates"),
    Speaker("Melinda Gates"),
]
KAYVON, MELISSA, JANE = "Kayvon Beykpour", "Melissa Perri", "Jane Doe"


def exchange(question: str, *quoted: str) -> Exchange:
    """What an answer leaves behind: the topic, and whose words were asked for, else who was quoted."""
    asked = understand(question, SPEAKERS)
    return Exchange(question, "…", asked.topic, asked.asked.speakers if asked.asked else quoted, answered=True)


OKRS = [exchange("What did Beykpour say about OKRs?")]
FAILURE = [exchange("Why did Periscope fail?", KAYVON)]
BUDGET = [exchange("What was decided about the budget?")]
CYCLE = [exchange("What is the product death cycle?", MELISSA)]
VIEW = [exchange("What is Kayvon's view of North Star metrics?")]
BOTH = [exchange("What did Kayvon and Melissa say about OKRs?")]
REMOTE = [exchange("Summarize the discussion about the remote")]
MEETING = [exchange("What did the Project Manager think of the remote control?")]
LIKES = [exchange("Does Kayvon like OKRs?")]
COPYING = [exchange("Is it ok to copy features from competitors?", KAYVON)]
OPEN = [exchange("What did Kayvon say?")]
SHIFTED = [*OKRS, exchange("What was said about the weather?")]
QUOTED = [exchange("Tell me about OKRs", JANE, KAYVON)]


def standing(question: str, history: list[Exchange]) -> str | None:
    return stand_alone(question, history, SPEAKERS)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        # another topic
        ("and JTBD?", "What did Kayvon Beykpour say about JTBD?"),
        ("And JTBD", "What did Kayvon Beykpour say about JTBD?"),
        ("what about JTBD?", "What did Kayvon Beykpour say about JTBD?"),
        ("How about pricing, then?", "What did Kayvon Beykpour say about pricing?"),
        ("ok, and pricing?", "What did Kayvon Beykpour say about pricing?"),
        ("and about pricing?", "What did Kayvon Beykpour say about pricing?"),
        ("on pricing?", "What did Kayvon Beykpour say about pricing?"),
        ("No, I meant JTBD", "What did Kayvon Beykpour say about JTBD?"),
        ("what else about pricing?", "What else did Kayvon Beykpour say about pricing?"),
        ("what about his team?", "What did Kayvon Beykpour say about his team?"),
        # another person
        ("and the host?", "What did Harry Stebbings say about OKRs?"),
        ("what about Jane?", "What did Jane Doe say about OKRs?"),
        ("and Jane Doe?", "What did Jane Doe say about OKRs?"),
        ("and jane?", "What did Jane Doe say about OKRs?"),
        ("And   the author ?", "What did Melissa Perri say about OKRs?"),
        ("Jane Doe?", "What did Jane Doe say about OKRs?"),
        ("and the Project Manager?", "What did the Project Manager say about OKRs?"),
        ("what about Ray?", "What did Bob Ray say about OKRs?"),
        ("and Gates?", "What did Gates say about OKRs?"),
        ("and Jane and Melissa?", "What did Jane Doe and Melissa Perri say about OKRs?"),
        ("what about the others?", "What did the others say about OKRs?"),
        ("same question for Jane", "What did Jane Doe say about OKRs?"),
        ("what about Jane on pricing?", "What did Jane Doe say about pricing?"),
        ("what about the host's view?", "What is the host's view about OKRs?"),
        ("and his view on pricing?", "What is Kayvon Beykpour’s view on pricing?"),
        # a circumstance
        ("and at Twitter?", "What did Kayvon Beykpour say about OKRs at Twitter?"),
        ("for startups?", "What did Kayvon Beykpour say about OKRs for startups?"),
        # nothing but a question word
        ("why?", "Why did Kayvon Beykpour say that about OKRs?"),
        ("WHY??", "Why did Kayvon Beykpour say that about OKRs?"),
        ("but why?", "Why did Kayvon Beykpour say that about OKRs?"),
        ("how so?", "Why did Kayvon Beykpour say that about OKRs?"),
        ("why is that?", "Why did Kayvon Beykpour say that about OKRs?"),
        ("when?", "When did Kayvon Beykpour say that about OKRs?"),
        ("and where was that?", "Where did Kayvon Beykpour say that about OKRs?"),
        ("how?", "How did Kayvon Beykpour explain that about OKRs?"),
        ("how many?", "How many about OKRs, according to Kayvon Beykpour?"),
        ("really?", "Did Kayvon Beykpour say that about OKRs?"),
        ("is that true?", "Did Kayvon Beykpour say that about OKRs?"),
        ("did he?", "Did Kayvon Beykpour say that about OKRs?"),
        ("for example?", "What did Kayvon Beykpour say about OKRs, for example?"),
        # more of the same
        ("what else?", "What else did Kayvon Beykpour say about OKRs?"),
        ("anything else?", "What else did Kayvon Beykpour say about OKRs?"),
        ("more", "What else did Kayvon Beykpour say about OKRs?"),
        ("Tell me more.", "What else did Kayvon Beykpour say about OKRs?"),
        ("tell me more about that", "What else did Kayvon Beykpour say about OKRs?"),
        ("go on", "What else did Kayvon Beykpour say about OKRs?"),
        ("can you elaborate?", "What else did Kayvon Beykpour say about OKRs?"),
        ("Could you please elaborate on that?", "What else did Kayvon Beykpour say about OKRs?"),
        # who
        ("who disagreed?", "Who disagreed about OKRs?"),
        ("who else?", "Who else spoke about OKRs?"),
        ("who said that?", "Who said that about OKRs?"),
        ("did anyone object?", "Did anyone object to OKRs?"),
        ("does anybody disagree with that?", "Does anybody disagree with OKRs?"),
        ("Does Melissa agree?", "Does Melissa agree about OKRs?"),
        ("what does the host think?", "What does the host think about OKRs?"),
        ("and what did Harry say?", "What did Harry say about OKRs?"),
        ("Did Harry agree with him?", "Did Harry agree with Kayvon Beykpour about OKRs?"),
        # a person's pronoun
        ("And what did he say about JTBD?", "What did Kayvon Beykpour say about JTBD?"),
        ("what did he mean by that?", "What did Kayvon Beykpour mean by OKRs?"),
        ("why did he say that?", "Why did Kayvon Beykpour say that about OKRs?"),
        ("Why did he say that about growth?", "Why did Kayvon Beykpour say that about growth?"),
        ("why does he think so?", "Why does Kayvon Beykpour think so about OKRs?"),
        ("How does he feel?", "How does Kayvon Beykpour feel about OKRs?"),
        ("What does he suggest?", "What does Kayvon Beykpour suggest about OKRs?"),
        ("What's his view of roadmaps?", "What's Kayvon Beykpour’s view of roadmaps?"),
        ("When he’s asked about JTBD?", "When Kayvon Beykpour is asked about JTBD?"),
        ("what did her team say about growth?", "What did Kayvon Beykpour’s team say about growth?"),
        ("what did they say about JTBD?", "What did Kayvon Beykpour say about JTBD?"),
        ("what do they think about JTBD?", "What does Kayvon Beykpour think about JTBD?"),
        # a thing's pronoun
        ("how does it work?", "How does OKRs work?"),
        ("who approved it?", "Who approved OKRs?"),
        ("what about that?", "What about OKRs?"),
        ("is it any good?", "Is OKRs any good?"),
        ("do they work?", "Do OKRs work?"),
        ("Did he like them?", "Did Kayvon Beykpour like OKRs?"),
        ("how does that relate to JTBD?", "How does OKRs relate to JTBD?"),
        ("compare that with JTBD", "Compare OKRs with JTBD"),
        ("what happened after that?", "What happened after OKRs?"),
        ("What are its drawbacks?", "What are OKRs’ drawbacks?"),
        ("what are the drawbacks?", "What are the drawbacks of OKRs?"),
        ("Did he say that it works?", "Did Kayvon Beykpour say that OKRs works?"),
    ],
)
def test_after_a_question_about_what_somebody_said(question: str, expected: str) -> None:
    assert standing(question, OKRS) == expected
    assert may_depend(question, OKRS, SPEAKERS)


@pytest.mark.parametrize(
    ("history", "question", "expected"),
    [
        (FAILURE, "when?", "When did Periscope fail?"),
        (FAILURE, "why?", "Why was that said about Periscope fail?"),
        (FAILURE, "and Vine?", "Why did Vine fail?"),
        (FAILURE, "was it successful?", "Was Periscope successful?"),
        (FAILURE, "what about pricing?", "What was said about pricing?"),
        (FAILURE, "what did he say about it?", "What did Kayvon Beykpour say about Periscope?"),
        (FAILURE, "what did they say about the market?", "What did Kayvon Beykpour say about the market?"),
        (FAILURE, "did they regret it?", "Did they regret Periscope?"),
        (FAILURE, "and the host?", "What did Harry Stebbings say about Periscope fail?"),
        (BUDGET, "who approved it?", "Who approved the budget?"),
        (BUDGET, "and the battery?", "What was decided about the battery?"),
        (BUDGET, "who objected?", "Who objected to the budget?"),
        (BUDGET, "what did they say?", "What did they say about the budget?"),
        (BUDGET, "what else?", "What else was said about the budget?"),
        (BUDGET, "is it final?", "Is the budget final?"),
        (BUDGET, "and the Project Manager?", "What did the Project Manager say about the budget?"),
        (BUDGET, "What did Jane think of that?", "What did Jane think of the budget?"),
        (CYCLE, "and the build trap?", "What is the build trap?"),
        (CYCLE, "what does she say about it?", "What does Melissa Perri say about the product death cycle?"),
        (CYCLE, "how do you avoid it?", "How do you avoid the product death cycle?"),
        (VIEW, "and OKRs?", "What is Kayvon Beykpour's view of OKRs?"),
        (VIEW, "and Jane?", "What is Jane Doe's view of North Star metrics?"),
        (VIEW, "and Jane's?", "What is Jane Doe's view of North Star metrics?"),
        (BOTH, "what did they say about JTBD?", "What did Kayvon Beykpour and Melissa Perri say about JTBD?"),
        (BOTH, "do they agree?", "Do Kayvon Beykpour and Melissa Perri agree about OKRs?"),
        (BOTH, "what did he say about growth?", "What did Kayvon Beykpour say about growth?"),
        (BOTH, "what did the latter say about growth?", "What did Melissa Perri say about growth?"),
        (BOTH, "and the host?", "What did Harry Stebbings say about OKRs?"),
        (REMOTE, "and the battery?", "Summarize the discussion about the battery"),
        (REMOTE, "why?", "Why was that said about the remote?"),
        (MEETING, "and the Industrial Designer?", "What did the Industrial Designer think of the remote control?"),
        (MEETING, "and the price?", "What did the Project Manager think of the price?"),
        (MEETING, "what did she say about the price?", "What did the Project Manager say about the price?"),
        (LIKES, "why?", "Why does Kayvon Beykpour like OKRs?"),
        (LIKES, "and JTBD?", "Does Kayvon Beykpour like JTBD?"),
        (COPYING, "why?", "Why is it ok to copy features from competitors?"),
        (OPEN, "why?", "Why did Kayvon Beykpour say that?"),
        (OPEN, "and the host?", "What did Harry Stebbings say?"),
        (OPEN, "about OKRs?", "What did Kayvon Beykpour say about OKRs?"),
        (SHIFTED, "what did he think?", "What did Kayvon Beykpour think about the weather?"),
        (SHIFTED, "and the host?", "What did Harry Stebbings say about the weather?"),
        (SHIFTED, "what did he say about JTBD?", "What did Kayvon Beykpour say about JTBD?"),
        (QUOTED, "what does she think?", "What does Jane Doe think about OKRs?"),
        (QUOTED, "more", "What else was said about OKRs?"),
        ([exchange("When did Kayvon leave Twitter?", JANE)], "who replaced him?", "Who replaced Kayvon Beykpour?"),
        ([exchange("When did Kayvon leave Twitter?")], "and Melissa?", "When did Melissa Perri leave Twitter?"),
        ([exchange("what did Gates say about aid?")], "why?", "Why did Gates say that about aid?"),
        ([exchange("What did Bob Ray say about tea?")], "and coffee?", "What did Bob Ray say about coffee?"),
        ([exchange("lack of ambition")], "and creativity?", "What was said about creativity?"),
        ([exchange("What is the role of the chair?")], "and the treasurer?", "What is the role of the treasurer?"),
    ],
)
def test_after_other_questions(history: list[Exchange], question: str, expected: str) -> None:
    assert standing(question, history) == expected
    assert may_depend(question, history, SPEAKERS)


@pytest.mark.parametrize(
    "question",
    [
        "What is the role of the chair?",
        "So what is the role of the chair?",
        "And what did Jane Doe say about pricing?",
        "What did Melissa Perri say about strategy?",
        "What did Harry say?",
        "Who is Jane Doe?",
        "lack of ambition",
        "JTBD?",
        "Is the budget final, and who approved it?",
        "What is it like to work at Twitter?",
        "Is it true that Twitter failed?",
        "Is it ok to copy features from competitors?",
        "It is important to ship, isn't it?",
        "How long does it take to learn?",
        "What makes it hard to hire designers?",
        "What time was it when Twitter was sold?",
        "How do customers describe their problems?",
        "When Twitter bought Periscope, why did they kill it?",
        "Did Jane say that companies should measure outcomes?",
        "Why did the company that made the remote fail?",
        "What did Kayvon say when he left Twitter?",
        "When he left, what did Kayvon say?",
        "What did the chair say about his plan?",
        "Why did Jack leave before he was done?",
        "What did Satya Nadella say about his plan?",
        "Why did Jane think that they should wait?",
        "What did everyone say about their work?",
        'What does "it" mean?',
        "What is this podcast about?",
        "Is this about OKRs?",
        "thanks",
        "",
        "?",
        "and",
    ],
)
def test_what_stands_alone_is_left_alone(question: str) -> None:
    assert standing(question, OKRS) is None


@pytest.mark.parametrize(
    "question",
    [
        "What is the role of the chair?",
        "What did Melissa Perri say about strategy?",
        "Is the budget final, and who approved it?",
        "What is it like to work at Twitter?",
        "Is it true that Twitter failed?",
        "What did Kayvon say when he left Twitter?",
        "How do customers describe their problems?",
        "lack of ambition",
        "thanks",
        "",
    ],
)
def test_a_model_is_not_asked_to_rewrite_what_stands_alone(question: str) -> None:
    assert not may_depend(question, OKRS, SPEAKERS)


@pytest.mark.parametrize(
    "question",
    ["Is any of that company's money left?", "which one?", "What do those people want?", "and the second one?"],
)
def test_a_model_may_be_asked_where_rules_are_not_sure(question: str) -> None:
    assert may_depend(question, OKRS, SPEAKERS)


@pytest.mark.parametrize(
    ("history", "question"),
    [
        (BUDGET, "What did they say about the weather?"),
        (BUDGET, "What did he say about the weather?"),
        (OPEN, "How does it work?"),
        (OPEN, "Is that so?"),
        (OKRS, "Does that company make money?"),
    ],
)
def test_words_that_mean_nothing_known_stay(history: list[Exchange], question: str) -> None:
    written = standing(question, history)
    assert written is None or written == "Did Kayvon Beykpour say that?"
    assert may_depend(question, history, SPEAKERS)


@pytest.mark.parametrize("question", ["why?", "and JTBD?", "what did he say?", "What is the role of the chair?"])
def test_the_first_question_of_a_conversation_stands_alone(question: str) -> None:
    assert standing(question, []) is None
    assert not may_depend(question, [], SPEAKERS)


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        (
            ("What did Beykpour say about OKRs?", "and JTBD?", "and the host?"),
            "What did Harry Stebbings say about JTBD?",
        ),
        (
            ("What did Beykpour say about OKRs?", "and the host?", "why?"),
            "Why did Harry Stebbings say that about OKRs?",
        ),
        (
            ("What did Beykpour say about OKRs?", "why?", "what else?"),
            "What else did Kayvon Beykpour say about OKRs?",
        ),
        (
            ("What did Beykpour say about OKRs?", "what else?", "and JTBD?"),
            "What did Kayvon Beykpour say about JTBD?",
        ),
        (("What did Beykpour say about OKRs?", "who disagreed?", "why?"), "Why was that said about OKRs?"),
        (
            ("What did Beykpour say about OKRs?", "What is the product death cycle?", "what did he say about it?"),
            "What did Kayvon Beykpour say about the product death cycle?",
        ),
        (
            (
                "What did Beykpour say about OKRs?",
                "What did Melissa Perri say about strategy?",
                "and what did she mean?",
            ),
            "What did Melissa Perri mean?",
        ),
        (("Why did Periscope fail?", "when?", "and Vine?"), "When did Vine fail?"),
        (("What was decided about the budget?", "who approved it?", "why?"), "Why was that said about the budget?"),
        (("What did Jane say about tea?", "and coffee?", "and what about milk?"), "What did Jane Doe say about milk?"),
        (
            ("What did Jane say about tea?", "does Kayvon agree?", "and Melissa?"),
            "Does Melissa Perri agree about tea?",
        ),
    ],
)
def test_chains_of_questions(questions: tuple[str, ...], expected: str) -> None:
    history: list[Exchange] = []
    for question in questions[:-1]:
        history.append(exchange(standing(question, history) or question))
    assert standing(questions[-1], history) == expected


@pytest.mark.parametrize("question", ["and JTBD?", "why?", "what else?", "what did he think of JTBD?", "and the host?"])
def test_what_is_written_is_understood(question: str) -> None:
    written = standing(question, OKRS)
    assert written
    asked = understand(written, SPEAKERS)
    assert asked.asked
    assert asked.asked.speakers == (("Harry Stebbings",) if "host" in question else (KAYVON,))
    assert asked.topic == ("JTBD" if "JTBD" in question else "OKRs")


def test_the_speakers_of_the_answer_decide_who_was_meant() -> None:
    history = [Exchange("What did Gates say about aid?", "…", "aid", ("Melinda Gates",), answered=True)]
    assert standing("and malaria?", history) == "What did Melinda Gates say about malaria?"
    assert standing("what did she say about malaria?", history) == "What did Melinda Gates say about malaria?"


def test_long_topics_are_cut() -> None:
    history = [exchange("What was said about " + "very " * 900 + "long things?")]
    written = standing("who objected?", history)
    assert written
    assert len(written) < LONGEST_TOPIC + 50
    written = standing("and JTBD?", history)
    assert written
    assert len(written) < LONGEST_QUESTION


VOCABULARY = (
    "What did he she they it that this say about Kayvon Beykpour the host OKRs and , ? why it's his their them latter"
    " so is to with when ( “it” i meant else more of Jane’s isn't"
)
WORDS = st.sampled_from(VOCABULARY.split())
QUESTIONS = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=15).map(" ".join))
EXCHANGES = st.builds(
    Exchange,
    QUESTIONS,
    st.just(""),
    QUESTIONS,
    st.lists(st.sampled_from([s.name for s in SPEAKERS] + ["", "Nobody"]), max_size=3).map(tuple),
    st.booleans(),
)


@given(QUESTIONS, st.lists(EXCHANGES, max_size=3))
@settings(max_examples=400)
def test_any_question_after_any_other_is_taken(question: str, history: list[Exchange]) -> None:
    written = standing(question, history)
    assert written is None or (written.strip() and written != question)
    assert written is None or may_depend(question, history, SPEAKERS)
