from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drafts import LONGEST_LEAD, Draft, DraftReader

ONE = Draft("Retention was poor.", (3, 4))
TWO = Draft("It was “not good”.", (7,))
REPLY = json.dumps(
    {
        "answered": True,
        "sentences": [
            {"cites": [3, 4], "text": "Retention was poor."},
            {"cites": [7], "text": "It was “not good”."},
        ],
    },
    ensure_ascii=False,
)
INVENTED = '{"answered": true, "sentences": [{"cites": [1], "text": "Only thought."}]}'
LONG_PROSE = "I look at each of them. " * 20


def read(*deltas: str) -> tuple[list[Draft], bool | None, bool]:
    """The drafts, what the model said of them, and whether its reply was malformed."""
    reader = DraftReader()
    drafts = [draft for delta in deltas for draft in reader.feed(delta)]
    drafts += reader.finish()
    return drafts, reader.answered, reader.malformed


def drafts_of(text: str) -> list[Draft]:
    return read(text)[0]


def test_each_sentence_comes_with_its_closing_brace() -> None:
    reader = DraftReader()
    came = {at: drafts for at, letter in enumerate(REPLY, start=1) if (drafts := reader.feed(letter))}
    first, second = REPLY.index("}"), REPLY.index("}]")
    assert came == {first + 1: [ONE], second + 1: [TWO]}
    assert reader.finish() == []
    assert (reader.answered, reader.malformed) == (True, False)


PIECES = [
    *(
        REPLY,
        INVENTED,
        REPLY[:70],
        REPLY[:-3],
        '{"answered": false, "sentences": []}',
        '{"sentences": ["So [3]. [4]"]}',
    ),
    *("<think>", "</think>", "<Reasoning>", "</REASONING >", "Here it is:\n", "```json\n", "```", LONG_PROSE),
    *(
        '{"answered": true|false, "sentences": [...]}',
        '{\n  "sentences"',
        ': [{"cites": 3, "text": "a \\"b\\" \\\\"}',
        "]}",
    ),
    *("Plain text. [3] More of it [4][5].", "\\", '"', "{", "}", "[", "]", "\n", " "),
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=8), st.data())
def test_where_the_text_is_cut_makes_no_difference(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    deltas = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*deltas) == read(*text) == read(text)


@given(st.text() | st.lists(st.sampled_from(["{", "}", "[", "]", '"', "\\", ":", ",", "sentences", "3"])).map("".join))
def test_whatever_comes_nothing_is_raised(text: str) -> None:
    for reply in (text, REPLY[:33] + text, '{"sentences": [' + text):
        assert all(draft.text for draft in drafts_of(reply))


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{INVENTED}</think>{REPLY}",
        f"<THINKING>{INVENTED}</Thinking>\n\n{REPLY}",
        f"<thought>a</thought> <reasoning>{INVENTED}</reasoning>{REPLY}",
        f"so I think</think>{REPLY}",
        f"{LONG_PROSE}{INVENTED} That will do.</think>{REPLY}",
        f"```json\n{REPLY}\n```",
        f"Here is the JSON you asked for:\n{REPLY}\nI hope that it helps!",
        f"{LONG_PROSE}{REPLY}",
        f'The format is {{"answered": true|false, "sentences": [...]}}, so: {REPLY}',
        f'The format is {{"answered": true, "sentences": ["..."]}}, so: {REPLY}',
        f"{REPLY}\n{INVENTED}",
        REPLY.replace('", "', '",\n\t"').replace('{"', '{\n  "'),
    ],
)
def test_what_stands_around_the_answer_is_skipped(reply: str) -> None:
    assert drafts_of(reply) == [ONE, TWO]


def test_short_prose_before_the_answer_does_not_hold_it_back() -> None:
    reader = DraftReader()
    assert reader.feed(f"Here it is: {REPLY}") == [ONE, TWO]
    reader = DraftReader()
    assert reader.feed("x" * (LONGEST_LEAD + 1) + REPLY) == []
    assert reader.finish() == [ONE, TWO]


def test_a_thought_that_does_not_end_holds_no_answer() -> None:
    assert read(f"<think>Retention was poor [3]. {REPLY}") == ([], None, True)
    assert read(f"<think>a</think>So. <think>Retention was poor [3]. {REPLY}") == ([], None, True)


@pytest.mark.parametrize(
    ("cites", "ids"),
    [
        *(
            ("[3, 4]", (3, 4)),
            ('["3", "S4"]', (3, 4)),
            ('["[3]", "[S4]"]', (3, 4)),
            ("[3.0, 4.0]", (3, 4)),
            ("3", (3,)),
        ),
        *(
            ('"S3"', (3,)),
            ('"3, 4"', (3, 4)),
            ('"[3][4]"', (3, 4)),
            ('"3-5"', (3, 4, 5)),
            ('"3.0"', (3,)),
            ("[[3], [4]]", (3, 4)),
        ),
        *(
            ("[3, 3, 4, 3]", (3, 4)),
            ("null", ()),
            ("[]", ()),
            ("true", ()),
            ('{"id": 3}', ()),
            ("[3.5]", ()),
            ("[-3]", ()),
        ),
        *((f"[{10**9}, {10**9 + 1}]", (10**9,)), (f'["{"9" * 50}"]', ()), ("[NaN, Infinity, 1e999, 3]", (3,))),
    ],
)
def test_ids_in_any_shape(cites: str, ids: tuple[int, ...]) -> None:
    assert drafts_of(f'{{"sentences": [{{"cites": {cites}, "text": "So."}}]}}') == [Draft("So.", ids)]


@pytest.mark.parametrize(
    ("element", "draft"),
    [
        ('"He said so [3]."', Draft("He said so.", (3,))),
        ('"He said so. [3][S4]"', Draft("He said so.", (3, 4))),
        ('{"text": "He said so [3, 4].", "cites": [5], "sure": 0.9}', Draft("He said so.", (5, 3, 4))),
        ('{"text": "He said so."}', Draft("He said so.", ())),
        ('{"text": "Two\nlines, it\\\'s \\"said\\"", "cites": [3]}', Draft('Two lines, it\'s "said"', (3,))),
        ('{"cites": [{"a": [1]}, 3], "text": "Braces } ] { [ in \\\\ text"}', Draft("Braces } ] { [ in \\ text", (3,))),
        ('{"text": "[1999] was [sic] good [3 4]"}', Draft("was [sic] good", (1999, 3, 4))),
        ('{"text": 5, "cites": [3]}', None),
        ('{"text": "...", "cites": [3]}', None),
        ('{"text": "So", "cites": [3],,}', None),
        ("7", None),
        (f'{{"text": "Deep", "cites": {"[" * 500}{"]" * 500}}}', None),
        (f'{{"text": "Huge", "cites": [{"9" * 5000}]}}', None),
    ],
)
def test_an_element_is_read_leniently_or_left_out(element: str, draft: Draft | None) -> None:
    assert read(f'{{"answered": true, "sentences": [{element}, "Last [9]."]}}') == (
        [*([draft] if draft else []), Draft("Last.", (9,))],
        True,
        False,
    )


def test_the_sentence_that_is_cut_off_at_the_end_is_lost() -> None:
    for end in range(REPLY.index("}") + 1, REPLY.index("}]") + 1):
        assert read(REPLY[:end]) == ([ONE], True, False)


@pytest.mark.parametrize(
    ("reply", "answered", "malformed"),
    [
        ('{"answered": false, "sentences": []}', False, False),
        ('{"sentences": [], "answered": "False"}', False, False),
        ('{"answered": tru', None, True),
        ('{"sentences": []}', None, True),
        ("", None, True),
        ('[{"text": "So [3]."}]', None, True),
        ('{"text": "So [3].", "cites": [3]}', None, True),
        ('"text": "So [3]."', None, True),
    ],
)
def test_no_sentences_is_no_draft(reply: str, answered: bool | None, malformed: bool) -> None:
    assert read(reply) == ([], answered, malformed)


def test_without_json_it_is_plain_text_with_markers() -> None:
    reply = (
        "<think>Hm.</think>Retention was poor. [3][4] It “failed.” [7–9] Dr. Lee, of Leeds, said so [3, S5] in 2015!\n"
        "- Third [1-99].\n```\nNothing cited."
    )
    assert read(reply) == (
        [
            Draft("Retention was poor.", (3, 4)),
            Draft("It “failed.”", (7, 8, 9)),
            Draft("Dr. Lee, of Leeds, said so in 2015!", (3, 5)),
            Draft("Third.", (1, 2, 3, 4, 5)),
            Draft("Nothing cited.", ()),
        ],
        None,
        True,
    )


def test_a_long_sentence_is_left_to_the_checker() -> None:
    text = "and so on " * 200
    assert drafts_of(json.dumps({"sentences": [{"cites": [3], "text": text}]})) == [Draft(text.strip(), (3,))]
