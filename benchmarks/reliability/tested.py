"""Promises that the test suite holds: its files are run, and their tests counted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree  # of a file that pytest has just written

from benchmarks.reliability.row import Row
from tests.real_server import ROOT

PROMISES: dict[str, tuple[str, ...]] = {
    "a full, read-only or closed disk: an ingest says so in a line and leaves the index as it was; a server answers "
    "on, without keeping what it cannot": ("tests/faults/test_disk.py",),
    "a snapshot deleted underneath: a server answers on from what it holds; without an index, readiness and every "
    "command say what to do": ("tests/faults/test_index_lost.py", "tests/app/test_live.py"),
    "a damaged snapshot is found, by any flipped byte, and never served": ("tests/index/test_snapshot.py",),
    "a bad file or a failing build harms no other file, and not the snapshot before": ("tests/index/test_build.py",),
    "PostgreSQL is killed while it is asked: 503, not ready, and well again when it is back": (
        "tests/faults/test_postgres_lost.py",
    ),
    "PostgreSQL, or who writes to it, is killed or stopped; a replica takes over: old or new state only": (
        "tests/index/test_postgres.py::TestKilled",
        "tests/index/test_postgres.py::TestWorkers",
        "tests/index/test_postgres.py::TestReplica",
    ),
    "SQLite is locked by another program: answers go on, and do not wait in line": ("tests/faults/test_locked.py",),
    "the model is gone, hangs, breaks off, or has no address: the answer is in quotations and says why": (
        "tests/faults/test_model_lost.py",
        "tests/app/test_llm.py",
        "tests/app/test_writing.py",
    ),
    "the clock jumps: nothing is lost, nobody is locked out, nothing lives for ever": ("tests/faults/test_clock.py",),
    "conversations and feedback survive kills, two processes and full stores, and are forgotten in time": (
        "tests/app/test_conversation.py",
        "tests/app/test_conversations_over_http.py",
        "tests/app/test_feedback.py",
    ),
    "what Slack delivers is answered once, whatever dies": (
        "tests/app/test_slack_ledger.py",
        "tests/app/test_slack_replay.py",
        "tests/app/test_slack_socket.py",
    ),
    "a worker that dies is replaced; what is under way when the server is stopped comes to its end": (
        "tests/app/test_server.py",
    ),
    "load is bounded in number, size and time, down to the model's call": (
        "tests/app/test_load.py",
        "tests/app/test_connection.py",
    ),
    "rates are limited by key, page and address": ("tests/app/test_rates.py",),
    "whoever has no right key gets nothing, and a revoked one is noticed": (
        "tests/app/test_access.py",
        "tests/app/test_keys.py",
        "tests/app/test_widget_access.py",
    ),
    "nothing tells of private sources to those who may not read them": (
        "tests/app/test_private.py",
        "tests/contracts/test_private.py",
    ),
    "no request and no document makes it crash, hang or tell a lie about its own schema": (
        "tests/hostile",
        "tests/ingest/test_hostile.py",
    ),
    "documents that give orders are not obeyed": ("tests/app/test_injection.py",),
    "every citation is somebody's words, where it says they stand": (
        "tests/app/test_answer.py",
        "tests/app/test_citations.py",
        "tests/app/test_mutation.py",
        "tests/app/test_quotes.py",
        "tests/app/test_support.py",
    ),
    "what is backed up while it is used is restored as it was": ("tests/app/test_backup.py",),
    "logs and traces hold nobody's question, and no secret": ("tests/app/test_logs.py", "tests/app/test_traces.py"),
    "no pickle is ever loaded": ("tests/test_pickle.py",),
}
QUICK = 2
"""Promises that are tried when there is little time."""


def measure(quick: bool) -> list[tuple[Row, str]]:
    """The rows, each with the command that makes it."""
    promises = dict(list(PROMISES.items())[:QUICK]) if quick else PROMISES
    tests = [test for tests in promises.values() for test in tests]
    if missing := [test for test in tests if not (ROOT / test.partition("::")[0]).exists()]:
        sys.exit(f"promises rest on tests that are not there: {', '.join(missing)}")
    outcomes = run(tests)
    return [(row(promise, tests, outcomes), f"pytest {' '.join(tests)}") for promise, tests in promises.items()]


def run(tests: Iterable[str]) -> dict[str, list[str]]:
    """What became of each test: by its place in the suite (`tests.app.test_x.TestY.test_z`), all its outcomes."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr)
        if not report.exists():
            sys.exit("pytest did not come to its end")
        outcomes: dict[str, list[str]] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            place = f"{case.get('classname')}.{case.get('name')}"
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            outcomes.setdefault(place, []).append(next(iter(sorted(kinds)), "passed"))
    return outcomes


def row(promise: str, tests: Iterable[str], outcomes: dict[str, list[str]]) -> Row:
    """A test that is skipped is no trial."""
    places = tuple(test.removesuffix(".py").replace(".py::", ".").replace("/", ".") + "." for test in tests)
    found = Row(promise)
    skipped = 0
    for place, kinds in outcomes.items():
        if place.startswith(places):
            skipped += kinds.count("skipped")
            for kind in kinds:
                if kind != "skipped":
                    found.check(kind == "passed", f"{place}: {kind}")
    if not found.trials:
        found.faults.append("no test was run")
    found.seen = f"{skipped} skipped" if skipped else ""
    return found
