# Tuskwatch: `make setup` needs python3 (3.11 to 3.13) with venv, and make; everything else comes into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

.PHONY: help setup lock demo up down status password reset service backup restore model images push-images test test-fast test-thorough test-all bench conformance lint format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## install everything into .venv (again only when the lock changed)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"python {v[0]}.{v[1]} is not supported: run make PYTHON=python3.12 (3.11 to 3.13)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment: install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip sync -q --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --editable .
	@touch $@

lock:  ## resolve the direct dependencies of pyproject.toml into requirements.txt
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q --disable-pip-version-check uv; }
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --no-emit-index-url --no-header -o requirements.txt

demo: setup  ## images in, threats and a plot out: MODEL=frozen graph, IMAGES=folder
	@$(BIN)/python -m laptop demo $(if $(MODEL),--model '$(MODEL)') $(if $(IMAGES),--images '$(IMAGES)')

up: setup  ## start PostgreSQL, minipachd and Airflow and leave them running: MODEL, IMAGES as for demo, PORT=8080
	@$(BIN)/python -m laptop up $(if $(MODEL),--model '$(MODEL)') $(if $(IMAGES),--images '$(IMAGES)') $(if $(PORT),--port '$(PORT)')

down:  ## stop what `make up` started
	@test ! -x $(BIN)/python || $(BIN)/python -m laptop down

status: setup  ## what runs, and what was started again: when, why
	@$(BIN)/python -m laptop status

password: setup  ## renew the passwords, which otherwise stay
	@$(BIN)/python -m laptop password

reset: setup  ## remove all data of this machine's installation; downloaded models stay
	@$(BIN)/python -m laptop reset

service: setup  ## write a systemd unit that starts it with the machine: MODEL, PORT as for up
	@$(BIN)/python -m laptop service $(if $(MODEL),--model '$(MODEL)') $(if $(PORT),--port '$(PORT)')

backup: setup  ## keep all data in a file, also while it runs: FILE=backup.tar
	@test -n '$(FILE)' || { echo 'give FILE, for example make backup FILE=/mnt/disk/tuskwatch.tar' >&2; exit 1; }
	@$(BIN)/python -m laptop backup '$(FILE)'

restore: setup  ## bring back what a backup holds, where there is no data: FILE=backup.tar
	@test -n '$(FILE)' || { echo 'give FILE, for example make restore FILE=/mnt/disk/tuskwatch.tar' >&2; exit 1; }
	@$(BIN)/python -m laptop restore '$(FILE)'

model: setup  ## download and check the COCO model
	@$(BIN)/python -m laptop model

images:  ## build the container images with Docker: tuskwatch/<name>:<version> (docker/build NAME builds one)
	@PYTHON='$(PYTHON)' docker/build

push-images: setup  ## push the stage images and write specs that name them: REGISTRY=host/project/repo
	@test -n '$(REGISTRY)' || { echo 'give REGISTRY, for example us-east1-docker.pkg.dev/PROJECT/tuskwatch' >&2; exit 1; }
	$(BIN)/python -m dags.provisioning.push_images '$(REGISTRY)'

test: setup  ## the default test suite, on all cores up to four
	$(BIN)/python -m pytest -n logical

test-fast: setup  ## its quick part: no whole stack, no browser, no container, no row of servers
	$(BIN)/python -m pytest -n logical -m 'not slow and not thorough and not e2e and not browser and not docker and not servers'

test-thorough: setup  ## what the default suite has a leaner version of
	$(BIN)/python -m pytest -n logical -m 'thorough and not slow'

test-all: setup  ## everything, one by one: also long runs in real Airflow, compose, crashes by the hundred
	$(BIN)/python -m pytest -m ''

conformance: setup  ## one set of expectations for any server: PACHYDERM_ADDRESS=host:port, or minipachd as 2.12 and as 2.7
	$(BIN)/python -m pytest tests/conformance

bench: setup  ## the README's figures, small: PARTS='peers load' some of them, FULL=1 full size (hours), KEEP='result files' whose parts do not run again, MODEL=graph, IMAGES=folder
	$(BIN)/python -m benchmarks $(PARTS) $(if $(FULL),--full) $(if $(MODEL),--model '$(MODEL)') $(if $(IMAGES),--images '$(IMAGES)') $(if $(KEEP),--keep $(KEEP))

lint: setup  ## ruff (lint, format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: down  ## stop it, and remove .venv, .local, build and the tools' caches
	rm -rf $(VENV) .local .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
