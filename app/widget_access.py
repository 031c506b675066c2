"""Which web pages may use the API: those of other origins with the tokens that they show, and our own."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from fastapi import APIRouter, Request
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.origins import parse_origin
from app.problems import problem, problem_responses

TOKEN_HEADER = "X-OnRecord-Token"  # noqa: S105  the name of a header
TOKEN_SECONDS = 600
PREFLIGHT_SECONDS = 600

_API = ("/v1/", "/mcp")
_TOKEN_PATH = "/v1/widget-token"  # noqa: S105  an address


class WidgetTokens:
    """Makes and checks tokens, each for the pages of one origin, and good for `seconds`.

    Without a secret one is drawn; then no other process, and not this one after a restart, knows its tokens.
    """

    def __init__(self, secret: str | None, seconds: int = TOKEN_SECONDS) -> None:
        self.seconds = seconds
        self._signer = URLSafeTimedSerializer(
            secret or secrets.token_bytes(32),
            salt="onrecord widget token",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def make(self, origin: str) -> str:
        """A token for pages of this origin."""
        return str(self._signer.dumps(origin))

    def fault(self, token: str | None, origin: str) -> str | None:
        """What is wrong with a token shown by a page of this origin; null for a good one."""
        if token is None:
            return "missing"
        try:
            signed_for = self._signer.loads(token, max_age=self.seconds)
        except SignatureExpired:
            return "expired"
        except BadSignature:
            return "invalid"
        return None if signed_for == origin else "of another origin"


class WidgetToken(BaseModel):
    """A token and the seconds for which it is good."""

    token: str
    expires_in: int


def widget_token_router(tokens: WidgetTokens, origins: Sequence[str]) -> APIRouter:
    """The route that gives pages of the listed origins their tokens."""
    router = APIRouter()

    @router.post(_TOKEN_PATH, responses=problem_responses(403))
    async def widget_token(request: Request) -> WidgetToken:
        """A short-lived token for the page of another origin that asks; pages of this server need none."""
        origin = parse_origin(request.headers.get("origin", ""))
        if origin is None or origin not in origins:
            raise HTTPException(403, "Only pages of the origins in ONRECORD_WIDGET_ORIGINS get a token.")
        return WidgetToken(token=tokens.make(origin), expires_in=tokens.seconds)

    return router


class WidgetAccess:
    """ASGI middleware: pages of other origins reach the API only where their origin is listed, and with a token.

    Browsers send `Origin` with whatever a page of another origin may read or change something with; a request without
    it comes from no such page, and passes. What is refused to a listed origin is readable to it too. `origin_of` tells
    which listed origin a request has proved to come from.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], tokens: WidgetTokens) -> None:
        self._app = app
        self._origins = origins
        self._tokens = tokens
        self._shared = CORSMiddleware(
            self._with_token,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Accept", "Content-Type", TOKEN_HEADER),
            expose_headers=("Retry-After",),
            allow_private_network=True,  # a public page may ask a server in a private network, if it is listed
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_API):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or _is_own(origin, headers, scope["scheme"]):
            own = _own_page(origin, headers, scope["scheme"])
            if own in self._origins:
                _prove(scope, own)
            await self._app(scope, receive, send)
        elif parse_origin(origin) in self._origins:
            await self._shared(scope, receive, send)
        else:
            detail = f"Pages of the origin {origin!r} may not use this server; ONRECORD_WIDGET_ORIGINS lists who may."
            await problem(403, detail, headers={"Vary": "Origin"})(scope, receive, send)

    async def _with_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        fault = self._tokens.fault(headers.get(TOKEN_HEADER), headers["origin"])
        if fault and scope["path"] != _TOKEN_PATH:
            detail = f"The token in {TOKEN_HEADER} is {fault}; POST {_TOKEN_PATH} gives one."
            refusal = problem(
                401, detail, errors=[(TOKEN_HEADER, f"is {fault}")], headers={"WWW-Authenticate": TOKEN_HEADER}
            )
            await refusal(scope, receive, send)
            return
        if not fault:
            _prove(scope, headers["origin"])
        await self._app(scope, receive, send)


def origin_of(scope: Scope) -> str | None:
    """The listed origin whose page sent the request; null for all others, among them those that ask for a token."""
    return scope.get("state", {}).get("origin")


def _prove(scope: Scope, origin: str | None) -> None:
    scope.setdefault("state", {})["origin"] = origin


def _own_page(origin: str | None, headers: Headers, scheme: str) -> str | None:
    """The origin of the page of ours that asks; null for what is no page.

    Browsers leave `Origin` out where a page reads of its own server; then they say so in a header that no page can set.
    """
    if origin is not None:
        return parse_origin(origin)
    return _called(headers, scheme) if headers.get("sec-fetch-site") == "same-origin" else None


def _called(headers: Headers, scheme: str) -> str | None:
    return parse_origin(f"{scheme}://{headers.get('host', '')}")


def _is_own(origin: str, headers: Headers, scheme: str) -> bool:
    """Whether a page of this server asks.

    Behind a proxy that does not pass the name it was called by, only the browser can tell; no page can have it lie.
    """
    called = _called(headers, scheme)
    same_origin = headers.get("sec-fetch-site") == "same-origin" and origin != "null"
    return same_origin or (called is not None and called == parse_origin(origin))
