"""How often somebody may ask: so many requests in a minute for each key, each listed origin and each address."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from importlib.util import find_spec
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Literal

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.errors import AnswerError
from app.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

Kind = Literal["key", "page", "address"]
Counted = tuple[Kind, str]

STORE_SECONDS = 0.5
"""How long a request waits for the store that counts for several servers."""
PAUSE_SECONDS = 5.0
"""How long that store is left alone when it did not answer; meanwhile each server counts by itself."""
_PREFIX = "onrecord"

_log = structlog.get_logger()


class Rates:
    """Counts requests in memory, or in Redis for all servers that share it; used within one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises AnswerError where the store cannot be used with what is installed."""
        allowed: dict[Kind, int] = {
            "key": settings.key_requests_per_minute,
            "page": settings.origin_requests_per_minute,
            "address": settings.address_requests_per_minute,
        }
        self._limits = {kind: RateLimitItemPerMinute(most, namespace=kind) for kind, most in allowed.items() if most}
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = _pool(settings.rate_store.get_secret_value()) if settings.rate_store else None
        self._shared = _shared(self._pool) if self._pool else None
        self._paused_until = 0.0

    async def wait(self, counted: Iterable[Counted]) -> tuple[int, str]:
        """The seconds to wait, and what is allowed; none where the request, which is counted now, may go on."""
        for kind, name in counted:
            limit = self._limits.get(kind)
            if limit is None:
                continue
            if seconds := await self._hit(limit, name):
                return seconds, f"{limit.amount} requests in a minute are allowed for one {kind}."
        return 0, ""

    async def close(self) -> None:
        """Ends the connections to the store."""
        if self._pool:
            await self._pool.aclose()

    async def _hit(self, limit: RateLimitItemPerMinute, name: str) -> int:
        if self._shared and time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    return await _seconds(self._shared, limit, name)
            except Exception as error:  # noqa: BLE001  whatever it is, those who ask shall not suffer from it
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                _log.warning("rates counted without the store", reason=type(error).__name__)
        return await _seconds(self._own, limit, name)


async def _seconds(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItemPerMinute, name: str) -> int:
    if await limiter.hit(limit, name):
        return 0
    stats = await limiter.get_window_stats(limit, name)
    return max(1, math.ceil(stats.reset_time - time.time()))


def _pool(url: str) -> ConnectionPool:
    if find_spec("redis") is None:
        raise AnswerError("ONRECORD_RATE_STORE needs the extra: pip install 'onrecord[redis]'")
    from redis.asyncio import ConnectionPool

    try:
        return ConnectionPool.from_url(url)  # pyright: ignore[reportUnknownMemberType]  its options are untyped
    except ValueError:  # which repeats what may hold a password
        raise AnswerError("ONRECORD_RATE_STORE is not an address such as redis://host:6379/0") from None


def _shared(pool: ConnectionPool) -> SlidingWindowCounterRateLimiter:
    from limits.aio.storage import RedisStorage

    options: Any = {"connection_pool": pool}  # the types know only text and numbers
    return SlidingWindowCounterRateLimiter(
        RedisStorage("async+redis://", implementation="redispy", key_prefix=_PREFIX, **options)
    )


def address_counted(host: str) -> list[Counted]:
    """An address as it is counted: not where only this machine can have it, IPv6 by the network that one site has."""
    try:
        address = ip_address(host)
    except ValueError:
        return []  # of a socket that has none
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return []
    if isinstance(address, IPv6Address):
        return [("address", str(IPv6Network((int(address), 64), strict=False)))]
    return [("address", str(address))]
