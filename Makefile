# Python 3.11 or newer and make are all that is needed; `make` alone lists what can be done.
PYTHON ?= python3
ARGS ?=
UPGRADE ?=
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages-current
INSTALLED := $(VENV)/.project-current

# Stages and tests find the environment's programs. Nothing here reports usage to anyone.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup packages repro test lint ui paper lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(INSTALLED) ## create or update .venv from the lock; nothing when it is current

packages: $(PACKAGES) # all of the environment but this project itself: a layer of the image

repro: setup ## run what is out of date (dvc repro), then show the tables and where report and MLflow are
	@$(BIN)/dvc repro $(ARGS)
	@$(BIN)/cl-lsg tables --show

test: setup ## the tests; make test ARGS="-k split" for some of them
	@$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadgroup $(ARGS)

lint: setup ## style and types: ruff, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

ui: setup ## MLflow's pages on this machine
	@$(BIN)/cl-lsg ui $(ARGS)

# The overrides are written into params.yaml and stay there: `git checkout params.yaml` brings back the default.
paper: setup ## the paper's benchmarks whose images are here: says units, steps and hours, starts; goes on where it stopped
	@$(BIN)/cl-lsg plan --paper
	@$(BIN)/dvc exp run $$($(BIN)/cl-lsg plan --paper --overrides)
	@$(BIN)/cl-lsg tables --show

lock: setup ## write requirements.lock anew from pyproject.toml; make lock UPGRADE=--upgrade for newer versions
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-header --quiet $(UPGRADE) --output-file requirements.lock
	@echo 'uv==$(UV_VERSION)' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --output-file requirements-bootstrap.lock

clean: ## remove caches of tools; runs, data, reports and .venv stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis dist build *.egg-info
	@find lsg pipeline benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(PACKAGES): requirements.lock requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@touch $@

$(INSTALLED): $(PACKAGES) pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
