# Bare `make` lists the targets. Works with GNU make 3.81 (macOS) and newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

bin := .venv/bin
full := .venv/.setup-full
runtime := .venv/.setup-runtime

# An environment that was moved, or whose Python is gone, is made anew.
ifneq ($(shell cat .venv/.home 2>/dev/null)$(if $(realpath $(bin)/python),,gone),$(CURDIR))
.PHONY: $(full) $(runtime)
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(full) ## make .venv, with headrace and every tool of the project in it
	@echo "ready: $(bin)/headrace"

$(full): uv.lock pyproject.toml scripts/uv.sh
	@scripts/preflight.sh
	@scripts/uv.sh sync --locked --all-extras --all-groups
	@pwd > .venv/.home && touch $(runtime) $@

# What `make demo` needs and no more; keeps what a full set-up has already put there.
$(runtime): uv.lock pyproject.toml scripts/uv.sh
	@scripts/preflight.sh
	@scripts/uv.sh sync --locked --all-extras --no-default-groups --inexact
	@pwd > .venv/.home && touch $@
