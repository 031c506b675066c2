"""Who asks over HTTP, and what they may do: everything but what is listed here as open wants a caller with a scope."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from app.errors import KeyFileError
from app.keys import SCOPES, KnownKeys, Scope
from app.problems import RETRY_AFTER_SECONDS, problem, problem_responses
from app.widget_access import TOKEN_HEADER, origin_of

KEY_HEADER = "X-API-Key"
# What holds no data, what is asked for before there can be a proof, and Slack's own routes, which check its signature.
_OPEN = re.compile(
    r"/|/healthz|/readyz|/docs|/docs/oauth2-redirect|/redoc|/openapi\.json"
    r"|/sources|/sources/[^/]*|/widget\.js|/web/[^/]*|/v1/widget-token|/slack/[a-z]+"
)
_ADMIN = frozenset({"/metrics"})
_OPENAI = ("/v1/chat/", "/v1/models")
_SAYS_HOW = f"Send a key as Authorization: Bearer, or in {KEY_HEADER}."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key by its name, else a page (`origin https://…`) or where it comes from (`address 192.0.2.1`).

    `groups` are those whose private sources may be read; without any, only public ones are. `visitor` tells the
    readers of one page from each other.
    """

    name: str
    scopes: frozenset[Scope] = frozenset()
    groups: frozenset[str] = frozenset()
    visitor: str = ""

    @property
    def owner(self) -> str:
        """Whose a conversation is."""
        return f"{self.name} {self.visitor}" if self.visitor else self.name


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request that came through Access to what is not open."""
    return connection.state.caller


def scope_of(path: str) -> Scope | None:
    """The scope that a path wants; null for what is open to everybody. Whatever is not known is closed."""
    if _OPEN.fullmatch(path):
        return None
    return "admin" if path in _ADMIN else "ask"


class Access:
    """ASGI middleware: finds the caller of a request, and refuses who has no proof, a wrong one, or not the scope.

    Without keys everybody has all scopes, and no group. A key that is shown must be right, whatever else is shown.
    """

    def __init__(self, app: ASGIApp, keys: KnownKeys | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        needed = scope_of(scope["path"]) if scope["type"] == "http" else None
        if needed is None:
            await self._app(scope, receive, send)
            return
        try:
            caller = self._caller(scope)
        except KeyFileError:
            after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            refusal = _refusal(scope, 503, "Keys cannot be checked at the moment.", "keys_unavailable", after)
        else:
            refusal = _refused(scope, caller, needed)
            scope.setdefault("state", {})["caller"] = caller
        await (refusal or self._app)(scope, receive, send)

    def _caller(self, scope: Connection) -> Caller | None:
        """Null for a wrong key."""
        address = scope["client"][0] if scope.get("client") else "unknown"
        origin = origin_of(scope)
        if self._keys is not None:
            found = [self._keys.find(key) for key in _shown(Headers(scope=scope))]
            if None in found:
                return None
            for key in filter(None, found):
                return Caller(key.name, key.scopes, key.groups)
        if origin is not None:
            return Caller(f"origin {origin}", frozenset({"ask"}), visitor=address)
        return Caller(f"address {address}", SCOPES if self._keys is None else frozenset())


def _shown(headers: Headers) -> Iterator[str]:
    """The keys of a request; what a proxy uses `Authorization` for is none."""
    for each in headers.getlist("authorization"):
        scheme, _, key = each.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    yield from headers.getlist(KEY_HEADER)


def _refused(scope: Connection, caller: Caller | None, needed: Scope) -> Response | None:
    if caller is None:
        wrong = {"WWW-Authenticate": 'Bearer realm="On Record", error="invalid_token"'}
        return _refusal(scope, 401, "This key is not known here.", "invalid_api_key", wrong)
    if needed in caller.scopes:
        return None
    if not caller.scopes:
        return _refusal(scope, 401, _SAYS_HOW, "invalid_api_key", {"WWW-Authenticate": 'Bearer realm="On Record"'})
    lacking = {"WWW-Authenticate": f'Bearer realm="On Record", error="insufficient_scope", scope="{needed}"'}
    return _refusal(scope, 403, f"This wants a key with the scope {needed!r}.", "insufficient_scope", lacking)


def _refusal(scope: Connection, status: int, detail: str, code: str, headers: dict[str, str]) -> Response:
    return problem(status, detail, headers=headers, code=code if scope["path"].startswith(_OPENAI) else None)


def describe_access(document: dict[str, Any], *, keys: bool, origins: Sequence[str]) -> dict[str, Any]:
    """Adds to an OpenAPI document what each operation wants of its caller, and how it refuses."""
    schemes: dict[str, Any] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "a key"},
        "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER, "description": "a key"},
    }
    if origins:
        about = "of the pages of listed origins: POST /v1/widget-token gives one"
        schemes["widget"] = {"type": "apiKey", "in": "header", "name": TOKEN_HEADER, "description": about}
    document.setdefault("components", {})["securitySchemes"] = schemes
    refusals = {str(status): told for status, told in problem_responses(401, 403, 503).items()}
    for path, operations in document["paths"].items():
        needed = scope_of(path)
        if needed is None:
            continue
        proofs: list[dict[str, list[str]]] = [{name: []} for name in schemes if name != "widget" or needed == "ask"]
        for operation in operations.values():
            operation["security"] = proofs if keys else [{}, *proofs]
            operation["responses"] = {**refusals, **operation["responses"]}
    return document
