"""The real command, run to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.real_server import ROOT, clean_environment

Ran = subprocess.CompletedProcess[str]


def onrecord(*arguments: str | Path) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "app", *map(str, arguments)]


def run(*arguments: str | Path, enter: Callable[[list[str]], list[str]] = lambda command: command, **how: Any) -> Ran:
    """What became of it; `enter` makes of it a command that runs where it should, `how` is for Popen."""
    how = {"env": clean_environment(), "cwd": ROOT, "timeout": 120, "check": False, **how}
    return subprocess.run(enter(onrecord(*arguments)), capture_output=True, text=True, **how)


def assert_says(ran: Ran, *parts: str) -> None:
    """That it failed with one line of these parts, and no stack trace."""
    assert ran.returncode == 1, ran
    line = ran.stderr.strip().splitlines()[-1]
    assert line.startswith("onrecord: "), ran.stderr
    assert "Traceback" not in ran.stderr
    for part in parts:
        assert part in line
