"""Who asks over HTTP, and what they may do: everything but what is listed here as open wants a caller with a scope."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from app.errors import KeyFileError
from app.keys import SCOPES, KnownKeys, Scope
from app.problems import RETRY_AFTER_SECONDS, problem_responses, refusal
from app.rates import Counted, Rates, address_counted
from app.widget_access import TOKEN_HEADER, origin_of

KEY_HEADER = "X-API-Key"
# What holds no data, what is asked for before there can be a proof, and Slack's own routes, which check its signature.
_OPEN = re.compile(
    r"/|/healthz|/readyz|/docs|/openapi\.json"
    r"|/sources|/sources/[^/]*|/widget\.js|/web/[^/]*|/v1/widget-token|/slack/[a-z]+"
)
# Probes, and what Slack sends from any of its addresses.
_UNCOUNTED = re.compile(r"/healthz|/readyz|/slack/[a-z]+")
_ADMIN = frozenset({"/metrics"})
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
    """ASGI middleware: finds the caller of a request, and refuses who has no proof, a wrong one, not the scope, or
    asks too often.

    Without keys everybody has all scopes, and no group. A key that is shown must be right, whatever else is shown.
    Where this machine alone may ask (`names` is not null), it must call the server by a name of its own, or one of
    `names`: a page can have its name mean this machine, and would read what its reader's browser may (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, keys: KnownKeys | None, rates: Rates, names: frozenset[str] | None) -> None:
        self._app = app
        self._keys = keys
        self._rates = rates
        self._names = names

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _UNCOUNTED.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        refused = await self._refused(scope)
        await (refused or self._app)(scope, receive, send)

    async def _refused(self, scope: Connection) -> Response | None:
        needed = scope_of(scope["path"])
        address = scope["client"][0] if scope.get("client") else "unknown"
        counted = address_counted(address)
        refused: Response | None = None
        if needed:
            try:
                found = self._caller(scope, address)
            except KeyFileError:
                after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
                return refusal(scope, 503, "Keys cannot be checked at the moment.", "keys_unavailable", headers=after)
            caller, counted = (found[0], found[1] or counted) if found else (None, counted)
            scope.setdefault("state", {})["caller"] = caller
            refused = _lacking(scope, caller, needed) or self._misdirected(scope, address)
        seconds, allowed = await self._rates.wait(counted)
        if seconds:
            after = {"Retry-After": str(seconds)}
            return refusal(scope, 429, f"Too many requests: {allowed}", "rate_limit_exceeded", headers=after)
        return refused

    def _misdirected(self, scope: Connection, address: str) -> Response | None:
        # What a proxy passes on is not from this machine, and /mcp takes no page anyway.
        here = _address(address)
        if self._names is None or here is None or not here.is_loopback or scope["path"] == "/mcp":
            return None
        name = _name(Headers(scope=scope).get("host", ""))
        if name in self._names or name.endswith(".localhost") or _address(name):
            return None
        detail = f"This server is not called {name!r}; ONRECORD_PUBLIC_URL says what it is called."
        return refusal(scope, 421, detail, "misdirected", headers={})

    def _caller(self, scope: Connection, address: str) -> tuple[Caller, list[Counted]] | None:
        """Who asks, and how that is counted, if not by the address; null for a wrong key."""
        if self._keys is not None:
            found = [self._keys.find(key) for key in _shown(Headers(scope=scope))]
            if None in found:
                return None
            for key in filter(None, found):
                return Caller(key.name, key.scopes, key.groups), [("key", key.name)]
        origin = origin_of(scope)
        if origin is not None:
            caller = Caller(f"origin {origin}", frozenset({"ask"}), visitor=address)
            return caller, [*address_counted(address), ("page", origin)]
        return Caller(f"address {address}", SCOPES if self._keys is None else frozenset()), []


def own_names(addresses: Iterable[str]) -> frozenset[str]:
    """What a server on this machine alone is called, beside what is at these addresses; in lower case."""
    return frozenset({"", "localhost", *(urlsplit(each).hostname or "" for each in addresses)})


def _name(host: str) -> str:
    """The header Host without its port, and an IPv6 address without its brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return host


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _shown(headers: Headers) -> Iterator[str]:
    """The keys of a request; what a proxy uses `Authorization` for is none."""
    for each in headers.getlist("authorization"):
        scheme, _, key = each.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    yield from headers.getlist(KEY_HEADER)


def _lacking(scope: Connection, caller: Caller | None, needed: Scope) -> Response | None:
    if caller is None:
        wrong = {"WWW-Authenticate": 'Bearer realm="On Record", error="invalid_token"'}
        return refusal(scope, 401, "This key is not known here.", "invalid_api_key", headers=wrong)
    if needed in caller.scopes:
        return None
    if not caller.scopes:
        return refusal(
            scope, 401, _SAYS_HOW, "invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="On Record"'}
        )
    lacking = {"WWW-Authenticate": f'Bearer realm="On Record", error="insufficient_scope", scope="{needed}"'}
    return refusal(scope, 403, f"This wants a key with the scope {needed!r}.", "insufficient_scope", headers=lacking)


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
    told = {str(status): response for status, response in problem_responses(401, 403, 408, 413, 421, 429, 503).items()}
    too_large = {status: told.pop(status) for status in ("408", "413")}
    for path, operations in document["paths"].items():
        needed = scope_of(path)
        if needed is None:
            continue
        proofs: list[dict[str, list[str]]] = [{name: []} for name in schemes if name != "widget" or needed == "ask"]
        for operation in operations.values():
            operation["security"] = proofs if keys else [{}, *proofs]
            with_body = too_large if "requestBody" in operation else {}
            operation["responses"] = {**told, **with_body, **operation["responses"]}
    return document
