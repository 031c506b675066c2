"""A corpus to read: a talk with a recording, notes without a clock, a meeting of 10,000 turns, a hostile document."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from index.build import ingest
from index.embed import Embedder
from ingest.limits import Limits

TALK = "A talk about balloons"
RECORDING = "https://www.youtube.com/watch?v=balloons"
CITED = "the balloon came down in a field of barley"
EMOJI_TURN = f"🎈🎈 On that day 👩‍💻 {CITED}, and nobody was hurt."
LONG_TURN = " ".join(f"On the {i}th day 🎈 we flew over the hills of the north and saw nobody." for i in range(40))
NOTES = "Notes on lighthouses"
LENSES = "The lens of a lighthouse is ground from a single block of glass."
ARABIC = "بُنيت المنارة القديمة على الصخرة قبل مئتي عام."
MEETING = "The longest meeting"
MEETING_TURNS = 10_000
SCRIPT = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"

Turn = tuple[str, str]


@contextmanager
def serving(
    folder: Path, write_corpus: Callable[[Path], Path], embedder: Embedder, request: pytest.FixtureRequest
) -> Generator[str]:
    """Ingests a corpus and serves it; gives the server's address."""
    report = ingest([write_corpus(folder / "corpus")], folder / "snapshots", embedder, Limits())
    assert not report.errors
    conftest = request.config.pluginmanager.getplugin(str(Path(__file__).parent / "conftest.py"))
    assert conftest is not None
    server = conftest.Server(folder / "snapshots", folder, {})
    yield server.url
    server.stop()


def write(folder: Path) -> Path:
    """The folder with all but the meeting."""
    folder.mkdir()
    _talk(folder, "talk", {"title": TALK, "url": RECORDING, "date": "2022-09-14"}, _conversation())
    notes = [
        f"# {NOTES}",
        "## Lenses",
        f"Zadie Okafor: {LENSES}",
        "### Prisms",
        f"ليلى حداد: {ARABIC}",
        "Zadie Okafor: A prism bends the light that would be lost above and below.",
    ]
    (folder / "notes.md").write_text("\n\n".join(notes) + "\n")
    _sidecar(folder, "notes", {"title": NOTES, "kind": "notes"})
    _talk(folder, "hostile", {"title": f"{SCRIPT} & co"}, [(SCRIPT, SCRIPT), ("Bo Reyes", "Was that meant for us?")])
    return folder


def write_meeting(folder: Path, turns: int = MEETING_TURNS) -> Path:
    """The folder with the meeting; each turn says its own number, and heights differ."""
    folder.mkdir()
    names = ("Ada Lind", "Bo Reyes", "Zadie Okafor", "Mirza Kolar")
    story = "and so we went on with it for a good while, as one does in the autumn, " * 4
    said = [(names[i % 4], f"Item {i}: {story if i % 41 == 0 else ''}done.") for i in range(turns)]
    _talk(folder, "meeting", {"title": MEETING, "url": RECORDING}, said)
    return folder


def _conversation() -> list[Turn]:
    talk = [("Ada Lind", f"Question {i}: what did you see on day {i}, and who was with you then?") for i in range(60)]
    answers = [
        ("Bo Reyes", f"On day {i} we saw the sea, and further out a ship with grey sails that never moved.")
        for i in range(60)
    ]
    turns = [turn for pair in zip(talk, answers, strict=True) for turn in pair]
    turns[91] = ("Bo Reyes", EMOJI_TURN)
    turns[93] = ("Bo Reyes", LONG_TURN)
    return turns


def _talk(folder: Path, name: str, about: dict[str, str], said: list[Turn]) -> None:
    segments: list[dict[str, Any]] = [
        {"speaker": speaker, "startTime": 10 * i, "endTime": 10 * i + 9, "body": text}
        for i, (speaker, text) in enumerate(said)
    ]
    (folder / f"{name}.json").write_text(json.dumps({"version": "1.0.0", "segments": segments}))
    _sidecar(folder, name, about)


def _sidecar(folder: Path, name: str, about: dict[str, str]) -> None:
    (folder / f"{name}.meta.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in about.items()))
