"""PostgreSQL for real: processes and servers killed in the middle of their work, replicas, and what is refused."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from index.changes import Report
from index.errors import NoSnapshotError, SnapshotError, StoreError
from index.lexical import terms
from index.postgres.connect import Database, connected
from index.postgres.ingest import ingest_postgres
from index.postgres.jobs import offer_removal
from index.postgres.store import PostgresStore, open_postgres
from index.postgres.verify import verify_postgres
from index.store import Scope, Store
from ingest.limits import Limits
from tests.hashing import HashingEmbedder
from tests.postgres_server import PostgresServer
from tests.postgres_worker import Worker

EMBEDDER = HashingEmbedder()
VECTOR = EMBEDDER.embed(["edition"])[0]
KILLS = 12
DOCUMENTS = 8


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database(f"test-{uuid4()}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    return folder


def write(folder: Path, edition: int, documents: int = DOCUMENTS, turns: int = 12) -> None:
    """Documents each of whose turns says which edition it is of, and is a passage of its own."""
    for number in range(documents):
        lines = [
            f"Speaker {turn % 3} (00:{turn:02d}:00):\n{f'This is edition{edition} of document{number}. ' * 20}\n"
            for turn in range(turns)
        ]
        (folder / f"document-{number}.txt").write_text("\n".join(lines))


def ingest(folder: Path, url: str) -> Report:
    return ingest_postgres([folder], url, EMBEDDER, Limits())


def editions(store: Store, ids: Iterable[str]) -> dict[str, str]:
    """Which edition each document is of; each is of one, whole, and found as such."""
    found: dict[str, str] = {}
    for source_id in ids:
        turns = store.turns(source_id)
        words = {turn.text.split()[2] for turn in turns}
        assert len(turns) == 12
        assert len(words) == 1
        (found[source_id],) = words
    return found


def assert_whole(store: Store) -> None:
    """What one look finds are all passages of all documents, each of one edition."""
    for wanted in ([], terms("edition document")):
        looked = store.find(wanted, VECTOR, 10_000, Scope(), ())
        numbers, counts = np.unique(looked.sources, return_counts=True)
        assert len(numbers) == DOCUMENTS
        assert set(counts.tolist()) == {12}
    stored = store.passages(looked.rows, VECTOR)
    for source_id in {each.source.id for each in stored}:
        mine = [each for each in stored if each.source.id == source_id]
        assert len(mine) == 12
        assert len({turn.text for each in mine for turn in each.turns.values()}) == 1


@contextmanager
def watched(store: PostgresStore) -> Generator[None]:
    """Looks at a store without pause, as long as it is a context, and tells in the end whether all was whole."""
    done = Event()
    failures: list[Exception] = []

    def look() -> None:
        try:
            while not done.is_set():
                assert_whole(store)
                editions(store, (f"document-{number}" for number in range(DOCUMENTS)))
        except Exception as error:  # noqa: BLE001  told by who began the thread
            failures.append(error)

    thread = Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if failures:
        raise failures[0]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def number(url: str, query: str) -> int:
    """What a query gives; 0 where there is no table yet."""
    try:
        with psycopg.connect(url) as connection:
            ((found,),) = connection.execute(query.encode()).fetchall()
    except psycopg.errors.UndefinedTable:
        return 0
    return found


class TestKilled:
    def test_a_worker_at_any_moment(self, url: str, folder: Path) -> None:
        """Each document is as it was or as it is, whatever is killed when; what was reported is there."""
        write(folder, 0)
        began = time.monotonic()
        with Worker(url, folder) as worker:
            worker.report()
        whole = time.monotonic() - began
        chance = random.Random(5)
        with closing(open_postgres(url)) as store, watched(store):
            for edition in range(1, KILLS + 1):
                write(folder, edition)
                with Worker(url, folder) as worker:
                    done = worker.kill(after=chance.uniform(0, whole))
                found = editions(store, (f"document-{number}" for number in range(DOCUMENTS)))
                if done:
                    assert set(found.values()) == {f"edition{edition}"}
                assert verify_postgres(url) == []
            ingest(folder, url)
            assert set(editions(store, found).values()) == {f"edition{KILLS}"}
        assert verify_postgres(url) == []
        assert number(url, "SELECT count(*) FROM onrecord.job") == 0

    def test_a_server_while_it_is_written(self, folder: Path) -> None:
        """The worker goes on when the server is back, and nothing that was committed is lost."""
        server = PostgresServer()
        try:
            url = server.new_database("killed")
            write(folder, 0)
            with Worker(url, folder, pause=0.01) as worker:
                for switched in (1, 3):
                    wait_until(lambda least=switched: written(url) >= least)
                    before = written(url)
                    server.kill()
                    server.start()
                    assert written(url) >= before
                assert worker.report().passages == DOCUMENTS * 12
            with closing(open_postgres(url)) as store:
                assert_whole(store)
            assert verify_postgres(url) == []
        finally:
            server.stop()


def written(url: str) -> int:
    """How many documents are there."""
    return number(url, "SELECT count(*) FROM onrecord.source")


class TestWorkers:
    def test_two_share_the_work(self, url: str, folder: Path) -> None:
        write(folder, 0, documents=24)
        with Worker(url, folder, pause=0.01) as one, Worker(url, folder, pause=0.01) as other:
            reports = [one.report(), other.report()]
        assert sum(report.added for report in reports) == 24
        assert sum(report.embedded for report in reports) == 24 * 12
        assert all(report.added > 0 for report in reports)
        assert {report.passages for report in reports} == {24 * 12}
        assert verify_postgres(url) == []

    def test_one_of_two_is_killed(self, url: str, folder: Path) -> None:
        write(folder, 0, documents=24)
        with Worker(url, folder, pause=0.01) as one, Worker(url, folder, pause=0.01) as other:
            wait_until(lambda: number(url, "SELECT count(DISTINCT worker) FROM onrecord.job") == 2)
            one.kill()
            assert other.report().passages == 24 * 12
        assert written(url) == 24
        assert number(url, "SELECT count(*) FROM onrecord.job") == 0
        assert verify_postgres(url) == []

    def test_one_that_was_stopped_for_too_long_has_lost_its_jobs(self, url: str, folder: Path) -> None:
        write(folder, 0)
        with Worker(url, folder, lease=0.5, pause=0.01) as one:
            wait_until(lambda: number(url, "SELECT count(worker) FROM onrecord.job") > 0)
            one.signal(signal.SIGSTOP)
            with Worker(url, folder, lease=0.5) as other:
                second = other.report()
            generation = number(url, "SELECT generation FROM onrecord.holdings")
            one.signal(signal.SIGCONT)
            first = one.report()
        assert first.added + second.added == DOCUMENTS
        assert second.added > 0
        assert number(url, "SELECT generation FROM onrecord.holdings") == generation
        assert verify_postgres(url) == []

    def test_a_worker_leaves_other_folders_alone(self, url: str, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            write(tmp_path / name, 0)
        with Worker(url, tmp_path / "one", pause=10):
            wait_until(lambda: number(url, "SELECT count(worker) FROM onrecord.job") > 0)
            assert ingest(tmp_path / "two", url).added == DOCUMENTS
            assert number(url, "SELECT count(*) FROM onrecord.job") == DOCUMENTS

    def test_a_worker_that_comes_late_removes_nothing_that_has_moved(self, url: str, folder: Path) -> None:
        """Two find that a file has another extension; when the second says what is gone, the first has written it."""
        write(folder, 0)
        ingest(folder, url)
        (folder / "document-3.txt").rename(folder / "document-3.md")
        ingest(folder, url)
        with connected(url) as connection:
            offer_removal(connection, "document-3", str(folder.resolve()), "document-3.txt")
        assert number(url, "SELECT count(*) FROM onrecord.job") == 0
        with closing(open_postgres(url)) as store:
            assert_whole(store)

    def test_a_document_that_went_while_it_waited_is_not_written(self, url: str, folder: Path) -> None:
        write(folder, 0)
        with Worker(url, folder, lease=0.1, pause=10) as stuck:
            wait_until(lambda: number(url, "SELECT count(worker) FROM onrecord.job") > 0)
            stuck.kill()
        (folder / "document-3.txt").unlink()
        report = ingest(folder, url)
        assert (report.added, report.removed) == (DOCUMENTS - 1, 0)
        assert written(url) == DOCUMENTS - 1
        assert verify_postgres(url) == []


class TestReplica:
    def test_failover(self, folder: Path) -> None:
        """A replica is read from; when the primary is lost reading goes on, and writing with it once it is promoted."""
        primary = PostgresServer()
        replica = PostgresServer(copy_of=primary)
        try:
            either = f"postgresql://postgres@/kept?host={primary.folder},{replica.folder}"
            writable = f"{either}&target_session_attrs=read-write"
            primary.new_database("kept")
            write(folder, 0)
            report = ingest(folder, writable)
            wait_until(lambda: followed(replica, report.snapshot))
            with (
                closing(open_postgres(either, replica.url("kept"))) as store,
                closing(open_postgres(either)) as by_either,
                watched(store),
            ):
                assert readers(replica) > 0
                assert_whole(by_either)
                primary.kill()
                assert_whole(by_either)
                assert store.live_id() == report.snapshot
                replica.promote()
                write(folder, 1)
                report = ingest(folder, writable)
                assert report.updated == DOCUMENTS
                assert store.live_id() == by_either.live_id() == report.snapshot
                with closing(store.newer()) as newer:
                    assert_whole(newer)
            assert verify_postgres(writable) == []
        finally:
            replica.stop()
            primary.stop()

    def test_the_primary_answers_for_a_replica_that_does_not(self, folder: Path) -> None:
        primary = PostgresServer()
        replica = PostgresServer(copy_of=primary)
        try:
            url = primary.new_database("kept")
            write(folder, 0)
            report = ingest(folder, url)
            wait_until(lambda: followed(replica, report.snapshot))
            with closing(open_postgres(url, replica.url("kept"))) as store, watched(store):
                replica.kill()
                assert_whole(store)
                write(folder, 1)
                report = ingest(folder, url)
                assert store.live_id() == report.snapshot
                replica.start()
            with closing(open_postgres(url, replica.url("kept"))) as store:
                wait_until(lambda: store.live_id() == report.snapshot)
                assert readers(replica) > 0
        finally:
            replica.stop()
            primary.stop()


def followed(replica: PostgresServer, snapshot: str) -> bool:
    try:
        with closing(open_postgres(replica.url("kept"))) as store:
            return store.holdings.id == snapshot
    except (NoSnapshotError, StoreError):  # not even the database is there yet
        return False


def readers(server: PostgresServer) -> int:
    """Connections of ours to a server."""
    return number(server.url(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onrecord'")


class TestFinding:
    def test_a_filter_leaves_an_index_scan_as_many_as_were_asked_for(self, url: str, folder: Path) -> None:
        """With graph and filter, as in a large store: off, `hnsw.iterative_scan` would end with what one scan gave."""
        chance = random.Random(7)
        words = [f"word{number}" for number in range(500)]
        for document in range(80):
            names = ["Somebody Else"] if document == 0 else ["Ann Lee", "Bob Ray"]
            turns = [
                f"{names[turn % len(names)]} (00:{turn:02d}:00):\n{' '.join(chance.choices(words, k=100))}.\n"
                for turn in range(20)
            ]
            (folder / f"document-{document}.txt").write_text("\n".join(turns))
        passages = ingest(folder, url).passages
        assert passages > 1000
        by_index = f"{url}&options=-cenable_seqscan%3Doff%20-cenable_sort%3Doff"
        with closing(open_postgres(by_index, graph=True)) as store, closing(open_postgres(url, graph=False)) as exact:
            vector = EMBEDDER.embed([" ".join(words[:20])])[0]
            for scope, limit in ((Scope(speakers=["Somebody Else"]), passages), (Scope(), 300)):
                _, found = store.find([], vector, limit, scope, ()).dense
                _, wanted = exact.find([], vector, limit, scope, ()).dense
                assert len(found) == len(wanted) > 10
                assert found.tolist() == pytest.approx(wanted.tolist(), abs=0.02)
        assert number(url, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'passage_vector'") > 0

    def test_passages_that_went_are_left_out(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with closing(open_postgres(url)) as store:
            rows = store.find([], VECTOR, 10_000, Scope(), ()).rows
            write(folder, 1, documents=3)
            ingest(folder, url)
            stored = store.passages(rows, VECTOR)
            assert {each.source.id for each in stored} == {f"document-{number}" for number in range(3, DOCUMENTS)}
            # What came since is found too, by a view that does not list it yet.
            assert len(store.passages(store.find([], VECTOR, 10_000, Scope(), ()).rows, VECTOR)) == DOCUMENTS * 12

    def test_what_postgresql_cannot_hold(self, url: str, folder: Path) -> None:
        transcript = {
            "version": "1.0.0",
            "segments": [{"speaker": "A\0nn", "startTime": 0, "endTime": 1, "body": "No\0w."}],
        }
        (folder / "hostile.json").write_text(json.dumps(transcript))
        report = ingest(folder, url)
        assert not report.errors
        with closing(open_postgres(url)) as store:
            (turn,) = store.turns("hostile")
            assert (turn.speaker, turn.text) == ("A\N{REPLACEMENT CHARACTER}nn", "No\N{REPLACEMENT CHARACTER}w.")
        assert verify_postgres(url) == []


class TestPrivate:
    @pytest.mark.parametrize("graph", [True, False])
    @pytest.mark.parametrize("scope", [Scope(), Scope(speakers=["Speaker 1"])], ids=str)
    def test_no_passage_is_missed_for_those_that_are_hidden(
        self, url: str, folder: Path, graph: bool, scope: Scope
    ) -> None:
        write(folder, 0)
        for number in range(1, DOCUMENTS):
            (folder / f"document-{number}.meta.yaml").write_text(f"access: [group-{number % 3}]\n")
        ingest(folder, url)
        with closing(open_postgres(url, graph=graph)) as store:
            everything = store.find(terms("edition0"), VECTOR, 1000, scope, ())
            for groups in ([], ["group-1"], ["group-0", "group-2"]):
                view = store.readable(frozenset(groups))
                found = view.find(terms("edition0"), VECTOR, 1000, scope, ())
                ids = {source.id for source in view.sources()}
                assert len(ids) == 1 + sum(f"group-{number % 3}" in groups for number in range(1, DOCUMENTS))
                wanted = [s.row for s in store.passages(everything.rows, VECTOR) if s.source.id in ids]
                assert sorted(found.dense[0].tolist()) == sorted(found.lexical[0].tolist()) == wanted
                assert [stored.row for stored in view.passages(found.rows, VECTOR)] == wanted


class TestUpgrade:
    def test_what_another_version_has_read_is_read_again(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE onrecord.source SET format = format - 1")
        report = ingest(folder, url)
        assert (report.updated, report.embedded) == (DOCUMENTS, 0)
        assert ingest(folder, url).unchanged == DOCUMENTS
        assert verify_postgres(url) == []

    def test_tables_that_know_of_nothing_private_are_brought_up_to_date(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE onrecord.source DROP access")
            connection.execute("DELETE FROM onrecord.migration WHERE version = 2")
            connection.execute("UPDATE onrecord.source SET format = 3")
        with pytest.raises(SnapshotError, match=r"version 1, .* reads 2: run `onrecord ingest`"):
            open_postgres(url)
        report = ingest(folder, url)
        assert (report.updated, report.embedded) == (DOCUMENTS, 0)
        with closing(open_postgres(url)) as store:
            assert len(store.readable(frozenset()).sources()) == DOCUMENTS
        assert verify_postgres(url) == []


class TestRefused:
    def test_a_server_that_is_not_there(self, tmp_path: Path, folder: Path) -> None:
        url = f"postgresql://ann:open%20sesame@/kept?host={tmp_path}"
        for look in (open_postgres, verify_postgres, lambda url: ingest(folder, url)):
            with pytest.raises(StoreError, match="cannot be reached") as refused:
                look(url)
            assert "sesame" not in str(refused.value)

    def test_what_is_no_url(self) -> None:
        for url in ("postgresql://ann:sesame@[host", "postgresql://ann:sesame%zz@host/kept", "sesame"):
            with pytest.raises(StoreError) as refused:
                open_postgres(url)
            assert "sesame" not in str(refused.value)
            assert refused.value.__cause__ is None

    def test_what_servers_repeat_of_what_they_are_given_is_not_told(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with closing(Database(url)) as database:
            for statement in ("SELECT %s::int", "SELECT to_tsquery(%s)"):
                with pytest.raises(StoreError, match=r": \w+$") as refused:
                    database.read(lambda connection, sql=statement: connection.execute(sql, ["open sesame"]))
                assert "sesame" not in str(refused.value)

    def test_another_model(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with pytest.raises(SnapshotError, match=r"hashing-64.*another-model"):
            ingest_postgres([folder], url, HashingEmbedder("another-model"), Limits())

    def test_tables_of_a_newer_program(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO onrecord.migration VALUES (999)")
        for look in (open_postgres, verify_postgres, lambda url: ingest(folder, url)):
            with pytest.raises(SnapshotError, match=r"version 999.*upgrade On Record"):
                look(url)

    def test_tables_of_an_older_program(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE onrecord.migration SET version = version - 1")
            connection.execute("INSERT INTO onrecord.migration VALUES (-1)")
        with pytest.raises((SnapshotError, NoSnapshotError), match="onrecord ingest"):
            open_postgres(url)

    def test_a_user_who_may_not_make_the_extension(self, url: str, folder: Path) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE USER ann")
        with pytest.raises(StoreError, match="superuser run `CREATE EXTENSION vector`"):
            ingest(folder, url.replace("postgres@", "ann@"))

    def test_a_user_who_may_not_read(self, url: str, folder: Path) -> None:
        write(folder, 0)
        ingest(folder, url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE USER ben")
        theirs = url.replace("postgres@", "ben@")
        for look in (open_postgres, verify_postgres, lambda url: ingest(folder, url)):
            with pytest.raises(StoreError, match="permission denied for schema onrecord"):
                look(theirs)
        with psycopg.connect(url) as connection:
            connection.execute("GRANT USAGE ON SCHEMA onrecord TO ben")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA onrecord TO ben")
        with closing(open_postgres(theirs)) as store:
            assert_whole(store)


class TestVerify:
    @pytest.mark.parametrize(
        ("damage", "flaw"),
        [
            ("DELETE FROM turn WHERE number = 3", "not as it is described"),
            ("UPDATE turn SET speaker = 'Eve' WHERE number = 3", "other speakers"),
            ("DELETE FROM passage WHERE row & 7 = 3", "passages are counted"),
            ("DELETE FROM source WHERE id = 'document-0'", "belong to nothing"),
            ("UPDATE term SET passages = passages + 1 WHERE term = 'edit'", "the term 'edit'"),
            ("UPDATE passage SET sentences[3] = 100000", "cites words that are not there"),
            ("UPDATE passage SET sentence_vectors = ''", "lacks vectors"),
            ("UPDATE turn SET cues = '[]'", "no cue"),
            ("UPDATE holdings SET tokens = tokens + 1", "tokens are counted"),
        ],
    )
    def test_finds(self, url: str, folder: Path, damage: str, flaw: str) -> None:
        write(folder, 0)
        (folder / "one.txt").write_text("Ann (00:00:01):\nOne edition more.\n")
        ingest(folder, url)
        assert verify_postgres(url) == []
        with psycopg.connect(url) as connection:
            connection.execute("SET search_path = onrecord, public")
            assert connection.execute(damage.encode()).rowcount
        assert any(flaw in each for each in verify_postgres(url)), verify_postgres(url)
