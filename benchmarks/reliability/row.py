"""One line of the table: a promise, and what became of it when it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Row:
    """`seen` are figures worth telling. Each of `faults` is one failure, in words."""

    promise: str
    trials: int = 0
    seen: str = ""
    faults: list[str] = field(default_factory=list[str])

    def check(self, holds: bool, fault: str) -> None:
        """One more trial; where it does not hold, the fault is kept."""
        self.trials += 1
        if not holds:
            self.faults.append(fault)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of the others do not exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
