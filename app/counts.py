"""Room for what each of several workers counts, in files that Prometheus' client maps into memory."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The client's own variable; it counts in memory where that is not set when it is first loaded."""
KINDS = ("counter", "histogram")
BYTES = 1 << 20
"""Of each file; some 200 KB are used, since there are only so many routes and outcomes."""


def reserve_counts() -> OSError | None:
    """Writes this process's files before they are mapped: a page that a full disk has no room for ends the process.

    Where there is none, the process counts in memory, and tells at /metrics of itself alone.
    """
    try:
        for kind in KINDS:
            Path(os.environ[FOLDER], f"{kind}_{os.getpid()}.db").write_bytes(bytes(BYTES))
    except OSError as error:
        del os.environ[FOLDER]
        return error
    return None
