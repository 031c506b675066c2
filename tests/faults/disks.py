"""A real file system of a few megabytes, or one that becomes read-only, seen by nobody else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_TOOLS = ("unshare", "nsenter", "mount")
_UNSHARE = ("unshare", "--mount", "--map-root-user")


def can_mount() -> bool:
    """Whether this system lets a process have mounts of its own (Linux' namespaces)."""
    if not all(map(shutil.which, _TOOLS)):
        return False
    mounting = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounting, capture_output=True, check=False).returncode == 0


class Disk:
    """A disk at `folder`, for the commands that `inside` gives; `seen` is the same folder for everybody else."""

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder
        self.seen = Path(f"/proc/{holder}/root{folder}")
        self._enter = ("nsenter", "-t", str(holder), "--user", "--mount", "--preserve-credentials", "--")

    def inside(self, command: list[str]) -> list[str]:
        """The command as one that sees the disk."""
        return [*self._enter, *command]

    def resize(self, kib: int) -> None:
        self._remount(f"size={kib}k")

    def used(self) -> int:
        """KiB."""
        return int(self._run("du", "-sk", self.folder).split()[0])

    def close_for_writing(self) -> None:
        """Nothing may be open for writing there."""
        self._remount("ro")

    def fill(self) -> None:
        """Leaves no byte free."""
        self._run("sh", "-c", f"cat /dev/zero > '{self.folder}/filled' 2> /dev/null; [ $? != 0 ]")

    def free(self) -> None:
        """Takes away what `fill` wrote."""
        self._run("rm", self.folder / "filled")

    def _remount(self, option: str) -> None:
        self._run("mount", "-o", f"remount,{option}", self.folder)

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(self.inside([*map(str, command)]), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def small_disk(folder: Path, kib: int) -> Generator[Disk]:
    """A disk of so many KiB mounted at the folder, gone with what is on it when the context ends."""
    folder.mkdir()
    script = f"mount -t tmpfs -o size={kib}k tmpfs '{folder}' && echo mounted && exec cat"
    with subprocess.Popen(
        [*_UNSHARE, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == "mounted\n"
        try:
            yield Disk(folder, holder.pid)
        finally:
            holder.stdin.close()
