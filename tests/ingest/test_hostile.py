"""Files that are broken, or made to break us: each is one ReadError that says what is wrong, or is read all right."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ingest.corpus import walk
from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document
from ingest.readers import read_document

PODCAST = {
    "version": "1.0.0",
    "segments": [
        {"speaker": "Ann", "startTime": 0.5, "endTime": 2, "body": "We shipped it."},
        {"speaker": "Ben", "startTime": 2.5, "endTime": 4, "body": "And then it broke."},
    ],
}
VTT = """WEBVTT

00:00:01.000 --> 00:00:02.000
<v Ann>We shipped it.

00:00:03.000 --> 00:00:04.000
<v Ben>It broke.
"""


def read(folder: Path, name: str, data: bytes | str, limits: Limits | None = None) -> Document:
    file = folder / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_document(file, limits or Limits())


def refused(folder: Path, name: str, data: bytes | str, limits: Limits | None = None) -> tuple[int | None, str]:
    with pytest.raises(ReadError) as caught:
        read(folder, name, data, limits)
    assert caught.value.path == folder / name
    return caught.value.line, caught.value.reason


def spoken(document: Document) -> list[tuple[str | None, float | None, str]]:
    return [(turn.speaker, turn.start, turn.text) for turn in document.turns]


def test_truncated_json(tmp_path: Path) -> None:
    text = json.dumps(PODCAST, indent=1)
    line, reason = refused(tmp_path, "a.json", text[: text.index("broke")])
    assert (line, reason) == (14, "is not valid JSON: EOF while parsing a string")


def test_json_cut_off_before_it_says_its_shape(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.json", '{\n"version": "1.0') == (2, "is not valid JSON: EOF while parsing a string")


@pytest.mark.parametrize("text", ['{"name": "x"}', "[1, 2]", '{"results": [{"text": "hello"}]}'])
def test_json_of_another_shape(tmp_path: Path, text: str) -> None:
    _, reason = refused(tmp_path, "a.json", text)
    assert "JSON of a shape that is not read" in reason
    assert "`startTime`" in reason


@pytest.mark.parametrize(
    "text", ['{"segments":' + "[" * 100_000, "[" * 100_000, '{"segments":[{"x":' + '{"a":' * 100_000]
)
def test_json_nested_without_end(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, "a.json", text) == (1, "is not valid JSON: recursion limit exceeded")


def test_invalid_utf8_names_the_line(tmp_path: Path) -> None:
    line, reason = refused(tmp_path, "a.txt", b"Ann (00:01):\nhello\n\nBen (00:02):\nse\xf1or\n")
    assert (line, reason) == (5, "is not UTF-8 (byte 0xf1): save the file as UTF-8")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_marks_and_newlines_of_every_kind(tmp_path: Path, encoding: str, newline: str) -> None:
    for name, text in [("a.vtt", VTT), ("a.txt", "Ann (00:01):\nWe shipped it.\n\nBen (00:03):\nIt broke.\n")]:
        document = read(tmp_path, name, text.replace("\n", newline).encode(encoding))
        assert spoken(document) == [("Ann", 1.0, "We shipped it."), ("Ben", 3.0, "It broke.")]
        assert [turn.cues[0].line for turn in document.turns] == ([3, 6] if name == "a.vtt" else [1, 4])


def test_utf16_cut_in_the_middle_of_a_letter(tmp_path: Path) -> None:
    assert "is not valid UTF-16" in refused(tmp_path, "a.vtt", VTT.encode("utf-16")[:-1])[1]


def test_utf16_without_a_mark(tmp_path: Path) -> None:
    line, reason = refused(tmp_path, "a.vtt", VTT.encode("utf-16-le"))
    assert line == 1
    assert "UTF-16 without a byte order mark" in reason


@pytest.mark.parametrize("name", ["a.txt", "a.vtt", "a.srt", "a.json", "a.md"])
@pytest.mark.parametrize("data", ["", "\n \t\n", "\ufeff"])
def test_an_empty_file(tmp_path: Path, name: str, data: str) -> None:
    assert refused(tmp_path, name, data) == (None, "holds no words")


@pytest.mark.parametrize(
    "data", ["WEBVTT\n", '{"version": "1.0.0", "segments": []}', '{"segments": [{"start": 0, "end": 1, "text": "  "}]}']
)
def test_a_transcript_of_nothing(tmp_path: Path, data: str) -> None:
    assert refused(tmp_path, "a.vtt", data) == (None, "holds no words")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a PNG image"),
        (b"ID3\x04\x00\x00", "an MP3 recording"),
        (b"\x00\x00\x00\x20ftypisom", "an MP4 recording"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"WEBVTT\n\x00\x01\x02", "NUL bytes"),
    ],
)
def test_a_binary_named_vtt(tmp_path: Path, data: bytes, what: str) -> None:
    assert what in refused(tmp_path, "a.vtt", data)[1]


def test_one_line_over_the_limit_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    began = time.monotonic()
    assert refused(tmp_path, "a.txt", b"a" * 50_000_000) == (None, "is larger than the limit of 32 MiB: split it")
    assert time.monotonic() - began < 5
    assert "limit" in refused(tmp_path, "b.txt", b"a" * 11, Limits(max_file_bytes=10))[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.txt", "word " * 200_000),
        ("blanks.txt", "Ann (00:01): x" + " " * 1_000_000 + "y"),
        ("digits.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + "1" * 1_000_000),
        ("lines.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + "1\n" * 50_000 + "x"),
        ("tags.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nx" + "<v " * 300_000),
        ("voice.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nx <v" + " " * 1_000_000),
        ("changes.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nx " + ">> " * 300_000),
        ("entities.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "&a" * 500_000),
        ("brackets.txt", "Ann (00:01): x" + "(0" * 500_000),
        ("colons.txt", "a:" * 500_000),
        ("front.md", "---\n" + "\n" * 50_000 + "Ann (00:01): x"),
    ],
)
def test_a_huge_line_takes_time_in_proportion(tmp_path: Path, name: str, text: str) -> None:
    began = time.monotonic()
    assert read(tmp_path, name, text).turns
    assert time.monotonic() - began < 10


def test_a_clock_that_runs_backwards(tmp_path: Path) -> None:
    text = "Ann (00:10): One.\n\nBen (00:05): Two.\n\nAnn (00:01): Three.\n"
    document = read(tmp_path, "a.md", text)
    assert spoken(document) == [("Ann", 10.0, "One."), ("Ben", 5.0, "Two."), ("Ann", 1.0, "Three.")]
    assert document.warnings == ((3, "the clock runs backwards, from 0:10 to 0:05"),)


def test_an_end_before_its_start(tmp_path: Path) -> None:
    document = read(tmp_path, "a.srt", "1\n00:00:09,000 --> 00:00:02,000\nAnn: Hello.\n")
    assert spoken(document) == [("Ann", 9.0, "Hello.")]
    assert document.turns[0].end is None
    assert document.warnings == ((2, "what starts at 0:09 ends before it: its end is dropped"),)


def test_overlapping_cues_keep_their_times(tmp_path: Path) -> None:
    text = VTT.replace("00:00:02.000", "00:00:09.000")
    document = read(tmp_path, "a.vtt", text)
    assert [(turn.start, turn.end) for turn in document.turns] == [(1.0, 9.0), (3.0, 4.0)]
    assert document.warnings == ()


def test_prose_under_a_subtitle_extension_is_read_as_prose(tmp_path: Path) -> None:
    document = read(tmp_path, "a.vtt", "A plain page\n\nIt has a sentence of words, and no clock at all.\n")
    assert document.kind == "article"
    assert "no clock at all." in document.turns[-1].text


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.txt"):
        with pytest.raises(ReadError, match="cannot be read"):
            read_document(path, Limits())


def test_one_bad_file_harms_no_other(tmp_path: Path) -> None:
    for name in ["line\nbreak.vtt", "🎙️.vtt", "-rf.vtt", "x" * 251 + ".vtt"]:
        (tmp_path / name).write_text(VTT)
    (tmp_path / "broken.vtt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "loop.vtt").symlink_to(tmp_path / "loop.vtt")
    walked = walk([tmp_path])
    read_well, failed = [], [error.path.name for error in walked.errors]
    for found in walked.found:
        try:
            read_well.append(spoken(read_document(found.path, Limits())))
        except ReadError as error:
            failed.append(error.path.name)
    assert read_well == [[("Ann", 1.0, "We shipped it."), ("Ben", 3.0, "It broke.")]] * 4
    assert failed == ["loop.vtt", "broken.vtt"]
