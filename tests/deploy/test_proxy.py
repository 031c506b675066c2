"""The examples for proxies, run as they stand but for addresses and certificates, where the proxy is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import ChatServer, Messages, Reply
from tests.serving import served

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

EXAMPLES = Path(__file__).parent.parent.parent / "deploy/proxy"
NAME = "onrecord.example"
PATHS = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


class Certificate(NamedTuple):
    chain: Path
    key: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def nginx(folder: Path, certificate: Certificate, port: int, behind: str) -> list[str]:
    site = (EXAMPLES / "nginx.conf").read_text()
    for written, meant in {
        r"listen 80;": f"listen 127.0.0.1:{free_port()};",
        r"listen 443": f"listen 127.0.0.1:{port}",
        r"listen \[::\].*;": "",
        r"127\.0\.0\.1:8000;": f"{behind};",
        r"/etc/ssl/onrecord/fullchain\.pem": str(certificate.chain),
        r"/etc/ssl/onrecord/privkey\.pem": str(certificate.key),
    }.items():
        site, found = re.subn(written, meant, site)
        assert found, written
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    elsewhere = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    whole = folder / "nginx.conf"
    whole.write_text(
        f"{'user root;' if os.getuid() == 0 else ''} daemon off; worker_processes 1; pid {folder}/pid;"
        f" error_log stderr; events {{}} http {{ access_log off; {elsewhere}\n{site} }}"
    )
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(whole)]


def caddy(folder: Path, certificate: Certificate, port: int, behind: str) -> list[str]:
    site = (EXAMPLES / "Caddyfile").read_text()
    for written, meant in {
        rf"^{NAME} {{": f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\nhttps://{NAME}:{port} {{\n"
        f"\tbind 127.0.0.1\n\ttls {certificate.chain} {certificate.key}\n",
        r"reverse_proxy 127\.0\.0\.1:8000": f"reverse_proxy {behind}",
    }.items():
        site, found = re.subn(written, meant, site, flags=re.MULTILINE)
        assert found, written
    (folder / "Caddyfile").write_text(site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


Command = Callable[[Path, Certificate, int, str], list[str]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    request += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(made.chain), "-keyout", str(made.key)]
    subprocess.run(request, check=True, capture_output=True)
    return made


@contextmanager
def proxied(command: Command, folder: Path, certificate: Certificate, url: str) -> Iterator[httpx2.Client]:
    """A client of the proxy, which speaks to a server at `url`."""
    port = free_port()
    [program, *arguments] = command(folder, certificate, port, url.removeprefix("http://"))
    found = shutil.which(program, path=PATHS)
    if found is None:
        pytest.skip(f"{program} is not installed")
    trusted = ssl.create_default_context(cafile=str(certificate.chain))
    home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen([found, *arguments], stdout=errors, stderr=errors, env=home) as running,
        httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=60) as client,
    ):
        client.headers["Host"] = NAME
        client.event_hooks["request"].append(lambda request: request.extensions.update(sni_hostname=NAME))
        try:
            for _ in range(600):
                try:
                    client.get("/healthz")
                    break
                except httpx2.ConnectError:
                    assert running.poll() is None, log.read_text()
                    time.sleep(0.1)
            yield client
        finally:
            running.terminate()
            running.wait(30)


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({**request.headers, "bytes": len(await request.body())})


@pytest.mark.parametrize("command", [nginx, caddy])
def test_what_a_client_says_of_itself_is_not_passed_on(
    command: Command, certificate: Certificate, tmp_path: Path
) -> None:
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
    with served(app) as url, proxied(command, tmp_path, certificate, url) as client:  # type: ignore[arg-type]
        response = client.get("/", headers=forged)
        seen = response.json()
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
        assert seen["host"] == NAME
        assert "max-age" in response.headers["strict-transport-security"]
        assert client.get("/metrics").status_code == 404
        assert client.post("/", content=b"x" * 900_000).json()["bytes"] == 900_000
        assert client.post("/", content=b"x" * 2_000_000).status_code in (413, 502)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


def first_number(messages: Messages) -> int:
    """Of the sentence that the model is to cite."""
    return int(re.findall(r"^\[(\d+)\] If the only way", messages[1]["content"], re.MULTILINE)[0])


@pytest.mark.parametrize("command", [nginx, caddy])
def test_an_answer_comes_through_as_it_is_written(
    command: Command,
    certificate: Certificate,
    tmp_path: Path,
    sample_index: Path,
    embedder: Embedder,
    chat_server: ChatServer,
) -> None:
    settings = Settings(
        index_dir=sample_index,
        public_url=f"https://{NAME}",
        conversations=":memory:",
        feedback=":memory:",
        openai_base_url=chat_server.url,
        llm_model="scripted",
    )
    body = {"question": "what did Beykpour say about OKRs?", "stream": True}
    with (
        served(create_app(settings, embedder)) as url,
        proxied(command, tmp_path, certificate, url) as client,
    ):
        chat_server.otherwise = lambda messages: json.dumps(
            {
                "answered": True,
                "sentences": [{"cites": [first_number(messages)], "text": "Kayvon Beykpour warns of OKRs."}],
            }
        )
        whole = client.post("/v1/ask", json=body).text
        assert whole.startswith("event: passages")
        assert "event: done" in whole
        # The model writes one sentence and then nothing, for ever: what is seen was not held back until an end.
        number = first_number(chat_server.last.body["messages"])
        begun = {"answered": True, "sentences": [{"cites": [number], "text": "Kayvon Beykpour warns of OKRs."}]}
        chat_server.otherwise = Reply(json.dumps(begun)[:-2] + ', {"cites"', end="hang")
        seen = list[str]()
        with client.stream("POST", "/v1/ask", json=body) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                seen.append(line)
                if line == "event: token":
                    break
        assert seen[0] == "event: passages"
        assert "event: citation" in seen
        assert "event: done" not in seen
        assert chat_server.last.gone.wait(30), "a reader that goes away behind the proxy ends the call to the model"
