"""YAML from strangers: plain values only, no aliases, a bounded size, and every error with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ingest.errors import ReadError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class PlainYaml:
    """The value of a YAML text, and where in the file its parts stand."""

    value: object
    node: yaml.Node | None
    first_line: int

    def line_of(self, path: Sequence[str | int]) -> int | None:
        """The line of the part at `path`, or of the nearest part above it that exists."""
        if self.node is None:
            return None
        node, line = self.node, self.node.start_mark.line
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return self.first_line + line


def load_plain_yaml(path: Path, text: str, first_line: int = 1) -> PlainYaml:
    """The YAML `text`, which begins at `first_line` of the file `path`."""
    if len(text.encode()) > MAX_BYTES:
        raise ReadError(path, f"has more than {MAX_BYTES // 1024} KiB of YAML: keep only fields about the document")
    try:
        _refuse_tricks(path, text, first_line)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        value: object = None
        if node is not None:
            value = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else first_line + mark.line
        raise ReadError(path, f"is not valid YAML: {error.problem or error.context}", line) from error
    except yaml.reader.ReaderError as error:
        line = first_line + text.count("\n", 0, error.position)
        raise ReadError(path, f"is not valid YAML: {error.reason}", line) from error
    except ValueError as error:
        raise ReadError(path, f"holds a value that YAML cannot read: {error}", first_line) from error
    return PlainYaml(value, node, first_line)


def _refuse_tricks(path: Path, text: str, first_line: int) -> None:
    """Raises ReadError where aliases would multiply what is read, or nesting the time it takes (to its square)."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        reason = None
        if isinstance(event, yaml.AliasEvent):
            reason = "has YAML aliases (*name), which are not read: write the value out"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            reason = "is YAML nested too deep to be a description of a document" if depth > MAX_DEPTH else None
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if reason:
            raise ReadError(path, reason, None if event.start_mark is None else first_line + event.start_mark.line)


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark.line, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line, child
    return None
