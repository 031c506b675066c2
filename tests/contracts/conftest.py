"""Somewhere new to keep an index, in each of the stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from index.where import Server, Where

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer


@pytest.fixture(scope="session", params=["local", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Where]:
    """Gives a place where no index is yet, each time another."""
    if request.param == "local":
        return lambda: tmp_path_factory.mktemp("kept") / "snapshots"
    server: PostgresServer = request.getfixturevalue("postgres")
    return lambda: Server(server.new_database(f"kept-{uuid4()}"))


@pytest.fixture
def place(new_place: Callable[[], Where]) -> Where:
    """A place where no index is yet."""
    return new_place()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> tuple[Path, Server]:
    """One in each of the stores."""
    return tmp_path_factory.mktemp("kept") / "snapshots", Server(postgres.new_database(f"kept-{uuid4()}"))
