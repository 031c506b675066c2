"""What is broken on purpose."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.disks import Disk, can_mount, small_disk


@pytest.fixture
def small() -> Iterator[Callable[[int], Disk]]:
    """Makes a disk of so many KiB."""
    if not can_mount():
        pytest.skip("this system lets us mount nothing: it takes Linux and its user namespaces")
    with tempfile.TemporaryDirectory() as name, ExitStack() as disks:
        yield lambda kib: disks.enter_context(small_disk(Path(name) / "disk", kib))


@pytest.fixture
def bound() -> Callable[[list[str]], list[str]]:
    """Makes of a command one to which files are closed that are: root has to do without what opens them all."""
    if os.geteuid() != 0:
        return lambda command: command
    if not shutil.which("setpriv"):
        pytest.skip("nothing is closed to root, and there is no setpriv")
    return lambda command: ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
