from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import index.build
from index.build import ingest, runs_to_rewrite
from index.bulk import quantise
from index.changes import Report
from index.embed import Embedder, Matrix
from index.errors import LockedError
from index.lexical import terms
from index.local import open_local, verify_local
from index.prepare import duration, passage_text
from index.search import Index
from index.segment import VECTORS
from index.snapshot import CURRENT, current_folder, writer_lock
from index.store import Scope
from ingest.limits import Limits
from ingest.model import Cue, Document, Passage, Person, Span, Turn

NOTHING = Limits(max_file_bytes=1)
"""Under these limits no file can be read."""


def talk(*said: tuple[str, str]) -> str:
    return "\n".join(f"{name} (00:{minute:02d}:00):\n{words}\n" for minute, (name, words) in enumerate(said))


def monologue(topic: str) -> str:
    """Enough words to fill a passage."""
    return " ".join(f"Our {topic} number {i} floats on the water." for i in range(16))


class Library:
    """A corpus folder, its index, and what the last ingest reported."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self.corpus, self.index_dir, self.embedder = folder / "corpus", folder / "snapshots", embedder
        self.report = Report()
        self.corpus.mkdir(parents=True)

    def put(self, name: str, text: str) -> Path:
        path = self.corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def ingest(self, *paths: Path, limits: Limits | None = None) -> Report:
        self.report = ingest(paths or [self.corpus], self.index_dir, self.embedder, limits or Limits())
        assert verify_local(self.index_dir) == []
        return self.report

    def counts(self, *paths: Path, limits: Limits | None = None) -> dict[str, int]:
        """What an ingest did, zeros left out."""
        report = self.ingest(*paths, limits=limits)
        fields = {name: getattr(report, name) for name in ("added", "updated", "unchanged", "removed", "embedded")}
        return {name: count for name, count in {**fields, "failed": len(report.errors)}.items() if count}

    @contextmanager
    def open(self) -> Generator[Index]:
        with closing(Index.open(self.index_dir, self.embedder)) as index:
            yield index

    def words(self) -> dict[str, list[tuple[str | None, str]]]:
        """Who says what in each source."""
        with self.open() as index:
            return {
                source.id: [(turn.speaker, turn.text) for turn in index.store.turns(source.id)]
                for source in index.store.sources()
            }

    def found(self, query: str) -> list[str]:
        """The sources of what is found for a query by its words."""
        with self.open() as index:
            nowhere = np.zeros(index.holdings.dimension, np.float32)
            rows = index.store.find(terms(query), nowhere, 10, Scope(), ()).lexical[0]
            return [stored.source.id for stored in index.store.passages(rows, nowhere)]

    def contents(self) -> dict[str, Any]:
        """All that a snapshot holds but its words' index."""
        with closing(open_local(self.index_dir)) as store:
            turns = {source.id: store.turns(source.id) for source in store.sources()}
            passages = {source.id: store.passages_of(source.id) for source in store.sources()}
            numbers = {name: str(number) for number, name in enumerate(store.segments)}
            entries = {
                source_id: replace(entry, segment=numbers[entry.segment]) for source_id, entry in store.entries.items()
            }
            arrays = {
                f"{numbers[name]}/{path.name}": path.read_bytes()
                for name, segment in store.segments.items()
                for path in segment.folder.iterdir()
                if path.suffix != ".sqlite"
            }
            return {"entries": entries, "speakers": store.speakers(), "turns": turns, "passages": passages} | arrays


@pytest.fixture
def library(tmp_path: Path, hashing: Embedder) -> Library:
    library = Library(tmp_path, hashing)
    library.put("oak.txt", talk(("Ann Lee", "Ships are built of oak."), ("Bob Ray", "Since when?")))
    library.put("steel.txt", talk(("Cy Fox", "Bridges are made of steel."), ("Ann Lee", "Some are.")))
    assert library.counts() == {"added": 2, "embedded": 2}
    return library


def test_what_a_first_ingest_holds(library: Library) -> None:
    assert library.words() == {
        "oak": [("Ann Lee", "Ships are built of oak."), ("Bob Ray", "Since when?")],
        "steel": [("Cy Fox", "Bridges are made of steel."), ("Ann Lee", "Some are.")],
    }
    assert library.report.passages == 2
    assert library.report.snapshot == current_folder(library.index_dir).name
    assert library.report.seconds > 0
    with library.open() as index:
        assert [speaker.name for speaker in index.store.speakers()] == ["Ann Lee", "Bob Ray", "Cy Fox"]
        assert index.holdings.counts == {"sources": 2, "turns": 4, "passages": 2, "sentences": 4, "speakers": 3}


def test_a_second_ingest_reads_and_writes_nothing(library: Library) -> None:
    first = library.report.snapshot
    before = {path: path.stat().st_mtime_ns for path in library.index_dir.rglob("*")}
    assert library.counts(limits=NOTHING) == {"unchanged": 2}
    assert (library.report.snapshot, library.report.passages) == (first, 2)
    assert {path: path.stat().st_mtime_ns for path in library.index_dir.rglob("*")} == before


def test_two_builds_of_one_corpus_are_alike_to_the_byte(library: Library, tmp_path: Path, hashing: Embedder) -> None:
    second = Library(tmp_path / "second", hashing)
    second.ingest(library.corpus)
    assert second.contents() == library.contents()


def test_two_builds_with_the_real_model_are_alike_to_the_byte(tmp_path: Path, embedder: Embedder) -> None:
    one, other = Library(tmp_path / "one", embedder), Library(tmp_path / "other", embedder)
    for topic in ("boat", "bridge", "ferry"):
        one.put(f"{topic}.txt", talk(("Ann Lee", monologue(topic)), ("Bob Ray", monologue(f"own {topic}"))))
    one.ingest()
    other.ingest(one.corpus)
    assert one.report.embedded == other.report.embedded == 6
    assert one.contents() == other.contents()
    one.put("ferry.txt", talk(("Ann Lee", "None.")))
    assert one.counts() == {"updated": 1, "unchanged": 2, "embedded": 1}
    kept, earlier = one.contents()["passages"], other.contents()["passages"]
    assert {topic: kept[topic] for topic in ("boat", "bridge")} == {
        topic: earlier[topic] for topic in ("boat", "bridge")
    }
    assert kept["ferry"] != earlier["ferry"]


def test_a_changed_line_embeds_its_passage_alone(library: Library, hashing: Embedder) -> None:
    topics = ["boat", "raft", "canoe", "ferry", "barge"]
    path = library.put("water.txt", talk(*((f"Speaker {topic.title()}", monologue(topic)) for topic in topics)))
    assert library.counts() == {"added": 1, "unchanged": 2, "embedded": 5}
    path.write_text(path.read_text().replace("canoe number 7", "kayak number 7"))
    assert library.counts() == {"updated": 1, "unchanged": 2, "embedded": 1}
    assert library.found("kayak") == ["water"]


def test_only_what_changed_is_read(library: Library) -> None:
    library.put("steel.txt", "Nobody reads this.")
    assert library.counts(limits=NOTHING) == {"unchanged": 1, "failed": 1}
    assert library.found("oak") == ["oak"]


def test_a_removed_file_is_gone(library: Library) -> None:
    (library.corpus / "steel.txt").unlink()
    assert library.counts() == {"unchanged": 1, "removed": 1}
    assert library.found("steel") == []
    with library.open() as index:
        assert [speaker.name for speaker in index.store.speakers()] == ["Ann Lee", "Bob Ray"]


def test_a_file_that_cannot_be_read_any_more_is_reported_and_gone(library: Library) -> None:
    path = library.put("steel.txt", "")
    assert library.counts() == {"unchanged": 1, "failed": 1}
    (flaw,) = library.report.errors
    assert (flaw.path, flaw.line) == (str(path), None)
    assert flaw.error
    assert library.found("steel") == []
    assert library.found("oak") == ["oak"]
    snapshot = library.report.snapshot
    assert library.counts() == {"unchanged": 1, "failed": 1}, "reported each time"
    assert library.report.snapshot == snapshot


def test_a_bad_file_harms_no_other(library: Library) -> None:
    library.put("broken.json", '{"segments": [{"start": 0, "end"')
    library.put("binary.vtt", "\0\x01\x02")
    library.put("glass.txt", talk(("Ann Lee", "Windows are of glass.")))
    library.put("straw.txt", "Roofs are of straw.")
    library.put("straw.meta.yaml", "people: Ann")
    assert library.counts() == {"added": 1, "unchanged": 2, "embedded": 1, "failed": 3}
    assert sorted(Path(flaw.path).name for flaw in library.report.errors) == [
        "binary.vtt",
        "broken.json",
        "straw.meta.yaml",
    ]
    assert library.words().keys() == {"oak", "steel", "glass"}


def test_flaws_that_do_not_stop_the_reading_are_warnings(library: Library) -> None:
    path = library.put(
        "cues.vtt", "WEBVTT\n\n00:05.000 --> 00:04.000\n<v Ann>Backwards.\n\n00:06.000 --> 00:07.000\n<v Ann>On.\n"
    )
    assert library.counts() == {"added": 1, "unchanged": 2, "embedded": 1}
    assert [(flaw.path, flaw.line) for flaw in library.report.warnings] == [(str(path), 3)]
    assert "ends before it" in library.report.warnings[0].error


def test_a_renamed_file_is_another_source_with_the_same_vectors(library: Library) -> None:
    (library.corpus / "steel.txt").rename(library.corpus / "iron.txt")
    assert library.counts() == {"added": 1, "unchanged": 1, "removed": 1}
    assert library.found("steel") == ["iron"]


def test_a_sidecar_is_part_of_its_file(library: Library) -> None:
    sidecar = library.put("oak.meta.yaml", "title: Of Oak\ndate: 2024-01-05\n")
    assert library.counts() == {"updated": 1, "unchanged": 1}
    with library.open() as index:
        source = index.store.source("oak")
        assert source is not None
        assert (source.title, source.date) == ("Of Oak", "2024-01-05")
    sidecar.unlink()
    assert library.counts() == {"updated": 1, "unchanged": 1}
    with library.open() as index:
        assert index.store.sources()[0].title != "Of Oak"


def test_an_alias_in_one_sidecar_renames_in_all_documents(library: Library) -> None:
    sidecar = library.put("oak.meta.yaml", "people:\n- name: Cyrus Fox\n  aliases: [Cy Fox]\n")
    assert library.counts() == {"updated": 1, "unchanged": 1, "embedded": 1}
    assert library.words()["steel"][0] == ("Cyrus Fox", "Bridges are made of steel.")
    with library.open() as index:
        names = {speaker.name: speaker.aliases for speaker in index.store.speakers()}
        assert names == {"Ann Lee": (), "Bob Ray": (), "Cyrus Fox": ("Cy Fox",)}
        nowhere = np.zeros(index.holdings.dimension, np.float32)
        found = index.store.find(terms("steel"), nowhere, 5, Scope("steel", ["Cyrus Fox"]), ())
        assert found.lexical[0].tolist() == found.dense[0].tolist() == [1]
    sidecar.unlink()
    library.ingest()
    assert library.words()["steel"][0] == ("Cy Fox", "Bridges are made of steel.")


def test_people_who_never_speak_are_no_speakers(library: Library) -> None:
    library.put("oak.meta.yaml", "people:\n- name: Dee Low\n  role: producer\n")
    library.ingest()
    with library.open() as index:
        assert "Dee Low" not in [speaker.name for speaker in index.store.speakers()]
        assert index.store.sources()[0].people == (Person("Dee Low", "producer"),)


def test_one_file_of_a_known_folder_keeps_its_source(library: Library) -> None:
    path = library.put("2024/glass.txt", talk(("Ann Lee", "Windows are of glass.")))
    library.ingest()
    assert library.words().keys() == {"2024-glass", "oak", "steel"}
    path.write_text(talk(("Ann Lee", "Bottles are of glass.")))
    assert library.counts(path) == {"updated": 1, "embedded": 1}
    assert library.words()["2024-glass"] == [("Ann Lee", "Bottles are of glass.")]
    assert library.counts() == {"unchanged": 3}
    path.unlink()
    assert library.counts() == {"unchanged": 2, "removed": 1}


def test_a_file_ingested_alone_is_not_replaced_by_its_namesake(library: Library) -> None:
    alone = library.put("2024/glass.txt", talk(("Ann Lee", "Windows are of glass.")))
    library.ingest(alone)
    assert library.words().keys() == {"glass", "oak", "steel"}
    library.put("glass.txt", talk(("Bob Ray", "Bottles are of glass.")))
    assert library.counts() == {"added": 1, "unchanged": 3, "embedded": 1}
    texts = {text for said in library.words().values() for _, text in said}
    assert {"Windows are of glass.", "Bottles are of glass."} < texts
    third = library.put("2024/glass.md", talk(("Bob Ray", "Beads are of glass.")))
    library.ingest(third)
    assert len(library.words()) == 5


def test_two_corpus_folders_are_kept_apart(library: Library, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "oak.txt").write_text(talk(("Dee Low", "Barrels are of oak.")))
    assert library.counts(other) == {"added": 1, "embedded": 1}
    ids = list(library.words())
    assert ids[0] == "oak"
    assert ids[1].startswith("oak-")
    assert ids[2] == "steel"
    (library.corpus / "oak.txt").unlink()
    assert library.counts() == {"unchanged": 1, "removed": 1}
    assert library.found("oak") == [ids[1]]
    assert library.counts(other, library.corpus) == {"unchanged": 2}
    (other / "oak.txt").unlink()
    assert library.counts(library.corpus, other) == {"unchanged": 1, "removed": 1}


def test_a_folder_does_not_stand_for_one_whose_name_begins_with_its(library: Library) -> None:
    other = library.corpus.with_name(f"{library.corpus.name}-2")
    other.mkdir()
    (other / "glass.txt").write_text(talk(("Dee Low", "Windows are of glass.")))
    assert library.counts(other) == {"added": 1, "embedded": 1}
    (other / "glass.txt").unlink()
    assert library.counts() == {"unchanged": 2}
    assert library.counts(other) == {"removed": 1}


def test_a_file_that_is_gone_can_be_named_to_drop_it(library: Library) -> None:
    path = library.corpus / "steel.txt"
    path.unlink()
    assert library.counts(path) == {"removed": 1, "failed": 1}
    assert library.words().keys() == {"oak"}


def test_an_empty_folder_makes_an_index_of_nothing(tmp_path: Path, hashing: Embedder) -> None:
    library = Library(tmp_path / "empty", hashing)
    assert library.counts() == {}
    with library.open() as index:
        assert len(index) == 0
        assert index.search("oak", hashing.embed(["oak"])[0]) == []
    library.put("oak.txt", talk(("Ann Lee", "Oak.")))
    assert library.counts() == {"added": 1, "embedded": 1}
    (library.corpus / "oak.txt").unlink()
    assert library.counts() == {"removed": 1}


def test_progress_counts_what_is_embedded(library: Library) -> None:
    library.put("glass.txt", talk(("Ann Lee", monologue("window")), ("Ann Lee", monologue("bottle"))))
    seen: list[tuple[int, int]] = []
    report = ingest(
        [library.corpus], library.index_dir, library.embedder, Limits(), lambda done, known: seen.append((done, known))
    )
    assert [done for done, _ in seen] == list(range(1, report.embedded + 1))
    assert all(done <= known <= report.embedded for done, known in seen)
    assert len(seen) > 1


class BreakingEmbedder:
    """Breaks down at a passage about glass."""

    def __init__(self, embedder: Embedder) -> None:
        self.fingerprint, self.dimension, self.max_tokens = embedder.fingerprint, embedder.dimension, 254
        self.count_tokens, self.embed = embedder.count_tokens, embedder.embed
        self._embed_passage = embedder.embed_passage

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        if "glass" in text:
            raise MemoryError
        return self._embed_passage(text, ranges)


def test_a_crash_leaves_the_old_snapshot_and_no_litter(library: Library) -> None:
    before = library.contents()
    for name in ("clay", "glass", "straw"):
        library.put(f"{name}.txt", talk(("Ann Lee", f"This is of {name}.")))
    with pytest.raises(MemoryError):
        ingest([library.corpus], library.index_dir, BreakingEmbedder(library.embedder), Limits())
    assert library.contents() == before
    assert {path.name for path in library.index_dir.iterdir()} == {CURRENT, "LOCK", library.report.snapshot}
    assert library.counts() == {"added": 3, "unchanged": 2, "embedded": 3}


def test_a_damaged_index_is_built_anew_with_a_warning(library: Library) -> None:
    before = library.contents()
    vectors = current_folder(library.index_dir) / "segments" / "000000" / VECTORS
    vectors.write_bytes(vectors.read_bytes() + b"\0")
    assert library.counts() == {"added": 2, "embedded": 2}
    (warning,) = library.report.warnings
    assert "is damaged (segments/000000/vectors.faiss: its checksum is not the one in the manifest)" in warning.error
    assert warning.error.endswith("; starting from nothing")
    assert library.contents() == before
    assert len(list(library.index_dir.iterdir())) == 3


def test_another_model_embeds_all_anew(library: Library, hashing_type: Callable[..., Embedder]) -> None:
    library.embedder = hashing_type("hashing-other")
    assert library.counts() == {"added": 2, "embedded": 2}
    assert "was built with the model hashing-64" in library.report.warnings[0].error


def test_one_ingest_at_a_time(library: Library) -> None:
    with writer_lock(library.index_dir), pytest.raises(LockedError):
        library.ingest()


def test_old_snapshots_go(library: Library) -> None:
    for name in ("clay", "glass", "straw"):
        library.put(f"{name}.txt", talk(("Ann Lee", f"This is of {name}.")))
        library.ingest()
        assert {path.name for path in library.index_dir.iterdir()} == {CURRENT, "LOCK", library.report.snapshot}


Edits = list[tuple[str, list[tuple[str, str]]]]
EDITS: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.sampled_from(["a.txt", "b.txt", "c/a.txt", "a.meta.yaml"]),
        st.lists(st.tuples(st.sampled_from(["Ann Lee", "ANN LEE", "Bo"]), st.sampled_from("xyz")), max_size=3),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=25)
@given(EDITS)
def test_step_by_step_gives_what_starting_anew_gives(
    tmp_path_factory: pytest.TempPathFactory, hashing_type: Callable[..., Embedder], edits: Edits
) -> None:
    """An edit without turns removes the file."""
    folder = tmp_path_factory.mktemp("edits")
    library = Library(folder / "steps", hashing_type())
    for name, said in edits:
        if not said:
            (library.corpus / name).unlink(missing_ok=True)
        elif name == "a.meta.yaml":
            library.put(name, f"people:\n- name: Anna\n  aliases: [{', '.join({speaker for speaker, _ in said})}]\n")
        else:
            library.put(name, talk(*((speaker, monologue(topic)) for speaker, topic in said)))
        ingest([library.corpus], library.index_dir, library.embedder, Limits())
    anew = Library(folder / "anew", hashing_type())
    anew.ingest(library.corpus)
    assert library.contents() == anew.contents()
    shutil.rmtree(folder)


@pytest.fixture
def large(tmp_path: Path, hashing: Embedder, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library of more passages than are written anew whenever something changes; the limit is lowered to be quick."""
    monkeypatch.setattr(index.build, "SMALL", 40)
    library = Library(tmp_path / "large", hashing)
    for part in range(20):
        said = ((f"Speaker {i % 7}", f"Our boat number {part} {i} floats on the water by day.") for i in range(42))
        library.put(f"log-{part:02d}.txt", talk(*said))
    assert library.ingest().passages == 80
    return library


def segments(library: Library) -> list[tuple[str, int]]:
    """The segments by name, each with the passages it was written with."""
    with closing(open_local(library.index_dir)) as store:
        return [(name, len(segment.columns)) for name, segment in store.segments.items()]


def inodes(library: Library) -> set[int]:
    return {path.stat().st_ino for path in current_folder(library.index_dir).rglob("*") if path.is_file()}


def test_what_is_added_to_much_goes_into_a_segment_of_its_own(large: Library) -> None:
    (first,), before = segments(large), inodes(large)
    large.put("oak.txt", talk(("Ann Lee", "Ships are built of oak."), ("Speaker 1", "Since when?")))
    assert large.counts() == {"added": 1, "unchanged": 20, "embedded": 1}
    assert segments(large) == [first, ("000001", 1)]
    shared = before & inodes(large)
    assert len(shared) >= 4, "the files of the large segment are links to those that were there"
    assert large.found("oak") == ["oak"]
    with large.open() as index:
        assert [speaker.name for speaker in index.store.speakers("oak")] == ["Ann Lee", "Speaker 1"]
        of_one = index.search("boat", index.vector("boat"), 100, speakers=["Speaker 1"])
        assert len(of_one) == 61
        assert index.search("oak", index.vector("oak"), 1, speakers=["Ann Lee"])[0].source.id == "oak"


def test_small_segments_are_written_together(large: Library) -> None:
    (first,) = segments(large)
    for number, topic in enumerate(("oak", "steel", "glass", "straw"), start=1):
        large.put(f"{topic}.txt", talk(("Ann Lee", f"Ships are built of {topic}.")))
        large.ingest()
        assert sum(count for _, count in segments(large)[1:]) == number
        assert len(segments(large)) <= 3
    assert segments(large)[0] == first
    assert large.found("straw") == ["straw"]


def test_what_is_gone_from_a_large_segment_is_found_no_more(large: Library) -> None:
    (first,) = segments(large)
    large.put("log-03.txt", talk(("Ann Lee", "Ships are built of oak.")))
    (large.corpus / "log-04.txt").unlink()
    assert large.counts() == {"updated": 1, "unchanged": 18, "removed": 1, "embedded": 1}
    assert segments(large)[0] == first
    with large.open() as index:
        assert index.store.source("log-04") is None
        hits = index.search("boat number", index.vector("boat number"), 100)
        assert len(hits) == 73
        assert "log-04" not in {hit.source.id for hit in hits}
        assert [hit.turns[0].text for hit in hits if hit.source.id == "log-03"] == ["Ships are built of oak."]
        assert index.search("oak", index.vector("oak"), 1)[0].source.id == "log-03"
        assert index.holdings.counts["passages"] == len(index.store) < first[1]


def test_a_segment_much_of_which_is_gone_is_written_anew(large: Library) -> None:
    (first,) = segments(large)
    library = large
    for part in range(0, 20, 3):
        (library.corpus / f"log-{part:02d}.txt").unlink()
    library.ingest()
    ((name, count),) = segments(library)
    assert name != first[0]
    assert count == library.report.passages < first[1]
    library.put("oak.txt", talk(("Ann Lee", "Ships are built of oak.")))
    library.ingest()
    assert library.found("oak") == ["oak"]


def test_a_name_learnt_late_is_used_in_all_documents(large: Library) -> None:
    large.put("zebra.txt", talk(("Speaker 3", "Zebras do not float.")))
    large.put("zebra.meta.yaml", "people:\n- name: Cy Fox\n  aliases: [Speaker 3]\n")
    counts = large.counts()
    assert (counts["added"], counts["unchanged"]) == (1, 20)
    with large.open() as index:
        assert "Speaker 3" not in {speaker.name for speaker in index.store.speakers()}
        assert {turn.speaker for turn in index.store.turns("log-07")} == {
            *(f"Speaker {i}" for i in range(7)),
            "Cy Fox",
        } - {"Speaker 3"}
    assert large.counts() == {"unchanged": 21}


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([(9, 0)], []),
        ([(9, 4)], [(0, 1)]),
        ([(100, 0), (9, 0)], []),
        ([(100, 0), (9, 0), (9, 0)], [(1, 3)]),
        ([(100, 0), (30, 0), (9, 0), (9, 0)], [(1, 4)]),
        ([(100, 0), (40, 0), (9, 0), (9, 0)], [(2, 4)]),
        ([(100, 0), (60, 0), (30, 0), (15, 0)], [(0, 4)]),
        ([(100, 40), (30, 0), (9, 9)], [(0, 1), (2, 3)]),
        ([(100, 0), (0, 5)], [(1, 2)]),
    ],
)
def test_which_segments_are_written_anew(sizes: list[tuple[int, int]], runs: list[tuple[int, int]]) -> None:
    assert runs_to_rewrite(sizes) == runs


@given(st.lists(st.integers(1, 500), max_size=300))
def test_there_are_never_many_segments(batches: list[int]) -> None:
    sizes: list[int] = []
    for batch in batches:
        sizes.append(batch)
        for begin, end in reversed(runs_to_rewrite([(size, 0) for size in sizes])):
            sizes[begin:end] = [sum(sizes[begin:end])]
        assert all(larger > 2 * smaller for larger, smaller in pairwise(sizes))
    assert sum(sizes) == sum(batches)


def test_what_is_embedded_of_a_passage() -> None:
    turns = [
        Turn("Ann", "One. Two.", (Cue(0, 0),), note="She counts."),
        Turn(None, "Three. Four.", (Cue(1, 0),), note="Unseen."),
    ]
    passage = Passage("id", "talk", 0, (Span(0, 0, 4), Span(0, 5, 9), Span(1, 0, 6)), 3)
    embedded = passage_text(passage, turns)
    assert embedded.text == "Ann: One. Two. She counts.\nThree."
    assert [embedded.text[begin:end] for begin, end in embedded.ranges] == ["One.", "Two.", "Three."]


def test_a_note_that_becomes_speech_is_embedded_anew() -> None:
    noted = passage_text(Passage("a", "talk", 0, (Span(0, 0, 4),), 1), [Turn("Ann", "One.", (Cue(0, 0),), note="Two.")])
    both = Passage("b", "talk", 0, (Span(0, 0, 4), Span(0, 5, 9)), 2)
    spoken = passage_text(both, [Turn("Ann", "One. Two.", (Cue(0, 0),))])
    assert noted.text == spoken.text
    assert noted.digest != spoken.digest


def test_where_sentences_of_an_interrupted_turn_stand() -> None:
    turns = [Turn("Ann", "One. Two.", (Cue(0, 0), Cue(2, 5))), Turn("Ben", "Mm.", (Cue(1, 0),))]
    passage = Passage("id", "talk", 0, (Span(0, 0, 4), Span(1, 0, 3), Span(0, 5, 9)), 3)
    embedded = passage_text(passage, turns)
    assert embedded.text == "Ann: One.\nBen: Mm.\nAnn: Two."
    assert [embedded.text[begin:end] for begin, end in embedded.ranges] == ["One.", "Mm.", "Two."]


@pytest.mark.parametrize(
    ("kind", "cues", "seconds"),
    [
        ("transcript", [(10.0, None)], 0.0),
        ("transcript", [(10.0, None), (70.0, None)], 60.0),
        ("transcript", [(10.0, 95.5), (70.0, 75.0)], 85.5),  # an interjection ends first
        ("transcript", [(10.0, 12.0), (None, None)], 2.0),
        ("transcript", [(None, None), (None, None)], None),
        ("transcript", [], None),
        ("notes", [(10.0, None), (70.0, None)], None),
    ],
)
def test_how_long_a_document_takes(
    kind: Any, cues: list[tuple[float | None, float | None]], seconds: float | None
) -> None:
    turns = tuple(Turn("Ann", "Yes.", (Cue(i, 0, *times),)) for i, times in enumerate(cues))
    assert duration(Document("Talk", kind, turns)) == seconds


def test_the_duration_of_a_source_follows_its_file(library: Library) -> None:
    library.put("oak.txt", "Ann Lee (00:00:10):\nOak.\n\nBob Ray (00:02:30):\nSince when?\n")
    library.put("steel.txt", "Cy Fox: Bridges are made of steel.\n")
    library.ingest()
    with library.open() as index:
        assert index.store.durations() == {"oak": 140.0}
    library.put("oak.meta.yaml", "people:\n- name: Ann Leigh\n  aliases: [Ann Lee]\n")
    library.ingest()
    with library.open() as index:
        assert index.store.durations() == {"oak": 140.0}


def test_quantised_vectors_keep_their_direction() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 384)).astype(np.float32)
    small = quantise(rows)
    assert small.dtype == np.int8
    assert np.abs(small.astype(int)).max(axis=1).tolist() == [127] * 50
    cosines = (small * rows).sum(axis=1) / np.linalg.norm(small.astype(float), axis=1) / np.linalg.norm(rows, axis=1)
    assert cosines.min() > 0.9995
    assert quantise(np.zeros((2, 4), np.float32)).tolist() == [[0] * 4] * 2
    assert quantise(np.empty((0, 4), np.float32)).shape == (0, 4)
