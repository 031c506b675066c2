"""What the JSON readers share: `{"segments": [...]}` checked against a model, every fault with its segment and line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json

from ingest.errors import ReadError
from ingest.turns import fold

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]

_Model = TypeVar("_Model", bound=BaseModel)
_OBJECT_WITH_SEGMENTS = re.compile(r'\s*\{.*?"segments"\s*:', re.DOTALL)
_SEGMENTS = re.compile(r'"segments"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_LINE_IN_MESSAGE = re.compile(r" at line (\d+) column \d+$")


def has_segments(text: str) -> bool:
    """Whether the text is an object with a field `segments`, be it cut off or not."""
    return _OBJECT_WITH_SEGMENTS.match(text) is not None


def refuse_other_json(path: Path, text: str) -> None:
    """Raises ReadError for JSON without segments, lest it pass for prose; `[00:12] Name: words` is no JSON."""
    if has_segments(text) or text.lstrip()[:1] not in ("{", "["):
        return
    try:
        from_json(text)
    except ValueError as error:
        if path.suffix.lower() != ".json":
            return
        raise _malformed(path, str(error)) from error
    shapes = "`startTime`, `endTime`, `body` (Podcasting 2.0) or `start`, `end`, `text` (Whisper)"
    raise ReadError(path, f'is JSON of a shape that is not read: write {{"segments": […]}} with {shapes}')


def speaker_name(speaker: str | None) -> str | None:
    """The name with white space folded; an empty one is nobody's."""
    return fold(speaker or "") or None


def read_segments(path: Path, text: str, model: type[_Model]) -> _Model:
    """The file as that model; raises ReadError that names the line, and the segment and field where one is at fault."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
    message = fault["msg"].removeprefix("Invalid JSON: ")
    if fault["type"] == "json_invalid":
        raise _malformed(path, message)
    where = [str(step) for step in fault["loc"]]
    if len(where) < 2 or where[0] != "segments":
        raise ReadError(path, f"{'.'.join(where) or 'the file'}: {message}")
    index = int(where[1])
    field = f"segment {index}, {where[2]}" if len(where) > 2 else f"segment {index}"
    raise ReadError(path, f"{field}: {message}", _line_of_segment(text, index))


def _malformed(path: Path, message: str) -> ReadError:
    at = _LINE_IN_MESSAGE.search(message)
    return ReadError(path, f"is not valid JSON: {_LINE_IN_MESSAGE.sub('', message)}", int(at[1]) if at else None)


def _line_of_segment(text: str, index: int) -> int | None:
    found = _SEGMENTS.search(text)
    if found is None:
        return None
    decoder, at = json.JSONDecoder(), found.end()
    try:
        for _ in range(index):
            at = decoder.raw_decode(text, _skip_between(text, at))[1]
    except (ValueError, RecursionError):
        return None
    return text.count("\n", 0, _skip_between(text, at)) + 1


def _skip_between(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at
