# What a developer does here. `make` lists it.

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
OLD_SDK := .sdk-0.8.104
DEMO := sqlite:///var/demo.db
PORT ?= 8420
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes: none should compile what another one did

.DEFAULT_GOAL := help
.PHONY: help serve setup test test-postgres test-citus check format bench lock clean

help: ## List what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: .venv/serve.done ## Set up and run the server with a small demo organization (PORT=8420)
	@mkdir -p var
	@$(BIN)/grantbook demo --database $(DEMO) --port $(PORT) --before-serving
	@$(BIN)/grantbook serve --database $(DEMO) --port $(PORT)

setup: .venv/test.done ## Set up everything that the tests need

test: .venv/test.done ## Run every test
	$(BIN)/pytest -n auto --dist worksteal

test-postgres: .venv/test.done ## Run the suites of stores and servers on PostgreSQL, with fewer random examples
	GRANTBOOK_TEST_DATABASE=postgres $(BIN)/pytest -n auto --dist worksteal --hypothesis-profile=few \
		tests/conformance tests/laws tests/service tests/library tests/http tests/platform tests/faults

test-citus: .venv/test.done ## Run the suites of stores on the Citus cluster of GRANTBOOK_TEST_CITUS_URL
	@test -n "$$GRANTBOOK_TEST_CITUS_URL" || { echo "GRANTBOOK_TEST_CITUS_URL names no coordinator"; exit 2; }
	$(BIN)/pytest -k "citus or cluster" --hypothesis-profile=few tests/conformance tests/laws tests/cluster

check: .venv/test.done ## Format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/test.done ## Format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/test.done ## Measure, side by side in one run
	$(BIN)/python -m benchmarks

lock: ## Resolve the dependencies anew, into the lock files
	$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip -q install uv
	.venv/lock/bin/uv pip compile -q -U pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -o requirements-dev.lock
	.venv/lock/bin/uv pip compile -q -U pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -c requirements-dev.lock -o requirements.lock

clean: ## Remove what the other targets made
	rm -rf .venv $(OLD_SDK) var build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/serve.done: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/test.done: requirements-dev.lock tests/platform/old-sdk.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --require-hashes \
		--target $(OLD_SDK) -r tests/platform/old-sdk.lock
	@touch $@ .venv/serve.done
