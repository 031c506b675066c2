"""Until when a request may take: said where it comes in, and heeded by whatever waits for somebody else."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def until(moment: float) -> Generator[None]:
    """What is begun inside, tasks and threads too, has until then; `moment` is on the event loop's clock."""
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float:
    """On the event loop's clock; infinite where nobody waits."""
    return _deadline.get()
