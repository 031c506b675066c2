"""The web pages and the widget: files of the package, served as they are, with the headers that keep them safe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page of ours may do."""

# Not those of the mimetypes module, which differ from machine to machine. A script without a charset would be read in
# that of whatever page it is on.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # an address may hold a question: nobody else's server shall read it
}
_WIDGET_HEADERS = {"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*"}
_SAFE_HEADERS = {
    "Cache-Control": "no-store",  # answers are for who asked
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_FRAMED_NOWHERE = "frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def pages_router() -> APIRouter:
    """Routes to the files that the folder `web` held when this was called; no other can be reached."""
    web = _read_web()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def chat_page(request: Request) -> Response:
        return _served(request, web["index.html"], _PAGE_HEADERS)

    @router.api_route("/sources", methods=["GET", "HEAD"])
    async def sources_page(request: Request) -> Response:
        return _served(request, web["sources.html"], _PAGE_HEADERS)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def api_page(request: Request) -> Response:
        return _served(request, web["api.html"], _PAGE_HEADERS)

    # The page itself says so where there is no such source.
    @router.api_route("/sources/{source_id}", methods=["GET", "HEAD"])
    async def transcript_page(request: Request, source_id: str) -> Response:
        return _served(request, web["transcript.html"], _PAGE_HEADERS)

    @router.api_route("/widget.js", methods=["GET", "HEAD"])
    async def widget(request: Request) -> Response:
        return _served(request, web["widget.js"], _WIDGET_HEADERS)

    @router.api_route("/web/{name}", methods=["GET", "HEAD"])
    async def web_file(request: Request, name: str) -> Response:
        if name not in web or name.endswith(".html"):  # each page has an address of its own
            raise HTTPException(404)
        return _served(request, web[name], {})

    return router


def _read_web() -> dict[str, _File]:
    """The files by name, those whose type we know."""
    web: dict[str, _File] = {}
    for each in (files("app") / "web").iterdir():
        media_type = _MEDIA_TYPES.get(PurePath(each.name).suffix)
        if media_type:
            content = each.read_bytes()
            web[each.name] = _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return web


def _served(request: Request, file: _File, headers: Mapping[str, str]) -> Response:
    """The file, or 304 where the browser holds it. It asks every time, so that a new version shows at once."""
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", **headers}
    held = request.headers.get("if-none-match", "")
    if file.etag in [tag.strip().removeprefix("W/") for tag in held.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


class SafeHeaders:
    """ASGI middleware: every response says that its type is not to be guessed and that it is not for frames, and, where
    it does not say otherwise, that no page of another origin may include it and that nobody may keep it. What is no
    page may do nothing at all where a browser shows it as one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                page = headers.get("content-type", "").startswith("text/html")
                policy = _FRAMED_NOWHERE if page else f"default-src 'none'; {_FRAMED_NOWHERE}"
                headers.setdefault("Content-Security-Policy", policy)
            await send(message)

        await self._app(scope, receive, safe)
