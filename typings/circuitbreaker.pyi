from collections.abc import Iterable
from types import TracebackType

class CircuitBreaker:
    def __init__(
        self,
        failure_threshold: int | None = None,
        recovery_timeout: float | None = None,
        expected_exception: Iterable[type[BaseException]] | None = None,
    ) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool: ...
    @property
    def opened(self) -> bool: ...
