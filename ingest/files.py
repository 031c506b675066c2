"""Files are opened here, so that nothing is waited for: a named pipe may stay silent, and a device never end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_file(path: Path) -> BufferedReader:
    """The bytes of a file. Raises OSError where it cannot be opened, or is no regular file."""
    file = open(path, "rb", opener=_opened)  # noqa: SIM115  whoever asked for it closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # not on Windows, which has no such files
