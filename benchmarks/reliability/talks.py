"""Documents of which every sentence and title names their generation, so that words of two are told apart."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.real_server import clean_environment

PEOPLE = ("Ann Lee", "Bob Ray", "Carla Diaz", "Dev Patel", "Erik Holm", "Fumiko Sato")
SUBJECTS = ("harbours", "sails", "lighthouses", "engines", "maps", "anchors", "crews", "storms", "cargo", "compasses")
_SAYINGS = (
    "In epoch{number} we rebuilt the {subject} that {other} had given up on.",
    "What I learnt about {subject} by epoch{number} is that nobody plans for the winter.",
    "The {subject} of epoch{number} cost half as much as those before them.",
    "If you ask me about {subject}, epoch{number} was the year in which we stopped guessing.",
)
_GENERATION = re.compile(r"epoch(\d+)")


def write_talks(corpus: Path, number: int, talks: int = 10) -> None:
    """All documents, as they are in one generation."""
    corpus.mkdir(parents=True, exist_ok=True)
    for talk in range(talks):
        turns: list[str] = []
        for turn in range(6):
            person, other = PEOPLE[(talk + turn) % len(PEOPLE)], PEOPLE[(talk + turn + 1) % len(PEOPLE)]
            subject = SUBJECTS[(talk * 3 + turn) % len(SUBJECTS)]
            said = " ".join(each.format(number=number, subject=subject, other=other) for each in _SAYINGS)
            turns.append(f"{person} (00:{turn:02d}:00):\n{said}\n")
        opening = f"---\ntitle: Talk {talk} of epoch{number}\n---\n\n"
        (corpus / f"talk-{talk}.md").write_text(opening + "\n".join(turns))


def generations(text: str) -> set[int]:
    """Of which generations there is anything in a text."""
    return {int(number) for number in _GENERATION.findall(text)}


def question(number: int) -> str:
    """One of the questions that the documents answer."""
    return f"what did {PEOPLE[number % len(PEOPLE)]} say about {SUBJECTS[(number // 6) % len(SUBJECTS)]}?"


def run_ingest(corpus: Path, index_dir: Path) -> None:
    """The real command, to its end. Raises CalledProcessError."""
    command = [sys.executable, "-m", "app", "ingest", str(corpus), "--index", str(index_dir), "--json"]
    subprocess.run(command, env=clean_environment(), check=True, capture_output=True)
