from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.answer import Answer
from app.backup import CONTENTS, BackupError, backup, restore
from app.cli import main
from app.conversation import Conversations, Exchange
from app.errors import AnswerError
from app.feedback import Feedback
from app.settings import Settings
from app.slack_ledger import Ledger, SlackQuestion
from index.errors import LockedError, NoSnapshotError, SnapshotError
from index.local import open_local, verify_local
from index.snapshot import CURRENT, MANIFEST, current_folder, writer_lock

ROOT = Path(__file__).parent.parent.parent
EXCHANGE = Exchange("Why oak?", "It floats.", "oak", ("Ann Lee",), True)
WRITER = """
import sys
from app.conversation import Conversations, Exchange
kept = Conversations(sys.argv[1], 1)
for number in range(100_000):
    kept.add(f"tea {number}", "jane", Exchange("Why oak?", "It floats. " * 40, "oak", (), True))
    print(number, flush=True)
"""


def settings_at(folder: Path, **changed: Any) -> Settings:
    return Settings(index_dir=folder, **changed)


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    """Where a server has conversed, was rated and was asked in Slack; there is no index."""
    kept = settings_at(tmp_path / "kept")
    with closing(Conversations(kept.conversations_path, 1)) as conversations:
        conversations.add("tea", "jane", EXCHANGE)
    with closing(Feedback(kept.feedback_path, 0)) as feedback:
        feedback.remember("Why oak?", "snapshot", Answer("answered", "It floats.", "answer 1"))
        feedback.rate("answer 1", "down", "not always")
    with closing(Ledger(kept.slack_ledger_path)) as ledger:
        ledger.receive(SlackQuestion("k", "message", "T1", "C1", "1.0", "1.0", "U1", "Why oak?"), 0)
    return kept


def copy_index(index_dir: Path, to: Path) -> Settings:
    """The index alone: servers of other tests may have kept conversations beside it."""
    snapshot = current_folder(index_dir)
    shutil.copytree(snapshot, to / snapshot.name)
    shutil.copy(index_dir / CURRENT, to)
    return settings_at(to)


@pytest.fixture
def indexed(kept: Settings, sample_index: Path) -> Settings:
    """The same with an index."""
    copy_index(sample_index, kept.index_dir)
    return kept


@pytest.fixture
def saved(tmp_path: Path, kept: Settings) -> Path:
    """A backup of what has no index, which is soon read."""
    backup(tmp_path / "saved.zip", kept)
    return tmp_path / "saved.zip"


def everything(where: Settings) -> Any:
    with (
        closing(Conversations(where.conversations_path, 1)) as conversations,
        closing(Feedback(where.feedback_path, 0)) as feedback,
        closing(Ledger(where.slack_ledger_path)) as ledger,
    ):
        return conversations.history("tea", "jane"), feedback.rated(), ledger.takes_part("T1", "C1", "1.0")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def rewritten(file: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The backup with other files in it, and with a list of contents that `change` has not set right by itself."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(members.pop(CONTENTS))
    change(members, contents)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in {**members, CONTENTS: json.dumps(contents).encode()}.items():
            archive.writestr(name, data)
    return file


def put(members: dict[str, bytes], contents: dict[str, Any], name: str, data: bytes) -> None:
    """A file that agrees with what is said of it, as one that was made to deceive would."""
    members[name] = data
    contents["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_what_is_backed_up_is_restored_elsewhere(tmp_path: Path, indexed: Settings) -> None:
    file, elsewhere = tmp_path / "saved.zip", settings_at(tmp_path / "elsewhere")
    saved = backup(file, indexed)
    assert saved.snapshot == current_folder(indexed.index_dir).name
    assert (saved.kept, saved.notices) == (("conversations", "feedback", "slack"), ())
    restored = restore(file, elsewhere)
    assert restored.snapshot == current_folder(elsewhere.index_dir).name
    assert everything(elsewhere) == everything(indexed)
    assert everything(elsewhere)[0] == [EXCHANGE]
    assert verify_local(elsewhere.index_dir) == []
    with closing(open_local(indexed.index_dir)) as one, closing(open_local(elsewhere.index_dir)) as other:
        assert [source.id for source in one.sources()] == [source.id for source in other.sources()]


def test_only_its_owner_reads_a_backup_and_nothing_lies_beside_it(tmp_path: Path, kept: Settings) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    backup(folder / "saved.zip", kept)
    assert files(folder) == {"saved.zip"}
    assert stat.S_IMODE((folder / "saved.zip").stat().st_mode) == 0o600
    restore(folder / "saved.zip", settings_at(tmp_path / "elsewhere"))
    assert stat.S_IMODE((tmp_path / "elsewhere/conversations.sqlite").stat().st_mode) == 0o600


def test_a_backup_holds_what_was_acknowledged_while_another_process_writes(tmp_path: Path) -> None:
    written = settings_at(tmp_path / "written")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, written.conversations_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with writer:
        assert writer.stdout is not None
        for turn in range(3):
            acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
            backup(tmp_path / f"{turn}.zip", written)
            elsewhere = settings_at(tmp_path / f"elsewhere {turn}")
            restore(tmp_path / f"{turn}.zip", elsewhere)
            with closing(Conversations(elsewhere.conversations_path, 1)) as conversations:
                found = [bool(conversations.history(f"tea {n}", "jane")) for n in range(acknowledged + 1)]
            assert all(found)
        assert writer.poll() is None, "the writer was not disturbed"
        writer.kill()


def test_a_server_goes_on_with_what_was_restored(tmp_path: Path, kept: Settings, saved: Path) -> None:
    with closing(Conversations(kept.conversations_path, 1)) as serving:
        serving.add("tea", "jane", EXCHANGE)
        serving.add("later", "jane", EXCHANGE)
        restore(saved, kept, force=True)
        assert serving.history("tea", "jane") == [EXCHANGE]
        assert serving.history("later", "jane") == []
        serving.add("tea", "jane", EXCHANGE)
    assert len(everything(kept)[0]) == 2


def test_what_was_there_is_gone_from_the_file(kept: Settings, saved: Path) -> None:
    with closing(Conversations(kept.conversations_path, 1)) as conversations:
        for number in range(50):
            conversations.add(f"later {number}", "jane", Exchange("A secret?", "Saffron. " * 90, "", (), True))
    restore(saved, kept, force=True)
    assert not any(b"Saffron" in path.read_bytes() for path in kept.index_dir.glob("conversations*"))


def test_nothing_is_replaced_unless_it_is_meant(tmp_path: Path, indexed: Settings) -> None:
    file = tmp_path / "saved.zip"
    backup(file, indexed)
    before, live = everything(indexed), current_folder(indexed.index_dir)
    with pytest.raises(BackupError, match=r"conversations\.sqlite.*the index in .*--force"):
        restore(file, indexed)
    assert (everything(indexed), current_folder(indexed.index_dir)) == (before, live)
    with pytest.raises(BackupError, match=r"is there already.*--force"):
        backup(file, indexed)
    backup(file, indexed, force=True)
    assert restore(file, indexed, force=True).snapshot != live.name
    assert not live.exists()


def test_what_is_not_in_a_backup_stays(tmp_path: Path, kept: Settings) -> None:
    Path(kept.feedback_path).unlink()
    backup(tmp_path / "saved.zip", kept)
    elsewhere = settings_at(tmp_path / "elsewhere")
    with closing(Feedback(elsewhere.feedback_path, 0)) as feedback:
        feedback.remember("Why elm?", "snapshot", Answer("answered", "It bends.", "answer 2"))
        feedback.rate("answer 2", "up", None)
    assert restore(tmp_path / "saved.zip", elsewhere).kept == ("conversations", "slack")
    assert [rated.question for rated in everything(elsewhere)[1]] == ["Why elm?"]


def test_nothing_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="nothing to back up"):
        backup(tmp_path / "saved.zip", settings_at(tmp_path / "none"))
    assert files(tmp_path) == set()


def test_an_ingest_under_way_is_not_disturbed(tmp_path: Path, saved: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with writer_lock(elsewhere), pytest.raises(LockedError, match="another ingest is writing"):
        restore(saved, settings_at(elsewhere))
    assert files(elsewhere) == {"LOCK"}


def test_with_postgresql_only_the_files_are_backed_up(tmp_path: Path, indexed: Settings) -> None:
    file, elsewhere = tmp_path / "saved.zip", tmp_path / "elsewhere"
    with_store = settings_at(indexed.index_dir, store="postgresql://db.example/onrecord")
    saved = backup(file, with_store)
    assert saved.snapshot is None
    assert "pg_dump" in saved.notices[0]
    assert len(saved.kept) == 3
    backup(file, indexed, force=True)
    restored = restore(file, settings_at(elsewhere, store="postgresql://db.example/onrecord"))
    assert restored.snapshot is None
    assert "the index is in PostgreSQL" in restored.notices[0]
    assert not (elsewhere / CURRENT).exists()


def test_what_is_kept_in_memory_is_left_out(tmp_path: Path, saved: Path) -> None:
    in_memory = settings_at(tmp_path / "elsewhere", conversations=":memory:")
    assert restore(saved, in_memory).notices == ("conversations: kept in memory, and left out",)


def of_format(folder: Path, number: int) -> None:
    manifest = current_folder(folder) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": number}))


def test_a_snapshot_of_an_older_format_is_left_out_and_can_be_built_anew(tmp_path: Path, indexed: Settings) -> None:
    of_format(indexed.index_dir, 0)
    saved = backup(tmp_path / "saved.zip", indexed)
    assert (saved.snapshot, len(saved.kept)) == (None, 3)
    assert "of format 0" in saved.notices[0]
    assert "build it anew with `onrecord ingest`" in saved.notices[0]
    for path in indexed.index_dir.glob("*.sqlite*"):
        path.unlink()
    with pytest.raises(SnapshotError, match="onrecord ingest"):
        backup(tmp_path / "other.zip", indexed)


def older(members: dict[str, bytes], contents: dict[str, Any]) -> None:
    name = f"snapshot/{MANIFEST}"
    put(members, contents, name, json.dumps({**json.loads(members[name]), "format_version": 0}).encode())


def test_a_backup_of_an_older_version_gives_all_but_the_snapshot(tmp_path: Path, indexed: Settings) -> None:
    file, elsewhere = tmp_path / "saved.zip", settings_at(tmp_path / "elsewhere")
    backup(file, indexed)
    restored = restore(rewritten(file, older), elsewhere)
    assert (restored.snapshot, len(restored.kept)) == (None, 3)
    assert "build it anew with `onrecord ingest`" in restored.notices[0]
    with pytest.raises(NoSnapshotError):
        current_folder(elsewhere.index_dir)


def test_a_snapshot_of_an_older_format_alone_is_refused(tmp_path: Path, sample_index: Path) -> None:
    file = tmp_path / "saved.zip"
    backup(file, copy_index(sample_index, tmp_path / "alone"))
    with pytest.raises(SnapshotError, match=r"of format 0.*onrecord ingest"):
        restore(rewritten(file, older), settings_at(tmp_path / "elsewhere"))


def another_database(path: Path, *statements: str) -> bytes:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)
    return path.read_bytes()


def with_a_trigger(tmp_path: Path, data: bytes) -> bytes:
    path = tmp_path / "triggered.sqlite"
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON exchange BEGIN DELETE FROM conversation; END")
    return path.read_bytes()


CONVERSATIONS = "conversations.sqlite"
DAMAGE: dict[str, tuple[Callable[[Path, dict[str, bytes], dict[str, Any]], None], str]] = {
    "other words": (lambda _, m, c: m.update({CONVERSATIONS: bytes(len(m[CONVERSATIONS]))}), "is not what was backed"),
    "a file too few": (lambda _, m, c: m.pop(CONVERSATIONS) and None, "does not hold"),
    "a file too many": (lambda _, m, c: m.update({"more": b""}), "does not hold"),
    "out of the folder": (lambda _, m, c: put(m, c, "snapshot/../../../evil", b"x"), "no name of a file"),
    "from the root": (lambda _, m, c: put(m, c, "/etc/evil", b"x"), "no name of a file"),
    "a drive": (lambda _, m, c: put(m, c, "snapshot/C:\\evil", b"x"), "no name of a file"),
    "a file of no use": (lambda _, m, c: put(m, c, "evil.sqlite", b"x"), "does not know"),
    "half a snapshot": (lambda _, m, c: put(m, c, "snapshot/passages", b"x"), "not whole"),
    "more than there is": (lambda _, m, c: c["files"][CONVERSATIONS].update(bytes=1 << 60), "does not hold"),
    "less than nothing": (lambda _, m, c: c["files"][CONVERSATIONS].update(bytes=-1), "greater than"),
    "another version": (lambda _, m, c: c.update(format=2), "of another version"),
    "no list": (lambda _, m, c: c.clear(), "Field required"),
    "no database": (lambda _, m, c: put(m, c, CONVERSATIONS, b"x" * 9000), "not a database"),
    "an empty database": (lambda _, m, c: put(m, c, CONVERSATIONS, b""), "no such database"),
    "another database": (
        lambda tmp, m, c: put(m, c, CONVERSATIONS, another_database(tmp / "x", "CREATE TABLE t (x)")),
        "no such database",
    ),
    "the wrong one of ours": (lambda _, m, c: put(m, c, CONVERSATIONS, m["slack.sqlite"]), "no such database"),
    "a trigger": (
        lambda tmp, m, c: put(m, c, CONVERSATIONS, with_a_trigger(tmp, m[CONVERSATIONS])),
        "no such database",
    ),
    "torn pages": (
        lambda _, m, c: put(m, c, CONVERSATIONS, m[CONVERSATIONS][:8192] + b"\xff" * (len(m[CONVERSATIONS]) - 8192)),
        "damaged|malformed",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_forged_backup_changes_nothing(tmp_path: Path, kept: Settings, saved: Path, kind: str) -> None:
    damage, reason = DAMAGE[kind]
    rewritten(saved, lambda members, contents: damage(tmp_path, members, contents))
    before, there = everything(kept), files(tmp_path)
    elsewhere = settings_at(tmp_path / "elsewhere")
    for where in (kept, elsewhere):
        with pytest.raises(AnswerError, match=reason):
            restore(saved, where, force=True)
    assert everything(kept) == before
    assert {name for name in files(tmp_path) - there if not name.endswith("LOCK")} == set()


def twice(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONVERSATIONS, b"x")


def compressed(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def encrypted(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for at in (data.find(b"PK\1\2") + 8, data.find(b"PK\3\4") + 6):
        data[at] |= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b""), "no backup"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "no backup"),
        (lambda file: file.write_text("What did Ann say?"), "no backup"),
        (lambda file: zipfile.ZipFile(file, "w").close(), "there is no backup.json"),
        (twice, "does not hold"),
        (compressed, "does not hold"),
        (encrypted, "encrypted"),
    ],
)
def test_another_archive_is_no_backup(tmp_path: Path, saved: Path, damage: Any, reason: str) -> None:
    damage(saved)
    with pytest.raises(BackupError, match=reason):
        restore(saved, settings_at(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere" / CONVERSATIONS).exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, Path]]:
    folder = tmp_path_factory.mktemp("small")
    where = settings_at(folder / "kept")
    with closing(Conversations(where.conversations_path, 1)) as conversations:
        conversations.add("tea", "jane", EXCHANGE)
    backup(folder / "saved.zip", where)
    yield (folder / "saved.zip").read_bytes(), folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_is_found_or_means_nothing(small: tuple[bytes, Path], data: st.DataObject) -> None:
    whole, folder = small
    # Half of them in what is no page of the database: the names, sizes and sums of the archive.
    start = whole.index(b"PK\3\4", 1)
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(start, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    file, elsewhere = folder / "flipped.zip", settings_at(folder / "elsewhere")
    file.write_bytes(flipped)
    shutil.rmtree(elsewhere.index_dir, ignore_errors=True)
    try:
        restore(file, elsewhere)
    except AnswerError:
        assert not Path(elsewhere.conversations_path).exists()
    else:
        with closing(Conversations(elsewhere.conversations_path, 1)) as conversations:
            assert conversations.history("tea", "jane") == [EXCHANGE]


def test_a_damaged_snapshot_is_not_backed_up(tmp_path: Path, indexed: Settings) -> None:
    [vectors] = current_folder(indexed.index_dir).rglob("*.faiss")
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    with pytest.raises(SnapshotError, match="onrecord verify"):
        backup(tmp_path / "saved.zip", indexed)
    assert not (tmp_path / "saved.zip").exists()


def test_on_the_command_line(tmp_path: Path, indexed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    file, elsewhere = str(tmp_path / "saved.zip"), str(tmp_path / "elsewhere")
    assert main(["backup", file, "--index", str(indexed.index_dir)]) == 0
    assert capsys.readouterr().out.startswith("saved: conversations, feedback, slack, snapshot 2")
    assert main(["backup", file, "--index", str(indexed.index_dir), "--json"]) == 1
    assert "is there already" in json.loads(capsys.readouterr().out)["error"]
    assert main(["restore", file, "--index", elsewhere, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["snapshot"] == current_folder(Path(elsewhere)).name
    assert told["kept"] == ["conversations", "feedback", "slack"]
    assert main(["restore", file, "--index", elsewhere]) == 1
    assert main(["restore", file, "--index", elsewhere, "--force"]) == 0
    assert main(["restore", str(tmp_path / "none.zip")]) == 2
