from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReadError
from ingest.model import Person
from ingest.sidecar import Sidecar, load_sidecar, misnamed_sidecars, sidecar_path


def write(folder: Path, text: str) -> Path:
    (folder / "talk.meta.yaml").write_text(text, encoding="utf-8")
    return folder / "talk.vtt"


def test_it_stands_beside_the_document(tmp_path: Path) -> None:
    assert sidecar_path(tmp_path / "a.b.vtt") == tmp_path / "a.b.meta.yaml"
    assert load_sidecar(tmp_path / "talk.vtt") == Sidecar()
    assert load_sidecar(tmp_path / ("x" * 250 + ".txt")) == Sidecar()


def test_every_field(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
title: "Talk: the first"
date: 2023-01-05
url: https://youtu.be/abc
kind: insights
people:
  - {name: Ada Byron, role: guest, aliases: [Ada Biron, A. Byron]}
  - name: Len Host
default_speaker: Ada Byron
access: [legal, board.2024, legal]
""",
    )
    people = (Person("Ada Byron", "guest", ("Ada Biron", "A. Byron")), Person("Len Host"))
    assert load_sidecar(path) == Sidecar(
        "Talk: the first",
        "2023-01-05",
        "https://youtu.be/abc",
        "insights",
        people,
        "Ada Byron",
        ("board.2024", "legal"),
    )
    assert load_sidecar(path).person_with_role("guest") == people[0]


@pytest.mark.parametrize(
    ("written", "date"), [("2023", "2023"), ("'2023-02'", "2023-02"), ("2023-02-03 10:00:00", "2023-02-03")]
)
def test_dates(tmp_path: Path, written: str, date: str) -> None:
    assert load_sidecar(write(tmp_path, f"date: {written}\n")).date == date


def test_an_empty_sidecar_says_nothing(tmp_path: Path) -> None:
    assert load_sidecar(write(tmp_path, "# nothing yet\n")) == Sidecar()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("title: a\nspeaker: b\n", 2, "speaker: unknown field; known are title,"),
        ("title: a\n\nurl: javascript:alert(1)\n", 3, "url: must be an http or https address"),
        ("kind: podcast\n", 1, "kind: Input should be 'transcript', 'insights', 'notes' or 'article'"),
        ("date: soon\n", 1, "date: must be a date such as 2023-01-05"),
        ("date: 2023-13-45\n", 1, "holds a value that YAML cannot read: month must be in 1..12"),
        ("people:\n  - name: A\n  - role: host\n", 3, "people.1.name: Field required"),
        ("people:\n  - name: A\n    aliases: B\n", 3, "people.0.aliases: Input should be a valid list"),
        ("title: [a\nurl: b\n", 2, "is not valid YAML"),
        ("title: 5\n", 1, "title: Input should be a valid string"),
        ("- title\n", 1, "must be a list of fields"),
        ("a: &a [x]\nb: *a\n", 2, "aliases"),
        ("title: a\x07\n", 1, "is not valid YAML: special characters are not allowed"),
        ("title: !!python/object:os.system x\n", 1, "is not valid YAML: could not determine a constructor"),
        ("[" * 5000 + "]" * 5000, 1, "nested too deep"),
        ("title: a\naccess: board\n", 2, "access: Input should be a valid list"),
        ("access: []\n", 1, "access: List should have at least 1 item"),
        ("access:\n", 1, "access: Input should be a valid list"),
        ("access: [board, '']\n", 1, "access.1: must be the name of a group: letters, digits"),
        ("access:\n  - board\n  - the board\n", 3, "access.1: must be the name of a group"),
        ("access: [1]\n", 1, "access.0: Input should be a valid string"),
        ("acess: [board]\n", 1, "acess: unknown field"),
        ("Access: [board]\n", 1, "Access: unknown field"),
        (" \n", None, "is empty"),
    ],
)
def test_a_fault_names_field_and_line(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    with pytest.raises(ReadError) as caught:
        load_sidecar(write(tmp_path, text))
    assert caught.value.path == tmp_path / "talk.meta.yaml"
    assert (caught.value.line, reason in caught.value.reason) == (line, True), caught.value.reason


def test_a_billion_laughs_are_refused_unread(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ReadError, match="aliases"):
        load_sidecar(write(tmp_path, "l0: &l0 [ha]\n" + "\n".join(levels)))


def test_what_is_too_large_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="larger than 64 KiB"):
        load_sidecar(write(tmp_path, "title: " + "a" * 70_000))
    (tmp_path / "talk.meta.yaml").write_bytes(b"title: a\nurl: \xff\n")
    with pytest.raises(ReadError, match=r"talk\.meta\.yaml:2: is not UTF-8"):
        load_sidecar(tmp_path / "talk.vtt")


@pytest.mark.parametrize(
    ("names", "misnamed"),
    [
        (["talk.vtt", "talk.meta.yaml"], {}),
        (["talk.vtt", "talk.meta.yml"], {"talk.vtt": "talk.meta.yml"}),
        (["talk.vtt", "talk.vtt.meta.yaml", "other.txt"], {"talk.vtt": "talk.vtt.meta.yaml"}),
        (["talk.vtt", "talk.meta.yaml", "talk.vtt.meta.yaml"], {"talk.vtt": "talk.vtt.meta.yaml"}),
        (["Talk.vtt", "talk.meta.yaml"], {"Talk.vtt": "talk.meta.yaml"}),
        (["Talk.vtt", "talk.txt", "talk.meta.yaml"], {}),
        (["talk.txt", "talk.vtt", "TALK.META.YAML"], {"talk.txt": "TALK.META.YAML", "talk.vtt": "TALK.META.YAML"}),
        (["talk.txt", "talk.txt.md", "talk.txt.meta.yaml"], {}),
        (["gone.meta.yaml", "talk.txt"], {}),
    ],
)
def test_what_only_looks_like_a_sidecar(names: list[str], misnamed: dict[str, str]) -> None:
    assert misnamed_sidecars(names) == misnamed
