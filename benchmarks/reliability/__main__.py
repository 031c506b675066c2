"""What On Record promises, tried: each promise with its trials and failures, as the table of docs/reliability.md.

    python -m benchmarks.reliability [--quick] [--only crash kills switch overload soak tests] [--minutes 30] [--write]

The parts, one after the other, about two hours in all, half an hour of them the soak:

    crash      200 ingests are killed (-9)
    kills      a server is killed (-9) 50 times while conversations and feedback are written
    switch     20 re-ingests during 10,000 requests: one worker, two, and answers by a slow model
    overload   more clients than a server takes on
    soak       mixed load for `--minutes`
    tests      the promises that the test suite holds, counted from a run of its files

`--quick` is a few trials of each, to see that it works. `--write` puts the rows into docs/reliability.md, in place of
those of the same parts. Exits 1 where anything failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks import crash
from benchmarks.reliability import kills, overload, soak, switch, tested
from benchmarks.reliability.row import Row
from index.embed import load_embedder
from tests.real_server import ROOT

PAGE = ROOT / "docs" / "reliability.md"
HEAD = ("promise", "how it is tried", "trials", "failures", "seen", "on")
_BEGIN, _END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"
COMMAND = "python -m benchmarks.reliability --only"
PARTS = ("crash", "kills", "switch", "overload", "soak", "tests")

Made = list[tuple[Row, str]]


def crashes(quick: bool) -> list[Row]:
    """The rows of benchmarks/crash.py, over 200 kills, or few."""
    chance, embedder = random.Random(1), load_embedder()
    rows: list[Row] = []
    for large in (False, True):
        kind = "an index of segments, merged meanwhile" if large else "a small index, written anew"
        with tempfile.TemporaryDirectory() as folder:
            found = crash.kill(Path(folder), embedder, 4 if quick else 100, chance, large=large)
        row = Row(f"an ingest that is killed (-9) leaves the old or the new snapshot, and the next clears up ({kind})")
        counts = [killed.count for killed in found.values()]
        row.trials = sum(count["trials"] for count in counts)
        running, old, new = (sum(count[name] for count in counts) for name in ("killed", "old", "new"))
        segments = sorted({number for killed in found.values() for number in killed.segments})
        row.seen = f"{running} killed while they ran; {old} old, {new} new; {segments[0]} to {segments[-1]} segments"
        row.faults = [failure for killed in found.values() for failure in killed.failures]
        rows.append(row)
    return rows


def made(part: str, options: argparse.Namespace) -> Made:
    """The rows of a part, each with what makes it."""
    measures: dict[str, Callable[[bool], list[Row]]] = {
        "crash": crashes,
        "kills": kills.measure,
        "switch": switch.measure,
        "overload": overload.measure,
        "soak": lambda quick: soak.measure(quick, options.minutes),
    }
    if part == "tests":
        return tested.measure(options.quick)
    return [(row, f"{COMMAND} {part}") for row in measures[part](options.quick)]


def line(row: Row, how: str) -> str:
    cells = (row.promise, f"`{how}`", str(row.trials), str(len(row.faults)), row.seen, str(date.today()))
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def part_of(written: str) -> str:
    """The part that made a line of the table."""
    found = re.search(rf"`{COMMAND} (\w+)`", written)
    return found[1] if found else "tests"


def table(lines: list[str]) -> str:
    rule = "| --- | --- | ---: | ---: | --- | --- |"
    return "\n".join([f"| {' | '.join(HEAD)} |", rule, *lines]) + "\n"


def write(lines: dict[str, list[str]]) -> None:
    """Replaces the rows of these parts on the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    old, _, after = rest.partition(_END)
    kept: dict[str, list[str]] = {}
    for each in old.splitlines():
        if each.startswith("| ") and not each.startswith(("| promise", "| ---")):
            kept.setdefault(part_of(each), []).append(each)
    kept |= lines
    ordered = [each for part in PARTS for each in kept.get(part, [])]
    PAGE.write_text(f"{before}{_BEGIN}{table(ordered)}{_END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few trials")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("few trials are not written down")
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}\n\n{table([])}", end="")
    lines: dict[str, list[str]] = {}
    failed = False
    for part in options.only:
        rows = made(part, options)
        lines[part] = [line(row, how) for row, how in rows]
        print("\n".join(lines[part]), flush=True)
        for row, _ in rows:
            failed = failed or bool(row.faults)
            for fault in row.faults[:20]:
                print(f"{row.promise}: {fault}", file=sys.stderr, flush=True)
    if options.write:
        write(lines)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
