"""Builds the image from the Dockerfile as it stands and tries it, with no network, a read-only root and no rights.

    python deploy/prove.py [--base ARCHIVE] [--volume FROM:TO:ro]...

On Debian, as root, with buildah, podman, crun and debootstrap. No registry of images is asked: unless `--base` names an
archive of the real one, `python:3.11-slim` is made of Debian's packages, with Debian's Python. `--volume` is for the
build alone: it lets pip see, say, the certificates of a proxy. The exit code is 1 where anything is not as it should.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
BASE = "docker.io/library/python:3.11-slim"
IMAGE = "localhost/onrecord:tried"
LARGEST = 600_000_000
KEY = "a-key-of-this-trial-alone-0123456789"
QUESTION = "what did Beykpour say about OKRs?"
QUOTED = "the only way the organization is trained to think"
NOT_IN_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache", "var/lib/apt/lists")
WITHIN = f"""
import json, urllib.request
asked = urllib.request.Request("http://127.0.0.1:8000/v1/ask", json.dumps({{"question": {QUESTION!r}}}).encode(),
    {{"Content-Type": "application/json", "Authorization": "Bearer {KEY}"}})
print(urllib.request.urlopen(asked, timeout=30).read().decode())
"""


@dataclass(slots=True)
class Trial:
    """Containers of one image, their storage in a folder of its own; `failed` are the checks that did."""

    folder: Path
    failed: list[str] = field(default_factory=list[str])

    def engine(self, program: str, *arguments: str) -> list[str]:
        storage = ["--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run"]
        return [program, *storage, *arguments]

    def podman(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = self.engine("podman", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if check and done.returncode:
            sys.exit(f"podman {' '.join(arguments)}: {done.stderr}")
        return done

    def run(self, *arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return self.podman("run", "--rm", *self.confined(), *options, IMAGE, *arguments, check=False)

    def confined(self) -> list[str]:
        """What `compose.yaml` and the manifests ask for, and less: there is no network."""
        return [
            *("--network", "none", "--read-only", "--read-only-tmpfs=false"),
            # A machine that runs this may have no systemd, and no right to raise limits.
            *("--cgroups", "disabled", "--ulimit", "host", "--health-interval", "disable"),
            *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:rw,noexec,nosuid,size=64m"),
            *("--volume", f"{ROOT}/corpus:/corpus:ro", "--volume", "tried:/index"),
        ]

    def check(self, name: str, holds: bool, seen: object = "") -> None:
        print(f"{'ok  ' if holds else 'FAIL'}  {name}{f': {seen}' if seen else ''}", flush=True)
        if not holds:
            self.failed.append(name)


def make_base(trial: Trial) -> None:
    """Debian without what its slim images leave out, and its Python where the official image has one of its own."""
    system = trial.folder / "system"
    packages = "ca-certificates,netbase,tzdata,python3,python3-venv"
    subprocess.run(
        [
            "debootstrap",
            "--variant=minbase",
            f"--include={packages}",
            "bookworm",
            system,
            "http://deb.debian.org/debian",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (system / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for left_out in NOT_IN_SLIM:
        shutil.rmtree(system / left_out)
        (system / left_out).mkdir()
    for compiled in list((system / "usr").rglob("__pycache__")):
        shutil.rmtree(compiled)
    archive = trial.folder / "system.tar"
    subprocess.run(["tar", "--create", "--numeric-owner", "--file", archive, "--directory", system, "."], check=True)
    trial.podman("import", str(archive), BASE)


def build(trial: Trial, volumes: Sequence[str]) -> None:
    """`--format docker`: the other format has no health checks."""
    given = [each for volume in volumes for each in ("--volume", volume)]
    subprocess.run(
        trial.engine(
            "buildah",
            *(
                "build",
                "--isolation",
                "chroot",
                "--layers",
                "--pull-never",
                "--format",
                "docker",
                "--tag",
                IMAGE,
                *given,
            ),
            str(ROOT),
        ),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def sizes(trial: Trial) -> None:
    [base] = json.loads(trial.podman("image", "inspect", BASE).stdout)
    layers = json.loads(trial.podman("history", "--format", "json", IMAGE).stdout)
    ours = [(layer["size"], layer["CreatedBy"]) for layer in reversed(layers) if layer["size"]][1:]
    for size, made_by in [(base["Size"], "the base image"), *ours]:
        print(f"      {size / 1e6:6.1f} MB  {made_by[:90]}")
    whole = base["Size"] + sum(size for size, _ in ours)
    trial.check(f"under {LARGEST // 1_000_000} MB", whole < LARGEST, f"{whole / 1e6:.1f} MB")


def commands(trial: Trial) -> None:
    """What is asked for once and ends."""
    who = trial.run("-c", "import os; print(os.getuid(), os.getgid())", options=["--entrypoint", "python"])
    trial.check("is not root", who.stdout.split() == ["10001", "10001"], who.stdout.strip() or who.stderr)
    for place in ("/", "/opt/onrecord", "/corpus", "/home", "/var/tmp"):
        wrote = trial.run("-c", f"open('{place}/written', 'w')", options=["--entrypoint", "python"])
        trial.check(f"cannot write to {place}", "OSError" in wrote.stderr or "Permission" in wrote.stderr)
    ingested = trial.run("ingest", "/corpus", "--json")
    trial.check("ingests", ingested.returncode == 0 and json.loads(ingested.stdout)["sources"]["added"] == 3)
    asked = trial.run("ask", QUESTION, "--json")
    trial.check("answers", asked.returncode == 0 and QUOTED in asked.stdout, asked.stderr)
    trial.check("verifies", trial.run("verify").stdout == "ok\n")
    saved = trial.run("backup", "/index/saved.zip")
    trial.check("backs up", saved.returncode == 0, (saved.stdout + saved.stderr).strip())
    refused = trial.run()
    told = "ONRECORD_API_KEYS" in refused.stderr
    trial.check(
        "without keys it does not serve, and says why", refused.returncode == 2 and told, refused.stderr.strip()
    )


def serving(trial: Trial) -> None:
    """The image as it starts by itself, with a key."""
    started = ["run", "--detach", "--name", "served", "--init=false", *trial.confined()]
    trial.podman(*started, "--env", f"ONRECORD_API_KEYS=trial:{KEY}", IMAGE)
    try:
        healthy = until(lambda: trial.podman("healthcheck", "run", "served", check=False).returncode == 0)
        trial.check("its health check holds", healthy)
        asked = trial.podman("exec", "served", "python", "-c", WITHIN, check=False)
        trial.check("answers over HTTP", QUOTED in asked.stdout, asked.stderr)
        stranger = trial.podman("exec", "served", "python", "-c", WITHIN.replace(KEY, "another" * 5), check=False)
        trial.check("answers nobody without the key", "401" in stranger.stderr)
        changed = trial.podman("diff", "served").stdout.split("\n")
        ours = [line for line in changed if line and line.split()[-1].split("/")[1] not in ("dev", "run", "etc", "tmp")]
        trial.check("its file system is as it was built", not ours, " ".join(ours))
        trial.podman("stop", "--time", "30", "served")
        [state] = json.loads(trial.podman("inspect", "served").stdout)
        trial.check("ends in order", state["State"]["ExitCode"] == 0, state["State"]["ExitCode"])
    finally:
        with suppress(subprocess.SubprocessError):
            print(trial.podman("logs", "served", check=False).stderr if trial.failed else "", end="")
        trial.podman("rm", "--force", "served")


def until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="an archive of python:3.11-slim, as `podman save` writes it")
    parser.add_argument("--volume", action="append", default=[])
    given = parser.parse_args()
    if missing := [each for each in ("buildah", "podman", "crun", "debootstrap") if shutil.which(each) is None]:
        sys.exit(f"apt-get install {' '.join(missing)}")
    with TemporaryDirectory(prefix="onrecord-image-") as folder:
        trial = Trial(Path(folder))
        if given.base:
            trial.podman("load", "--input", given.base)
        else:
            make_base(trial)
        build(trial, given.volume)
        sizes(trial)
        trial.podman("volume", "create", "tried")
        commands(trial)
        serving(trial)
        trial.podman("system", "reset", "--force", check=False)
    print(f"{len(trial.failed)} failed")
    return 1 if trial.failed else 0


if __name__ == "__main__":
    sys.exit(main())
