"""How much one file may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one file: its size, what it inflates to, and the seconds its conversion to text may take."""

    max_file_bytes: int = 32 * MIB
    max_inflated_bytes: int = 256 * MIB
    max_seconds: float = 60.0
