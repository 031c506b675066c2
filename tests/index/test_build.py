from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.build import Report, ingest, passage_text, quantise
from index.embed import Embedder, Matrix
from index.errors import LockedError
from index.records import PassageRecord, SourceRecord
from index.search import SENTENCES, VECTORS, Index, verify
from index.snapshot import CURRENT, current_folder, writer_lock
from ingest.limits import Limits
from ingest.model import Cue, Passage, Person, Span, Turn

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
        assert verify(self.index_dir) == []
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
                source.id: [(turn.speaker, turn.text) for turn in index.records.turns(source.id)]
                for source in index.records.sources()
            }

    def found(self, query: str) -> list[str]:
        """The sources of what is found for a query by its words."""
        with self.open() as index:
            rows = index.lexical.search(query, 10)[0].tolist()
            return [record.passage.source_id for record in index.records.passages(rows)]

    def contents(self) -> tuple[list[SourceRecord], list[PassageRecord], bytes, bytes]:
        """All that a snapshot holds but its words' index."""
        with self.open() as index:
            vectors, sentences = (current_folder(self.index_dir) / name for name in (VECTORS, SENTENCES))
            records = index.records
            return records.source_records(), records.passages(), vectors.read_bytes(), sentences.read_bytes()


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
        assert [speaker.name for speaker in index.records.speakers()] == ["Ann Lee", "Bob Ray", "Cy Fox"]
        assert index.manifest.counts == {"sources": 2, "turns": 4, "passages": 2, "sentences": 4, "speakers": 3}


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
    (_, kept, *_), (_, earlier, *_) = one.contents(), other.contents()
    assert [record.passage for record in kept[:-1]] == [record.passage for record in earlier[: len(kept) - 1]]


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
        assert [speaker.name for speaker in index.records.speakers()] == ["Ann Lee", "Bob Ray"]


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
        source = index.records.source("oak")
        assert source is not None
        assert (source.title, source.date) == ("Of Oak", "2024-01-05")
    sidecar.unlink()
    assert library.counts() == {"updated": 1, "unchanged": 1}
    with library.open() as index:
        assert index.records.sources()[0].title != "Of Oak"


def test_an_alias_in_one_sidecar_renames_in_all_documents(library: Library) -> None:
    sidecar = library.put("oak.meta.yaml", "people:\n- name: Cyrus Fox\n  aliases: [Cy Fox]\n")
    assert library.counts() == {"updated": 1, "unchanged": 1, "embedded": 1}
    assert library.words()["steel"][0] == ("Cyrus Fox", "Bridges are made of steel.")
    with library.open() as index:
        names = {speaker.name: speaker.aliases for speaker in index.records.speakers()}
        assert names == {"Ann Lee": (), "Bob Ray": (), "Cyrus Fox": ("Cy Fox",)}
        assert index.records.rows("steel", ["Cyrus Fox"]).tolist() == [1]
        assert index.lexical.search("steel", 5, speakers=["Cyrus Fox"])[0].tolist() == [1]
    sidecar.unlink()
    library.ingest()
    assert library.words()["steel"][0] == ("Cy Fox", "Bridges are made of steel.")


def test_people_who_never_speak_are_no_speakers(library: Library) -> None:
    library.put("oak.meta.yaml", "people:\n- name: Dee Low\n  role: producer\n")
    library.ingest()
    with library.open() as index:
        assert "Dee Low" not in [speaker.name for speaker in index.records.speakers()]
        assert index.records.sources()[0].people == (Person("Dee Low", "producer"),)


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
        [library.corpus], library.index_dir, library.embedder, Limits(), lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, report.embedded) for done in range(1, report.embedded + 1)]
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
    vectors = current_folder(library.index_dir) / VECTORS
    vectors.write_bytes(vectors.read_bytes() + b"\0")
    assert library.counts() == {"added": 2, "embedded": 2}
    (warning,) = library.report.warnings
    assert "is damaged (vectors.faiss: its checksum is not the one in the manifest)" in warning.error
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


@settings(max_examples=25, deadline=None)
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


def test_quantised_vectors_keep_their_direction() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 384)).astype(np.float32)
    small = quantise(rows)
    assert small.dtype == np.int8
    assert np.abs(small.astype(int)).max(axis=1).tolist() == [127] * 50
    cosines = (small * rows).sum(axis=1) / np.linalg.norm(small.astype(float), axis=1) / np.linalg.norm(rows, axis=1)
    assert cosines.min() > 0.9995
    assert quantise(np.zeros((2, 4), np.float32)).tolist() == [[0] * 4] * 2
    assert quantise(np.empty((0, 4), np.float32)).shape == (0, 4)
