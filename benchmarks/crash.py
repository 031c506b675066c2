"""What `kill -9` at random moments of `onrecord ingest` leaves behind: the old snapshot or the new one, never neither.

    python benchmarks/crash.py [--trials 100] [--seed 1]

Each trial changes one document of a copy of `corpus/`, starts the real command and kills it: in every other trial at a
moment uniform over the whole run, in the rest at one uniform over the time from its first write to its end. Then the
index must verify and hold the changed document whole as it was or whole as it is now, and the next ingest must leave
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
from pathlib import Path

from index.build import ingest
from index.embed import Embedder, load_embedder
from index.errors import IndexingError
from index.local import verify_local
from index.search import Index
from index.snapshot import BUILDING, CURRENT, current_folder
from ingest.limits import Limits

CORPUS = Path(__file__).parent.parent / "corpus"
CHANGING = "changing"
WARM_UPS = 3


class Trial:
    """A corpus that changes, and the index that `onrecord ingest` makes of it."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self.corpus, self.index_dir, self.embedder = folder / "corpus", folder / "snapshots", embedder
        shutil.copytree(CORPUS, self.corpus)
        self.change(0)
        ingest([self.corpus], self.index_dir, embedder, Limits())

    def change(self, number: int) -> None:
        turns = (
            f"Speaker {i} (00:{i:02d}:00):\n" + f"In version {number} of part {i} we moved the boats. " * 14
            for i in range(10)
        )
        (self.corpus / f"{CHANGING}.txt").write_text("\n\n".join(turns))

    def start(self) -> subprocess.Popen[bytes]:
        """The command under test, its output left unread."""
        command = [Path(sys.executable).with_name("onrecord"), "ingest", self.corpus, "--index", self.index_dir]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for_writing(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not any(self.index_dir.glob(f"{BUILDING}*")):
            time.sleep(0.0005)

    def version(self) -> str:
        """The version of the changing document that the index holds; a reason where it holds none whole."""
        try:
            if flaws := verify_local(self.index_dir):
                return flaws[0]
            with closing(Index.open(self.index_dir, self.embedder)) as index:
                versions = {turn.text.split()[2] for turn in index.store.turns(CHANGING)}
        except IndexingError as error:
            return str(error)
        return versions.pop() if len(versions) == 1 else f"mixed: {sorted(versions)}"

    def litter(self) -> int:
        """Files and folders that belong neither to the index nor to its live snapshot."""
        live = {CURRENT, "LOCK", current_folder(self.index_dir).name}
        return sum(path.name not in live for path in self.index_dir.iterdir())


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


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    chance = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {"any time": Counter(), "once it writes": Counter()}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), load_embedder())
        whole, before = measured(trial)
        old = str(WARM_UPS)
        for number in range(WARM_UPS + 1, WARM_UPS + 1 + options.trials):
            trial.change(number)
            moment = "once it writes" if number % 2 else "any time"
            process = trial.start()
            if moment == "once it writes":
                trial.wait_for_writing(process)
                time.sleep(chance.uniform(0, whole - before))
            else:
                time.sleep(chance.uniform(0, whole))
            process.kill()
            count = counts[moment]
            count["trials"] += 1
            count["killed"] += process.wait() < 0
            found = trial.version()
            outcome = {old: "old", str(number): "new"}.get(found, "neither")
            count[outcome] += 1
            if outcome == "neither":
                failures.append(f"trial {number}: {found}")
            count["litter"] += outcome != "neither" and trial.litter() > 0
            ingest([trial.corpus], trial.index_dir, trial.embedder, Limits())
            old = str(number)
            if trial.version() != old or trial.litter():
                failures.append(f"trial {number}: the next ingest did not clear up")
            else:
                count["cleared"] += 1
    print(
        "| killed at | trials | still running | old snapshot | new snapshot | neither | left litter | next run clean |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for moment, count in counts.items():
        figures = (count[key] for key in ("trials", "killed", "old", "new", "neither", "litter", "cleared"))
        print(f"| {moment} | {' | '.join(map(str, figures))} |")
    print(f"\nAn ingest took {whole:.2f} s, and began to write after {before:.2f} s.")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
