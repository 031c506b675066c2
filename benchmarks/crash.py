"""What `kill -9` at random moments of `onrecord ingest` leaves behind: the old snapshot or the new one, never neither.

    python benchmarks/crash.py [--trials 100] [--seed 1]

Half of the trials are of a small index, which is one segment and written anew each time: a copy of `corpus/`; the other
half of one of 2,400 passages more, where each ingest adds a segment, links to those that stay, and writes others
together. Each trial changes some documents, starts the real command and kills it: in every other trial at a moment
uniform over the whole run, in the rest at one uniform over the time from its first write to its end. Then the index
must verify and hold the changed documents whole as they were or whole as they are now, and the next ingest must leave
nothing but the live snapshot. Prints a Markdown table; exits 1 where any of this fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from app.last_ingest import FILE
from index.build import ingest
from index.embed import Embedder, load_embedder
from index.errors import IndexingError
from index.local import SEGMENTS, verify_local
from index.search import Index
from index.snapshot import BUILDING, CURRENT, current_folder
from ingest.limits import Limits

CORPUS = Path(__file__).parent.parent / "corpus"
CHANGING, ADDED = "changing", "added"
PARTS = 6
"""Changing documents, at most."""
BALLAST, DISTINCT = 48, 8
LOCK = "LOCK"
WARM_UPS = 3


class Trial:
    """A corpus that changes, and the index that `onrecord ingest` makes of it."""

    def __init__(self, folder: Path, embedder: Embedder, *, large: bool) -> None:
        self.corpus, self.index_dir, self.embedder = folder / "corpus", folder / "snapshots", embedder
        self.large = large
        shutil.copytree(CORPUS, self.corpus)
        for part in range(BALLAST if large else 0):
            self.add(f"ballast-{part}")
            if part == DISTINCT:  # what follows has the same words, whose vectors are known from now on
                ingest([self.corpus], self.index_dir, embedder, Limits())
        self.change(0)
        ingest([self.corpus], self.index_dir, embedder, Limits())

    def add(self, name: str) -> None:
        """A document of 50 passages, the words of few others."""
        chapter = len(list(self.corpus.iterdir())) % DISTINCT
        turns = (
            f"Speaker {i} (00:{i:02d}:00):\n" + f"In part {chapter} we sailed past island {i}. " * 18 for i in range(50)
        )
        (self.corpus / f"{name}.txt").write_text("\n\n".join(turns))

    def change(self, number: int) -> None:
        """Documents of another version, few or many; of a large index every third has a document more, which stays."""
        if self.large and number % 3 == 0:
            self.add(f"{ADDED}-{number}")
        for part in range(PARTS):
            turns = (
                f"Speaker {i} (00:{i:02d}:00):\n" + f"In version {number} of part {i} we moved the boats. " * 14
                for i in range(2 if part else 10)
            )
            path = self.corpus / f"{CHANGING}-{part}.txt"
            if part <= number * 7 % PARTS:
                path.write_text("\n\n".join(turns))
            else:
                path.unlink(missing_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        """The command under test, its output left unread."""
        command = [Path(sys.executable).with_name("onrecord"), "ingest", self.corpus, "--index", self.index_dir]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for_writing(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not any(self.index_dir.glob(f"{BUILDING}*")):
            time.sleep(0.0005)

    def version(self) -> str:
        """The version of the changing documents that the index holds; a reason where it holds none whole."""
        try:
            if flaws := verify_local(self.index_dir):
                return flaws[0]
            with closing(Index.open(self.index_dir, self.embedder)) as index:
                added = sum(each.id.startswith(ADDED) for each in index.store.sources())
                ids = [each.id for each in index.store.sources() if each.id.startswith(CHANGING)]
                versions = {turn.text.split()[2] for each in ids for turn in index.store.turns(each)}
        except IndexingError as error:
            return str(error)
        if len(versions) != 1:
            return f"mixed: {sorted(versions)}"
        (version,) = versions
        wanted = int(version) * 7 % PARTS + 1, int(version) // 3 + 1 if self.large else 0
        if (len(ids), added) != wanted:
            return f"{len(ids)} and {added} documents of version {version}, which has {wanted[0]} and {wanted[1]}"
        return version

    def segments(self) -> int:
        return sum(1 for _ in (current_folder(self.index_dir) / SEGMENTS).iterdir())

    def litter(self) -> int:
        """Files and folders that belong neither to the index nor to its live snapshot."""
        live = {CURRENT, LOCK, FILE, current_folder(self.index_dir).name}
        return sum(path.name not in live for path in self.index_dir.iterdir())


@dataclass(slots=True)
class Killed:
    """What became of one kind of trials; `segments` are those of the snapshots that ingests began with."""

    count: Counter[str] = field(default_factory=Counter[str])
    segments: Counter[int] = field(default_factory=Counter[int])
    failures: list[str] = field(default_factory=list[str])


def measured(trial: Trial) -> tuple[float, float]:
    """Seconds that an ingest takes, and how many of them pass before it begins to write; medians."""
    wholes: list[float] = []
    befores: list[float] = []
    for number in range(1, WARM_UPS + 1):
        trial.change(number)
        began = time.monotonic()
        process = trial.start()
        trial.wait_for_writing(process)
        befores.append(time.monotonic() - began)
        if process.wait():
            sys.exit("onrecord ingest failed without being killed")
        wholes.append(time.monotonic() - began)
    return sorted(wholes)[WARM_UPS // 2], sorted(befores)[WARM_UPS // 2]


def kill(folder: Path, embedder: Embedder, trials: int, chance: random.Random, *, large: bool) -> dict[str, Killed]:
    """What became of so many ingests that were killed, by when they were."""
    found = {"any time": Killed(), "once it writes": Killed()}
    trial = Trial(folder, embedder, large=large)
    whole, before = measured(trial)
    old = str(WARM_UPS)
    for number in range(WARM_UPS + 1, WARM_UPS + 1 + trials):
        trial.change(number)
        moment = "once it writes" if number % 2 else "any time"
        killed = found[moment]
        killed.segments[trial.segments()] += 1
        process = trial.start()
        if moment == "once it writes":
            trial.wait_for_writing(process)
            time.sleep(chance.uniform(0, whole - before))
        else:
            time.sleep(chance.uniform(0, whole))
        process.kill()
        killed.count["trials"] += 1
        killed.count["killed"] += process.wait() < 0
        version = trial.version()
        outcome = {old: "old", str(number): "new"}.get(version, "neither")
        killed.count[outcome] += 1
        if outcome == "neither":
            killed.failures.append(f"trial {number}: {version}")
        killed.count["litter"] += outcome != "neither" and trial.litter() > 0
        ingest([trial.corpus], trial.index_dir, embedder, Limits())
        old = str(number)
        if trial.version() != old or trial.litter():
            killed.failures.append(f"trial {number}: the next ingest did not clear up")
        else:
            killed.count["cleared"] += 1
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    chance, embedder = random.Random(options.seed), load_embedder()
    failures: list[str] = []
    print(
        "| index | killed at | trials | segments before | still running | old snapshot | new snapshot | neither "
        "| left litter | next run clean |"
    )
    print("| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for large in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            found = kill(Path(folder), embedder, options.trials // 2, chance, large=large)
        for moment, killed in found.items():
            count, segments = killed.count, sorted(killed.segments)
            figures = [str(count[key]) for key in ("killed", "old", "new", "neither", "litter", "cleared")]
            between = f"{segments[0]} to {segments[-1]}" if segments else ""
            cells = ["large" if large else "small", moment, str(count["trials"]), between, *figures]
            print(f"| {' | '.join(cells)} |", flush=True)
            failures += killed.failures
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
