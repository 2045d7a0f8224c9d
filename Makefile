# Bare `make` lists the targets. Works with GNU make 3.81 (macOS) and newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
# The tests start hundreds of processes: they read compiled modules, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE

bin := .venv/bin
full := .venv/.setup-full
runtime := .venv/.setup-runtime

# An environment that was moved, or whose Python is gone, is made anew.
ifneq ($(shell cat .venv/.home 2>/dev/null)$(if $(realpath $(bin)/python),,gone),$(CURDIR))
.PHONY: $(full) $(runtime)
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(full) ## make .venv, with headrace and every tool of the project in it
	@echo "ready: $(bin)/headrace"

$(full): uv.lock pyproject.toml scripts/uv.sh
	@scripts/preflight.sh
	@scripts/uv.sh sync --locked --all-extras --all-groups --compile-bytecode
	@$(bin)/python -m compileall -q src
	@pwd > .venv/.home && touch $(runtime) $@

# What `make demo` needs and no more; keeps what a full set-up has already put there.
$(runtime): uv.lock pyproject.toml scripts/uv.sh
	@scripts/preflight.sh
	@scripts/uv.sh sync --locked --all-extras --no-default-groups --inexact
	@pwd > .venv/.home && touch $@

.PHONY: demo
demo: $(runtime) ## the photo lab, in your browser (ARGS="--photos DIR")
	@$(bin)/headrace demo $(ARGS)

.PHONY: test
test: $(full) ## everything that a change must pass, and what was skipped and why
	@$(bin)/python scripts/run_tests.py

.PHONY: check
check: lint types layers ## lint, types and layers, without running anything

.PHONY: lint
lint: $(full)
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .

.PHONY: types
types: $(full)
	@$(bin)/mypy
	@$(bin)/pyright

.PHONY: layers
layers: $(full)
	@$(bin)/lint-imports --no-cache --no-logo

.PHONY: fix
fix: $(full) ## format, and mend what ruff can mend by itself
	@$(bin)/ruff check --fix .
	@$(bin)/ruff format .

pytest := $(bin)/pytest $(if $(REPORT),--junitxml=$(REPORT))

# The servers that tests start; in CI they are installed.
.PHONY: servers
servers:
	@scripts/ensure-servers.sh

.PHONY: unit
unit: $(full) servers ## the fast tests: unit, conformance, architecture, typing (ARGS="-k name")
	@$(pytest) $(wildcard tests/unit tests/conformance tests/architecture tests/typing) $(ARGS)

.PHONY: coverage
coverage: $(full) ## the core's own tests alone, and how much of the core they cover
	@$(pytest) tests/unit/core --cov --cov-report=term $(if $(REPORT),--cov-report=json:$(REPORT:.xml=.json)) $(ARGS)

.PHONY: simulation
simulation: $(full) ## whole fleets on virtual time: 100 seeds, the corpus, and safeguards removed one by one
	@$(pytest) tests/simulation $(ARGS)

.PHONY: seeds
seeds: $(full) ## as many seeds as you like, on every processor (SEEDS=100000 FIRST=0)
	@$(bin)/python -m headrace.testing.sim --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) $(ARGS)

.PHONY: integration
integration: $(full) servers ## the command line, the HTTP side and the live feed, on real processes and sockets
	@$(pytest) tests/integration $(ARGS)

.PHONY: commands
commands: $(full) servers ## of the integration tests, those of the command line
	@$(pytest) tests/integration/cli $(ARGS)

.PHONY: brokers
brokers: $(full) servers ## of the integration tests, those on real RabbitMQ, Kafka, NATS and Redis
	@$(pytest) tests/integration/bridges tests/integration/servers $(ARGS)

.PHONY: chaos
chaos: $(full) servers ## kill, stop and hold up real processes
	@$(pytest) tests/chaos $(ARGS)

.PHONY: ledger
ledger: $(full) servers ## of those, the long ones that count what was lost and doubled
	@$(pytest) tests/chaos/test_ledger.py $(ARGS)

.PHONY: docs
docs: $(full) ## run every code block of the README and the docs, and the examples' tests
	@$(pytest) README.md docs examples/testing $(ARGS)

.PHONY: e2e
e2e: $(full) servers ## build the wheel, install it apart, test it from outside and in a browser
	@REPORT=$(REPORT) scripts/e2e.sh $(ARGS)

.PHONY: nightly
nightly: export TESTS_EFFORT = night
nightly: $(full) servers ## the long runs: about six hours (SEEDS=1000: fewer of the seeds)
	@failed=0; $(pytest) -m nightly --ignore=tests/e2e tests $(ARGS) || failed=1; \
	$(bin)/pytest tests/unit/core tests/conformance tests/architecture/test_postgres_plans.py tests/integration/move \
	    tests/chaos || failed=1; \
	scripts/e2e.sh -m "" || failed=1; exit $$failed

.PHONY: proof
proof: $(full) servers ## the ledger: chaos and simulator (JSON=path writes it, ARGS="--jobs 100000 --seed 7")
	@$(bin)/python -m proof $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: bench
bench: $(full) servers ## every figure of the docs (JSON=path writes them)
	@$(bin)/python -m bench $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: bench-peers
bench-peers: $(full) servers ## Headrace beside its peers, about 40 minutes (JSON=path, ARGS="--quick --only floor,headrace")
	@$(bin)/python -m bench.peers $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: bench-upstreams
bench-upstreams: $(full) servers ## what upstreams cost and hold, about 6 minutes (JSON=path, ARGS="--quick guard")
	@$(bin)/python -m bench.upstreams $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: bench-brokers
bench-brokers: $(full) servers ## through each broker: wake-ups, messages in, events out, about 10 minutes (JSON=path, ARGS="--quick redis")
	@$(bin)/python -m bench.brokers $(if $(JSON),--json $(JSON)) $(ARGS)

.PHONY: changelog
changelog: $(full) ## what the next release will say
	@$(bin)/towncrier build --draft

.PHONY: clean
clean: ## remove what was made here: environments, caches, builds
	@rm -rf .venv .cache dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	@find src tests bench proof servers examples scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
