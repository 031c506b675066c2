"""The command line: each command is a thin door to what `ingest`, `index` and `app` do."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from typer.main import get_command

from app.database import MEMORY
from app.errors import AnswerError, UnknownFilterError
from app.schemas import (
    MAX_TOP_K,
    AskRequest,
    AskResponse,
    SearchRequest,
    SearchResponse,
    SourcesResponse,
    SpeakersResponse,
    list_sources,
    list_speakers,
    passage_out,
)
from app.settings import Settings, read_settings
from app.terminal import Terminal, one_line, progress_bar
from index.errors import IndexingError, NoSnapshotError, SnapshotError
from index.where import live_id
from ingest.errors import IngestError

if TYPE_CHECKING:
    from app.backup import Moved
    from app.feedback import Feedback
    from app.keys import Key
    from index.changes import Flaw, Report
    from index.search import Index

DONE, FAILED, MISUSED, NO_INDEX = 0, 1, 2, 3

cli = typer.Typer(add_completion=False)
feedback = typer.Typer(help="Export or delete what readers thought of answers.")
cli.add_typer(feedback, name="feedback")
keys = typer.Typer(help="Make, list or revoke the keys that callers of the HTTP API show.")
cli.add_typer(keys, name="keys")

_IndexDir = Annotated[
    Path | None,
    typer.Option("--index", metavar="DIR", help="Where the index lies [ONRECORD_INDEX_DIR; index/snapshots]."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
_Speaker = Annotated[str | None, typer.Option("--speaker", metavar="NAME", help="Only this person's words.")]
_Source = Annotated[str | None, typer.Option("--source", metavar="ID", help="Only this source.")]
_TopK = Annotated[int, typer.Option("--top-k", metavar="N", help="Number of passages, 1 to 100.")]
_Model = TypeVar("_Model", bound=BaseModel)
# What JSON need not escape, and a terminal would obey, or a reader of lines take for the end of one.
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and gives its exit code: 0 done, 1 a failure was found, 2 bad usage, 3 no index yet."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names and terminals may hold or lack characters that cannot be written otherwise.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = get_command(cli).main(given, prog_name="onrecord", standalone_mode=False)
        sys.stdout.flush()
        return code or DONE
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 130
    except typer.TyperException as error:
        message, code = error.format_message(), error.exit_code
    except UnknownFilterError as error:
        message, code = str(error), MISUSED
    except NoSnapshotError as error:
        message, code = str(error), NO_INDEX
    except OSError as error:
        message, code = f"{error.filename or ''}: {error.strerror}".removeprefix(": "), FAILED
    except (IngestError, IndexingError, AnswerError) as error:
        message, code = str(error), FAILED
    typer.echo(f"onrecord: {one_line(message)}", err=True)
    if "--json" in takewhile(lambda argument: argument != "--", given):
        _print_json({"error": message})
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("onrecord"))
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Ask transcripts and notes a question; every claim of the answer cites who said it, when and where."""


@cli.command()
def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files and folders [default: corpus].")
    ] = None,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> int:
    """Bring the index up to date with files and folders; only what changed is embedded again."""
    from app.last_ingest import kept
    from index.embed import load_embedder
    from index.where import ingest as build

    settings = _settings(index_dir)
    paths = paths or [Path("corpus")]
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path} does not exist")
    embedder = load_embedder(settings.embedding_model)
    with progress_bar("Embedding") as progress:
        report = kept(settings.index_dir, lambda: build(paths, settings.where, embedder, settings.limits, progress))
    if as_json:
        _print_json(_report(report))
    else:
        for notice in report.notices:
            typer.echo(notice, err=True)
        for flaw in report.warnings:
            typer.echo(f"warning: {_flaw(flaw)}", err=True)
        for flaw in report.errors:
            typer.echo(f"error: {_flaw(flaw)}", err=True)
        typer.echo(
            f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.removed} removed, "
            f"{len(report.errors)} failed\n"
            f"{report.passages} passages, {report.embedded} of them embedded now, in {report.seconds:.1f} s"
        )
    return FAILED if report.errors else DONE


def _report(report: Report) -> dict[str, Any]:
    return {
        "snapshot": report.snapshot,
        "sources": {
            "added": report.added,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "removed": report.removed,
            "failed": len(report.errors),
        },
        "passages": report.passages,
        "embedded": report.embedded,
        "errors": [asdict(flaw) for flaw in report.errors],
        "warnings": [asdict(flaw) for flaw in report.warnings],
        "notices": report.notices,
        "seconds": round(report.seconds, 3),
    }


def _flaw(flaw: Flaw) -> str:
    where = flaw.path if flaw.line is None else f"{flaw.path}:{flaw.line}"
    return one_line(f"{where}: {flaw.error}")


@cli.command()
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    speaker: _Speaker = None,
    source: _Source = None,
    top_k: _TopK = 8,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """Answer a question, every claim with its citation."""
    from app.answer import Asked, asking

    settings = _settings(index_dir)
    asked = _checked(AskRequest, question=question, speaker=speaker, source=source, top_k=top_k)
    with _opened(settings) as index, asking(index, settings) as answer:
        given = answer(
            Asked(asked.question, top_k=asked.top_k, speaker=asked.speaker, source=asked.source),
        )
    if as_json:
        _print_json(AskResponse.model_validate(given).model_dump())
    else:
        Terminal().answer(given)


@cli.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    speaker: _Speaker = None,
    source: _Source = None,
    top_k: _TopK = 8,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """List the passages that a query finds, best first."""
    from app.quoting import search as find

    asked = _checked(SearchRequest, query=query, speaker=speaker, source=source, top_k=top_k)
    with _opened(_settings(index_dir)) as index:
        began = time.perf_counter()
        hits = find(index, asked.query, top_k=asked.top_k, speaker=asked.speaker, source=asked.source)
        took_ms = round((time.perf_counter() - began) * 1000, 3)
    passages = [passage_out(hit) for hit in hits]
    if as_json:
        _print_json(SearchResponse(query=query, took_ms=took_ms, passages=passages).model_dump())
    else:
        Terminal().passages(query, passages)


@cli.command()
def sources(index_dir: _IndexDir = None, as_json: _Json = False) -> None:
    """List the documents in the index."""
    with _opened(_settings(index_dir)) as index:
        listed = list_sources(index.store)
    if as_json:
        _print_json(SourcesResponse(sources=listed).model_dump())
    else:
        rows = [(s.id, s.title, s.kind, s.date, ", ".join(s.speakers), s.turns, s.passages) for s in listed]
        Terminal().table(("id", "title", "kind", "date", "speakers", "turns", "passages"), rows)


@cli.command()
def speakers(index_dir: _IndexDir = None, as_json: _Json = False) -> None:
    """List who speaks in the index."""
    with _opened(_settings(index_dir)) as index:
        listed = list_speakers(index.store)
    if as_json:
        _print_json(SpeakersResponse(speakers=listed).model_dump())
    else:
        rows = [(s.name, ", ".join(s.aliases), s.turns, ", ".join(s.sources)) for s in listed]
        Terminal().table(("name", "also", "turns", "sources"), rows)


@cli.command("eval")
def evaluate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", exists=True, dir_okay=False, help="Questions, a line each.")
    ],
    top_k: Annotated[int, typer.Option("--top-k", metavar="N", min=1, max=MAX_TOP_K, help="Passages ranked.")] = 30,
    everywhere: Annotated[bool, typer.Option("--open", help="Ask all documents, not the one a line names.")] = False,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="OLD.json", exists=True, dir_okay=False, help="What --json printed of an earlier run."),
    ] = None,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """Measure retrieval, attribution, citations and abstention on a file of questions."""
    from app.answer import asking
    from app.evaluate import difference_rows, figure_rows
    from app.evaluate import evaluate as run

    settings = _settings(index_dir)
    with _opened(settings) as index, asking(index, settings) as answer, progress_bar("Asking") as progress:
        found = run(index, answer, file, top_k=top_k, everywhere=everywhere, compared=compare, progress=progress)
    if as_json:
        _print_json(found.model_dump())
        return
    terminal = Terminal()
    rows = figure_rows(found)
    terminal.table(("",) * len(rows[0]), rows)
    if found.comparison:
        rows = difference_rows(found.comparison)
        terminal.line()
        terminal.table(("",) * len(rows[0]), rows)


@feedback.command()
def export(index_dir: _IndexDir = None, as_json: _Json = False) -> None:
    """Print rated answers as questions for `onrecord eval`, a line each."""
    from app.cases import eval_case

    with _feedback(_settings(index_dir)) as kept:
        cases = [eval_case(rated) for rated in kept.rated()] if kept else []
    documents = [case.model_dump(mode="json") for case in cases]
    if as_json:
        _print_json({"questions": documents})
        return
    for document in documents:
        _print_json(document)
    typer.echo(f"{len(cases)} questions, {sum(case.review is not None for case in cases)} of them to review", err=True)


@feedback.command()
def purge(
    before: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Answers given before this day, local time."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """Delete answers and what readers thought of them."""
    if everything == (before is not None):
        raise typer.BadParameter("say --before DATE or --all")
    with _feedback(_settings(index_dir)) as kept:
        deleted, rated = kept.purge(before.timestamp() if before else None) if kept else (0, 0)
    if as_json:
        _print_json({"deleted": deleted, "rated": rated})
    else:
        typer.echo(f"{deleted} answers deleted, {rated} of them rated")


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="ask, ingest or admin [default: ask].")
    ] = None,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Whose private sources it may read.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make a key, and print it once: it is kept as a hash."""
    from app.keys import SCOPES, Scope, add_key

    path = _key_file()
    wanted = frozenset[Scope](scope for scope in SCOPES if scope in (scopes or ["ask"]))
    if unknown := set(scopes or ()) - wanted:
        raise typer.BadParameter(f"there is no scope {unknown.pop()!r}; there are {', '.join(sorted(SCOPES))}")
    try:
        key, shown = add_key(path, name, wanted, groups or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        _print_json({"key": shown, **_described(key)})
        return
    typer.echo(shown)
    typer.echo(f"This is the key {name!r}. It is shown now and never again; {path} has its hash.", err=True)


@keys.command("list")
def list_keys(as_json: _Json = False) -> None:
    """List the keys by name, with what each may do."""
    from app.keys import read_keys

    path = _key_file()
    listed = [_described(key) for key in (read_keys(path) if path.exists() else ())]
    if as_json:
        _print_json({"keys": listed})
    else:
        rows = [(key["name"], ", ".join(key["scopes"]), ", ".join(key["groups"]), key["created"]) for key in listed]
        Terminal().table(("name", "scopes", "groups", "created"), rows)


@keys.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: _Json = False) -> int:
    """Take a key out of the file; servers notice with the next request."""
    from app.keys import revoke_key

    path = _key_file()
    revoked = revoke_key(path, name)
    if as_json:
        _print_json({"revoked": revoked})
    else:
        typer.echo(f"{name!r} is revoked" if revoked else f"there is no key {name!r} in {path}", err=not revoked)
    return DONE if revoked else FAILED


def _key_file() -> Path:
    path = _settings(None).api_keys
    if not isinstance(path, Path):
        raise typer.BadParameter("set ONRECORD_API_KEYS to the path of a key file, which ends in .yaml")
    return path


def _described(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "groups": sorted(key.groups),
        "created": key.created,
    }


@contextmanager
def _feedback(settings: Settings) -> Generator[Feedback | None]:
    """The file of feedback; null where there is none, and none is made."""
    from app.feedback import Feedback

    if not Path(settings.feedback_path).exists():
        typer.echo(f"there is no feedback in {settings.feedback_path}", err=True)
        yield None
        return
    with closing(Feedback(settings.feedback_path, settings.feedback_days)) as kept:
        yield kept


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a file that only its owner can read.")],
    force: _Force = False,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """Save conversations, feedback, Slack's ledger and the snapshot in one file; servers may go on."""
    from app.backup import backup as save

    _print_moved("saved", file, save(file, _settings(index_dir), force=force), as_json)


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `backup` wrote.")],
    force: _Force = False,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> None:
    """Put what a backup holds where the settings have it, once all of it has been checked; servers may go on."""
    from app.backup import restore as put_back

    _print_moved("restored", file, put_back(file, _settings(index_dir), force=force), as_json)


def _print_moved(done: str, file: Path, moved: Moved, as_json: bool) -> None:
    if as_json:
        _print_json({"file": str(file), **asdict(moved)})
        return
    for notice in moved.notices:
        typer.echo(one_line(notice), err=True)
    parts = [*moved.kept, *([f"snapshot {moved.snapshot}"] if moved.snapshot else [])]
    typer.echo(f"{done}: {', '.join(parts) or 'nothing'}")


@cli.command()
def status(index_dir: _IndexDir = None, as_json: _Json = False) -> None:
    """Say what the index holds."""
    from index.where import open_store

    where = _settings(index_dir).where
    store = open_store(where)
    store.close()
    holdings = store.holdings
    folder = where / holdings.id if isinstance(where, Path) else None
    described: dict[str, Any] = {
        "snapshot": holdings.id,
        "created": holdings.created,
        **({"folder": str(folder)} if folder else {"store": str(where)}),
        "model": holdings.model,
        "dimension": holdings.dimension,
        **holdings.counts,
    }
    if folder:
        described["bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if as_json:
        _print_json(described)
    else:
        Terminal().table(("", ""), described.items())


@cli.command()
def verify(index_dir: _IndexDir = None, as_json: _Json = False) -> int:
    """Check every checksum and cross-reference of the index."""
    from index.where import verify as check

    where = _settings(index_dir).where
    snapshot: str | None = None
    try:
        snapshot = live_id(where)
        problems = check(where)
    except SnapshotError as error:
        problems = [str(error)]
    if as_json:
        _print_json({"ok": not problems, "snapshot": snapshot, "problems": problems})
    else:
        typer.echo("\n".join(map(one_line, problems)) or "ok")
    return FAILED if problems else DONE


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that answer.")] = 1,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> int:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    from app.keys import read_keys
    from app.server import is_loopback, listen, run, run_workers
    from index.embed import load_embedder
    from index.rerank import load_reranker

    settings = _settings(index_dir)
    if isinstance(settings.api_keys, Path):
        read_keys(settings.api_keys)  # what is wrong with it is said before anybody may come
    if workers > 1 and MEMORY in (settings.conversations_path, settings.feedback_path):
        raise typer.BadParameter(f"workers share no memory: name files instead of {MEMORY}", param_hint="--workers")
    with listen(host, port) as listening:
        if settings.api_keys is None and not settings.open and not is_loopback(listening):
            raise typer.BadParameter(
                f"whoever reaches {host} could ask without a key. Set ONRECORD_API_KEYS to the path of a key file, "
                "such as keys.yaml, and run `onrecord keys add NAME`; or set ONRECORD_OPEN=true, if that is meant",
                param_hint="--host",
            )
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        models = None  # of several workers each loads its own
        if workers == 1:
            models = load_embedder(settings.embedding_model), load_reranker(settings.reranker_model)
        if as_json:
            _print_json({"url": address})
        else:
            typer.echo(f"On Record listens on {address}")
        try:
            live_id(settings.where)
        except IndexingError as error:
            typer.echo(f"onrecord: {one_line(str(error))}", err=True)
        sys.stdout.flush()
        if models:
            run(settings, *models, listening)
        elif not run_workers(settings, workers, listening):
            return FAILED
    return DONE


@cli.command()
def mcp(index_dir: _IndexDir = None) -> None:
    """Serve the Model Context Protocol on standard input and output."""
    from app.mcp_server import run_stdio
    from index.embed import load_embedder
    from index.rerank import load_reranker

    settings = _settings(index_dir)
    run_stdio(settings, load_embedder(settings.embedding_model), load_reranker(settings.reranker_model))


@cli.command()
def slack(
    check: Annotated[bool, typer.Option("--check", help="Only say what of the set-up is missing.")] = False,
    index_dir: _IndexDir = None,
    as_json: _Json = False,
) -> int:
    """Run the Slack bot over Socket Mode until SIGTERM or Ctrl-C."""
    import asyncio

    from app.slack_check import check as look

    settings = _settings(index_dir)
    if not (check or settings.slack_app_token):
        raise typer.BadParameter("ONRECORD_SLACK_APP_TOKEN is not set; `onrecord slack --check` tells what is needed")
    findings = asyncio.run(look(settings))
    ok = all(finding.ok for finding in findings)
    if as_json:
        _print_json(
            {"ok": ok, "findings": [{"ok": each.ok, "what": each.what, "mend": each.mend} for each in findings]}
        )
    for finding in findings:
        if not as_json and (check or not finding.ok):
            mend = f"\n      {finding.mend}" if finding.mend else ""
            typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {one_line(finding.what)}{mend}", err=not check)
    if check or any(finding.vital for finding in findings):
        return DONE if ok else FAILED
    from app.slack_socket import run
    from index.embed import load_embedder
    from index.rerank import load_reranker

    sys.stdout.flush()
    run(settings, load_embedder(settings.embedding_model), load_reranker(settings.reranker_model))
    return DONE


def _settings(index_dir: Path | None) -> Settings:
    try:
        return read_settings(index_dir)
    except ValidationError as error:
        raise typer.BadParameter(_reasons(error, lambda field: f"ONRECORD_{field.upper()}")) from error


def _checked(model: type[_Model], **fields: str | int | None) -> _Model:
    """The request that the same fields would make over HTTP, held to the same rules."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise typer.BadParameter(_reasons(error, lambda field: field.replace("_", "-"))) from error


def _reasons(error: ValidationError, name: Callable[[str], str]) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{name(str(each['loc'][0]))}: {each['msg'].removeprefix('Value error, ')}" for each in found)


@contextmanager
def _opened(settings: Settings) -> Generator[Index]:
    from app.logs import log_to_stderr
    from index.embed import load_embedder
    from index.rerank import load_reranker
    from index.search import Index

    log_to_stderr(settings)
    live_id(settings.where)  # before a model is loaded in vain
    embedder, reranker = load_embedder(settings.embedding_model), load_reranker(settings.reranker_model)
    index = Index.open(settings.where, embedder, reranker)
    try:
        yield index
    finally:
        index.close()


def _print_json(document: dict[str, Any]) -> None:
    out: TextIO = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")  # as RFC 8259 has it, whatever the terminal speaks
    text = json.dumps(document, ensure_ascii=False)
    typer.echo(_UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text))
