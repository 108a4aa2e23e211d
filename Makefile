# Every path here is relative: make splits names at spaces, and the checkout's own folder may have one.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Another Python's packages must not get into ours.
unexport PYTHONPATH PYTHONHOME

BIN := .prodsys/venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: help demo up down setup test lint types contracts unit integration crash format schema screenshots bench bench-peers lock clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: ## run the example campaign from nothing to merged ROOT files (KEEP=1 leaves the UI up)
	@scripts/setup.sh demo
	@$(BIN)/prodsys demo $(if $(filter-out 0,$(KEEP)),--keep)

up: ## start the pool and Airflow, and leave them running
	@scripts/setup.sh demo
	@$(BIN)/prodsys up

down: ## stop what `make up` or `make demo KEEP=1` left running
	@if [ -x $(BIN)/prodsys ]; then $(BIN)/prodsys down; else echo "nothing is set up here, so nothing runs"; fi

setup: ## install everything into .prodsys, test tools included (PYTHON=python3.12 chooses the interpreter)
	@scripts/setup.sh test

test: setup ## lint, types, contracts, unit, integration
	@scripts/run-tests.sh

lint types contracts unit integration crash: setup
	@scripts/run-tests.sh $@

format: setup ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schema: setup ## write campaign_specs/schema.json, for editors
	@$(BIN)/prodsys schema --write

screenshots: setup ## take the pictures of the pages in docs/images, of a made-up production group
	@$(BIN)/python -m scripts.screenshots

bench: setup ## run benchmarks/bench_*.py
	@for file in benchmarks/bench_*.py; do echo "==> $$file"; $(BIN)/python "$$file"; done

bench-peers: setup ## run prodsys and its peers on one pool (N="10 100 1000", REPEATS=3, ENGINES="law prodsys", KILL=1)
	@scripts/setup.sh peers
	@$(BIN)/python -m benchmarks.peers.run --n "$(or $(N),10 100)" --repeats $(or $(REPEATS),3) \
	  $(if $(ENGINES),--engines "$(ENGINES)") $(if $(LIMIT),--limit $(LIMIT)) $(if $(KILL),--kill)
	@.prodsys/peers/bin/python -m benchmarks.peers.table

lock: setup ## recompile requirements*.txt from the .in files (UPGRADE=1 takes newer versions)
	@eval "$$($(BIN)/python scripts/uv_index.py)"; \
	$(LOCK) requirements.in -o requirements.txt; \
	$(LOCK) requirements-test.in -o requirements-test.txt; \
	if [ -f embedded/physics/requirements.in ]; then \
	  $(LOCK) --only-binary :all: embedded/physics/requirements.in -o embedded/physics/requirements.txt; fi; \
	$(LOCK) benchmarks/peers/requirements.in -o benchmarks/peers/requirements.txt
	@echo "==> compiled; now make test"

clean: ## stop everything that runs from here, then remove .prodsys and the caches
	@scripts/clean.sh
