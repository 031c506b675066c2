"""A real cross-encoder of random weights, and one that counts words: what both promise, and what they do to hits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from index.build import ingest
from index.embed import Embedder
from index.errors import ModelError
from index.rerank import RERANK_DEPTH, CrossEncoderReranker, Reranker, load_reranker
from index.search import Hit, Index, rerank
from ingest.limits import Limits
from ingest.model import Cue, Passage, Source, Span, Turn

QUERY = "Which ships were built of oak?"
TEXTS = [
    "Ann Lee: The ships were built of oak, which lasts.",
    "Bob Ray: I see.",
    "",
    "naïve café — “quotes” … 日本語 🎉",
    "Cy Fox: Ships, and ships again.\nAnn Lee: Oak?",
    "word " * 1000,
]


class WordReranker:
    """Counts the words that a text shares with the query."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        wanted = words(query)
        return [float(len(wanted & words(text))) for text in texts]


class ScriptedReranker:
    """Gives the scores it was told to give, and keeps what it was asked."""

    def __init__(self, scores: Sequence[float]) -> None:
        self._scores = scores
        self.asked: list[tuple[str, list[str]]] = []

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.asked.append((query, list(texts)))
        return list(self._scores[: len(texts)])


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


@pytest.fixture(scope="module")
def real(cross_encoder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(str(cross_encoder))


@pytest.fixture
def counting() -> WordReranker:
    return WordReranker()


@pytest.fixture(params=["real", "counting"])
def reranker(request: pytest.FixtureRequest) -> Reranker:
    return request.getfixturevalue(request.param)


class TestEveryReranker:
    def test_a_number_for_each_text(self, reranker: Reranker) -> None:
        scores = reranker.rerank(QUERY, TEXTS)
        assert len(scores) == len(TEXTS)
        assert all(type(score) is float for score in scores)
        assert len(set(scores)) > 2

    def test_no_texts(self, reranker: Reranker) -> None:
        assert reranker.rerank(QUERY, []) == []

    def test_alone_or_together(self, reranker: Reranker) -> None:
        alone = [score for text in TEXTS for score in reranker.rerank(QUERY, [text])]
        assert reranker.rerank(QUERY, TEXTS) == pytest.approx(alone, abs=1e-5)

    def test_scores_follow_their_texts(self, reranker: Reranker) -> None:
        there = reranker.rerank(QUERY, TEXTS)
        assert reranker.rerank(QUERY, TEXTS[::-1]) == pytest.approx(there[::-1], abs=1e-5)

    def test_the_query_counts(self, reranker: Reranker) -> None:
        assert reranker.rerank(QUERY, TEXTS) != pytest.approx(reranker.rerank("I see quotes", TEXTS), abs=1e-3)

    def test_threads_share_it(self, reranker: Reranker) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda text: reranker.rerank(QUERY, [text, "oak"])[0], TEXTS * 8))
        assert found == pytest.approx(reranker.rerank(QUERY, TEXTS * 8), abs=1e-5)


class TestCrossEncoder:
    def test_scores_are_those_of_sentence_transformers(self, real: CrossEncoderReranker, cross_encoder: Path) -> None:
        from sentence_transformers import CrossEncoder

        ranked = CrossEncoder(str(cross_encoder)).rank(QUERY, TEXTS, show_progress_bar=False)
        scores = real.rerank(QUERY, TEXTS)
        assert {each["corpus_id"]: each["score"] for each in ranked} == pytest.approx(dict(enumerate(scores)), abs=1e-5)

    def test_what_is_too_long_is_cut_off(self, real: CrossEncoderReranker) -> None:
        kept, longer = real.rerank(QUERY, ["oak " * 200, "oak " * 200 + "and more"])
        assert kept == longer

    def test_threads_share_it_from_the_first(self, cross_encoder: Path) -> None:
        fresh = CrossEncoderReranker(str(cross_encoder))
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: fresh.rerank(QUERY, ["oak"])[0], range(32)))) == 1

    def test_is_loaded_by_name_only(self, cross_encoder: Path) -> None:
        assert load_reranker(None) is None
        assert load_reranker("") is None
        assert isinstance(load_reranker(str(cross_encoder)), CrossEncoderReranker)


class TestFailures:
    def test_sentence_transformers_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(
            sys.modules, "sentence_transformers", None
        )  # how Python itself marks what can't be imported
        with pytest.raises(
            ModelError, match=r"'some/model' needs sentence-transformers: pip install 'onrecord\[models\]'"
        ):
            load_reranker("some/model")

    @pytest.mark.usefixtures("cross_encoder")
    def test_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be loaded") as caught:
            load_reranker(str(tmp_path))
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.usefixtures("cross_encoder")
    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_reranker(str(tmp_path / "missing"))

    def test_damaged_weights(self, cross_encoder: Path, tmp_path: Path) -> None:
        damaged = Path(shutil.copytree(cross_encoder, tmp_path / "damaged"))
        weights = damaged / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_reranker(str(damaged))

    def test_weights_of_another_shape(self, cross_encoder: Path, tmp_path: Path) -> None:
        other = Path(shutil.copytree(cross_encoder, tmp_path / "other"))
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_reranker(str(other))

    def test_a_model_that_sorts_into_classes(self, cross_encoder: Path, tmp_path: Path) -> None:
        from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

        shape = BertConfig.from_pretrained(cross_encoder, num_labels=3)
        BertForSequenceClassification(shape).save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(cross_encoder).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="is no reranker: it gives a pair 3 scores instead of one"):
            load_reranker(str(tmp_path))


@pytest.fixture(scope="module")
def index_dir(tmp_path_factory: pytest.TempPathFactory, hashing_type: Callable[..., Embedder]) -> Path:
    """Two people by turns on sixty things, a passage on each."""
    folder = tmp_path_factory.mktemp("rerank")
    (folder / "corpus").mkdir()
    lines: list[str] = []
    for number in range(60):
        who = ("Ann Lee", "Bob Ray")[number % 2]
        lines += [f"{who} (00:{number:02d}:00):", f"Thing {number} is made of oak. " * 25, ""]
    (folder / "corpus" / "talk.txt").write_text("\n".join(lines))
    report = ingest([folder / "corpus"], folder / "snapshots", hashing_type(), Limits())
    assert not report.errors
    assert report.passages > RERANK_DEPTH
    return folder / "snapshots"


@pytest.fixture
def open_index(index_dir: Path, hashing: Embedder) -> Generator[Callable[[Reranker | None], Index]]:
    opened: list[Index] = []

    def open_index(reranker: Reranker | None) -> Index:
        opened.append(Index.open(index_dir, hashing, reranker))
        return opened[-1]

    yield open_index
    for index in opened:
        index.close()


Open = Callable[[Reranker | None], Index]


def find(index: Index, query: str, top_k: int) -> list[Hit]:
    return index.search(query, index.embedder.embed([query])[0], top_k)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


class TestSearch:
    def test_order_is_the_cross_encoder_s(self, open_index: Open, cross_encoder: Path) -> None:
        from sentence_transformers import CrossEncoder

        plain = find(open_index(None), "oak", RERANK_DEPTH)
        shown = [f"{hit.speakers()[0]}: {hit.turns[hit.passage.spans[0].turn].text.strip()}" for hit in plain]
        ranked = CrossEncoder(str(cross_encoder)).rank("oak", shown, show_progress_bar=False)
        best = [plain[int(each["corpus_id"])].passage.id for each in ranked]
        found = find(open_index(load_reranker(str(cross_encoder))), "oak", 10)
        assert ids(found) == best[:10]
        assert ids(found) != ids(plain[:10])

    def test_rank_and_score_are_renewed(self, open_index: Open) -> None:
        plain = find(open_index(None), "oak", 100)
        found = find(open_index(ScriptedReranker(range(-90, 0))), "oak", 100)
        assert ids(found) == ids(plain[RERANK_DEPTH - 1 :: -1] + plain[RERANK_DEPTH:])
        assert [hit.rank for hit in found] == list(range(1, len(plain) + 1))
        assert [hit.score for hit in found] == [hit.score for hit in plain]
        assert found[0].similarity == plain[RERANK_DEPTH - 1].similarity

    def test_a_hit_from_far_down_comes_up(self, open_index: Open) -> None:
        plain = find(open_index(None), "oak", RERANK_DEPTH)
        (found,) = find(open_index(ScriptedReranker([*[0.0] * (RERANK_DEPTH - 1), 1.0])), "oak", 1)
        assert found.passage == plain[-1].passage

    def test_ties_keep_their_order(self, open_index: Open) -> None:
        plain = find(open_index(None), "oak", RERANK_DEPTH)[:20]
        assert ids(find(open_index(ScriptedReranker([0.5] * 50)), "oak", 20)) == ids(plain)
        halves = find(open_index(ScriptedReranker([0.0, 1.0] * 25)), "oak", RERANK_DEPTH)
        assert ids(halves)[:10] == ids(plain)[1::2]
        assert ids(halves)[25:35] == ids(plain)[::2]

    def test_reads_speakers_and_words_of_the_first_fifty(self, open_index: Open) -> None:
        scripted = ScriptedReranker([0.0] * 50)
        find(open_index(scripted), "oak", 3)
        ((query, texts),) = scripted.asked
        assert (query, len(texts)) == ("oak", RERANK_DEPTH)
        assert all(re.match(r"(?:Ann Lee|Bob Ray): Thing (\d+) is made of oak\. Thing \1", text) for text in texts)

    def test_reads_headings_and_notes_too(self) -> None:
        turn = Turn("Ann Lee", "Oak lasts. Steel rusts.", (Cue(0, None),), heading=("Part I", "Ships"), note="On wood.")
        passage = Passage("id", "talk", 0, (Span(0, 0, 10),), 1)
        source = Source("talk", "talk.txt", "A talk", "transcript")
        scripted = ScriptedReranker([1.0])
        rerank(scripted, "wood", [Hit(1, 1.0, 1.0, passage, source, {0: turn}, np.zeros((1, 4), np.int8))])
        assert scripted.asked == [("wood", ["Ann Lee: Oak lasts. Ships On wood."])]

    def test_nothing_found(self) -> None:
        assert rerank(WordReranker(), "oak", []) == []

    def test_fewer_than_fifty(self, open_index: Open) -> None:
        index = open_index(WordReranker())
        vector = index.embedder.embed(["Thing 7"])[0]
        found = index.search("Thing 7", vector, 100, speakers=("Bob Ray",))
        assert len(found) == 30
        assert found[0].turns[found[0].passage.spans[0].turn].text.startswith("Thing 7 ")
        assert {name for hit in found for name in hit.speakers()} == {"Bob Ray"}


def test_nothing_is_imported_without_one() -> None:
    asked = "import sys, app.cli, index.rerank; index.rerank.load_reranker(None); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)
    assert ran.stdout == "False\n"
