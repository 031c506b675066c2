from __future__ import annotations

from pathlib import Path

import pytest

from tests.slack_replay import Replay


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_killed_and_told_again_the_bot_answers_each_question_once(tmp_path: Path, sample_index: Path) -> None:
    outcome = Replay(tmp_path, sample_index, deliveries=24, kills=2, life=3.0).run()
    assert outcome.kills == 2
    assert sum(outcome.open_at_kills) > 0
    assert (outcome.once, outcome.twice, outcome.lost) == (outcome.asked, 0, 0)
