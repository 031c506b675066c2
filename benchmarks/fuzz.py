"""Requests and files that nobody thought of, for as long as there is time: `make test` tries a few of them.

    python -m benchmarks.fuzz api [--cases 500] [--seed 1]
    python -m benchmarks.fuzz files [TARGET...] [--seconds 60]

`api` is schemathesis with all its checks over the OpenAPI document, once with keys and once without: so many random
requests to each operation, beside those that try each of its bounds. `files` is atheris, led by the branches that are
taken, over all that reads bytes of strangers (`tests/hostile/targets.py`), for so many seconds each: an exception that
is not the reader's own, more than a second of the processor's time for less than 64 KB, or more than 2 GB of memory is
a find, which goes to `tests/hostile/finds/TARGET/`, where it is a test from then on. Prints a Markdown table; exits 1
where anything was found.
"""

from __future__ import annotations

import argparse
import io
import logging
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import structlog

from tests.hostile.documents import documents

ROOT = Path(__file__).parent.parent
HOSTILE = ROOT / "tests" / "hostile"
FINDS, WORDS = HOSTILE / "finds", HOSTILE / "words.dict"
MAX_BYTES = 1 << 16
MAX_MEGABYTES = 2048
HANGS_SECONDS = 60
"""Of the clock, for what would never end: the machine may be busy with other things."""


def main() -> None:
    """Fuzzes what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    api = kinds.add_parser("api")
    api.add_argument("--cases", type=int, default=500)
    api.add_argument("--seed", type=int, default=1)
    files = kinds.add_parser("files")
    files.add_argument("targets", nargs="*", metavar="TARGET")
    files.add_argument("--seconds", type=int, default=60)
    one = kinds.add_parser("one")
    one.add_argument("target")
    one.add_argument("flags", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if chosen.kind == "one":
        _fuzz_one(chosen.target, chosen.flags)
    found = (
        _fuzz_api(chosen.cases, chosen.seed) if chosen.kind == "api" else _fuzz_files(chosen.targets, chosen.seconds)
    )
    sys.exit(1 if found else 0)


def _fuzz_api(cases: int, seed: int) -> int:
    from index.build import ingest
    from ingest.limits import Limits
    from tests.hashing import HashingEmbedder
    from tests.hostile.asking_all import ask_all, fuzzed_app

    print("| server | requests | faults | seconds |\n| --- | ---: | ---: | ---: |")
    faults: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        ingest([ROOT / "corpus"], Path(folder), HashingEmbedder(), Limits())
        for keys in (False, True):
            began = time.monotonic()
            found = ask_all(fuzzed_app(Path(folder), keys=keys), cases=cases, seed=seed)
            name = "with keys" if keys else "without keys"
            seconds = time.monotonic() - began
            print(f"| {name} | {found.asked.total():,} | {len(found.faults)} | {seconds:.0f} |", flush=True)
            faults |= found.faults
    print(*faults.values(), sep="\n\n")
    return len(faults)


def _fuzz_files(targets: list[str], seconds: int) -> int:
    from tests.hostile.targets import TARGETS

    print("| what reads | inputs | branches | finds | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    return sum(_fuzz_target(target, seconds) for target in targets or TARGETS)


def _fuzz_target(target: str, seconds: int) -> int:
    """One process after another, as each find ends its own, until the time is over; how many finds there were."""
    finds = FINDS / target
    finds.mkdir(parents=True, exist_ok=True)
    before = set(finds.iterdir())
    began, inputs, branches = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        grown = Path(folder, "grown")
        grown.mkdir()
        for number, seed in enumerate(_seeds(target)):
            Path(grown, f"seed-{number}").write_bytes(seed[:MAX_BYTES])
        while (left := seconds - (time.monotonic() - began)) > 1:
            flags = [
                f"-max_total_time={int(left)}",
                f"-artifact_prefix={finds}/",
                f"-dict={WORDS}",
                f"-max_len={MAX_BYTES}",
                f"-rss_limit_mb={MAX_MEGABYTES}",
                f"-timeout={HANGS_SECONDS}",
                f"-report_slow_units={HANGS_SECONDS}",
                "-print_final_stats=1",
                str(grown),
                str(finds),
            ]
            command = [sys.executable, "-m", "benchmarks.fuzz", "one", target, *flags]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
            inputs += sum(map(int, re.findall(r"number_of_executed_units: *(\d+)", ended.stderr)))
            branches = max([branches, *map(int, re.findall(r" cov: (\d+)", ended.stderr))])
            if ended.returncode:
                print("\n".join(ended.stderr.splitlines()[-40:]), file=sys.stderr)
            if ended.returncode and set(finds.iterdir()) == before:
                break  # it cannot even begin
    found = len(set(finds.iterdir()) - before)
    print(f"| {target} | {inputs:,} | {branches:,} | {found} | {time.monotonic() - began:.0f} |", flush=True)
    if not any(finds.iterdir()):
        finds.rmdir()
    return found


def _seeds(target: str) -> list[bytes]:
    """What such inputs look like."""
    made = documents("http://docs.example")
    with zipfile.ZipFile(io.BytesIO(made["letter.docx"])) as archive:
        text_of_word = archive.read("word/document.xml")
    written = b'{"answered": true, "sentences": [{"cites": [1, 2], "text": "Beykpour said that OKRs help."}]}'
    known = {
        "docx": [made["letter.docx"]],
        "word": [text_of_word],
        "pdf": [made["paper.pdf"]],
        "html": [made["page.html"], made["strict.html"]],
        "sidecar": [made["talk.meta.yaml"]],
        "model": [b"\x03" + written, b"\xff" + written, b"\x07Beykpour said that OKRs help [1]. So did he [S2]."],
        "question": [b"what did Beykpour say about OKRs?", b"and what about the latter?", b"did he say that?"],
    }
    if target in known:
        return known[target]
    corpus = [file.read_bytes() for file in sorted((ROOT / "corpus").iterdir()) if file.is_file()]
    formats = (ROOT / "docs" / "formats.md").read_text()
    samples = re.findall(r"^```\w+ \S+\n(.*?)^```$", formats, re.MULTILINE | re.DOTALL)
    return [*made.values(), *(document[:4096] for document in corpus), *(sample.encode() for sample in samples)]


def _fuzz_one(target: str, flags: list[str]) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["app", "index", "ingest", "mammoth", "markdownify", "yaml"]):
        from tests.hostile.targets import SECONDS, TARGETS

    read = TARGETS[target]

    def tried(data: bytes) -> None:
        began = time.process_time()
        read(data)
        took = time.process_time() - began
        assert took < SECONDS, f"{len(data)} bytes took {took:.1f} s"

    read(b"")  # what is made once, such as an index, counts for no input
    atheris.Setup([sys.argv[0], *flags], tried)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
