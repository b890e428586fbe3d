# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
#
# Every command of the project. Each installs what it needs by itself; everything made goes to .build.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BUILD := $(CURDIR)/.build
PYTHON := $(BUILD)/venv/bin/python
# The environment's commands come first, also before pyenv's shims.
export PATH := $(BUILD)/venv/bin:$(PATH)
# A virtual environment of the caller's would lead tools astray.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# These, which images of containers set, make every start of Python slow: it compiles all that it imports, and reads a
# module of Ansible's byte by byte where connections are pipelined.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# Whoever runs playbooks here runs the collection as it is shipped: built and installed.
export ANSIBLE_COLLECTIONS_PATH := $(BUILD)/collections
# Not a folder that all of the machine's test runs share, each clearing what others left there.
export PYTEST_DEBUG_TEMPROOT := $(BUILD)/tmp
ifdef CI
# A log is read without a terminal.
export NO_COLOR := 1
export ANSIBLE_NOCOLOR := 1
export PY_COLORS := 0
endif

# Two lanes: what waits leaves its processor to the other. Begun in this order, the longest first.
# Fast, and all of them are run even if one fails.
CHECK_STAGES := unit lint types format ruff lint-shell documents
# Up to the first that fails. `leftovers` stays last, and alone.
TEST_STAGES := $(CHECK_STAGES) integration molecule matrix awx contract sanity browser lab unit-broker-side demo-test galaxy leftovers
# What chance has a part in or repeats what `make test` shows elsewhere, and what takes very long.
SOAK_STAGES := other-rounds every-python with-molecule no-nodes long-tests

# Options for pytest, as in `make unit PYTEST="-k relup -x"`.
PYTEST ?=
# Each target tells how long each test took; scripts/stages.py picks out the longest.
PYTEST_COMMAND = pytest --junitxml=$(BUILD)/durations/$@.xml

##@ Everyday

.PHONY: help
help: ## show this
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: Debian packages, .build/venv
	@scripts/setup

.PHONY: check
check: setup ## the fast part: linters, types, unit tests (under 90 seconds)
	@$(PYTHON) scripts/stages.py --keep-going --lanes 2 $(CHECK_STAGES)

.PHONY: test
test: setup ## everything that a change must pass
	@$(PYTHON) scripts/stages.py --lanes 2 --alone leftovers $(TEST_STAGES)

.PHONY: demo
demo: setup install ## upgrade a cluster under real clients and count; KEEP=1 leaves it running
	@$(PYTHON) scripts/demo.py $(if $(KEEP),--keep)

##@ Parts of check

.PHONY: format
format: setup ## ruff format, only looking
	@ruff format --check --quiet --diff .

.PHONY: ruff
ruff: setup ## ruff check
	@ruff check .

.PHONY: fix
fix: setup ## let ruff mend and format what it can
	@ruff check --fix .
	@ruff format .

.PHONY: types
types: setup ## mypy
	@scripts/lint-types

.PHONY: lint-shell
lint-shell: setup ## shellcheck
	@scripts/lint-shell

.PHONY: lint
lint: setup ## ansible-lint (and with it yamllint), production profile
	@scripts/lint-ansible

.PHONY: documents
documents: setup ## pages that are generated from code are up to date
	@$(PYTHON) scripts/gates_doc.py --check && $(PYTHON) scripts/known_defects_doc.py --check \
	  && $(PYTHON) scripts/faults_doc.py --check && $(PYTHON) scripts/awx_doc.py --check

.PHONY: unit
unit: setup ## unit tests
	@$(PYTEST_COMMAND) tests/unit tests/integration/test_guards.py::test_guards_and_cases_are_there -n 2 $(PYTEST)

.PHONY: unit-oldest
unit-oldest: setup ## unit tests of what runs on the brokers, under the oldest Python found
	@scripts/unit-broker-side --oldest

.PHONY: unit-broker-side
unit-broker-side: setup ## unit tests of what runs on the brokers, under the oldest and the newest Python
	@scripts/unit-broker-side

##@ Parts of test

.PHONY: sanity
sanity: setup ## ansible-test sanity
	@scripts/sanity

.PHONY: galaxy
galaxy: setup ## build, import as Galaxy does, documentation, changelog
	@scripts/galaxy

.PHONY: contract
contract: setup ## the test broker against recordings of the real EMQX; what nodes are asked, in real Erlang
	@$(PYTEST_COMMAND) tests/contract tests/erlang -n 2 $(PYTEST)

.PHONY: browser
browser: setup ## the pages of runs, in a real browser
	@$(PYTEST_COMMAND) tests/browser $(PYTEST)

.PHONY: awx
awx: setup ## what AWX gets, brought to a double of it by the modules of awx.awx
	@$(PYTEST_COMMAND) tests/awx -n 2 --dist loadgroup $(PYTEST)

.PHONY: lab
lab: setup ## the lab itself: hosts, faults, clients
	@$(PYTEST_COMMAND) tests/lab $(PYTEST)

.PHONY: integration
integration: setup install broker ## modules, roles and playbooks, against test brokers
	@$(PYTEST_COMMAND) tests/integration --ignore tests/integration/no_nodes $(PYTEST)

.PHONY: molecule
molecule: setup install broker ## the scenarios in extensions/molecule but those that `make matrix` plays; a few by molecule itself
	@$(PYTHON) scripts/scenarios.py

.PHONY: matrix
matrix: setup broker ## the installed collection under every supported ansible-core, and scenarios under two of them
	@$(PYTHON) scripts/matrix.py

.PHONY: demo-test
demo-test: setup install ## the demo passes, and fails when it should
	@$(PYTEST_COMMAND) tests/demo $(PYTEST)

.PHONY: leftovers
leftovers: setup ## nothing is left running or lying about
	@$(PYTHON) scripts/leftovers.py

##@ Now and then

.PHONY: soak
soak: setup ## long-running tests, cases drawn anew, all tests under all Pythons
	@$(PYTHON) scripts/stages.py --keep-going $(SOAK_STAGES)

.PHONY: long-tests
long-tests: setup install broker ## with soak: kills at random instants, the fault suite without its guards
	@$(PYTEST_COMMAND) tests -m soak $(PYTEST)

# A run tells its seed; EMQX_FLEET_SEED=N repeats it.
.PHONY: other-rounds
other-rounds: setup ## with soak: cases that nobody has seen, ten times as many as in the unit tests
	@seed=$${EMQX_FLEET_SEED:-$$((RANDOM * 32768 + RANDOM))}; echo "EMQX_FLEET_SEED=$$seed"; \
	  EMQX_FLEET_SEED=$$seed EMQX_FLEET_ROUNDS=10 $(PYTEST_COMMAND) tests/unit -m rounds -n 2 --hypothesis-seed=$$seed $(PYTEST)

.PHONY: every-python
every-python: setup broker ## with soak: unit tests of what runs on the brokers, and `make matrix`, under every Python
	@scripts/unit-broker-side --all && $(PYTHON) scripts/matrix.py --every-python

.PHONY: with-molecule
with-molecule: setup install broker ## with soak: `make molecule` by molecule itself
	@$(PYTHON) scripts/scenarios.py --with-molecule

# BENCH=window,plan takes some of them; BENCH_OPTIONS=--write-docs puts the figures into docs/performance.md.
.PHONY: bench
bench: setup install broker ## benchmarks, which take hours and a quiet machine; tables here, JSON in .build/bench
	@$(PYTHON) -m tests.benchmarks.bench $(if $(BENCH),--parts $(BENCH)) $(BENCH_OPTIONS)

.PHONY: no-nodes
no-nodes: setup install ## with soak: Ansible's own commands on the collection, without a broker; `make matrix` has two other releases
	@$(PYTEST_COMMAND) tests/integration/no_nodes -n 2 $(PYTEST)

# PICTURE=1 draws the one of docs/report.md instead.
.PHONY: screenshots
screenshots: setup ## pages of sample runs as pictures, in .build/screenshots
	@$(PYTHON) -c 'import runpy, tests.conftest; runpy.run_module("ansible_collections.emqx.fleet.tests.browser.screenshots", \
		run_name="__main__", alter_sys=True)' $(if $(PICTURE),--picture)

.PHONY: install
install: setup ## build the collection and install it into .build/collections
	@scripts/install-collection

.PHONY: broker
broker: setup ## build the packages of the test broker into .build/broker (cached)
	@tests/broker/build > /dev/null

.PHONY: clean
clean: ## remove everything made
	@rm -rf .build
