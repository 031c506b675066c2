"""Errors over HTTP: everything that is not a success is a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import UnknownFilterError
from index.errors import IndexingError, NoSnapshotError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_OPENAI = ("/v1/chat/", "/v1/models")
CLIENT_CLOSED_REQUEST = 499
"""nginx's code for it; nobody receives it, but logs and metrics have it."""

_log = structlog.get_logger()


class Problem(BaseModel):
    """`errors` has a `field` and a `message` for each part of a request that is at fault."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


class FieldError(Exception):
    """A part of a request that is well-formed, and still cannot be served."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class ClientGoneError(Exception):
    """Whoever asked has closed the connection."""


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
) -> JSONResponse:
    """A response; `errors` are (field, message) pairs. With a `code` it is one that OpenAI's clients understand too."""
    named = [{"field": field, "message": message} for field, message in errors]
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=named or None)
    document = body.model_dump(exclude_none=True)
    if code:
        document["error"] = openai_error(status, detail, code=code)
    return JSONResponse(document, status, headers, MEDIA_TYPE)


def refusal(
    scope: Scope, status: int, detail: str, code: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """What a middleware answers instead of the app: on OpenAI's routes with an error of theirs, of that `code`."""
    return problem(status, detail, headers=headers, code=code if scope["path"].startswith(_OPENAI) else None)


def openai_error(status: int, message: str, *, param: str | None = None, code: str | None) -> dict[str, str | None]:
    """The member `error`, as OpenAI's clients expect it."""
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return {"message": message, "type": kind, "param": param, "code": code}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of these statuses."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def add_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the app a problem document."""
    app.exception_handler(RequestValidationError)(_not_valid)
    app.exception_handler(FieldError)(_field)
    app.exception_handler(UnknownFilterError)(_field)
    app.exception_handler(NoSnapshotError)(_no_snapshot)
    app.exception_handler(IndexingError)(_index_lost)
    app.exception_handler(ClientGoneError)(_gone)
    app.exception_handler(HTTPException)(_http)
    app.add_middleware(_Unforeseen)


async def _not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
    found: list[tuple[str, str]] = []
    for each in error.errors():
        if each["type"] == "json_invalid":
            reason = f"is not JSON: {each['ctx']['error']} at character {each['loc'][-1]}"
            return problem(400, f"The body {reason}.", errors=[("body", reason)])
        where, *path = each["loc"]
        found.append((".".join(map(str, path)) or str(where), str(each["msg"]).removeprefix("Value error, ")))
    return problem(422, "; ".join(f"{field}: {message}" for field, message in found), errors=found)


async def _field(request: Request, error: FieldError | UnknownFilterError) -> JSONResponse:
    return problem(422, f"{error.field}: {error}", errors=[(error.field, str(error))])


async def _no_snapshot(request: Request, error: NoSnapshotError) -> JSONResponse:
    return problem(503, str(error), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _index_lost(request: Request, error: IndexingError) -> JSONResponse:
    _log.error("index not read", reason=str(error))
    return problem(503, "The index cannot be read at the moment.", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _gone(request: Request, error: ClientGoneError) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    # FastAPI's one use of 400: bytes that are not UTF-8, numbers too long, brackets too deep.
    errors = [("body", "cannot be read as JSON")] if error.status_code == HTTPStatus.BAD_REQUEST else []
    return problem(error.status_code, error.detail, errors=errors, headers=error.headers)


class _Unforeseen:
    """ASGI middleware: an error that nobody handles becomes a problem document, and is raised on for the log.

    Not an exception handler: Starlette runs the one for all errors outside of the middleware that adds headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] == "http" and not begun:
                refusal = problem(500, "Something went wrong here; the server's log has the details.")
                await refusal(scope, receive, send)
            raise
