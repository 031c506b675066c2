"""Whatever an OpenAPI document allows, and what it does not, asked of the API: schemathesis, with all its checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from schemathesis import Case, HookContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.openapi import from_asgi
from schemathesis.openapi.checks import RejectedPositiveData

from app.api import create_app
from app.keys import parse_keys
from app.settings import Settings
from tests.hashing import HashingEmbedder

KEY = "a-key-of-whoever-may-ask-anything"
UNTOLD = (
    "there is no source",
    "there is no speaker",
    "may be",  # several speakers
    "cannot be combined with start or end",
    "must not be before",
    "this source has no clock",
    "There is no user message with a question in it.",
    "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
)
"""Why a request may be refused that is all that the document says: it knows neither the index nor what two fields are
to each other."""
STRINGS = (
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a\r\nSet-Cookie: a=b",
    "\x00",
    "\u202egnp.exe\u202c",
    "a\u200bb\ufeff\u2060",
    "a" + "\u0301" * 150,
    "=cmd|' /C calc'!A0",
    "' OR 1=1 --",
    '" NEAR/0 (*) AND ^:\\',
    "<img src=x onerror=alert(1)>",
    "[1](javascript:alert(1))",
    "{{7*7}} ${jndi:ldap://x} %n%s",
    "\U0010ffff\ufffe",
)
SPEAKERS = ("Kayvon Beykpour", "beykpour", "Lenny")
SOURCES = ("20-product-kayvon-beykpour", "kayvon-beykpour-insights", "escaping-the-build-trap-notes")
QUESTIONS = ("what did Beykpour say about OKRs?", "why did Periscope fail?", "and what about that?", "\ud7ff?")


@dataclass
class Found:
    """`asked` is how many requests there were, by operation; `faults` what schemathesis says, each fault once."""

    asked: Counter[str] = field(default_factory=Counter[str])
    faults: dict[str, str] = field(default_factory=dict[str, str])


def fuzzed_app(index_dir: Path, *, keys: bool) -> FastAPI:
    """An app over an index of the sample corpus, which answers whatever it is asked, and as often."""
    settings = Settings(
        index_dir=index_dir,
        min_confidence=0.0,
        conversations=":memory:",
        feedback=":memory:",
        api_keys=parse_keys(KEY) if keys else None,
        widget_origins=("https://blog.example",) if keys else (),
        key_requests_per_minute=0,
        address_requests_per_minute=0,
    )
    return create_app(settings, HashingEmbedder())


def ask_all(app: FastAPI, *, cases: int, seed: int) -> Found:
    """So many random requests to each operation, beside those that try each bound of the document, and such that
    follow from the answers to others; with the key, which matters only where keys are asked for."""
    config: dict[str, Any] = {
        "seed": seed,
        "workers": 1,
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "headers": {"Authorization": f"Bearer {KEY}"},
        "dictionaries": {
            "strings": {"values": list(STRINGS)},
            "questions": {"values": [*QUESTIONS, *STRINGS]},
            "speakers": {"values": list(SPEAKERS)},
            "sources": {"values": list(SOURCES)},
        },
        "parameters": {
            "path.source_id": {"dictionary": "sources", "probability": 0.5},
            "body.source": {"dictionary": "sources", "probability": 0.7},
            "body.speaker": {"dictionary": "speakers", "probability": 0.7},
            "body.query": {"dictionary": "questions", "probability": 0.3},
            "body.question": {"dictionary": "questions", "probability": 0.3},
            "body.messages[*].content": {"dictionary": "questions", "probability": 0.3},
            "body.conversation_id": {"dictionary": "strings", "probability": 0.3},
            "body.answer_id": {"dictionary": "strings", "probability": 0.3},
            "body.comment": {"dictionary": "strings", "probability": 0.3},
            "path.model": {"dictionary": "strings", "probability": 0.3},
        },
        "generation": {"max-examples": cases, "database": "none"},
    }
    schema = from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(config))
    schema.hook(filter_failure)
    found = Found()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                found.asked[recorder.label] += len(recorder.interactions)
                for checked in recorder.checks.values():
                    for failed in filter(None, (each.failure_info for each in checked)):
                        what = f"{failed.failure.operation}: {failed.failure.title}"
                        found.faults.setdefault(what, f"{what}: {failed.failure.message}\n{failed.code_sample}")
            case events.NonFatalError(info=info):
                found.faults.setdefault(str(info), str(info))
            case events.FatalError(exception=exception):
                raise exception
            case _:
                pass
    return found


def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether it is one: schemathesis calls a hook by this name."""
    return not (
        isinstance(failure, RejectedPositiveData)
        and response.status_code in (400, 422)
        and any(reason in response.json()["detail"] for reason in UNTOLD)
    )
