from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from app.conversation import (
    KEPT_CONVERSATIONS,
    KEPT_EXCHANGES,
    LONGEST_TEXT,
    ConversationError,
    Conversations,
    Exchange,
)
from app.database import ROOM
from app.errors import AnswerError

HOUR = 3600


def exchange(question: str = "What did Ann say about tea?", **fields: str) -> Exchange:
    texts = {"answer": "“Tea is fine.” [1]", "topic": "tea"} | fields
    return Exchange(question, texts["answer"], texts["topic"], ("Ann Best", "José García"), answered=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "too" / "conversations.sqlite"


def questions(kept: Conversations, conversation_id: str = "c", owner: str = "o") -> list[str]:
    return [each.question for each in kept.history(conversation_id, owner)]


def age(path: Path, seconds: float) -> None:
    """What a clock does: every conversation was used so much longer ago."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE conversation SET used = used - ?", (seconds,))


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.parametrize("place", ["file", ":memory:"])
def test_an_exchange_comes_back_as_it_was(place: str, path: Path) -> None:
    with closing(Conversations(str(path) if place == "file" else place, 1)) as kept:
        first, second = exchange(), Exchange("What is zzz?", "Nothing.", "", (), answered=False)
        kept.add("c", "o", first)
        kept.add("c", "o", second)
        assert kept.history("c", "o") == [first, second]
        assert kept.history("d", "o") == []
    assert path.exists() == (place == "file")


def test_conversations_outlive_the_process_that_kept_them(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("c", "o", exchange())
    with closing(Conversations(str(path), 1)) as kept:
        assert kept.history("c", "o") == [exchange()]


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    program = (
        "import sys, time\n"
        "from app.conversation import Conversations, Exchange\n"
        "kept = Conversations(sys.argv[1], 1)\n"
        "for n in range(5): kept.add('c', 'o', Exchange(f'{n}?', '', '', (), True))\n"
        "print('kept', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "kept\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with closing(Conversations(str(path), 1)) as kept:
        assert questions(kept) == [f"{n}?" for n in range(5)]


def test_an_id_of_another_owner_is_another_conversation(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("c", "one", exchange("mine?"))
        kept.add("c", "two", exchange("yours?"))
        kept.add("ec", "on", exchange("neither's?"))
        assert questions(kept, "c", "one") == ["mine?"]
        assert questions(kept, "c", "two") == ["yours?"]
        assert questions(kept, "c", "") == []


def test_neither_owner_nor_id_is_in_the_file(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("an-id-of-a-client", "Bearer sk-secret", exchange())
    assert b"sk-secret" not in bytes_of(path)
    assert b"an-id-of-a-client" not in bytes_of(path)
    assert b"about tea" in bytes_of(path)


def test_only_the_last_exchanges_are_kept(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        for n in range(KEPT_EXCHANGES + 5):
            kept.add("c", "o", exchange(f"{n}?"))
            kept.add("other", "o", exchange(f"other {n}?"))
        assert questions(kept) == [f"{n}?" for n in range(5, KEPT_EXCHANGES + 5)]


def test_the_conversation_unused_longest_makes_room(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("first", "o", exchange())
        kept.add("second", "o", exchange())
        age(path, 100)
        with closing(sqlite3.connect(path)) as db, db:
            rows = ((os.urandom(32), os.urandom(32)) for _ in range(KEPT_CONVERSATIONS + ROOM - 2))
            ((now,),) = db.execute("SELECT max(used) + 50 FROM conversation").fetchall()
            db.executemany(f"INSERT INTO conversation (owner, id, used) VALUES (?, ?, {now})", rows)
        kept.add("first", "o", exchange("again?"))
        assert len(questions(kept, "second")) == 1
        kept.add("new", "o", exchange())
        assert questions(kept, "second") == []
        assert len(questions(kept, "first")) == 2
        assert len(questions(kept, "new")) == 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM conversation").fetchone() == (KEPT_CONVERSATIONS,)
        assert db.execute("SELECT count(*) FROM exchange").fetchone() == (3,)


def test_texts_are_cut(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("c" * 1_000_000, "o", exchange("q" * 10_000, answer="a" * 10_000, topic="t" * 10_000))
        (found,) = kept.history("c" * 1_000_000, "o")
    assert (found.question, found.answer, found.topic) == tuple(letter * LONGEST_TEXT for letter in "qat")


@pytest.mark.parametrize("text", ["nul \0 inside", "lone \udcff surrogate", "'; DROP TABLE exchange; --", "", "🙂" * 9])
def test_any_text_and_any_id_will_do(text: str, path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        kept.add(text, text, Exchange(text, text, text, (text,), answered=True))
        (found,) = kept.history(text, text)
    assert found.question == text.replace("\udcff", "?")


def test_a_conversation_is_forgotten_after_its_hours(path: Path) -> None:
    with closing(Conversations(str(path), 2)) as kept:
        kept.add("c", "o", exchange())
        age(path, 1.9 * HOUR)
        assert questions(kept) == [exchange().question]
        age(path, 0.2 * HOUR)
        assert questions(kept) == []


def test_each_exchange_keeps_the_conversation_for_longer(path: Path) -> None:
    with closing(Conversations(str(path), 2)) as kept:
        for n in range(3):
            kept.add("c", "o", exchange(f"{n}?"))
            age(path, 1.5 * HOUR)
        assert questions(kept) == ["0?", "1?", "2?"]


def test_what_is_resumed_too_late_begins_anew(path: Path) -> None:
    with closing(Conversations(str(path), 2)) as kept:
        kept.add("c", "o", exchange("old?"))
        age(path, 2.1 * HOUR)
        kept.add("c", "o", exchange("new?"))
        assert questions(kept) == ["new?"]


@pytest.mark.parametrize("when", ["at the next exchange", "at opening"])
def test_forgotten_words_are_gone_from_every_file(when: str, path: Path) -> None:
    with closing(Conversations(str(path), 2)) as kept:
        kept.add("c", "o", exchange(answer="embarrassing " * 300))
        assert b"embarrassing" in bytes_of(path)
        age(path, 2.1 * HOUR)
        if when == "at the next exchange":
            kept.add("d", "o", exchange())
            assert b"embarrassing" not in bytes_of(path)
    with closing(Conversations(str(path), 2)):
        assert b"embarrassing" not in bytes_of(path)


def test_a_clock_set_back_neither_loses_nor_prolongs(path: Path) -> None:
    with closing(Conversations(str(path), 2)) as kept:
        kept.add("c", "o", exchange())
        age(path, -1000 * HOUR)  # it was used in what is now the future
        assert len(questions(kept)) == 1
        kept.add("d", "o", exchange())
        assert len(questions(kept)) == 1
        age(path, 2.1 * HOUR)
        assert questions(kept) == []


def test_the_files_are_their_owners_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(Conversations(str(path), 1)) as kept:
            kept.add("c", "o", exchange())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(umask)
    assert modes == dict.fromkeys([path.name, f"{path.name}-wal", f"{path.name}-shm"], 0o600)


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    with closing(Conversations(str(path), 1)):
        pass
    path.chmod(0o644)
    with closing(Conversations(str(path), 1)) as kept:
        kept.add("c", "o", exchange())
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_many_threads_share_one_store(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kept.add(f"c{n % 4}", "o", exchange(f"{n}?")), range(40)))
        for c in range(4):
            assert sorted(questions(kept, f"c{c}")) == sorted(f"{n}?" for n in range(c, 40, 4))


def test_several_processes_open_and_fill_one_file_at_once(path: Path) -> None:
    program = (
        "import sys\n"
        "from app.conversation import Conversations, Exchange\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "kept = Conversations(sys.argv[1], 1)\n"
        "for n in range(10): kept.add(sys.argv[2], 'o', Exchange(f'{n}?', '', '', (), True))\n"
        "kept.close()\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), f"c{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    with closing(Conversations(str(path), 1)) as kept:
        for n in range(4):
            assert questions(kept, f"c{n}") == [f"{i}?" for i in range(10)]


def test_a_second_store_on_the_file_sees_what_the_first_one_keeps(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as one, closing(Conversations(str(path), 1)) as other:
        one.add("c", "o", exchange("1?"))
        other.add("c", "o", exchange("2?"))
        assert questions(one) == questions(other) == ["1?", "2?"]


def refused(path: Path | str) -> str:
    with pytest.raises(ConversationError) as caught:
        Conversations(str(path), 1)
    assert isinstance(caught.value, AnswerError)
    assert "ONRECORD_CONVERSATIONS" in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Notes\n" * 200)
    path.chmod(0o644)
    assert "not a database" in refused(path)
    assert path.read_text() == "# Notes\n" * 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE source (id TEXT)")
    before = path.read_bytes()
    assert "something else" in refused(path)
    assert path.read_bytes() == before


def test_a_newer_version_is_refused(path: Path) -> None:
    with closing(Conversations(str(path), 1)):
        pass
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    assert "version 99" in refused(path)


@pytest.mark.parametrize("name", ["file/conversations.sqlite", "file/deeper/conversations.sqlite", ""])
def test_a_place_where_nothing_can_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_file_that_must_not_be_written_is_refused(path: Path) -> None:
    with closing(Conversations(str(path), 1)):
        pass
    path.chmod(0o400)
    refused(path)


def test_whoever_comes_while_the_file_is_held_waits(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept, ThreadPoolExecutor(1) as pool:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            adding = pool.submit(kept.add, "c", "o", exchange())
            with pytest.raises(TimeoutError):
                adding.result(timeout=0.2)
            db.execute("ROLLBACK")
        adding.result()
        assert len(questions(kept)) == 1


def test_a_file_that_breaks_in_use_is_reported_and_keeps_no_half_of_an_exchange(path: Path) -> None:
    with closing(Conversations(str(path), 1)) as kept:
        with closing(sqlite3.connect(path)) as db:
            db.execute("ALTER TABLE exchange RENAME TO lost")
            with pytest.raises(ConversationError, match="ONRECORD_CONVERSATIONS"):
                kept.add("c", "o", exchange())
            with pytest.raises(ConversationError, match="ONRECORD_CONVERSATIONS"):
                kept.history("c", "o")
            assert db.execute("SELECT count(*) FROM conversation").fetchone() == (0,)
            db.execute("ALTER TABLE lost RENAME TO exchange")
        kept.add("c", "o", exchange())
        assert len(questions(kept)) == 1


def test_a_closed_store_says_so() -> None:
    kept = Conversations(":memory:", 1)
    kept.close()
    kept.close()
    with pytest.raises(ConversationError, match="closed"):
        kept.history("c", "o")
