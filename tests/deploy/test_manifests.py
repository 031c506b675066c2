"""What the image, compose.yaml and the manifests say fits together, and with the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
MANIFESTS: dict[str, list[dict[str, Any]]] = {
    path.name: list(yaml.safe_load_all(path.read_text())) for path in KUBERNETES.glob("*.yaml")
}
USER = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
[PORT] = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)


def pods() -> Iterator[dict[str, Any]]:
    for manifest in (each for manifests in MANIFESTS.values() for each in manifests):
        if manifest["kind"] == "Deployment":
            yield manifest["spec"]["template"]["spec"]
        if manifest["kind"] == "CronJob":
            yield manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def secrets() -> list[dict[str, Any]]:
    return MANIFESTS["secrets.example.yaml"]


def test_all_manifests_are_applied_but_the_example() -> None:
    [applied] = MANIFESTS["kustomization.yaml"]
    assert {*applied["resources"], "kustomization.yaml", "secrets.example.yaml"} == MANIFESTS.keys()


def test_only_settings_that_there_are_are_set() -> None:
    known = {str(field.validation_alias or f"ONRECORD_{name.upper()}") for name, field in Settings.model_fields.items()}
    named = set(re.findall(r"\bONRECORD_[A-Z_]+\b", DOCKERFILE))
    named |= {name.upper() for name in COMPOSE["secrets"] if name != "db_password"}
    named |= set(COMPOSE["services"]["app"]["environment"])
    named |= {each["name"] for pod in pods() for each in pod["containers"][0].get("env", ())}
    named |= set(secrets()[0]["stringData"])
    named |= set(re.findall(r"ONRECORD_[A-Z_]+", "".join(path.read_text() for path in KUBERNETES.parent.glob("*/*"))))
    assert len(named) > 5
    assert named <= known


def test_nothing_runs_as_root_or_writes_where_it_may_not() -> None:
    assert USER == [("10001", "10001")]
    assert DOCKERFILE.rindex("\nUSER ") > DOCKERFILE.rindex("\nRUN ")
    for pod in pods():
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"])) == USER[0]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        written = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}
        assert written == {"/index", "/tmp"}
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        assert not pod["automountServiceAccountToken"]
    for name in ("app", "ingest"):
        service = COMPOSE["services"][name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"].startswith("/tmp:")
        assert [each.split(":")[1] for each in service["volumes"] if not each.endswith(":ro")] == ["/index"]


def test_secrets_are_files_that_are_named_as_settings() -> None:
    assert set(COMPOSE["services"]["app"]["secrets"]) <= COMPOSE["secrets"].keys()
    assert {path["file"].split("/")[0] for path in COMPOSE["secrets"].values()} == {"secrets"}
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()
    names = {secret["metadata"]["name"] for secret in secrets()}
    for pod in pods():
        assert {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each} <= names


def test_ports_and_probes_are_those_of_the_program(tmp_path: Path, embedder: Embedder) -> None:
    [deployment, _] = MANIFESTS["deployment.yaml"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": int(PORT)}]
    routes = create_app(Settings(index_dir=tmp_path), embedder).openapi()["paths"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
    assert COMPOSE["services"]["app"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert f"127.0.0.1:{PORT}/healthz" in DOCKERFILE
    [service] = MANIFESTS["service.yaml"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    images = {pod["containers"][0]["image"] for pod in pods()}
    assert len(images) == 1


def test_the_image_has_what_the_build_needs_and_no_more() -> None:
    context = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")]
    copied = [each for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for each in line.split()]
    for name in set(copied) - {"./"}:
        assert (ROOT / name).exists()
        assert any(Path(name).match(pattern) for pattern in context), name
    assert not {"corpus", "tests", "secrets", ".git"} & set(copied)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_the_image_installs_nothing_that_is_not_locked(name: str) -> None:
    assert f"--require-hashes -r {name}" in DOCKERFILE
    pins = re.findall(r"^[\w.-]+(?:\[\w+\])?==.*(?:\n    .*)*", (ROOT / name).read_text(), re.MULTILINE)
    assert pins
    assert all("--hash=sha256:" in pin for pin in pins)
