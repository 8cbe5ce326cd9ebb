# make, without a target, says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
# Which Python works here: empty is .venv's, made from $(PYTHON).
PYTHON_RELEASE ?=
VENV := $(if $(PYTHON_RELEASE),var/python-$(PYTHON_RELEASE),.venv)
BIN := $(VENV)/bin
# A stamp carries the checksum of what it was made from: another lock file, another stamp.
checksum = $(shell cat $(1) | sha256sum | cut -c1-16)
RUN_STAMP := $(VENV)/run-$(call checksum,requirements.txt)
DEV_STAMP := $(VENV)/dev-$(call checksum,requirements.txt requirements-dev.txt)
PEERS_STAMP := var/peers/made-$(call checksum,bench/peers/requirements.txt)
# A newer Python comes without a pip.
PIP_INSTALL := .venv/bin/python -m pip --python $(BIN)/python --disable-pip-version-check --quiet install --require-hashes
# Tests start servers of their own and must not reach those that the shell points to.
PRIVATE := env -u DATABASE_URL -u BROKER_URL -u STREAM_URL -u MANAGEMENT_URL
PYTEST ?=
# Which RabbitMQ private nodes run: empty is the machine's own.
BROKER ?=
export BROKER

.PHONY: help
help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

.PHONY: run
run: $(RUN_STAMP) ## start everything in the foreground, with demo traffic (DEMO=0: without); Ctrl-C stops it
	@exec $(BIN)/python -m deploy.local.run

.PHONY: up
up: $(RUN_STAMP) ## the same in the background
	@exec $(BIN)/python -m deploy.local.run up

.PHONY: down
down: $(RUN_STAMP) ## stop what `make up` started
	@exec $(BIN)/python -m deploy.local.run down

.PHONY: test
test: $(DEV_STAMP) nodes ## run all tests against private servers (PYTEST='-k words' picks some, BROKER=4: on RabbitMQ 4.x, PYTHON_RELEASE=3.13: on Python 3.13)
	@$(PRIVATE) $(BIN)/python -m pytest -n 4 --dist worksteal $(PYTEST)

# The floor is that of all tests: a selection has none.
.PHONY: coverage
coverage: $(DEV_STAMP) nodes ## run all tests and say which branches they miss; fails below the floor in pyproject.toml
	@$(PRIVATE) $(BIN)/python -m pytest -n 4 --dist worksteal --cov --cov-report=term-missing:skip-covered \
	  $(if $(PYTEST),--cov-fail-under=0) $(PYTEST)

.PHONY: fuzz
fuzz: $(DEV_STAMP) nodes ## try the properties of bad input with 50 times as many, new examples (FUZZ_TIMES=…)
	@$(PRIVATE) FUZZ_TIMES=$${FUZZ_TIMES:-50} $(BIN)/python -m pytest -n 2 --dist worksteal --timeout 7200 $(PYTEST) \
	  tests/unit/test_decode_hostile.py tests/unit/test_envelope.py tests/unit/test_handover.py \
	  tests/integration/test_http_fuzz.py tests/integration/test_http_raw.py

.PHONY: cluster
cluster: $(DEV_STAMP) nodes ## kill and roll the nodes of a cluster of three under traffic (BROKER=4: on RabbitMQ 4.x)
	@rm -f var/cluster/outcomes.jsonl
	@$(PRIVATE) $(BIN)/python -m pytest tests/cluster -m cluster $(PYTEST)
	@$(BIN)/python -m tests.cluster.outcomes

.PHONY: browsers
browsers: $(DEV_STAMP) nodes ## post from pages in a real Chromium, which it installs when missing and allowed
	@$(BIN)/python -m tests.browsers.setup
	@$(PRIVATE) $(BIN)/python -m pytest tests/browsers -m browsers $(PYTEST)

.PHONY: fault
fault: $(DEV_STAMP) nodes ## kill, stop, starve and cut everything under traffic, in half an hour (PYTEST='-k words' picks some)
	@rm -f var/fault/outcomes.jsonl
	@$(PRIVATE) $(BIN)/python -m pytest tests/fault -m '' -n 2 --dist loadscope $(PYTEST)
	@$(BIN)/python -m tests.fault.table

.PHONY: senders
senders: $(DEV_STAMP) nodes ## run senders that users have, at pinned versions, against the whole of Sluice (PYTEST='-m senders': without SDKs)
	@rm -f var/senders/outcomes.jsonl
	@$(PRIVATE) $(BIN)/python -m tests.senders.setups || echo 'tests of senders that could not be had are skipped'
	@$(PRIVATE) $(BIN)/python -m pytest tests/senders -m '' -n 3 $(PYTEST)
	@$(BIN)/python -m tests.senders.outcomes

.PHONY: bench
bench: $(DEV_STAMP) $(PEERS_STAMP) nodes ## measure everything beside its peers and its floors (QUICK=1: roughly, in 4 minutes)
	@$(PRIVATE) $(BIN)/python -m bench.run $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-neighbour
bench-neighbour: $(DEV_STAMP) nodes ## a victim beside a customer that offers 50 times what the machine takes
	@$(PRIVATE) $(BIN)/python -m bench.situations.neighbour $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-crowd
bench-crowd: $(DEV_STAMP) nodes ## 20,000 idle connections beside 100 batches a second, with nginx and without
	@$(PRIVATE) $(BIN)/python -m bench.situations.crowd $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-slow-bodies
bench-slow-bodies: $(DEV_STAMP) nodes ## 4,000 connections whose bodies do not come, beside 100 batches a second
	@$(PRIVATE) $(BIN)/python -m bench.situations.slow_bodies $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-many
bench-many: $(DEV_STAMP) nodes ## 2,000 customers, 100 of them active at a time, on one dispatcher and one worker
	@$(PRIVATE) $(BIN)/python -m bench.situations.many $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-broken-streams
bench-broken-streams: $(DEV_STAMP) nodes ## 48 customers beside one whose stream has no leader and one whose stream was deleted
	@$(PRIVATE) $(BIN)/python -m bench.situations.broken_streams $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-verify
bench-verify: $(DEV_STAMP) nodes ## how many small batches a second `flask verify` proves
	@$(PRIVATE) $(BIN)/python -m bench.situations.verifying $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: bench-slow-database
bench-slow-database: $(DEV_STAMP) nodes ## 100 batches a second with 50 ms added to each of the database's answers
	@$(PRIVATE) $(BIN)/python -m bench.situations.slow_database $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: check
check: $(DEV_STAMP) ## lint, format, types, imports between rooms, docs against code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(PRIVATE) $(BIN)/python -m pytest -q tests/unit/test_rooms.py tests/unit/test_style.py tests/unit/test_docs.py \
	  tests/unit/test_figures.py tests/unit/test_figures_floods.py tests/unit/test_glossary.py \
	  tests/unit/test_contributing.py tests/unit/test_webapp_surface.py tests/unit/test_metrics_page.py \
	  tests/unit/test_requirements.py tests/unit/test_private_names.py tests/unit/test_revision.py

.PHONY: format
format: $(DEV_STAMP) ## format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: nodes
nodes: $(RUN_STAMP) ## install RabbitMQ (BROKER=4: 4.x, in a folder), PostgreSQL and Prometheus when missing and allowed
	@$(BIN)/python -m deploy.local.releases
	@$(BIN)/python -m deploy.local.install postgresql
	@$(BIN)/python -m deploy.local.install prometheus || echo 'tests of alerts and dashboards are skipped without it'

.PHONY: venv
venv: $(DEV_STAMP) ## make .venv with everything that is needed to run, test and check

.PHONY: lock
lock: $(DEV_STAMP) ## pin the newest versions that requirements*.in allow, with hashes
	@for name in requirements requirements-dev bench/peers/requirements \
	  tests/senders/{node,python-1.20,python-newest,rotel}/requirements; do \
	  $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file $$name.txt $$name.in; \
	done

.PHONY: clean
clean: ## stop what runs and delete .venv, var and caches: all data of this clone
	@if [ -x $(BIN)/python ] && [ -d var ]; then $(BIN)/python -m deploy.local.run down || true; fi
	@rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_STAMP): | $(VENV)/pyvenv.cfg
	@echo 'installing what it needs to run into $(VENV)'
	@$(PIP_INSTALL) -r requirements.txt
	@rm -f $(VENV)/run-* && touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo 'installing what tests and checks need into $(VENV)'
	@$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt
	@echo 'compiling what the decoders have compiled'
	@$(VENV)/bin/python -c 'from tasks.decoders import machine_code; machine_code()'
	@rm -f $(VENV)/dev-* && touch $@

$(PEERS_STAMP): | .venv/pyvenv.cfg
	@echo 'installing a peer for the benchmark into var/peers'
	@$(PYTHON) -m venv var/peers
	@var/peers/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r bench/peers/requirements.txt
	@rm -f var/peers/made-* && touch $@

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m deploy.local.install python3-venv
	@$(PYTHON) -m venv .venv

var/python-%/pyvenv.cfg: | .venv/pyvenv.cfg
	@newer=$$($(PYTHON) -m deploy.local.pythons $*) && "$$newer" -m venv --without-pip $(@D)
