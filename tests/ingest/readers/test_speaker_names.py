from __future__ import annotations

import pytest

from ingest.readers.speaker_names import is_label, looks_like_name, names_among, prefix_of


@pytest.mark.parametrize(
    ("line", "name", "words"),
    [
        ("Jane Doe: hello", "Jane Doe", " hello"),
        ("**Jane:** hello", "Jane", " hello"),
        ("Jean-Luc O'Neil, PhD: hello: you", "Jean-Luc O'Neil, PhD", " hello: you"),
        ("Mr. X (Riding, Party): order", "Mr. X (Riding, Party)", " order"),
        ("SPEAKER_00: hello", "SPEAKER_00", " hello"),
        ("李小龍：你好", "李小龍", "你好"),
        ("🎙️ Host: go on", "🎙️ Host", " go on"),
        ("Jane:", "Jane", ""),
    ],
)
def test_what_could_be_a_name(line: str, name: str, words: str) -> None:
    prefix = prefix_of(line)
    assert prefix is not None
    assert (prefix.name, line[prefix.words_at :]) == (name, words)


@pytest.mark.parametrize(
    "line",
    [
        "http://example.org",
        "12:30 is late",
        "12: the dozen",
        "Hello there.",
        '"Well: no"',
        "What I said to all of them was: no",
        "Is it? Yes: it is",
        "Nobody stayed. Jane: hello",
        ": hello",
        "",
    ],
)
def test_what_could_not(line: str) -> None:
    assert prefix_of(line) is None


def test_labels_and_names() -> None:
    assert is_label("Note") and is_label("STEP 2") and is_label("Chapter #4")
    assert not is_label("Host") and not is_label("Speaker 2") and not is_label("Stepan")
    assert looks_like_name("Ludwig van Beethoven") and looks_like_name("Dr. Ada Byron, PhD")
    assert not looks_like_name("Hire slowly") and not looks_like_name("speaker 1") and not looks_like_name("Note")


def test_names_are_believed_by_how_they_come() -> None:
    assert names_among(["Ann", "Ben"], 2, []) == {"Ann", "Ben"}
    assert names_among(["Remember this"], 100, []) == frozenset()
    assert names_among(["Lesson One", "Ann", "Ann", "Cy Young"], 100, []) == {"Ann", "Lesson One", "Cy Young"}
    assert names_among(["speaker 1"] * 5, 10, []) == {"speaker 1"}
    assert names_among(["and then"] * 2, 10, []) == frozenset()
    assert names_among(["Note"] * 9, 10, []) == frozenset()
    assert names_among(["ann", "note"], 100, ["Ann"]) == {"ann"}
