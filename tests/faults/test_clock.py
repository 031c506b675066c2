"""The machine's clock jumps, back or ahead, by a minute or by days.

It is replaced where all code of this process reads it, that of libraries too; what measures durations has another one,
which does not jump on a real machine either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.answer import Answer
from app.conversation import Conversations, Exchange
from app.feedback import UNRATED_DAYS, Feedback
from app.rates import Rates
from app.settings import Settings
from app.slack_ledger import LEASE_SECONDS, LONGEST_SECONDS, Ledger, SlackQuestion
from app.widget_access import TOKEN_SECONDS, WidgetTokens

DAY = 86_400.0
JUMPS = [-30 * DAY, -DAY, -3600.0, -61.0, 61.0, 3600.0]
PAGE = "https://blog.example"
EXCHANGE = Exchange("What are ships built of?", "Oak.", "ships", ("Ann Lee",), answered=True)


class Clock:
    """What `time.time` tells: the time that passes, and the jumps."""

    def __init__(self) -> None:
        self._real = time.time
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._real() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "time", made)
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(str(tmp_path / "slack.sqlite"))) as opened:
        yield opened


def asked(number: int) -> SlackQuestion:
    return SlackQuestion(f"k{number}", "message", "T1", f"C{number}", f"{number}.0", f"{number}.0", "U1", "Of what?")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_page_gets_a_token_that_is_good_whatever_the_old_one_is(clock: Clock, jump: float) -> None:
    tokens = WidgetTokens("a secret of some length")
    token = tokens.make(PAGE)
    clock.ahead += jump
    assert tokens.fault(token, PAGE) == (None if 0 <= jump < TOKEN_SECONDS else "expired")
    assert tokens.fault(tokens.make(PAGE), PAGE) is None


@pytest.mark.parametrize("jump", JUMPS)
def test_a_conversation_goes_on(clock: Clock, jump: float, tmp_path: Path) -> None:
    with closing(Conversations(str(tmp_path / "conversations.sqlite"), 72)) as kept:
        kept.add("c", "o", EXCHANGE)
        clock.ahead += jump
        assert kept.history("c", "o") == [EXCHANGE]
        kept.add("c", "o", EXCHANGE)
        assert kept.history("c", "o") == [EXCHANGE] * 2
        clock.ahead += 73 * 3600
        assert kept.history("c", "o") == []


def test_a_conversation_is_forgotten_where_the_clock_says_that_its_time_has_passed(
    clock: Clock, tmp_path: Path
) -> None:
    with closing(Conversations(str(tmp_path / "conversations.sqlite"), 72)) as kept:
        kept.add("c", "o", EXCHANGE)
        clock.ahead += 4 * DAY
        assert kept.history("c", "o") == []
        clock.ahead -= 4 * DAY
        assert kept.history("c", "o") == [EXCHANGE], "it is only gone when something is written"


@pytest.mark.parametrize("jump", JUMPS)
def test_an_answer_can_be_rated_and_what_was_rated_is_kept(clock: Clock, jump: float, tmp_path: Path) -> None:
    with closing(Feedback(str(tmp_path / "feedback.sqlite"), 365)) as feedback:
        for number in range(2):
            feedback.remember("Of what?", "s", Answer("answered", "Oak.", id=f"a{number}"))
        assert feedback.rate("a0", "up", None)
        clock.ahead += jump
        assert feedback.rate("a1", "down", None)
        feedback.remember("Of what?", "s", Answer("answered", "Oak.", id="a2"))
        assert feedback.rate("a2", "up", None)
        assert [each.rating for each in feedback.rated()] == ["up", "down", "up"]
        feedback.remember("Of what?", "s", Answer("answered", "Oak.", id="a3"))
        clock.ahead += UNRATED_DAYS * DAY + 1
        assert feedback.rate("a3", "up", None) is None


@pytest.mark.parametrize("jump", JUMPS)
def test_nobody_is_kept_out_for_longer_than_two_minutes(clock: Clock, jump: float) -> None:
    async def waits() -> list[int]:
        rates = Rates(Settings(key_requests_per_minute=3))
        before = [(await rates.wait([("key", "k")]))[0] for _ in range(4)]
        clock.ahead += jump
        after = [(await rates.wait([("key", "k")]))[0]]
        clock.ahead += 121
        later = [(await rates.wait([("key", "k")]))[0]]
        await rates.close()
        return before[:3] + before[3:] + after + later

    *counted, refused, after, later = asyncio.run(waits())
    assert counted == [0, 0, 0]
    assert 0 < refused <= 60
    assert 0 <= after <= 60
    assert later == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_dead_holders_question_in_slack_is_taken_up(clock: Clock, jump: float, ledger: Ledger) -> None:
    assert ledger.receive(asked(1), 0) == "taken"
    assert ledger.claim("dead")
    clock.ahead += jump
    clock.ahead += LONGEST_SECONDS + LEASE_SECONDS + 1
    claim = ledger.claim("alive")
    assert claim
    assert claim.question == asked(1)
    assert not ledger.posted("k1", "dead", ["1.1"])
    assert ledger.begin_posting("k1", "alive")


@pytest.mark.parametrize("jump", [each for each in JUMPS if abs(each) >= 3600])
def test_a_user_in_slack_is_not_refused_for_what_the_future_holds(clock: Clock, jump: float, ledger: Ledger) -> None:
    for number in range(3):
        ledger.receive(asked(number), 2)
    assert ledger.receive(asked(3), 2) == "refused again"
    clock.ahead += jump - 1 if jump < 0 else jump + 1
    assert ledger.receive(asked(4), 2) == "taken"
