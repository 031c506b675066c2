from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.corpus import MAX_ID_LENGTH, Walk, walk


def put(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"words of {name}", encoding="utf-8")


def ids(folder: Path) -> dict[str, str]:
    return {found.relative: found.source_id for found in walk([folder]).found}


def reasons(walked: Walk) -> dict[str, str]:
    return {error.path.name: error.reason for error in walked.errors}


def test_documents_in_a_fixed_order_with_ids_from_their_paths(tmp_path: Path) -> None:
    put(tmp_path, "b/Talk One.VTT", "a.md", "Café–Ünïcode_2024.txt", "b/talk.en.srt")
    assert list(ids(tmp_path).items()) == [
        ("Café–Ünïcode_2024.txt", "cafe-unicode_2024"),
        ("a.md", "a"),
        ("b/Talk One.VTT", "b-talk-one"),
        ("b/talk.en.srt", "b-talk.en"),
    ]


def test_what_is_no_document_is_left_alone(tmp_path: Path) -> None:
    put(
        tmp_path,
        "talk.vtt",
        "talk.meta.yaml",
        "README.md",
        "sub/readme",
        ".hidden.md",
        ".git/config.txt",
        "old.txt~",
        "~$a.docx",
    )
    put(tmp_path, "talk.mp3", "cover.png", "slides.key")
    walked = walk([tmp_path])
    assert [found.relative for found in walked.found] == ["talk.vtt"]
    assert sorted(path.name for path in walked.skipped) == ["cover.png", "slides.key", "talk.mp3"]
    assert walked.errors == ()


def test_a_document_whose_sidecar_is_misnamed_is_an_error(tmp_path: Path) -> None:
    """Nobody would read who may read it."""
    put(tmp_path, "talk.vtt", "talk.meta.yml", "sub/other.txt", "sub/Other.meta.yaml", "sub/third.md")
    walked = walk([tmp_path])
    assert [found.relative for found in walked.found] == ["sub/third.md"]
    assert reasons(walked) == {
        "talk.meta.yml": "is not read, and neither is talk.vtt: a sidecar is called talk.meta.yaml",
        "Other.meta.yaml": "is not read, and neither is other.txt: a sidecar is called other.meta.yaml",
    }
    assert walk([tmp_path / "talk.vtt"]).errors[0].path == tmp_path / "talk.meta.yml"


def test_a_file_given_by_itself_is_read_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path, "sub/README.md", "sub/talk.log")
    walked = walk([tmp_path / "sub" / "README.md", tmp_path / "sub" / "talk.log"])
    assert [(found.relative, found.source_id) for found in walked.found] == [
        ("README.md", "readme"),
        ("talk.log", "talk"),
    ]


def test_each_file_comes_once(tmp_path: Path) -> None:
    put(tmp_path, "a.md")
    assert len(walk([tmp_path, tmp_path / "a.md", tmp_path / "." / "a.md"]).found) == 1


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert reasons(walk([tmp_path / "nowhere"])) == {"nowhere": "does not exist"}


def test_paths_that_come_out_alike_are_told_apart_by_themselves(tmp_path: Path) -> None:
    put(tmp_path, "talk.md", "other.md")
    assert ids(tmp_path) == {"talk.md": "talk", "other.md": "other"}
    put(tmp_path, "talk.vtt")
    two = ids(tmp_path)
    assert two["other.md"] == "other"
    assert all(re.fullmatch(r"talk-[0-9a-f]{8}", two[name]) for name in ("talk.md", "talk.vtt"))
    put(tmp_path, "TALK.txt", "a.md")
    three = ids(tmp_path)
    assert {name: three[name] for name in two} == two
    assert len(set(three.values())) == len(three) == 5


def test_the_same_path_under_two_corpus_folders(tmp_path: Path) -> None:
    put(tmp_path, "x/talk.md", "y/talk.md")
    found = walk([tmp_path / "x", tmp_path / "y"]).found
    assert len({each.source_id for each in found}) == 2
    assert [each.relative for each in found] == ["talk.md", "talk.md"]


def test_an_id_that_looks_like_anothers_hash_is_no_clash(tmp_path: Path) -> None:
    put(tmp_path, "talk.md", "talk.vtt")
    taken = ids(tmp_path)["talk.md"]
    put(tmp_path, f"{taken}.txt")
    assert len(set(ids(tmp_path).values())) == 3


def test_strange_names(tmp_path: Path) -> None:
    names = [
        "line\nbreak.txt",
        "🎙️.md",
        "🎧.md",
        "-rf.txt",
        "интервью 5.txt",
        "беседа 5.txt",
        "%2e%2e.md",
        "x" * 251 + ".txt",
    ]
    put(tmp_path, *names)
    found = ids(tmp_path)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch(r"[a-z0-9._~-]+", each) for each in found.values())
    assert found["line\nbreak.txt"] == "line-break"
    assert found["-rf.txt"] == "rf"
    assert re.fullmatch(r"source-[0-9a-f]{8}", found["🎙️.md"])
    before = found["интервью 5.txt"]
    (tmp_path / "беседа 5.txt").unlink()
    assert ids(tmp_path)["интервью 5.txt"] == before
    assert max(map(len, found.values())) <= MAX_ID_LENGTH + 9


def test_a_name_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/bad\xff.txt")).write_text("words")
    except OSError:
        pytest.skip("this file system takes no such name")
    put(tmp_path, "good.txt")
    walked = walk([tmp_path])
    assert [found.relative for found in walked.found] == ["good.txt"]
    assert reasons(walked) == {"bad\ufffd.txt": "has a name that is not UTF-8: rename it"}


def test_the_digest_is_of_file_and_sidecar(tmp_path: Path) -> None:
    put(tmp_path, "talk.md")

    def digest() -> str:
        return walk([tmp_path]).found[0].digest

    bare = digest()
    assert digest() == bare
    (tmp_path / "talk.meta.yaml").write_text("title: A\n")
    first = digest()
    (tmp_path / "talk.meta.yaml").write_text("title: B\n")
    second = digest()
    (tmp_path / "talk.md").write_text("other words")
    assert len({bare, first, second, digest()}) == 4


def test_a_loop_of_symlinks_ends(tmp_path: Path) -> None:
    put(tmp_path, "corpus/sub/a.md")
    (tmp_path / "corpus/sub/up").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus/self.md").symlink_to(tmp_path / "corpus/self.md")
    walked = walk([tmp_path / "corpus"])
    assert [found.relative for found in walked.found] == ["sub/a.md"]
    assert reasons(walked) == {"self.md": "is a symlink that leads nowhere"}


def test_symlinks_stay_inside_the_corpus(tmp_path: Path) -> None:
    put(tmp_path, "secret.txt", "private/b.md", "corpus/.store/c4f3", "corpus/a.md", "corpus/z.md")
    corpus = tmp_path / "corpus"
    (corpus / "leak.txt").symlink_to(tmp_path / "secret.txt")
    (corpus / "leaks").symlink_to(tmp_path / "private")
    (corpus / "z.meta.yaml").symlink_to(tmp_path / "secret.txt")
    (corpus / "alias.md").symlink_to(corpus / "a.md")
    (corpus / "annexed.md").symlink_to(corpus / ".store/c4f3")
    walked = walk([corpus])
    assert [found.relative for found in walked.found] == ["a.md", "annexed.md"]
    outside = "is a symlink out of the corpus folder: copy the file instead"
    assert reasons(walked) == {"leak.txt": outside, "leaks": outside, "z.meta.yaml": outside}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "b.md", "closed/c.md")
    (tmp_path / "b.md").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        walked = walk([tmp_path])
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert [found.relative for found in walked.found] == ["a.md"]
    assert reasons(walked) == {name: "cannot be read: Permission denied" for name in ("b.md", "closed")}


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5
    )
)
def test_any_names_get_unique_ids_that_fit_a_url(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    put(folder, *{f"n{name}.txt" for name in names})
    found = ids(folder)
    assert len(set(found.values())) == len(found) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9._~-]+", each) for each in found.values())
