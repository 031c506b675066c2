"""No pickle is ever loaded: whoever wrote one could have it run anything."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from index.errors import ModelError
from index.rerank import load_reranker

ROOT = Path(__file__).parent.parent
LOADERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
WATCHED = """
import sys
found = []
sys.addaudithook(lambda event, values: found.append(values) if event == "pickle.find_class" else None)
from app.cli import main
index = sys.argv[1]
assert main(["ingest", "corpus", *sys.argv[2:], "--index", index]) == 0
assert main(["ask", "what did Beykpour say about OKRs?", "--index", index]) == 0
assert main(["verify", "--index", index]) == 0
import pickle
assert not found, found
pickle.loads(pickle.dumps(found.append))
assert found, "they would have been seen"
"""


def loaders(tree: ast.AST) -> Iterator[str]:
    """What is imported or called that reads pickles, or may be told to."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] in LOADERS)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in LOADERS:
                yield module
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                yield "torch.load"
            case ast.keyword(arg="allow_pickle", value=value) if not isinstance(value, ast.Constant) or value.value:
                yield "allow_pickle"
            case _:
                pass


@pytest.mark.parametrize("package", ["app", "index", "ingest"])
def test_our_code_reads_none(package: str) -> None:
    read = {str(file): list(loaders(ast.parse(file.read_text()))) for file in (ROOT / package).rglob("*.py")}
    assert len(read) > 5
    assert not {file: found for file, found in read.items() if found}


@pytest.mark.parametrize("code", ["import pickle", "from joblib import load", "torch.load(x)", "f(allow_pickle=y)"])
def test_it_would_be_seen(code: str) -> None:
    assert list(loaders(ast.parse(code)))


def test_none_is_loaded_on_the_way_from_a_file_to_an_answer(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>Ships</h1><p>Ships are built of oak, since it floats.</p>")
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "index"), str(page)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)


def test_a_model_whose_weights_are_a_pickle_is_refused(cross_encoder: Path, tmp_path: Path) -> None:
    if find_spec("torch") is None and "CI" not in os.environ:
        pytest.skip("torch is not installed: make test installs it")
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match="safetensors"):
        load_reranker(str(folder))
