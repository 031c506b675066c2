from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.build import ingest
from index.embed import Embedder
from index.errors import LockedError, NoSnapshotError, SnapshotError
from index.local import verify_local
from index.search import Index
from index.snapshot import (
    CURRENT,
    FORMAT_VERSION,
    MANIFEST,
    HeldSnapshot,
    Manifest,
    current_folder,
    delete_unread,
    hold_current,
    new_snapshot,
    publish,
    writer_lock,
)
from ingest.limits import Limits

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MANIFESTS = st.builds(
    Manifest,
    NAMES,
    NAMES,
    NAMES,
    st.integers(),
    NAMES,
    st.dictionaries(NAMES, st.integers()),
    st.dictionaries(NAMES, NAMES),
)


@pytest.fixture
def index_dir(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def write(index_dir: Path, **files: str) -> Manifest:
    """A snapshot of some text files, published."""
    with writer_lock(index_dir):
        with new_snapshot(index_dir) as folder:
            for name, text in files.items():
                (folder / name).write_text(text)
            manifest = publish(folder, model="words", dimension=3, corpus_hash="", counts={"files": len(files)})
        delete_unread(index_dir, keep=manifest.id)
    return manifest


def names_in(index_dir: Path) -> set[str]:
    return {path.name for path in index_dir.iterdir()}


@given(MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.from_bytes(manifest.to_bytes(), Path(MANIFEST)) == manifest


@given(MANIFESTS, st.data())
def test_any_flipped_byte_of_a_manifest_is_found(manifest: Manifest, data: st.DataObject) -> None:
    written = bytearray(manifest.to_bytes())
    written[data.draw(st.integers(0, len(written) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError, match="build it anew with `onrecord ingest`"):
        Manifest.from_bytes(bytes(written), Path(MANIFEST))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"7", b"\xff\xfe", b'{"format_version": %d, "sha256": ""}' % FORMAT_VERSION]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError, match=r"manifest\.json is damaged; build it anew with `onrecord ingest`"):
        Manifest.from_bytes(data, Path(MANIFEST))


def test_another_format_is_refused_by_its_number(index_dir: Path) -> None:
    manifest = write(index_dir, words="Oak.")
    later = replace(manifest, format_version=FORMAT_VERSION + 1)
    (index_dir / manifest.id / MANIFEST).write_bytes(later.to_bytes())
    reads = f"is of format {FORMAT_VERSION + 1}, and this On Record reads format {FORMAT_VERSION}; build it anew with"
    with pytest.raises(SnapshotError, match=reads):
        hold_current(index_dir)


def test_a_published_snapshot_is_the_live_one(index_dir: Path) -> None:
    manifest = write(index_dir, words="Oak.", vectors="1 0 0")
    assert names_in(index_dir) == {CURRENT, "LOCK", manifest.id}
    assert (index_dir / CURRENT).read_text() == f"{manifest.id}\n"
    with closing(hold_current(index_dir)) as held:
        assert held.folder == current_folder(index_dir) == index_dir / manifest.id
        assert held.manifest == manifest
        assert held.manifest.counts == {"files": 2}
        assert held.manifest.files.keys() == {"words", "vectors"}
        assert held.damaged_files() == []


def test_files_missing_added_and_altered_are_told_apart(index_dir: Path) -> None:
    folder = index_dir / write(index_dir, one="1", two="2", three="3").id
    (folder / "one").unlink()
    (folder / "two").write_text("3")
    (folder / "deep").mkdir()
    (folder / "deep" / "four").write_text("4")
    with closing(hold_current(index_dir)) as held:
        assert held.damaged_files() == [
            "deep/four: does not belong to the snapshot",
            "one: is missing",
            "two: its checksum is not the one in the manifest",
        ]


def test_no_index_yet(index_dir: Path) -> None:
    with pytest.raises(NoSnapshotError, match="run `onrecord ingest` first"):
        hold_current(index_dir)
    with pytest.raises(NoSnapshotError):
        verify_local(index_dir)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"20240101T000000Z-00000000\n", b"..", b"a/b", b"/etc", b"x" * 5000, b"\0", b"\xff", b"."]
)
def test_a_damaged_current_is_refused(index_dir: Path, content: bytes) -> None:
    write(index_dir, words="Oak.")
    (index_dir / CURRENT).write_bytes(content)
    with pytest.raises(SnapshotError, match="build it anew with `onrecord ingest`"):
        hold_current(index_dir)


def test_a_folder_under_another_name_is_refused(index_dir: Path) -> None:
    folder = index_dir / write(index_dir, words="Oak.").id
    folder.rename(index_dir / "renamed")
    (index_dir / CURRENT).write_text("renamed\n")
    with pytest.raises(SnapshotError, match="renamed holds the snapshot"):
        hold_current(index_dir)


def test_a_second_writer_is_refused_at_once(index_dir: Path) -> None:
    with writer_lock(index_dir), pytest.raises(LockedError, match="another ingest is writing"), writer_lock(index_dir):
        pass
    with writer_lock(index_dir):
        pass


def _try_to_write(index_dir: Path) -> str:
    try:
        with writer_lock(index_dir):
            return "written"
    except LockedError:
        return "locked"


def test_a_writer_in_another_process_is_refused_too(index_dir: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with writer_lock(index_dir):
            assert pool.apply(_try_to_write, [index_dir]) == "locked"
        assert pool.apply(_try_to_write, [index_dir]) == "written"


def test_a_reader_keeps_its_snapshot_until_it_lets_go(index_dir: Path) -> None:
    first = write(index_dir, words="Oak.")
    held = hold_current(index_dir)
    second = write(index_dir, words="Steel.")
    third = write(index_dir, words="Glass.")
    assert names_in(index_dir) == {CURRENT, "LOCK", first.id, third.id}
    assert second.id not in names_in(index_dir)
    assert (held.folder / "words").read_text() == "Oak."
    assert held.damaged_files() == []
    held.close()
    with writer_lock(index_dir):
        delete_unread(index_dir, keep=third.id)
    assert names_in(index_dir) == {CURRENT, "LOCK", third.id}


def test_what_a_dead_writer_left_is_cleared_away(index_dir: Path) -> None:
    manifest = write(index_dir, words="Oak.")
    shutil.copytree(index_dir / manifest.id, index_dir / ".building-20240101T000000Z-00000000")
    (index_dir / ".building-half" / "lexical").mkdir(parents=True)
    (index_dir / ".building-half" / "lexical" / "words").write_text("Oa")
    orphan = index_dir / "20240101T000000Z-00000001"
    shutil.copytree(index_dir / manifest.id, orphan)
    (index_dir / "CURRENT.new").write_text("20240101T0000")
    newer = write(index_dir, words="Steel.")
    assert names_in(index_dir) == {CURRENT, "LOCK", newer.id}


def test_a_build_that_fails_leaves_nothing(index_dir: Path) -> None:
    manifest = write(index_dir, words="Oak.")
    with pytest.raises(ZeroDivisionError), writer_lock(index_dir), new_snapshot(index_dir) as folder:
        (folder / "words").write_text("Steel.")
        raise ZeroDivisionError
    assert names_in(index_dir) == {CURRENT, "LOCK", manifest.id}
    assert current_folder(index_dir).name == manifest.id


def test_folders_of_others_are_left_alone(index_dir: Path) -> None:
    (index_dir / "mine").mkdir(parents=True)
    (index_dir / "mine" / "notes").write_text("Keep.")
    write(index_dir, words="Oak.")
    assert (index_dir / "mine" / "notes").read_text() == "Keep."


class ReplacedWhileRead(PosixPath):
    """An index folder in which a writer publishes, and deletes what nobody reads, each time CURRENT has been read."""

    writes: ClassVar[list[Callable[[], object]]] = []

    def read_text(self, *args, **kwargs) -> str:
        text = super().read_text(*args, **kwargs)
        if self.writes:
            self.writes.pop()()
        return text


def test_a_snapshot_deleted_after_current_was_read_is_no_damage(index_dir: Path) -> None:
    write(index_dir, words="Oak.")
    ReplacedWhileRead.writes[:] = [lambda: write(index_dir, words="Glass."), lambda: write(index_dir, words="Steel.")]
    with closing(hold_current(ReplacedWhileRead(index_dir))) as held:
        assert (held.folder / "words").read_text() == "Glass."
    assert not ReplacedWhileRead.writes


def test_readers_and_a_writer_at_once(index_dir: Path) -> None:
    write(index_dir, words="0")

    done = threading.Event()

    def read() -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            with closing(hold_current(index_dir)) as held:
                assert held.damaged_files() == []
                seen.append(int((held.folder / "words").read_text()))
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(1, 41):
                write(index_dir, words=str(number))
        finally:
            done.set()
        for reader in readers:
            assert reader.result() == sorted(reader.result())


def test_deleted_between_opening_and_locking(index_dir: Path) -> None:
    """A reader that waits for the lock while a writer deletes finds the manifest gone from its place."""
    folder = index_dir / write(index_dir, words="Oak.").id

    class Deleted(PosixPath):
        def open(self, *args, **kwargs):
            opened = super().open(*args, **kwargs)
            shutil.rmtree(folder)
            return opened

    with pytest.raises(FileNotFoundError):
        HeldSnapshot(Deleted(folder))


# What follows is about whole snapshots, as `ingest` makes them.


@pytest.fixture
def built(tmp_path: Path, index_dir: Path, hashing: Embedder) -> Path:
    """The folder of a live snapshot of two talks."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("oak", "steel"):
        (corpus / f"{name}.txt").write_text(
            f"Ann Lee (00:00:01):\nShips are built of {name}.\n\nBob Ray (00:00:09):\nWhy {name}, and since when?\n"
        )
    (corpus / "oak.meta.yaml").write_text("people:\n- name: Ann Lee\n  role: host\n  aliases: [Annie]\n")
    assert ingest([corpus], index_dir, hashing, Limits()).added == 2
    assert verify_local(index_dir) == []
    return current_folder(index_dir)


def flaws(index_dir: Path) -> list[str]:
    try:
        return verify_local(index_dir)
    except SnapshotError as error:
        return [str(error)]


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << position % 8
    file.write_bytes(data)


def test_a_flipped_byte_in_any_file_is_found(built: Path, index_dir: Path, hashing: Embedder) -> None:
    files = sorted(path for path in built.rglob("*") if path.is_file() and path.stat().st_size)
    assert {path.name for path in files if path.parent.name != "lexical"} == {
        MANIFEST,
        "catalogue.sqlite",
        "passages.npy",
        "records.sqlite",
        "vectors.faiss",
        "sentences.npy",
    }
    chance = random.Random(8)
    for file in files:
        whole, size = file.read_bytes(), file.stat().st_size
        for position in {0, size // 2, size - 1, *(chance.randrange(size) for _ in range(8))}:
            flip(file, position)
            name = file.relative_to(built).as_posix()
            assert any(name in flaw for flaw in flaws(index_dir)), f"byte {position} of {name}"
            with pytest.raises(SnapshotError, match="build it anew with `onrecord ingest`"):
                Index.open(index_dir, hashing)
            file.write_bytes(whole)
    assert verify_local(index_dir) == []


def test_a_missing_and_an_added_file_are_found(built: Path, index_dir: Path) -> None:
    (built / "notes.txt").write_text("I was here.")
    assert verify_local(index_dir) == ["notes.txt: does not belong to the snapshot"]
    (built / "notes.txt").unlink()
    (built / "segments" / "000000" / "sentences.npy").unlink()
    assert verify_local(index_dir) == ["segments/000000/sentences.npy: is missing"]
    (built / MANIFEST).unlink()
    assert flaws(index_dir)[0].endswith("names a snapshot that is not there; build it anew with `onrecord ingest`")


def test_files_that_do_not_belong_together_are_found(built: Path, index_dir: Path) -> None:
    counts = json.loads((built / MANIFEST).read_bytes())["counts"]
    assert counts == {"sources": 2, "turns": 4, "passages": 2, "sentences": 4, "speakers": 2}
    manifest = Manifest.from_bytes((built / MANIFEST).read_bytes(), built)
    for name, count in counts.items():
        (built / MANIFEST).write_bytes(replace(manifest, counts={**counts, name: count + 1}).to_bytes())
        assert verify_local(index_dir)[0].startswith(f"{count + 1} {name} in the manifest, {count} ")


def test_another_model_is_refused(
    built: Path, index_dir: Path, hashing: Embedder, hashing_type: Callable[..., Embedder]
) -> None:
    other = hashing_type("hashing-other")
    with pytest.raises(
        SnapshotError, match="built with the model hashing-64, and hashing-other is asked for; build it anew with"
    ):
        Index.open(index_dir, other)
    with closing(Index.open(index_dir, hashing)) as index:
        assert index.holdings.model == "hashing-64"


def test_an_open_index_stays_whole_while_newer_ones_come(built: Path, index_dir: Path, hashing: Embedder) -> None:
    corpus = built.parent.parent / "corpus"
    index = Index.open(index_dir, hashing)
    for text in ("glass", "straw"):
        (corpus / "oak.txt").write_text(f"Ann Lee (00:00:01):\nShips are built of {text}.\n")
        ingest([corpus], index_dir, hashing, Limits())
    hits = index.search("oak", hashing.embed(["oak"])[0])
    assert hits[0].turns[0].text == "Ships are built of oak."
    assert built.is_dir()
    index.close()
    ingest([corpus], index_dir, hashing, Limits())
    assert not built.exists()
    assert names_in(index_dir) == {CURRENT, "LOCK", current_folder(index_dir).name}
