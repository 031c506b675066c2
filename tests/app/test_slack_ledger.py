from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.slack_ledger import LONGEST_SECONDS, Ledger, LedgerError, SlackQuestion

FIRST = SlackQuestion("T1:C1:1.000001", "message", "T1", "C1", "1.000001", "1.000001", "U1", "what of it?")


def at(ts: str, **fields: str) -> SlackQuestion:
    """Another question of the first one's thread."""
    return replace(FIRST, key=f"T1:C1:{ts}", ts=ts, **fields)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(str(tmp_path / "slack.sqlite"))) as opened:
        yield opened


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Ledger]:
    """One whose leases run out at once."""
    with closing(Ledger(str(tmp_path / "hasty.sqlite"), lease_seconds=-1)) as opened:
        yield opened


def test_a_question_is_received_once(ledger: Ledger) -> None:
    assert ledger.receive(FIRST, 0) == "taken"
    assert ledger.receive(replace(FIRST, text="what else?"), 0) == "known"
    claim = ledger.claim("me")
    assert claim is not None
    assert (claim.question, claim.state, claim.parts, claim.tries) == (FIRST, "received", (), 0)
    ledger.finish(FIRST.key, "me")
    assert ledger.receive(FIRST, 0) == "known"
    assert ledger.claim("me") is None


def test_a_question_has_one_holder(ledger: Ledger) -> None:
    ledger.receive(FIRST, 0)
    assert ledger.claim("me")
    assert ledger.claim("you") is None
    assert not ledger.begin_posting(FIRST.key, "you")
    assert not ledger.posted(FIRST.key, "you", ["2.0"])
    ledger.finish(FIRST.key, "you")
    ledger.put_back(FIRST.key, "you", 0)
    ledger.release("you")
    assert ledger.claim("you") is None


def test_a_dead_holders_question_is_taken_up_as_far_as_it_was(hasty: Ledger) -> None:
    hasty.receive(FIRST, 0)
    assert hasty.claim("dead")
    assert hasty.begin_answering(FIRST.key, "dead")
    assert hasty.begin_posting(FIRST.key, "dead")
    found = hasty.claim("alive")
    assert found is not None
    assert (found.state, found.tries) == ("posting", 1)
    assert not hasty.posted(FIRST.key, "dead", ["2.0"])
    assert hasty.posted(FIRST.key, "alive", ["2.0", "3.0"])
    last = hasty.claim("third")
    assert last is not None
    assert (last.state, last.parts) == ("shown", ("2.0", "3.0"))


def test_a_living_holder_keeps_its_questions(tmp_path: Path) -> None:
    path = str(tmp_path / "slack.sqlite")
    with closing(Ledger(path, lease_seconds=3600)) as ledger, closing(sqlite3.connect(path)) as file:
        ledger.receive(FIRST, 0)
        ledger.claim("me")
        (before,) = file.execute("SELECT lease FROM question").fetchone()
        ledger.renew("me")
        (after,) = file.execute("SELECT lease FROM question").fetchone()
        assert after > before


def test_questions_of_a_thread_come_one_after_the_other_in_their_order(ledger: Ledger) -> None:
    other = replace(FIRST, key="T1:C1:3.000000", thread="3.000000", ts="3.000000")
    for question in (at("2.000000"), other, FIRST):
        ledger.receive(question, 0)
    claims = [ledger.claim("me"), ledger.claim("me"), ledger.claim("me")]
    assert [claim and claim.question for claim in claims] == [FIRST, other, None]
    ledger.finish(FIRST.key, "me")
    claim = ledger.claim("me")
    assert claim is not None
    assert claim.question == at("2.000000")


def test_an_orderly_end_gives_back_all_but_what_may_be_under_way(ledger: Ledger) -> None:
    for number in range(3):
        key = f"T1:C1:{number}.0"
        ledger.receive(replace(FIRST, key=key, thread=key, ts=f"{number}.0"), 0)
        ledger.claim("me")
        ledger.begin_answering(key, "me")
    ledger.begin_posting("T1:C1:1.0", "me")
    ledger.begin_posting("T1:C1:2.0", "me")
    ledger.posted("T1:C1:2.0", "me", ["9.0"])
    ledger.release("me")
    claims = [ledger.claim("next"), ledger.claim("next"), ledger.claim("next")]
    assert [claim and (claim.question.ts, claim.tries) for claim in claims] == [("0.0", 0), ("2.0", 0), None]


def test_what_is_put_back_waits(ledger: Ledger) -> None:
    ledger.receive(FIRST, 0)
    ledger.claim("me")
    ledger.put_back(FIRST.key, "me", LONGEST_SECONDS)
    assert ledger.claim("me") is None


def test_a_withdrawn_question_is_for_whoever_cleans_up(ledger: Ledger) -> None:
    ledger.receive(FIRST, 0)
    ledger.claim("me")
    ledger.withdraw(FIRST.key)
    assert not ledger.wanted(FIRST.key, "me")
    assert not ledger.begin_posting(FIRST.key, "me")
    ledger.put_back(FIRST.key, "me", -1)
    claim = ledger.claim("me")
    assert claim is not None
    assert (claim.state, claim.question.text) == ("withdrawn", "")
    ledger.finish(FIRST.key, "me")
    assert ledger.claim("me") is None


def test_what_is_answered_is_not_withdrawn(ledger: Ledger) -> None:
    ledger.receive(FIRST, 0)
    ledger.claim("me")
    ledger.finish(FIRST.key, "me")
    ledger.withdraw(FIRST.key)
    assert ledger.claim("me") is None


def test_the_bot_takes_part_where_it_was_asked(ledger: Ledger) -> None:
    ledger.receive(FIRST, 0)
    assert ledger.takes_part("T1", "C1", "1.000001")
    assert not ledger.takes_part("T1", "C1", "2.0")
    assert not ledger.takes_part("T1", "C2", "1.000001")
    assert not ledger.takes_part("T2", "C1", "1.000001")


def test_a_user_is_refused_beyond_the_limit_and_told_once(ledger: Ledger) -> None:
    taken = [ledger.receive(at(f"{number}.0"), 2) for number in range(5)]
    assert taken == ["taken", "taken", "refused", "refused again", "refused again"]
    assert ledger.receive(at("2.0"), 2) == "known"
    assert ledger.receive(at("6.0", user="U2"), 2) == "taken"
    assert ledger.receive(at("7.0", kind="share"), 2) == "taken"
    assert ledger.receive(at("8.0"), 0) == "taken"


def test_a_refused_question_is_not_kept(ledger: Ledger, tmp_path: Path) -> None:
    ledger.receive(FIRST, 1)
    ledger.receive(at("2.0", text="a secret"), 1)
    with closing(sqlite3.connect(tmp_path / "slack.sqlite")) as file:
        assert file.execute("SELECT text FROM question WHERE state = 'refused'").fetchall() == [("",)]


def test_a_private_answer_is_kept_for_a_while(ledger: Ledger, tmp_path: Path) -> None:
    ledger.receive(FIRST, 0)
    ledger.claim("me")
    ledger.finish(FIRST.key, "me", "[]")
    assert ledger.answer_of(FIRST.key) == "[]"
    assert ledger.answer_of("another") is None
    with closing(sqlite3.connect(tmp_path / "slack.sqlite", isolation_level=None)) as file:
        file.execute("UPDATE question SET received = received - 90000")
        assert ledger.answer_of(FIRST.key) is None
        ledger.receive(at("2.0"), 0)
        assert file.execute("SELECT count(*) FROM question WHERE answer IS NOT NULL").fetchone() == (0,)
        file.execute("UPDATE question SET received = received - 86400 * 30")
        ledger.receive(at("3.0"), 0)
        assert file.execute("SELECT ts FROM question").fetchall() == [("3.0",)]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "slack.sqlite"
    path.write_text("not a database at all, but a text that is long enough to be taken for one" * 20)
    with pytest.raises(LedgerError, match="ONRECORD_SLACK_LEDGER"):
        Ledger(str(path))
    assert path.read_text().startswith("not a database")
