"""Builds the image from the Dockerfile as it stands and tries it, with no network, a read-only root and no rights.

    python deploy/prove.py [--base ARCHIVE] [--volume FROM:TO:ro]...

On Debian, as root, with buildah, podman, debootstrap and bubblewrap. No registry of images is asked: unless `--base`
names an archive of the real one, `python:3.11-slim` is made of Debian's packages, with Debian's Python. `--volume` is
for the build alone: it lets pip see, say, the certificates of a proxy. What was built is run by bubblewrap, as another
user of this machine: an engine would want control groups and a daemon. The exit code is 1 where anything is not as it
should be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parent.parent
BASE = "docker.io/library/python:3.11-slim"
IMAGE = "localhost/onrecord:tried"
LARGEST = 600_000_000
KEY = "a-key-of-this-trial-alone-0123456789"
QUESTION = "what did Beykpour say about OKRs?"
QUOTED = "the only way the organization is trained to think"
NOT_IN_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache", "var/lib/apt/lists")
NEEDED = {"buildah": "buildah", "podman": "podman", "debootstrap": "debootstrap", "bwrap": "bubblewrap"}

# Starts the image's own command, asks the image's own health check, then questions, and ends it as an engine would.
WITHIN = """
import json, signal, subprocess, sys, time, urllib.error, urllib.request
start, health, question, key = json.loads(sys.argv[1])
def ask(key):
    body = json.dumps({"question": question}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        asked = urllib.request.Request("http://127.0.0.1:8000/v1/ask", body, headers)
        return urllib.request.urlopen(asked, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)
server = subprocess.Popen(start, stdout=sys.stderr)
tries = 0
while subprocess.run(health, stderr=subprocess.DEVNULL).returncode and tries < 120:
    tries += 1
    time.sleep(0.5)
while urllib.request.urlopen("http://127.0.0.1:8000/healthz").status != 200:
    time.sleep(0.5)
seen = {"healthy": subprocess.run(health).returncode == 0, "answer": ask(key), "stranger": ask("another" * 5)}
server.send_signal(signal.SIGTERM)
print(json.dumps({**seen, "ended": server.wait(60)}))
"""


@dataclass(slots=True)
class Trial:
    """One image: built in storage of its own, then unpacked; `failed` are the checks that did."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    failed: list[str] = field(default_factory=list[str])

    @property
    def system(self) -> Path:
        return self.folder / "unpacked"

    def engine(self, program: str, *arguments: str) -> str:
        storage = ["--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run"]
        done = subprocess.run([program, *storage, *arguments], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{program} {' '.join(arguments)} failed")
        return done.stdout

    def confined(self, *command: str, options: Sequence[str] = (), **environment: str) -> list[str]:
        """The command as the image would run it, with what `compose.yaml` and the manifests ask for, and no network."""
        user, group = self.config["User"].split(":")
        variables = {**dict(each.split("=", 1) for each in self.config["Env"]), **environment}
        return [
            *("setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"),
            *("bwrap", "--unshare-all", "--cap-drop", "ALL", "--die-with-parent", "--clearenv"),
            *("--ro-bind", str(self.system), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
            *("--bind", f"{self.folder}/index", "/index", "--ro-bind", f"{self.folder}/corpus", "/corpus"),
            *(each for name, value in variables.items() for each in ("--setenv", name, value)),
            *("--chdir", self.config["WorkingDir"] or "/", *options),
            *command,
        ]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        confined = self.confined(*command, **environment)
        return subprocess.run(confined, capture_output=True, text=True, timeout=600)

    def onrecord(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(*self.config["Entrypoint"], *(arguments or self.config["Cmd"]), **environment)

    def check(self, name: str, holds: bool, seen: object = "") -> None:
        print(f"{'ok  ' if holds else 'FAIL'}  {name}{f': {seen}' if seen else ''}", flush=True)
        if not holds:
            self.failed.append(name)


def make_base(trial: Trial) -> None:
    """Debian without what its slim images leave out, and its Python where the official image has one of its own."""
    system = trial.folder / "system"
    packages = "--include=ca-certificates,netbase,tzdata,python3,python3-venv"
    mirror = "http://deb.debian.org/debian"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "bookworm", system, mirror],
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
    trial.engine("podman", "import", str(archive), BASE)


def build(trial: Trial, volumes: Sequence[str]) -> None:
    """Builds and unpacks. `--format docker`: the other format has no health checks."""
    given = [each for volume in volumes for each in ("--volume", volume)]
    options = ["--isolation", "chroot", "--layers", "--pull-never", "--format", "docker", "--tag", IMAGE]
    trial.engine("buildah", "build", *options, *given, str(ROOT))
    [described] = json.loads(trial.engine("podman", "image", "inspect", IMAGE))
    trial.config.update(described["Config"], Healthcheck=described.get("HealthCheck") or described.get("Healthcheck"))
    container = trial.engine("podman", "create", "--network", "none", "--no-healthcheck", IMAGE).strip()
    trial.system.mkdir()
    archive = trial.folder / "image.tar"
    trial.engine("podman", "export", "--output", str(archive), container)
    subprocess.run(["tar", "--extract", "--numeric-owner", "-pf", archive, "--directory", trial.system], check=True)
    # As a new volume is: with the owner and mode that the image has for it.
    subprocess.run(["cp", "--archive", trial.system / "index", trial.folder / "index"], check=True)
    shutil.copytree(ROOT / "corpus", trial.folder / "corpus")


def sizes(trial: Trial) -> None:
    [base] = json.loads(trial.engine("podman", "image", "inspect", BASE))
    layers = json.loads(trial.engine("podman", "history", "--format", "json", IMAGE))
    ours = [(layer["size"], layer["CreatedBy"]) for layer in reversed(layers) if layer["size"]][1:]
    for size, made_by in [(base["Size"], "the base image"), *ours]:
        print(f"      {size / 1e6:6.1f} MB  {made_by[:90]}")
    whole = base["Size"] + sum(size for size, _ in ours)
    trial.check(f"under {LARGEST // 1_000_000} MB", whole < LARGEST, f"{whole / 1e6:.1f} MB")


def commands(trial: Trial) -> None:
    """What is asked for once and ends."""
    who = trial.run("python", "-c", "import os; print(os.getuid(), os.getgid())")
    trial.check("is not root", who.stdout.split() == ["10001", "10001"], who.stdout.strip() or who.stderr)
    for place in ("/", "/opt/onrecord", "/corpus", "/home", "/var/tmp", "/etc"):
        wrote = trial.run("python", "-c", f"open('{place}/written', 'w')")
        trial.check(f"cannot write to {place}", "OSError: [Errno 30]" in wrote.stderr or "Permission" in wrote.stderr)
    lost = trial.run("python", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)")
    trial.check("has no network", "unreachable" in lost.stderr)
    ingested = trial.onrecord("ingest", "/corpus", "--json")
    trial.check("ingests", '"added": 3' in ingested.stdout, ingested.stderr.strip())
    asked = trial.onrecord("ask", QUESTION, "--json")
    trial.check("answers", asked.returncode == 0 and QUOTED in asked.stdout, asked.stderr.strip())
    trial.check("verifies", trial.onrecord("verify").stdout == "ok\n")
    saved = trial.onrecord("backup", "/index/saved.zip")
    trial.check("backs up", saved.returncode == 0, (saved.stdout + saved.stderr).strip())
    refused = trial.onrecord()
    told = "ONRECORD_API_KEYS" in refused.stderr
    trial.check(
        "without keys it does not serve, and says why", refused.returncode == 2 and told, refused.stderr.strip()
    )


def serving(trial: Trial) -> None:
    """The image's own command, with a key."""
    start = [*trial.config["Entrypoint"], *trial.config["Cmd"]]
    given = json.dumps([start, trial.config["Healthcheck"]["Test"][1:], QUESTION, KEY])
    done = trial.run("python", "-c", WITHIN, given, ONRECORD_API_KEYS=f"trial:{KEY}")
    seen = json.loads(done.stdout) if done.returncode == 0 else {}
    trial.check("its health check holds", bool(seen.get("healthy")), "" if seen else done.stderr)
    trial.check("answers over HTTP", QUOTED in seen.get("answer", ""))
    trial.check("answers nobody without the key", seen.get("stranger") == "401")
    trial.check("ends in order", seen.get("ended") == 0)


def first_process(trial: Trial) -> None:
    """As in a container, where the program is process 1 and signals that it does not handle are lost."""
    read, write = os.pipe()
    command = trial.confined(
        *(*trial.config["Entrypoint"], *trial.config["Cmd"]),
        options=["--as-pid-1", "--info-fd", str(write)],
        ONRECORD_API_KEYS=f"trial:{KEY}",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[write]) as server:
        os.close(write)
        with os.fdopen(read) as told:
            child = json.load(told)["child-pid"]
        assert server.stdout is not None
        for line in server.stdout:
            if b"index opened" in line:
                os.kill(child, signal.SIGTERM)
        trial.check("ends in order as process 1", server.wait(60) == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="an archive of python:3.11-slim, as `podman save` writes it")
    parser.add_argument("--volume", action="append", default=[])
    given = parser.parse_args()
    if missing := [package for program, package in NEEDED.items() if shutil.which(program) is None]:
        sys.exit(f"apt-get install {' '.join(missing)}")
    with TemporaryDirectory(prefix="onrecord-image-") as folder:
        trial = Trial(Path(folder))
        trial.folder.chmod(0o755)  # the other user is to find the way
        if given.base:
            trial.engine("podman", "load", "--input", given.base)
        else:
            make_base(trial)
        build(trial, given.volume)
        sizes(trial)
        commands(trial)
        serving(trial)
        first_process(trial)
        # podman leaves its storage mounted upon itself.
        subprocess.run(["umount", "--lazy", trial.folder / "storage/overlay"], stderr=subprocess.DEVNULL)
    print(f"{len(trial.failed)} failed")
    return 1 if trial.failed else 0


if __name__ == "__main__":
    sys.exit(main())
